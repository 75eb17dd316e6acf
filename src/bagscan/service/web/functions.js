// Console functions as a bar of buttons with keys: active while held, or latched if the reader chooses so.

import { h, keyOf } from "./dom.js";
import { STANDARD } from "./console.js";
import { preferencesOf } from "./preferences.js";
import { LAYOUTS } from "./viewer.js";

const PEEKS = {
  1: ["organic", "Organic"], 2: ["metal", "Metal"], e: ["edges", "Edges"], g: ["grey", "Grey"], i: ["invert", "Invert"],
  h: ["penetrate", "Penetrate", "show detail in dense areas"], l: ["local", "Local", "local contrast"],
};
const AGAIN = "+-[]"; // keys that repeat while held

// Let the keyboard toggle a button that the mouse holds.
function pressed(button, turn) {
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) turn();
  });
}

// Bar of buttons, status line and key handlers for a viewer. Layout and latch are stored for the account `me`.
export function functionsOf(viewer, me) {
  const held = new Map();
  const kept = preferencesOf(me);
  let latching = kept.get("latch") === "1";
  viewer.arrange(kept.get("layout"));

  const buttons = {};
  const mode = h("div.mode.hidden", { role: "status" });
  const density = h("span.small.muted.number", {}, "0");
  const peek = (key) => {
    const [name, text, more] = PEEKS[key];
    const button = h("button", { "data-peek": name, "aria-pressed": false, title: `hold to peek: ${more || text.toLowerCase()}` }, text, " ", h("kbd", {}, key.toUpperCase()));
    button.addEventListener("pointerdown", () => set(name, !(latching && viewer.how[name])));
    pressed(button, () => set(name, !viewer.how[name]));
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, () => !latching && set(name, false));
    buttons[name] = button;
    return button;
  };
  const bare = h("button", { title: "hold: no contours", "aria-pressed": false }, "Bare ", h("kbd", {}, "O"));
  pressed(bare, () => contours(!viewer.overlay));
  bare.addEventListener("pointerdown", () => contours(latching ? !viewer.overlay : false));
  for (const end of ["pointerup", "pointerleave"]) bare.addEventListener(end, () => !latching && contours(true));
  const latch = h("button", { title: "functions stay on until pressed again", "aria-pressed": latching, onclick: turnLatch }, "Latch ", h("kbd", {}, "K"));
  const layout = h("button", { title: "side by side, stacked, or one large", onclick: turnLayout }, "Layout ", h("kbd", {}, "V"));
  // A click must not move the focus to the button, which would then receive Tab and Space.
  const bar = (...more) => h("div.console", { onmousedown: (event) => event.preventDefault() }, Object.keys(PEEKS).map(peek), bare, latch,
    h("span.group", {}, h("span.small.muted", {}, "Density"), h("button", { title: "darker: show faint items", onclick: () => denser(-1) }, h("kbd", {}, "[")), h("button", { title: "lighter: show detail in dense areas", onclick: () => denser(1) }, h("kbd", {}, "]")), density),
    h("span.gap"), layout, h("button", { title: "zoom out", onclick: () => viewer.zoomBy(1 / 1.4) }, "−"), h("button", { title: "zoom in", onclick: () => viewer.zoomBy(1.4) }, "+"),
    h("button", { onclick: standard }, "Standard ", h("kbd", {}, "␣")), more);

  function refresh() {
    const on = Object.values(PEEKS).filter(([name]) => viewer.how[name]).map(([, text]) => text);
    if (!viewer.overlay) on.push("No contours");
    mode.textContent = on.join(" · ");
    mode.classList.toggle("hidden", !on.length);
    for (const [name, button] of Object.entries(buttons)) { button.classList.toggle("on", viewer.how[name]); button.setAttribute("aria-pressed", String(viewer.how[name])); }
    bare.setAttribute("aria-pressed", String(!viewer.overlay));
    latch.classList.toggle("on", latching);
    latch.setAttribute("aria-pressed", String(latching));
    density.textContent = viewer.how.density ? `${viewer.how.density > 0 ? "+" : "−"}${Math.abs(viewer.how.density)}` : "0";
  }

  function set(name, on) { viewer.set({ [name]: on }); refresh(); }
  function contours(on) { viewer.overlay = on; viewer.draw(); refresh(); }
  function denser(step) { viewer.set({ density: Math.min(6, Math.max(-6, viewer.how.density + step)) }); refresh(); }
  function standard() { viewer.set({ ...STANDARD }); viewer.overlay = true; viewer.reset(); viewer.draw(); refresh(); }
  function turnLatch() { latching = !latching; kept.set("latch", latching ? "1" : "0"); if (!latching) letGo(); refresh(); }
  function turnLayout() { viewer.arrange(LAYOUTS[(LAYOUTS.indexOf(viewer.layout) + 1) % LAYOUTS.length]); kept.set("layout", viewer.layout); }
  function letGo() { for (const [name] of Object.values(PEEKS)) viewer.how[name] && set(name, false); if (!viewer.overlay) contours(true); }

  const acts = {
    "+": () => viewer.zoomBy(1.4), "-": () => viewer.zoomBy(1 / 1.4), "=": () => { viewer.reset(); viewer.draw(); }, "[": () => denser(-1), "]": () => denser(1), " ": standard, k: turnLatch, v: turnLayout,
    ArrowUp: () => viewer.panBy(0, -1), ArrowDown: () => viewer.panBy(0, 1), ArrowLeft: () => viewer.panBy(-1, 0), ArrowRight: () => viewer.panBy(1, 0),
  };

  // Handle a key; return true if it was one of these functions.
  function down(event) {
    const key = keyOf(event);
    if (key.startsWith("Arrow") && event.target.matches("input")) return false; // the slider handles it
    if (key === " " && event.target.closest("button, a, input[type=checkbox]")) return false; // it activates the focused control
    if (PEEKS[key] && !event.repeat) {
      if (latching) set(PEEKS[key][0], !viewer.how[PEEKS[key][0]]);
      else { held.set(event.code, PEEKS[key][0]); set(PEEKS[key][0], true); }
    } else if (key === "o" && !event.repeat) contours(latching ? !viewer.overlay : false);
    else if (acts[key] && (!event.repeat || AGAIN.includes(key) || key.startsWith("Arrow"))) acts[key]();
    return Boolean(PEEKS[key] || key === "o" || acts[key]);
  }

  // event.code identifies the key even if Shift has changed its character meanwhile.
  function up(event) {
    if (held.has(event.code)) { set(held.get(event.code), false); held.delete(event.code); }
    if (keyOf(event) === "o" && !latching) contours(true);
  }

  refresh();
  return { bar, mode, down, up, refresh, blur: () => !latching && letGo() };
}
