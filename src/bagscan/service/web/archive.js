// Archive page: search all scans, and open one read-only with the decisions of its readers.

import { get, viewsOf } from "./api.js";
import { h, score, show, time, toast } from "./dom.js";
import { functionsOf } from "./functions.js";
import { boxesOf, drew, standing } from "./head.js";
import { closeUp, named } from "./parts.js";
import { partsOf } from "./regions.js";
import { Viewer, isUnjudged } from "./viewer.js";

const PAGE = 50;
const DAY_S = 86400;
const COLUMNS = [["", null], ["Received (UTC)", "received"], ["Scan", "id"], ["Scanner", null], ["Machine", null], ["Top score", "score"], ["Readers", null]];
const stateOf = (one) => [one.purged_at ? "images removed" : null, one.outcome || (one.state === "dispute" ? "readers disagree" : one.state ? "open" : "no reader"), one.readers.join(", ")].filter(Boolean).join(" · ");

export async function archivePage(me, place) {
  const wanted = { order: "received", falling: true, offset: 0 };
  const field = (label, control) => h("label.field", {}, h("span", {}, label), control);
  const pick = (...values) => h("select", {}, ["any", ...values].map((value) => h("option", { value: value === "any" ? "" : value }, value)));
  const inputs = {
    text: h("input", { type: "search", maxlength: 128, placeholder: "part of the id" }), since: h("input", { type: "date" }), before: h("input", { type: "date" }), scanner: h("input", { maxlength: 64 }),
    decision: pick("ALARM", "REVIEW", "CLEAR"), outcome: pick("clear", "suspect", "recheck", "open", "dispute"), reader: h("input", { maxlength: 64 }),
  };
  const form = h("form.filters", {}, field("Scan", inputs.text), field("From", inputs.since), field("To", inputs.before), field("Scanner", inputs.scanner), field("Machine", inputs.decision), field("Readers", inputs.outcome), field("Read by", inputs.reader),
    h("button.primary", {}, "Find"), h("button", { type: "button", onclick: () => { form.reset(); find(); } }, "All"));
  const count = h("span.muted.number", { role: "status" }), body = h("div.scroll"), pager = h("div.row.apart");
  const list = h("div.page", {}, h("div.row.apart", {}, h("h1", {}, "Scans"), count), form, h("section.card.wide", {}, body, pager));
  form.addEventListener("submit", (event) => { event.preventDefault(); find(); });

  const find = () => { wanted.offset = 0; return draw(); };

  async function draw() {
    const query = new URLSearchParams({ order: wanted.order, falling: wanted.falling, offset: wanted.offset, limit: PAGE });
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.value.trim();
      if (!value) continue;
      if (input.type === "date") query.set(name, Date.parse(`${value}T00:00:00Z`) / 1000 + (name === "before" ? DAY_S : 0)); // inclusive: to the end of the day
      else query.set(name, value);
    }
    try {
      const { scans, total } = await get(`/v1/scans?${query}`);
      const last = Math.min(total, wanted.offset + PAGE);
      count.textContent = total ? `${wanted.offset + 1}–${last} of ${total}` : "";
      show(body, scans.length ? rows(scans) : h("p.muted", {}, Object.values(inputs).some((input) => input.value) ? "No scan matches." : "There are no scans yet."));
      const turn = (by) => () => { wanted.offset += by; draw(); };
      show(pager, total > PAGE ? [h("button", { disabled: !wanted.offset, onclick: turn(-PAGE) }, "Previous"), h("button", { disabled: last >= total, onclick: turn(PAGE) }, "Next")] : []);
    } catch (error) { fault(error); }
  }

  function rows(scans) {
    const head = ([text, order]) => {
      if (!order) return h("th", {}, text);
      const here = wanted.order === order;
      const sort = () => { wanted.falling = here ? !wanted.falling : order !== "id"; wanted.order = order; find(); };
      return h("th", { "aria-sort": here ? (wanted.falling ? "descending" : "ascending") : "none" }, h("button.plain.sort", { "data-key": order, onclick: sort }, text, here ? (wanted.falling ? " ▾" : " ▴") : ""));
    };
    const link = (one, ...inside) => h("a", { href: `#scans/${one.id}` }, inside);
    const row = (one) => [
      one.views.length && !one.purged_at ? link(one, h("img.thumb", { src: `/v1/scans/${one.id}/views/${encodeURIComponent(one.views[0])}/image.png`, loading: "lazy", alt: `view ${one.views[0]} of ${one.source_id}` })) : "",
      h("span.number", {}, time(one.received_at)), link(one, one.source_id), one.scanner,
      one.decision ? h(`span.chip.${one.decision}`, {}, one.decision) : h("span.muted", {}, "waiting"), h("span.number", {}, score(one.top_score)), stateOf(one),
    ];
    return h("table.archive", {}, h("thead", {}, h("tr", {}, COLUMNS.map(head))), h("tbody", {}, scans.map((one) => h("tr", {}, row(one).map((cell) => h("td", {}, cell))))));
  }

  // The address names the open scan, so that it can be shared.
  let left = null, turns = 0;
  async function turn() {
    const [page, id] = location.hash.slice(1).split("/"), own = ++turns;
    if (page !== "scans") return;
    left?.();
    left = null;
    if (!id) { show(place, list); return draw(); }
    try {
      const end = await openScan(me, place, id, () => own === turns);
      if (own === turns) left = end;
      else end?.();
    } catch (error) {
      if (own !== turns) return;
      fault(error);
      if (location.hash === `#scans/${id}`) location.hash = "scans";
    }
  }
  window.addEventListener("hashchange", turn);
  await turn();
  return () => { turns++; window.removeEventListener("hashchange", turn); left?.(); };
}

