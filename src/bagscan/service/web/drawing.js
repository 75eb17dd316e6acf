// Boxes that a reader draws on places that no model flagged, by mouse or by keyboard. Such a place is the most valuable mark of all:
// it goes into the export as an annotation.

import { h, keyOf, toast } from "./dom.js";

const MIN_PX = 2; // of a side
const START = 0.2, STEP = 0.02; // share of the view: half of the first box's side, and what an arrow moves it by

// `may` says whether a box can be drawn now; `changed` is called after one was drawn or taken away.
export function drawingOf(viewer, may, changed) {
  let at = null; // the box that the keyboard moves: {view, box}
  const button = h("button", { title: "draw a box on a place that is not flagged: by mouse, or by arrows, Shift with arrows for its size, Tab for another view, and Enter", "aria-pressed": false, onclick: turn }, "Box ", h("kbd", {}, "B"));

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

  // Where the reader looks: the middle of the view with the chosen part, of the large one, or of the first.
  function begin(view = viewer.views.find((one) => one.name === (viewer.chosen?.view ?? viewer.main)) || viewer.views[0]) {
    if (at) at.view.begun = null;
    const { width, height } = view.image, half = (START * Math.min(width, height)) / viewer.zoom / 2;
    const [x, y] = [view.across * width, viewer.along * height];
    at = { view, box: [x - half, y - half, x + half, y + half] };
    view.begun = at.box;
  }

  // Whether a key was one of the box's.
  function down(event) {
    if (!viewer.drawing) return false;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (keyOf(event) === "Escape") return turn(), true;
    if (event.key === "Enter" && at) return keep(), true;
    if (event.key === "Tab" && at) return begin(viewer.views[(viewer.views.indexOf(at.view) + 1) % viewer.views.length]), viewer.draw(), true;
    if (!way) return false;
    if (!at) {
      begin();
      toast("Arrows move the box, Shift and arrows change its size, Tab takes it to the next view, Enter keeps it, Escape gives it up.");
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
