// Pages of supervisors and admins: statistics, models and thresholds, accounts, audit.

import { ask, get, post } from "./api.js";
import { confirmed, dialog, filledIn, h, score, show, time, toast } from "./dom.js";
import { histogram, intervals, stacked } from "./plots.js";

const KINDS = ["ALARM", "REVIEW", "CLEAR"];
const fault = (error) => toast(error.message, { kind: "fault", seconds: 8 });
const card = (title, ...children) => h("section.card", {}, h("h2", {}, title), ...children);
const wide = (title, ...children) => h("section.card.wide", {}, h("h2", {}, title), ...children);
const table = (heads, rows) => h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", {}, head)))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
const percent = (rate) => (rate.n ? `${(100 * rate.rate).toFixed(0)} % (${(100 * rate.low).toFixed(0)}–${(100 * rate.high).toFixed(0)}), ${rate.k} of ${rate.n}` : "–");
const act = (doing, after) => async () => { try { await doing(); after(); } catch (error) { fault(error); } };

export async function statisticsPage(me, place) {
  const days = h("select", { "aria-label": "days", onchange: draw }, [1, 7, 30, 365].map((n) => h("option", { value: String(n), selected: n === 30 }, `last ${n} day${n > 1 ? "s" : ""}`)));
  const body = h("div");
  show(place, h("div.page", {}, h("div.row.apart", {}, h("h1", {}, "Statistics"), days), body));
  async function draw() {
    const statistics = await get(`/v1/statistics?days=${days.value}`);
    const legend = h("div", {}, KINDS.map((kind) => h("span.key.small", {}, h(`i.bg-${kind}`), `${kind} ${statistics.by_decision[kind] || 0}`)));
    const drift = Object.entries(statistics.drift_p);
    show(body, h("div.cards", {},
      card("Scans screened", h("div.big.number", {}, String(statistics.scans)), legend),
      card("Screening time", h("div.big.number", {}, statistics.seconds_percentiles["50"] === undefined ? "–" : `${statistics.seconds_percentiles["50"].toFixed(2)} s`), h("div.muted.small", {}, statistics.seconds_percentiles["50"] === undefined ? "" : `median; 95 %: ${statistics.seconds_percentiles["95"].toFixed(2)} s, 99 %: ${statistics.seconds_percentiles["99"].toFixed(2)} s`)),
      card("Drift of scores", drift.length ? drift.map(([id, p]) => h("div", {}, h("span.mono", {}, id.slice(0, 8)), ` p = ${p.toExponential(1)} `, h(`span.${p < 1e-4 ? "ALARM" : "CLEAR"}`, {}, p < 1e-4 ? "changed: nothing is CLEAR" : "unchanged"))) : h("p.muted", {}, "There are too few scans to compare.")),
    ), h("div.cards.plots", {},
      h("section.card", {}, h("h2", {}, "By day"), stacked(statistics.by_day.map((row) => ({ ...row, label: time(row.day).slice(5, 10) })), ["CLEAR", "REVIEW", "ALARM"], "scans by day and decision")),
      h("section.card", {}, h("h2", {}, "Highest score of each scan (root scale)"), histogram(statistics.score_histogram, "number of scans by highest score")),
      h("section.card", {}, h("h2", {}, "Rates, 95 % intervals"), intervals([{ label: "alarms confirmed", ...statistics.outcomes.alarms_confirmed }, { label: "readers agree", ...statistics.agreement }, { label: "machine, test images", ...statistics.machine_tip_hits }, ...statistics.shadows.map((one) => ({ label: `shadow ${one.model_id.slice(0, 6)} agrees`, ...one.same }))], "rates with their intervals")),
      wide("Readers", statistics.readers.length ? table(["Reader", "Decisions", "Median time", "Test images found", "False alarms on clear scans"], statistics.readers.map((one) => [one.name, String(one.decisions), `${one.median_seconds.toFixed(0)} s`, percent(one.tip_hits), percent(one.false_alarms)])) : h("p.muted", {}, "There are no decisions yet.")),
      wide("Scanners", table(["Scanner", ...KINDS], Object.entries(statistics.by_scanner).map(([name, counts]) => [name, ...KINDS.map((kind) => String(counts[kind] || 0))]))),
    ));
  }
  await draw();
}

