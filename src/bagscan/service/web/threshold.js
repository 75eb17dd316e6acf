// Slider that previews another threshold in this view; it changes no verdict.

import { h, score, show } from "./dom.js";
import { LOG_ODDS, REACH } from "./parts.js";

const SNAP = 0.06; // within this many log-odds, the slider snaps to the operating point

// moved(threshold) is called when the slider moves.
export function thresholdOf(moved) {
  const slider = h("input", { type: "range", min: -REACH, max: REACH, step: "any", "aria-label": "threshold", disabled: true });
  const text = h("div.row.apart.small.muted");
  let own = null;
  slider.addEventListener("input", () => {
    const near = own !== null && Math.abs(slider.value - LOG_ODDS(own)) < SNAP;
    const threshold = near ? own : 1 / (1 + Math.exp(-slider.value));
    describe(threshold);
    moved(threshold);
  });

  function describe(threshold) {
    if (own === null) return show(text, "nothing was scored");
    const away = threshold !== own;
    slider.setAttribute("aria-valuetext", `score ${score(threshold)}${away ? "" : ", the operating point"}`);
    show(text, h("span.number", {}, score(threshold)), h("span", {}, away ? `operating point ${score(own)}: changes only this view` : "at the operating point"));
  }

  return {
    rows: [slider, text],
    // Set the operating point of a scan; `enabled` is false if nothing can be flagged.
    load(point, enabled) {
      own = point;
      const middle = LOG_ODDS(point ?? 1);
      Object.assign(slider, { disabled: !enabled, min: middle - REACH, max: middle + REACH, value: middle });
      describe(point);
    },
    clear() { slider.disabled = true; show(text); },
  };
}
