// Dialogs of the reader's page: the reason of a decision, and the list of keys.

import { dialog, h, keyOf } from "./dom.js";

const KEYS = [
  ["N", "next scan"], ["Tab", "next part"], ["P", "previous bag"], ["X", "tick the part"], ["B", "draw a box: mouse, or arrows and Enter"], ["O", "hold: no contours"], ["I", "hold: invert"], ["G", "hold: grey"],
  ["1", "hold: organic only"], ["2", "hold: metal only"], ["E", "hold: edges"], ["H", "hold: show dense areas"], ["L", "hold: local contrast"], ["K", "latch: held keys stay on"], ["V", "layout"], ["W", "hide panels"], ["F", "full screen"], ["[ ]", "darker, lighter"], ["Z", "zoom to the part"], ["+ −", "zoom"], ["← ↑ → ↓", "pan"],
  ["=", "whole bag"], ["Space", "standard image"], ["C", "clear"], ["S", "suspect"], ["R", "recheck"], ["Ctrl Enter", "decide"], ["Ctrl Z", "undo"], ["?", "these keys"],
];

const draftsByReader = new Map(); // outlives the page, which the reader can leave and reopen

// Drafts (ticks, boxes, reason and note) by scan, kept for this tab and reader until the scan is decided, also over a reload.
export function draftsOf(name) {
  if (!draftsByReader.has(name)) draftsByReader.set(name, restored(name));
  return draftsByReader.get(name);
}

function restored(name) {
  const place = `bagscan:${name}:drafts`;
  const drafts = new Map();
  try {
    for (const [id, draft] of JSON.parse(sessionStorage.getItem(place) || "[]")) drafts.set(id, { drawn: [], ...draft, ticked: new Set(draft.ticked) });
  } catch { /* the browser stores nothing */ }
  window.addEventListener("pagehide", () => {
    try { sessionStorage.setItem(place, JSON.stringify([...drafts].map(([id, draft]) => [id, { ...draft, ticked: [...draft.ticked] }]))); } catch { /* as above */ }
  });
  return drafts;
}

// Ask for the reason and note of a decision. Resolves to both, or null if cancelled; `draft` keeps them meanwhile.
// Enter alone does not decide, since barcode scanners and pasted lines end in Enter.
export function askReason(value, reasons, nTicked, draft) {
  let chosen = null;
  return dialog((close, box) => {
    box.classList.add("docked"); // at the side, so that the images stay visible
    const note = h("textarea", { placeholder: "Note (T)", maxlength: 2000, "aria-label": "note", value: draft.note, oninput: () => { draft.note = note.value; } });
    const rows = reasons.map((reason, index) => h("button", { type: "button", onclick: () => pick(index) }, h("kbd", {}, String(index + 1)), reason));
    const decide = h("button.primary", { type: "button", disabled: true, onclick: () => done() }, "Decide ", h("kbd", {}, "Ctrl Enter"));
    const hint = h("p.muted.small", {}, "Choose a reason first, by its number or a click.");
    const pick = (index) => { chosen = index; hint.hidden = true; draft.reason = reasons[index]; decide.disabled = false; rows.forEach((row, i) => { row.classList.toggle("on", i === index); row.setAttribute("aria-pressed", String(i === index)); }); };
    const done = () => chosen !== null && close({ reason: reasons[chosen], note: note.value.trim() });
    box.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return; // Enter of an input method
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