export async function modelsPage(me, place) {
  const admin = me.permissions.includes("models.change");
  const body = h("div");
  show(place, h("div.page", {}, h("h1", {}, "Models and thresholds"), body));
  const draw = async () => {
    const { models, history } = await get("/v1/models");
    const channels = [...new Set(models.filter((one) => one.active).map((one) => one.channels))];
    show(body, h("div.cards", {}, models.map((one) => modelCard(one)),
      admin ? card("Add a model", h("p.muted.small", {}, "Select all files of a model folder. The service checks their hashes and screens a synthetic scan. The model is not used until it is activated."), upload()) : null,
      wide("Models in use", table(["Since", "By", "Channels", "Mode", "Model", "Threshold", ""], history.map((row, index) => [h("span.number", {}, time(row.created_at)), row.by, row.channels, row.mode, h("span.mono", {}, row.model_id || "none"), row.threshold === null ? "own" : score(row.threshold),
        admin && row.mode === "active" && history.findIndex((other) => other.mode === "active" && other.channels === row.channels) === index && history.filter((other) => other.mode === "active" && other.channels === row.channels).length > 1
          ? h("button.small", { "data-rollback": row.channels, onclick: act(async () => { if (await confirmed(`Go back to the previous model for ${row.channels}?`, "Roll back", "danger")) await post("/v1/models/rollback", { channels: row.channels }); }, draw) }, "Roll back") : ""])))));
    function modelCard(one) {
      const threshold = h("input.number", { type: "number", min: 0.0001, max: 0.99999999, step: "any", value: String(Number(one.threshold.toPrecision(6))), "aria-label": `threshold of ${one.id}` });
      const change = act(async () => {
        const to = Number(threshold.value);
        if (!(to > 0 && to < 1)) return toast("The threshold must lie between 0 and 1.", { kind: "fault" });
        if (to === Number(one.threshold.toPrecision(6)) || !(await confirmed(`Change the threshold from ${score(one.threshold)} to ${score(to)}? The new threshold applies to every scan from now on.`, "Change"))) return;
        await ask("PUT", `/v1/models/${one.id}/threshold`, { threshold: to });
        toast("The threshold is changed.");
      }, draw);
      const own = act(async () => { if (await confirmed("Go back to the threshold chosen on validation data?", "Go back")) await ask("PUT", `/v1/models/${one.id}/threshold`, { threshold: null }); }, draw);
      return card(one.name, h("div.mono", {}, one.id), h("p.muted.small", {}, `channels ${one.channels}`), h("p", {}, one.active ? h("span.chip.CLEAR", {}, "SERVES") : one.shadow ? h("span.chip.REVIEW", {}, "SHADOW") : h("span.chip.muted", {}, "KNOWN")),
        h("p.small.muted", {}, `own operating point ${score(one.point.threshold)}: ${one.point.criterion}, expected false-positive rate ${(100 * one.point.expected_fpr).toFixed(2)} %`),
        one.active ? h("div.row", {}, threshold, h("button", { onclick: change }, "Set threshold"), one.threshold !== one.point.threshold ? h("button.plain", { onclick: own }, "own") : null) : null,
        admin && !one.active ? h("div.row", {}, h("button", { onclick: act(() => post(`/v1/models/${one.id}/activate`), draw) }, "Activate"),
          one.shadow ? h("button", { onclick: act(() => post("/v1/models/end-shadow", { channels: one.channels }), draw) }, "End shadow") : h("button", { onclick: act(() => post(`/v1/models/${one.id}/shadow`), draw) }, "Run as shadow")) : null);
    }
    function upload() {
      const files = h("input", { type: "file", multiple: true, "aria-label": "files of a model" });
      const send = act(async () => {
        const form = new FormData();
        for (const file of files.files) form.append("files", file, file.name);
        const made = await post("/v1/models", form);
        toast(`Model ${made.id} was added.`);
      }, draw);
      return h("div.row", {}, files, h("button.primary", { onclick: send }, "Add"));
    }
  };
  await draw();
}

