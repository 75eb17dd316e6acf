// Boxes that a reader draws, by mouse or keyboard, around items that the model did not flag. The export contains them as
// annotations.

import { h, keyOf, toast } from "./dom.js";

const MIN_PX = 2; // of a side
const START = 0.2, STEP = 0.02; // side of the first box and step of an arrow key, as shares of the shorter side of the visible view

// may() returns whether a box can be drawn now; changed() is called after a box was added or removed.
export function drawingOf(viewer, may, changed) {
  let at = null; // the box that the keyboard moves: {view, box}
  const button = h("button", { title: "draw a box around an unflagged item: with the mouse, or with arrows, Shift+arrows (size), Tab (next view) and Enter", "aria-pressed": false, onclick: turn }, "Box ", h("kbd", {}, "B"));

  function turn() {
    const on = !viewer.drawing && may() && viewer.views.length > 0;
    viewer.drawing = on ? (one) => { viewer.drawn.push(one); turn(); changed(); } : null;
    if (at) at.view.begun = null;
    at = null;
    viewer.element.classList.toggle("drawing", on);
    button.classList.toggle("on", on);
    button.setAttribute("aria-pressed", String(on));
    viewer.draw();
  }

  // Start a box in the middle of a view: that of the chosen part, the enlarged one, or the first.
  function begin(view = viewer.views.find((one) => one.name === (viewer.chosen?.view ?? viewer.main)) || viewer.views[0]) {
    if (at) at.view.begun = null;
    const { width, height } = view.image, half = (START * Math.min(width, height)) / viewer.zoom / 2;
    const [x, y] = [view.across * width, viewer.along * height];
    at = { view, box: [x - half, y - half, x + half, y + half] };
    view.begun = at.box;
  }

  // Handle a key; return true if it was one of the box's keys.
  function down(event) {
    if (!viewer.drawing) return false;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (keyOf(event) === "Escape") return turn(), true;
    if (event.key === "Enter" && at) return keep(), true;
    if (event.key === "Tab" && at) return begin(viewer.views[(viewer.views.indexOf(at.view) + 1) % viewer.views.length]), viewer.draw(), true;
    if (!way) return false;
    if (!at) {
      begin();
      toast("Arrows move the box, Shift+arrows change its size, Tab moves it to the next view, Enter keeps it, Escape cancels.");
    }
    move(way, event.shiftKey);
    return true;
  }

  function move([across, along], resizes) {
    const { width, height } = at.view.image, step = (STEP * Math.min(width, height)) / viewer.zoom;
    const [x1, y1, x2, y2] = at.box, within = (value, min, max) => Math.min(max, Math.max(min, value));
    const [dx, dy] = resizes ? [0, 0] : [within(across * step, -x1, width - x2), within(along * step, -y1, height - y2)];
    const grown = resizes ? [within(x2 + across * step, x1 + MIN_PX, width), within(y2 + along * step, y1 + MIN_PX, height)] : [x2 + dx, y2 + dy];
    at.box = at.view.begun = [x1 + dx, y1 + dy, ...grown];
    viewer.draw();
  }

  function keep() {
    const { view, box } = at;
    viewer.drawing({ view: view.name, box: box.map(Math.round) });
  }

  const row = (one, index) => h("li.drawn", {}, h("span"), h("span"), h("span", {}, `Box ${index + 1}`, h("span.muted", {}, ` · ${one.view}, drawn by you`)),
    h("button.small", { "data-key": `box ${index}`, "aria-label": `take box ${index + 1} away`, onclick: () => { viewer.drawn.splice(index, 1); viewer.draw(); changed(); } }, "✕"));

  return { button, turn, down, rows: () => viewer.drawn.map(row), stop: () => viewer.drawing && turn() };
}
