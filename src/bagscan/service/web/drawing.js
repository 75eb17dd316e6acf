// Boxes that a reader draws on places that no model flagged, by mouse or by keyboard. Such a place is the most valuable mark of all:
// it goes into the export as an annotation.

import { h, keyOf, toast } from "./dom.js";

const START = 0.2, STEP = 0.02; // share of the view: half of the first box's side, and what an arrow moves it by

// `may` says whether a box can be drawn now; `changed` is called after one was drawn or taken away.
export function drawingOf(viewer, may, changed) {
  let at = null; // the box that the keyboard moves: {view, box}
  const button = h("button", { title: "draw a box on a place that is not flagged: by mouse, or by arrows, Shift with arrows for its size, and Enter", "aria-pressed": false, onclick: turn }, "Box ", h("kbd", {}, "B"));

  function turn() {
    const on = !viewer.drawing && may();
    viewer.drawing = on ? (one) => { viewer.drawn.push(one); turn(); changed(); } : null;
    if (at) at.view.begun = null;
    at = null;
    viewer.element.classList.toggle("drawing", on);
    button.classList.toggle("on", on);
    button.setAttribute("aria-pressed", String(on));
    viewer.draw();
  }

  // Where the reader looks: the middle of the view that is large, or of the first.
  function begun() {
    const view = viewer.views.find((one) => one.name === viewer.main) || viewer.views[0];
    const { width, height } = view.image, half = (START * Math.min(width, height)) / viewer.zoom / 2;
    const [x, y] = [view.across * width, viewer.along * height];
    at = { view, box: [x - half, y - half, x + half, y + half] };
    toast("Arrows move the box, Shift and arrows change its size, Enter keeps it, Escape gives it up.");
  }

  // Whether a key was one of the box's.
  function down(event) {
    if (!viewer.drawing) return false;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (keyOf(event) === "Escape") return turn(), true;
    if (event.key === "Enter" && at) return keep(), true;
    if (!way) return false;
    if (!at) begun();
    move(way, event.shiftKey);
    return true;
  }

  function move([across, along], resizes) {
    const { width, height } = at.view.image, step = (STEP * Math.min(width, height)) / viewer.zoom;
    const [x1, y1, x2, y2] = at.box, [dx, dy] = [across * step, along * step];
    const box = resizes ? [x1, y1, Math.max(x1 + step, x2 + dx), Math.max(y1 + step, y2 + dy)] : [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) return;
    at.box = box;
    at.view.begun = box;
    viewer.draw();
  }

  function keep() {
    const { view, box } = at;
    viewer.drawing({ view: view.name, box: box.map(Math.round) });
  }

  const row = (one, index) => h("li.drawn", {}, h("span"), h("span"), h("span", {}, `Box ${index + 1}`, h("span.muted", {}, ` · ${one.view}, drawn by you`)),
    h("button.small", { "aria-label": `take box ${index + 1} away`, onclick: () => { viewer.drawn.splice(index, 1); viewer.draw(); changed(); } }, "✕"));

  return { button, turn, down, rows: () => viewer.drawn.map(row), stop: () => viewer.drawing && turn() };
}