export async function peoplePage(me, place) {
  const body = h("div");
  show(place, h("div.page", {}, h("div.row.apart", {}, h("h1", {}, "Accounts"), h("button.primary", { onclick: create }, "New account")), body));
  const roles = ["scanner", "operator", "supervisor", "admin"];
  const now = () => Date.now() / 1000;
  async function draw() {
    const { accounts } = await get("/v1/accounts");
    show(body, h("div.cards", {}, wide("Accounts and roles", table(["Name", "Role", "State", "Keys", ""], accounts.map((one) => {
      const role = h("select", { "aria-label": `role of ${one.name}`, disabled: one.name === me.name }, roles.map((name) => h("option", { value: name, selected: name === one.role }, name)));
      role.addEventListener("change", act(() => ask("PATCH", `/v1/accounts/${one.id}`, { role: role.value }), draw));
      const locked = one.locked_until && one.locked_until > now();
      return [one.name, role, one.disabled ? h("span.ALARM", {}, "disabled") : locked ? h("span.REVIEW", {}, "locked") : "open",
        h("div", {}, one.keys.filter((key) => !key.revoked_at).map((key) => h("div.row.small", {}, `${key.name}, since ${time(key.created_at).slice(0, 10)}`, h("button.plain", { onclick: act(async () => { if (await confirmed(`Revoke the key “${key.name}”? Programs that use it lose access at once.`, "Revoke", "danger")) await ask("DELETE", `/v1/keys/${key.id}`); }, draw) }, "revoke")))),
        h("div.row", {}, h("button", { onclick: () => key(one) }, "New key"), locked ? h("button", { onclick: act(() => ask("PATCH", `/v1/accounts/${one.id}`, { unlock: true }), draw) }, "Unlock") : null,
          one.name === me.name ? null : h("button", { onclick: act(() => ask("PATCH", `/v1/accounts/${one.id}`, { disabled: !one.disabled }), draw) }, one.disabled ? "Enable" : "Disable"))];
    })))));
  }
  async function create() {
    const name = h("input", { required: true, maxlength: 64 }), password = h("input", { type: "password", autocomplete: "new-password", minlength: 10, maxlength: 256 }), role = h("select", {}, roles.map((one) => h("option", { value: one }, one)));
    role.value = "operator";
    const rows = [["Name", name], ["Role", role], ["Password, at least 10 characters; empty for a scanner that uses a key", password]];
    if (await filledIn("New account", rows, "Create", () => post("/v1/accounts", { name: name.value, role: role.value, password: password.value || null }))) draw();
  }
  async function key(one) {
    const name = h("input", { required: true, maxlength: 64, value: "scanner" });
    const made = await filledIn(`New key for ${one.name}`, [["Name of the key", name]], "Create", () => post(`/v1/accounts/${one.id}/keys`, { name: name.value }));
    if (!made) return;
    await dialog((close) => h("div", {}, h("h1", {}, "The key"), h("p.muted", {}, "It is shown only once."), h("p.mono", {}, made.key), h("div.right", {}, h("button.primary", { onclick: () => close() }, "I have it"))));
    draw();
  }
  await draw();
}

export async function auditPage(me, place) {
  const body = h("div"), verdict = h("span.muted");
  const check = act(async () => {
    const result = await get("/v1/audit/verify");
    verdict.className = result.wrong.length ? "ALARM" : "CLEAR";
    verdict.textContent = result.wrong.length ? result.wrong.join("; ") : `${result.records} records: the chain is whole`;
  }, () => {});
  show(place, h("div.page", {}, h("div.row.apart", {}, h("h1", {}, "Audit"), h("div.row", {}, verdict, h("button.primary", { onclick: check }, "Check the chain"))), body));
  const { records, head, public_key } = await get("/v1/audit?newest=true&limit=200");
  show(body, h("div.cards", {}, wide("Head and key: keep a copy elsewhere", h("p.mono", {}, head ? `${head.seq}  ${head.hash}` : "no record yet"), h("p.mono.muted", {}, `key ${public_key}`)),
    wide("Newest first, times in UTC", table(["No.", "At", "Who", "What", "On", "Detail"], records.map((one) => [h("span.number", {}, String(one.seq)), h("span.number", {}, time(one.at)), one.actor, one.action, h("span.mono", {}, one.subject), h("span.small.muted", {}, detail(one.detail))])))));
}

function detail(text) {
  const entries = JSON.parse(text);
  return Object.entries(entries).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length)).map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ").slice(0, 240);
}
