// The views of a scan, with synchronised zoom and panning along the belt, and their contours.

import { h } from "./dom.js";
import { prepare, render, STANDARD } from "./console.js";
import { benignPath, outline, readRegions } from "./regions.js";

export const LAYOUTS = ["beside", "stacked", "one"]; // side by side, stacked, one large and the others small
const MAX_ZOOM = 24;
const MIN_BESIDE = 0.75; // smallest scale for views side by side or stacked, unless the reader has chosen a layout
const OVERVIEW = 0.22; // of the canvas's smaller side
const MAX_RINGS = 10; // at a low threshold, rings around all parts would hide the view
const RINGED_PX = 40; // half the size on screen above which a part needs no ring
const AMBER = "#ffb000", GREEN = "#2fbf6f", RED = "#ff4040", CHOSEN = "#ffffff";

// A view without a device has no scores, which must not look like a clear view.
export const isUnjudged = (view) => !view.regions?.scores.length;

// Position of a part's number on a circle: from the upper right on, the first that is `apart` from the other numbers, or the
// farthest.
function freeSpot(x, y, radius, apart, taken) {
  const spots = Array.from({ length: 12 }, (_, k) => (k * 30 - 45) * Math.PI / 180).map((turn) => [x + radius * Math.cos(turn), y + radius * Math.sin(turn)]);
  const clear = spots.map(([u, v]) => Math.min(...taken.map(([a, b]) => Math.hypot(u - a, v - b))));
  const first = clear.findIndex((far) => far >= apart);
  return spots[first >= 0 ? first : clear.indexOf(Math.max(...clear))];
}

export class Viewer {
  constructor() {
    this.element = h("div.views");
    this.views = [];
    this.how = { ...STANDARD };
    this.threshold = 1;
    this.overlay = true;
    this.chosen = null;
    this.parts = [];
    this.drawn = []; // boxes of the reader: [{view, box}], box as [x1, y1, x2, y2] in pixels of the view
    this.marks = []; // boxes of other readers, of the same form
    this.drawing = null; // called with a new box; null while dragging pans
    this.wished = null; // layout that the reader has chosen
    this.layout = LAYOUTS[0];
    this.main = null;
    this.reset();
    new ResizeObserver(() => this.arrange()).observe(this.element);
  }

  // data: [{name, pixels, regions or null}], as packed() reads them.
  load(data) {
    this.views = data.map(({ name, pixels, regions }) => {
      const canvas = h("canvas", { role: "img", "aria-label": `view ${name}` });
      const view = { name, canvas, image: prepare(pixels), regions: regions && readRegions(regions), shown: document.createElement("canvas") };
      view.shown.width = view.image.width;
      view.shown.height = view.image.height;
      this.listen(view);
      return view;
    });
    this.main = this.views[0]?.name ?? null;
    this.element.replaceChildren(...this.views.map((view) => {
      const caption = [this.views.length > 1 ? view.name : null, isUnjudged(view) ? "not scored" : null].filter(Boolean).join(" · ");
      view.frame = h("div.view", {}, view.canvas, caption ? h(`span.name${isUnjudged(view) ? ".unjudged" : ""}`, {}, caption) : null);
      return view.frame;
    }));
    this.reset();
    this.arrange();
    this.develop();
  }

  // Centre the views: they share the position along the belt, and each has its own across it.
  reset() {
    this.zoom = 1;
    this.along = 0.5;
    for (const view of this.views) view.across = 0.5;
  }

  // Arrange the views in a layout; `main` is the view that the layout "one" enlarges.
  arrange(layout = this.wished, main = this.main) {
    this.wished = LAYOUTS.includes(layout) ? layout : null;
    this.layout = this.wished ?? this.fitting();
    this.main = main;
    for (const name of LAYOUTS) this.element.classList.toggle(name, name === this.layout && this.views.length > 1);
    for (const view of this.views) view.frame?.classList.toggle("main", view.name === this.main);
    this.draw();
  }

  // Default layout for the window.
  fitting() {
    const { clientWidth: w, clientHeight: t } = this.element, n = this.views.length;
    const scale = (across, down) => Math.min(...this.views.map(({ image }) => Math.min(w / across / image.width, t / down / image.height)));
    if (n < 2 || !w || scale(n, 1) >= MIN_BESIDE) return LAYOUTS[0];
    return scale(1, n) >= MIN_BESIDE ? LAYOUTS[1] : LAYOUTS[2];
  }

  // Render the image of every view again.
  develop() {
    for (const view of this.views) view.shown.getContext("2d").putImageData(render(view.image, this.how), 0, 0);
    this.draw();
  }

