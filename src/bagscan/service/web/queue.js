// The queue as a list: which scans wait, which one is open here, and which are locked.

import { age, h, score } from "./dom.js";

const LOCKED = { taken: "somebody else reads this scan", elsewhere: "open in another tab of yours" };
const told = (one) => (one.claim === "taken" ? "locked" : one.claim === "elsewhere" ? "other tab" : one.decision === "CLEAR" && one.top_score === null ? "no item found" : score(one.top_score));

// Free to be opened without asking.
export const isFree = (one) => !(one.claim in LOCKED);

export function queueItems(scans, now, current, open) {
  if (!scans.length) return h("li.empty", {}, "Nothing waits.");
  return scans.map((one) => {
    const here = one.scan_id === current;
    return h(`li${here ? ".here" : ""}${isFree(one) || here ? "" : ".taken"}`, { "aria-current": here, title: LOCKED[one.claim] || "", onclick: () => one.claim !== "taken" && !here && open(one.scan_id) },
      h(`span.chip.${one.decision}`, {}, one.decision), h("button.name", { type: "button", disabled: one.claim === "taken", "aria-label": `${one.source_id}, ${one.decision}, ${told(one)}` }, one.source_id), h("span.number.small", {}, told(one)),
      h("span.age", {}, `${age(now - one.received_at)} ago${one.state === "dispute" ? " · readers disagree" : ""}`));
  });
}
