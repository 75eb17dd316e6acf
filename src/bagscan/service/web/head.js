// Line above the images: verdict, bag, scanner and reasons; text and boxes of the readers' decisions.

import { h } from "./dom.js";
import { tickedParts } from "./parts.js";

// Decisions that were not undone.
export const standing = (decisions) => decisions.filter((one) => !one.undone_at);

// Boxes that readers drew, in the viewer's form.
export const boxesOf = (decisions) => decisions.flatMap((one) => (one.drawn || []).map((box) => ({ view: box.view_id, box: box.box_xyxy })));

// "drew 2 boxes" after the separator `before`; empty without boxes.
export const drew = ({ drawn }, before) => (drawn?.length ? `${before}drew ${drawn.length} box${drawn.length > 1 ? "es" : ""}` : "");

const opinion = (one, parts) => `${one.by}: ${one.value} (${one.reason})${tickedParts(parts, one.parts)}${drew(one, ", ")}${one.note ? `, ${one.note}` : ""}`;

export function headOf(scan, { done, parts, truth }) {
  if (!scan) return [h("span.muted", {}, "No scan is open. Press "), h("kbd", {}, "N")];
  const dispute = () => `Two readers disagree: ${standing(scan.decisions).map((one) => opinion(one, parts)).join("; ")}`;
  const before = done ? `An earlier bag, read-only; N returns to the queue. ${truth || ""} ` : "";
  const reasons = before + (scan.review === "dispute" ? dispute() : scan.result.reasons.join(" · "));
  return [h(`span.chip.${scan.result.decision}`, {}, scan.result.decision), h("strong", {}, scan.source_id), h("span.muted.small", {}, `scanner ${scan.scanner}`), h("span.reasons", { title: reasons, tabindex: 0 }, reasons)];
}