  set(how) {
    const same = Object.keys(how).every((key) => this.how[key] === how[key]);
    this.how = { ...this.how, ...how };
    if (!same) this.develop();
  }

  // Zoom towards a point [across, along] of a view, or towards the middle.
  zoomBy(factor, view = null, at = null) {
    const zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    if (view) {
      view.across = at[0] + ((view.across - at[0]) * this.zoom) / zoom;
      this.along = at[1] + ((this.along - at[1]) * this.zoom) / zoom;
    }
    this.zoom = zoom;
    this.keepInside();
    this.draw();
  }

  // Centre a part and zoom in on it.
  lookAt(part) {
    const view = this.views.find((one) => one.name === part.view);
    if (!view) return;
    if (this.layout === "one" && this.main !== view.name) this.arrange(this.wished, view.name);
    const [x1, y1, x2, y2] = part.box;
    view.across = (x1 + x2) / 2 / view.image.width;
    this.along = (y1 + y2) / 2 / view.image.height;
    this.zoom = Math.min(8, Math.max(1.5, 0.3 / Math.max((x2 - x1) / view.image.width, (y2 - y1) / view.image.height)));
    this.keepInside();
    this.draw();
  }

  keepInside() {
    const half = 0.5 / this.zoom;
    const inside = (place) => Math.min(1 - half, Math.max(half, place));
    this.along = inside(this.along);
    for (const view of this.views) view.across = inside(view.across);
  }

  // Pan by eighths of the visible area.
  panBy(across, along) {
    for (const view of this.views) view.across += across / 8 / this.zoom;
    this.along += along / 8 / this.zoom;
    this.keepInside();
    this.draw();
  }

