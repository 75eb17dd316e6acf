// What the reader's page asks and tells in a dialog: the reason of a decision, and its keys.

import { dialog, h } from "./dom.js";

const KEYS = [
  ["N", "next scan"], ["Tab", "next part"], ["X", "tick the part"], ["O", "hold: no contours"], ["I", "hold: invert"], ["G", "hold: grey"],
  ["1", "hold: organic only"], ["2", "hold: metal only"], ["E", "hold: edges"], ["[ ]", "denser, thinner"], ["Z", "look at the part"], ["+ −", "zoom"],
  ["=", "whole bag"], ["Space", "standard image"], ["C", "clear"], ["S", "suspect"], ["R", "recheck"], ["U", "take back"], ["?", "these keys"],
];

// The reason and note of a decision, or null where it is given up.
export function askReason(value, reasons, nTicked) {
  let chosen = 0;
  return dialog((close, box) => {
    const note = h("textarea", { placeholder: "Note (T)", maxlength: 2000, "aria-label": "note" });
    const rows = reasons.map((reason, index) => h("button", { type: "button", onclick: () => pick(index) }, h("kbd", {}, String(index + 1)), reason));
    const pick = (index) => { chosen = index; rows.forEach((row, i) => row.classList.toggle("on", i === index)); };
    const done = () => close({ reason: reasons[chosen], note: note.value.trim() });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.closest("button")) return; // it does what it says
      if (event.key === "Enter" && !(event.target === note && event.shiftKey)) { event.preventDefault(); done(); }
      else if (event.target === note) return;
      else if (/^[1-9]$/.test(event.key) && reasons[event.key - 1]) { event.preventDefault(); pick(event.key - 1); }
      else if (event.key.toLowerCase() === "t") { event.preventDefault(); note.focus(); }
    });
    pick(0);
    const ticked = nTicked ? `${nTicked} part${nTicked > 1 ? "s" : ""} ticked` : "no part ticked";
    return h("div", {}, h("h1", {}, value[0].toUpperCase() + value.slice(1)), h("p.muted.small", {}, value === "suspect" ? ticked : ""), h("div.list", {}, rows), note,
      h("div.row.apart", {}, h("button", { type: "button", onclick: () => close(null) }, "Cancel ", h("kbd", {}, "Esc")), h("button.primary", { type: "button", onclick: done, autofocus: true }, "Decide ", h("kbd", {}, "Enter"))));
  });
}

export function showKeys() {
  dialog((close) => h("div", {}, h("h1", {}, "Keys"), h("div.keys", {}, KEYS.map(([key, text]) => [h("kbd", {}, key), h("span.small", {}, text)])), h("div.right", {}, h("button.primary", { autofocus: true, onclick: () => close() }, "Back"))));
}