const fault = (error) => toast(error.message, { kind: "fault", seconds: 8 });

// Open a scan read-only, without a claim. Resolves to a function that closes it.
async function openScan(me, place, id, isWanted) {
  const scan = await get(`/v1/scans/${id}`);
  const data = scan.purged || !scan.result ? [] : await viewsOf(scan);
  if (!isWanted()) return null;
  const viewer = new Viewer(), functions = functionsOf(viewer, me);
  viewer.element.classList.add("fill");
  const result = scan.result || { decision: "waiting", reasons: [], findings: [], threshold: null, model_id: null };
  viewer.threshold = result.threshold ?? 1;
  viewer.load(data);
  viewer.parts = partsOf(viewer.views, viewer.threshold, result.findings);
  const marks = (part) => standing(scan.decisions).filter((one) => one.parts.some((number) => part.findings.includes(number))).map((one) => one.by);
  const parts = viewer.parts.map((part, index) => {
    const by = marks(part);
    const look = () => { viewer.chosen = part; viewer.lookAt(part); };
    return h("li", { onclick: look }, h("span"), closeUp(viewer, part), h("button.name", { type: "button" }, `Part ${index + 1}`, h("span.muted", {}, ` · ${named(part)}`)), h("span.number", {}, score(part.score)),
      h("span.small.muted.rate", {}, by.length ? `ticked by ${by.join(", ")}` : "not ticked"));
  });
  viewer.drawn = boxesOf(standing(scan.decisions));
  const decided = scan.decisions.map((one) => h("p.small", {}, h("strong", {}, `${one.by}: ${one.value}`), ` (${one.reason}), ${time(one.created_at)} UTC`, one.undone_at ? h("span.REVIEW", {}, " · undone") : "", drew(one, " · "), one.note ? h("span", {}, ` · “${one.note}”`) : ""));
  const head = h("div.head", {}, h("a", { href: "#scans" }, "‹ Scans"), h(`span.chip.${result.decision}`, {}, result.decision), h("h1.inline", {}, scan.source_id), h("span.muted.small", {}, `scanner ${scan.scanner}, ${time(scan.received_at)} UTC`), h("span.reasons", {}, result.reasons.join(" · ")));
  show(place, h("div.reader.looking", {},
    h("div.stage", {}, head, h("div.view", {}, data.length ? viewer.element : h("p.empty", {}, scan.purged ? "The images of this scan were removed after their retention period." : "This scan has no view to show."), functions.mode), functions.bar()),
    h("aside.side.right", { "aria-label": "flagged parts" }, h("header", {}, h("h2", {}, `Flagged parts · ${parts.length}`), h("div.small.muted", {}, result.model_id ? `model ${result.model_id.slice(0, 8)} · operating point ${score(result.threshold)}` : "not scored by a model")),
      h("div.grow", {}, h("ul.parts", { "aria-label": "flagged parts" }, parts.length ? parts : h("li.empty", {}, viewer.views.some((view) => !isUnjudged(view)) ? "No part is flagged." : "No part of this bag was scored."))),
      h("section", {}, h("h2", {}, scan.outcome ? `Readers: ${scan.outcome}` : "Readers"), decided.length ? decided : h("p.small.muted", {}, scan.review === "open" ? "Not decided yet; the decisions of single readers are shown afterwards." : "There are no decisions.")))));
  viewer.draw();
  const down = (event) => { if (!event.target.closest("input, textarea, select") && !event.ctrlKey && !event.metaKey && !event.altKey && functions.down(event)) event.preventDefault(); };
  document.addEventListener("keydown", down);
  document.addEventListener("keyup", functions.up);
  window.addEventListener("blur", functions.blur);
  return () => { document.removeEventListener("keydown", down); document.removeEventListener("keyup", functions.up); window.removeEventListener("blur", functions.blur); };
}
