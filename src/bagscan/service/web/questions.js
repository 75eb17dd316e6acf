// What the reader's page asks and tells in a dialog: the reason of a decision, and its keys.

import { dialog, h, keyOf } from "./dom.js";

const KEYS = [
  ["N", "next scan"], ["Tab", "next part"], ["P", "bag before"], ["X", "tick the part"], ["B", "draw a box: mouse, or arrows and Enter"], ["O", "hold: no contours"], ["I", "hold: invert"], ["G", "hold: grey"],
  ["1", "hold: organic only"], ["2", "hold: metal only"], ["E", "hold: edges"], ["H", "hold: see into what is dense"], ["L", "hold: local contrast"], ["K", "latch: held keys stay on"], ["V", "layout"], ["W", "fold the panels"], ["F", "whole screen"], ["[ ]", "denser, thinner"], ["Z", "look at the part"], ["+ −", "zoom"], ["← ↑ → ↓", "pan"],
  ["=", "whole bag"], ["Space", "standard image"], ["C", "clear"], ["S", "suspect"], ["R", "recheck"], ["Ctrl Enter", "decide"], ["Ctrl Z", "take back"], ["?", "these keys"],
];

const draftsByReader = new Map(); // the reader may leave the page and come back to it

// Drafts by scan (ticks, reason and note), kept until the scan is decided: also over a reload of the page, for this tab and reader.
export function draftsOf(name) {
  if (!draftsByReader.has(name)) draftsByReader.set(name, restored(name));
  return draftsByReader.get(name);
}

function restored(name) {
  const place = `bagscan:${name}:drafts`;
  const drafts = new Map();
  try {
    for (const [id, draft] of JSON.parse(sessionStorage.getItem(place) || "[]")) drafts.set(id, { drawn: [], ...draft, ticked: new Set(draft.ticked) });
  } catch { /* a browser that keeps nothing */ }
  window.addEventListener("pagehide", () => {
    try { sessionStorage.setItem(place, JSON.stringify([...drafts].map(([id, draft]) => [id, { ...draft, ticked: [...draft.ticked] }]))); } catch { /* as above */ }
  });
  return drafts;
}

// The reason and note of a decision, or null where it is given up; `draft` keeps both meanwhile, so that neither is lost. It takes a reason that was chosen and Ctrl+Enter or a click: a tag
// reader that types into the page, or a line that is pasted, ends in Enter and must decide nothing.
export function askReason(value, reasons, nTicked, draft) {
  let chosen = null;
  return dialog((close, box) => {
    box.classList.add("docked"); // beside the pictures, which the reader still looks at
    const note = h("textarea", { placeholder: "Note (T)", maxlength: 2000, "aria-label": "note", value: draft.note, oninput: () => { draft.note = note.value; } });
    const rows = reasons.map((reason, index) => h("button", { type: "button", onclick: () => pick(index) }, h("kbd", {}, String(index + 1)), reason));
    const decide = h("button.primary", { type: "button", disabled: true, onclick: () => done() }, "Decide ", h("kbd", {}, "Ctrl Enter"));
    const hint = h("p.muted.small", {}, "Choose a reason first: its number, or a click.");
    const pick = (index) => { chosen = index; hint.hidden = true; draft.reason = reasons[index]; decide.disabled = false; rows.forEach((row, i) => { row.classList.toggle("on", i === index); row.setAttribute("aria-pressed", String(i === index)); }); };
    const done = () => chosen !== null && close({ reason: reasons[chosen], note: note.value.trim() });
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return; // an input method's own Enter
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); done(); }
      else if (event.target === note || event.ctrlKey || event.metaKey || event.altKey) return;
      else if (/^[1-9]$/.test(event.key) && reasons[event.key - 1]) { event.preventDefault(); pick(event.key - 1); }
      else if (keyOf(event) === "t") { event.preventDefault(); note.focus(); }
    });
    if (reasons.includes(draft.reason)) pick(reasons.indexOf(draft.reason));
    const ticked = nTicked ? `${nTicked} part${nTicked > 1 ? "s" : ""} ticked` : "no part ticked";
    return h("div", {}, h("h1", {}, value[0].toUpperCase() + value.slice(1)), h("p.muted.small", {}, value === "suspect" ? ticked : ""), h("div.list", {}, rows), hint, note,
      h("div.row.apart", {}, h("button", { type: "button", onclick: () => close(null) }, "Cancel ", h("kbd", {}, "Esc")), decide));
  });
}

export function showKeys() {
  dialog((close) => h("div", {}, h("h1", {}, "Keys"), h("div.keys", {}, KEYS.map(([key, text]) => [h("kbd", {}, key), h("span.small", {}, text)])), h("div.right", {}, h("button.primary", { autofocus: true, onclick: () => close() }, "Back"))));
}
