// The slider that shows what another threshold would flag, for this look alone: it decides nothing.

import { h, score, show } from "./dom.js";
import { LOG_ODDS, REACH } from "./parts.js";

const SNAP = 0.06; // log-odds from the operating point that count as it

// `moved` is called with a new threshold.
export function thresholdOf(moved) {
  const slider = h("input", { type: "range", min: -REACH, max: REACH, step: "any", "aria-label": "threshold", disabled: true });
  const text = h("div.row.apart.small.muted");
  let own = null;
  slider.addEventListener("input", () => {
    const near = own !== null && Math.abs(slider.value - LOG_ODDS(own)) < SNAP;
    const threshold = near ? own : 1 / (1 + Math.exp(-slider.value));
    told(threshold);
    moved(threshold);
  });

  function told(threshold) {
    if (own === null) return show(text, "nothing was judged");
    const away = threshold !== own;
    slider.setAttribute("aria-valuetext", `score ${score(threshold)}${away ? "" : ", the operating point"}`);
    show(text, h("span.number", {}, score(threshold)), h("span", {}, away ? `operating point ${score(own)}: changes nothing but this view` : "at the operating point"));
  }

  return {
    rows: [slider, text],
    // The operating point of a scan, and whether there is anything to flag.
    load(point, enabled) {
      own = point;
      const middle = LOG_ODDS(point ?? 1);
      Object.assign(slider, { disabled: !enabled, min: middle - REACH, max: middle + REACH, value: middle });
      told(point);
    },
    clear() { slider.disabled = true; show(text); },
  };
}
