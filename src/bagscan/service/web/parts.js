// List of flagged parts: close-up, score on a scale around the operating point, and the reader's tick.

import { h, score } from "./dom.js";
import { isUnjudged } from "./viewer.js";

const CLOSE_UPS = 30; // at a low threshold there are hundreds of parts
const SIDE_PX = 44, MIN_PX = 24; // of a close-up on the page, and of its area in the view
const MAX_LOG_ODDS = Math.log(1e6);
export const LOG_ODDS = (p) => Math.min(MAX_LOG_ODDS, Math.max(-MAX_LOG_ODDS, Math.log(p / (1 - p))));
export const REACH = 4 * Math.log(3); // half-width of the scale in log-odds: four steps of threefold odds, as in the report

export const named = (part) => `${part.name ? `${part.name}, ` : ""}${part.view}${part.regions.length > 1 ? `, ${part.regions.length} regions` : ""}`;

// Draw a part and its surroundings, as the view is currently shown.
export function closeUp(viewer, part) {
  const canvas = h("canvas.close-up", { "aria-hidden": "true", width: 2 * SIDE_PX, height: 2 * SIDE_PX });
  const view = viewer.views.find((one) => one.name === part.view), context = canvas.getContext("2d");
  const [x1, y1, x2, y2] = part.box, side = Math.max(MIN_PX, 1.6 * Math.max(x2 - x1, y2 - y1)), scale = (2 * SIDE_PX) / side;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, 2 * SIDE_PX, 2 * SIDE_PX);
  context.setTransform(scale, 0, 0, scale, -scale * ((x1 + x2 - side) / 2), -scale * ((y1 + y2 - side) / 2));
  context.drawImage(view.shown, 0, 0);
  for (const [colour, width] of [["#fff", 5], ["#ff4040", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / scale;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  return canvas;
}

// Build the rows of the reader's list. `own` is the operating point, `rates` the false-positive rates of the findings, `acts` the
// click handlers.
export function partRows(viewer, { parts, ticked, chosen, own, rates, closed }, acts) {
  if (!parts.length) return h("li.empty", {}, viewer.views.every(isUnjudged) ? "No part of this bag was scored." : "No part is flagged at this threshold.");
  const at = (value) => 50 + (50 * Math.min(REACH, Math.max(-REACH, LOG_ODDS(value) - LOG_ODDS(own ?? 0.5)))) / REACH;
  return parts.map((part, index) => {
    const bar = h("i"), mark = h("b", { title: "operating point" });
    Object.assign(bar.style, { left: `${Math.min(50, at(part.score))}%`, width: `${Math.max(1, Math.abs(at(part.score) - 50))}%` });
    const below = !part.findings.length;
    const box = h("input", { type: "checkbox", checked: isTicked(part, ticked), disabled: below || closed, "data-key": `part ${index}`, "aria-label": `part ${index + 1} is suspicious`, title: below ? "below the operating point: cannot be ticked" : "this part is suspicious (X)", onclick: (event) => { event.stopPropagation(); acts.tick(index); } });
    return h(`li${index === chosen ? ".here" : ""}`, { "aria-current": index === chosen, onclick: () => acts.choose(index) }, box, index < CLOSE_UPS ? closeUp(viewer, part) : h("span.close-up"),
      h("button.name", { type: "button", "data-key": `look ${index}` }, `Part ${index + 1}`, h("span.muted", {}, ` · ${named(part)}`)), h("span.number", {}, score(part.score)), h("span.scale", {}, bar, mark),
      h("span.small.muted.rate", {}, below ? "below the operating point" : rateOf(rates[part.findings[0]])));
  });
}

const rateOf = (rate) => (rate === null || rate === undefined ? "" : `reached by ${rate < 0.001 ? "under 0.1" : (100 * rate).toFixed(1)} % of benign parts`);

// A part is ticked if all of its flagged regions are ticked.
export const isTicked = (part, ticked) => part.findings.length > 0 && part.findings.every((finding) => ticked.has(finding));

// ", ticked parts 1, 3" for the numbers of ticked findings.
export function tickedParts(parts, findings) {
  const numbers = parts.flatMap((part, index) => (part.findings.some((one) => findings.includes(one)) ? [index + 1] : []));
  return numbers.length ? `, ticked part${numbers.length > 1 ? "s" : ""} ${numbers.join(", ")}` : "";
}
