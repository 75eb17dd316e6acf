// Every request of the page: to this service alone, with the session's own token for changes, and the name of this tab.

import { logInAgain } from "./session.js";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the service answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// Claims belong to a tab: the same account may read another scan in the next one.
const tab = crypto.getRandomValues(new Uint32Array(4)).join("-");
const OF_A_PASSWORD = ["/v1/sessions", "/v1/setup", "/v1/me/password"]; // 401 here is a wrong password, and no session that ended
let csrf = null;
let name = null;

// Whom the page was made for: nobody else may go on in it.
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

// The session of this page again: by that of another tab where it is the same account's, or by the password.
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

// A last word of a page that goes: nobody waits for the answer.
export const part = (path) => { once("POST", path, {}, { keepalive: true }).catch(() => {}); };

// Pixels or regions as the service packs them: a header and typed arrays.
async function packed(path) {
  const buffer = await (await answer("GET", path)).arrayBuffer();
  const length = new DataView(buffer).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  return { head, buffer, start: 8 + length };
}

// Pixels and regions of every view of a scan; of one that was judged by no model no regions are kept.
export const viewsOf = (scan) => Promise.all(Object.entries(scan.views).map(async ([name, view]) => ({ name, pixels: await packed(view.pixels), regions: await packed(view.regions).catch(none) })));
const none = (error) => { if (error.status === 404) return null; throw error; };
