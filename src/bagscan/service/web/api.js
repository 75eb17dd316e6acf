// Requests of the page to the service, with the session's CSRF token and the id of this tab.

import { logInAgain } from "./session.js";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the service returned status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// Claims belong to a tab: an account can read different scans in different tabs.
const tab = crypto.getRandomValues(new Uint32Array(4)).join("-");
const OF_A_PASSWORD = ["/v1/sessions", "/v1/setup", "/v1/me/password"]; // 401 here means a wrong password, not an ended session
let csrf = null;
let name = null;

// Remember the account of this page; another account must not continue in it.
export const keepSession = (me) => { csrf = me.csrf; name = me.name; };

async function once(method, path, body, { timeoutMs, ...more } = {}) {
  const headers = { "X-Tab": tab };
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  let response;
  try {
    if (timeoutMs) more.signal = AbortSignal.timeout(timeoutMs);
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : body instanceof FormData ? body : JSON.stringify(body), credentials: "same-origin", ...more });
  } catch {
    throw new Refused(0, { detail: "the service does not answer" });
  }
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response;
}

const ended = (error) => error.status === 401 || (error.status === 403 && String(error.problem.detail).includes("X-CSRF-Token"));

// Renew the session: take over that of another tab if it belongs to the same account, else ask for the password.
async function renewed() {
  const me = await (await once("GET", "/v1/me")).json();
  const again = me.name === name ? me : await logInAgain(name, async (body) => (await once("POST", "/v1/sessions", body)).json());
  if (again) keepSession(again);
  else location.reload();
  return Boolean(again);
}

async function answer(method, path, body, more) {
  const used = csrf;
  try {
    return await once(method, path, body, more);
  } catch (error) {
    if (name === null || OF_A_PASSWORD.includes(path) || !ended(error)) throw error;
    if (used === csrf && !(await renewed())) throw error;
    return once(method, path, body, more);
  }
}

export const ask = async (method, path, body, more) => (await answer(method, path, body, more)).json();
export const get = (path, more) => ask("GET", path, undefined, more);
export const post = (path, body = {}) => ask("POST", path, body);

// Send a last request while the page unloads; the response is ignored.
export const part = (path) => { once("POST", path, {}, { keepalive: true }).catch(() => {}); };

// Fetch packed pixels or regions: a JSON header, then binary arrays.
async function packed(path) {
  const buffer = await (await answer("GET", path)).arrayBuffer();
  const length = new DataView(buffer).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  return { head, buffer, start: 8 + length };
}

// Fetch pixels and regions of every view; regions are null for a view that no model scored.
export const viewsOf = (scan) => Promise.all(Object.entries(scan.views).map(async ([name, view]) => ({ name, pixels: await packed(view.pixels), regions: await packed(view.regions).catch(none) })));
const none = (error) => { if (error.status === 404) return null; throw error; };