  // Screen pixels per pixel of the view, and the position of its upper left corner.
  place(view) {
    const { clientWidth: w, clientHeight: t } = view.canvas;
    const fit = Math.min(w / view.image.width, t / view.image.height);
    const scale = fit * this.zoom;
    return { scale, x: w / 2 - view.across * view.image.width * scale, y: t / 2 - this.along * view.image.height * scale };
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    for (const view of this.views) {
      const { clientWidth: w, clientHeight: t } = view.canvas;
      if (!w || !t) continue;
      if (view.canvas.width !== Math.round(w * ratio)) view.canvas.width = Math.round(w * ratio);
      if (view.canvas.height !== Math.round(t * ratio)) view.canvas.height = Math.round(t * ratio);
      const context = view.canvas.getContext("2d");
      const { scale, x, y } = this.place(view);
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, view.canvas.width, view.canvas.height);
      context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
      context.imageSmoothingEnabled = scale < 3;
      context.imageSmoothingQuality = "high";
      context.drawImage(view.shown, 0, 0);
      if (this.overlay && view.regions) this.contours(context, view, scale);
      this.boxes(context, view, scale);
      if (this.zoom > 1) this.overview(context, view, w, t, ratio);
    }
  }

  boxes(context, view, scale) {
    const own = [...this.drawn, ...this.marks].filter((one) => one.view === view.name).map((one) => one.box).concat(view.begun ? [view.begun] : []);
    for (const [colour, width, dashes] of [["#000000", 4, []], [AMBER, 2, [9 / scale, 3 / scale]]]) {
      context.lineWidth = width / scale;
      context.strokeStyle = colour;
      context.setLineDash(dashes);
      for (const [x1, y1, x2, y2] of own) context.strokeRect(Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1));
    }
    context.setLineDash([]);
  }

  // Overview in a corner while zoomed in, with a frame around the visible area.
  overview(context, view, w, t, ratio) {
    const { width, height } = view.image;
    const fit = (OVERVIEW * Math.min(w, t)) / Math.min(width, height);
    const shrunk = Math.min(fit, (0.4 * w) / width, (0.4 * t) / height);
    const [left, top] = [w - width * shrunk - 8, 8];
    const { scale, x, y } = this.place(view);
    context.setTransform(ratio, 0, 0, ratio, left * ratio, top * ratio);
    context.imageSmoothingEnabled = true;
    context.fillStyle = "#fff";
    context.fillRect(-1, -1, width * shrunk + 2, height * shrunk + 2);
    context.drawImage(view.shown, 0, 0, width * shrunk, height * shrunk);
    const inside = (value, most) => Math.min(most, Math.max(0, value));
    const [x1, x2] = [inside(-x / scale, width), inside((w - x) / scale, width)], [y1, y2] = [inside(-y / scale, height), inside((t - y) / scale, height)];
    for (const [colour, line] of [["#000", 3], ["#ffd400", 1.5]]) { // visible on air and on steel
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(x1 * shrunk, y1 * shrunk, (x2 - x1) * shrunk, (y2 - y1) * shrunk);
    }
  }

  contours(context, view, scale) {
    const { regions } = view;
    if (view.benignAt !== this.threshold) {
      view.benign = benignPath(regions, this.threshold);
      view.benignAt = this.threshold;
    }
    // Lines have two tones, to be visible on air and on steel.
    context.setLineDash([]);
    for (const [colour, width, alpha] of [["#06250f", 2.2, 0.7], [GREEN, 0.8, 1]]) {
      context.lineWidth = width / scale;
      context.strokeStyle = colour;
      context.globalAlpha = alpha;
      context.stroke(view.benign);
    }
    context.globalAlpha = 1;
    const flagged = [...regions.scores.keys()].filter((label) => regions.scores[label] >= this.threshold).map((label) => outline(regions, label));
    for (const [colour, width, dashes] of [["#ffffff", 3.4, []], [RED, 2, [7 / scale, 4 / scale]]]) {
      context.lineWidth = width / scale;
      context.strokeStyle = colour;
      context.setLineDash(dashes);
      for (const line of flagged) context.stroke(line);
    }
    if (this.chosen && this.chosen.view === view.name) {
      context.setLineDash([]);
      const [x1, y1, x2, y2] = this.chosen.box, margin = 7 / scale;
      for (const [colour, width] of [["#000000", 4], [CHOSEN, 1.6]]) { // visible on white and on black
        context.lineWidth = width / scale;
        context.strokeStyle = colour;
        context.strokeRect(x1 - margin, y1 - margin, x2 - x1 + 2 * margin, y2 - y1 + 2 * margin);
      }
    }
    context.setLineDash([]);
    this.rings(context, view, scale);
  }

  // Ring around a small part, and its number in the list. The highest score is drawn last, on top.
  rings(context, view, scale) {
    context.font = `600 ${12 / scale}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    context.lineJoin = "round";
    const taken = [];
    const named = this.parts.slice(0, MAX_RINGS).map((part, index) => ({ ...part, number: index + 1 })).filter((part) => part.view === view.name);
    const drawn = named.map(({ box: [x1, y1, x2, y2], number }) => {
      const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2], size = Math.hypot(x2 - x1, y2 - y1) / 2, radius = size + 7 / scale;
      const ring = new Path2D(), at = freeSpot(x, y, radius + 8 / scale, 15 / scale, taken);
      taken.push(at);
      if (size * scale < RINGED_PX) ring.arc(x, y, radius, 0, 2 * Math.PI);
      return { ring, number, at };
    });
    for (const { ring, number, at } of drawn.reverse()) {
      for (const [colour, width] of [["#ffffff", 3.5], [RED, 1.5]]) { // visible on dark steel too
        context.strokeStyle = context.fillStyle = colour;
        context.lineWidth = width / scale;
        context.stroke(ring);
        if (colour === RED) context.fillText(number, ...at);
        else context.strokeText(number, ...at);
      }
    }
  }

  listen(view) {
    const { canvas } = view;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { scale, x, y } = this.place(view);
      const at = [(event.offsetX - x) / (scale * view.image.width), (event.offsetY - y) / (scale * view.image.height)];
      this.zoomBy(Math.exp(-event.deltaY / 400), view, at);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { if (this.layout === "one" && this.main !== view.name) return this.arrange(this.wished, view.name); canvas.setPointerCapture(event.pointerId); canvas.classList.add("held"); });
    const pixel = (event) => { // pixel of the view, clipped to it
      const { scale, x, y } = this.place(view);
      return [Math.min(view.image.width, Math.max(0, (event.offsetX - x) / scale)), Math.min(view.image.height, Math.max(0, (event.offsetY - y) / scale))].map(Math.round);
    };
    canvas.addEventListener("pointerdown", (event) => { if (this.drawing && canvas.hasPointerCapture(event.pointerId)) view.begun = [...pixel(event), ...pixel(event)]; });
    canvas.addEventListener("pointerup", () => {
      canvas.classList.remove("held");
      if (!view.begun) return;
      const [x1, y1, x2, y2] = view.begun;
      view.begun = null;
      const box = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
      if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) this.drawing?.({ view: view.name, box });
      this.draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      if (view.begun) {
        view.begun = [...view.begun.slice(0, 2), ...pixel(event)];
        return this.draw();
      }
      const { scale } = this.place(view);
      view.across -= event.movementX / (scale * view.image.width);
      this.along -= event.movementY / (scale * view.image.height);
      this.keepInside();
      this.draw();
    });
    canvas.addEventListener("dblclick", () => { this.reset(); this.draw(); });
  }
}
