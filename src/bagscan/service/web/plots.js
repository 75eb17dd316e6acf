// Small SVG plots.

import { s } from "./dom.js";

const W = 560, H = 180, LEFT = 46, BOTTOM = 26, TOP = 8;

// Draw stacked bars of rows [{label, KIND: n, ...}].
export function stacked(rows, kinds, name) {
  const most = Math.max(1, ...rows.map((row) => kinds.reduce((sum, kind) => sum + (row[kind] || 0), 0)));
  const step = (W - LEFT) / Math.max(1, rows.length), wide = Math.min(48, step * 0.7);
  const y = (n) => H - BOTTOM - ((H - BOTTOM - TOP) * n) / most;
  const every = Math.ceil(rows.length / 8);
  return s("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": name }, axis(most, y), rows.map((row, i) => {
    let sum = 0;
    const x = LEFT + i * step + (step - wide) / 2;
    return [...kinds.map((kind) => {
      const from = sum;
      sum += row[kind] || 0;
      return s("rect", { class: `fill-${kind}`, x, width: wide, y: y(sum), height: y(from) - y(sum) }, s("title", {}, `${row.label}: ${row[kind] || 0} ${kind}`));
    }), i % every ? "" : s("text", { x: x + wide / 2, y: H - 6, "text-anchor": "middle" }, row.label)].filter(Boolean);
  }));
}

// Draw a histogram over 0 to 1, with marks.
export function histogram(counts, name, marks = []) {
  const most = Math.max(1, ...counts);
  const y = (n) => H - BOTTOM - (H - BOTTOM - TOP) * Math.sqrt(n / most); // root scale: few high scores stay visible beside many low ones
  const step = (W - LEFT) / counts.length;
  return s("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": name },
    counts.map((n, i) => s("rect", { class: "fill-accent", x: LEFT + i * step + 1, width: step - 2, y: y(n), height: H - BOTTOM - y(n) }, s("title", {}, `${(i / counts.length).toFixed(2)} to ${((i + 1) / counts.length).toFixed(2)}: ${n}`))),
    marks.map(({ at }) => s("line", { x1: LEFT + at * (W - LEFT), x2: LEFT + at * (W - LEFT), y1: TOP, y2: H - BOTTOM, class: "mark", "stroke-dasharray": "4 3" })),
    [0, 0.25, 0.5, 0.75, 1].map((v) => s("text", { x: Math.min(W - 12, LEFT + v * (W - LEFT)), y: H - 6, "text-anchor": "middle" }, String(v))), s("text", { x: LEFT - 6, y: TOP + 10, "text-anchor": "end" }, String(most)));
}

// Draw rates with intervals: rows [{label, k, n, rate, low, high}].
export function intervals(rows, name) {
  const tall = 26, height = rows.length * tall + 24, from = 176;
  const x = (v) => from + v * (W - from - 84);
  return s("svg", { class: "plot", viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": name },
    [0, 0.5, 1].map((v) => [s("line", { x1: x(v), x2: x(v), y1: 0, y2: height - 18, class: "grid" }), s("text", { x: x(v), y: height - 4, "text-anchor": "middle" }, `${100 * v} %`)]),
    rows.map((row, i) => {
      const y = i * tall + 14;
      const label = s("text", { x: from - 8, y: y + 4, "text-anchor": "end" }, row.label);
      if (!row.n) return [label, s("text", { x: x(0) + 6, y: y + 4 }, "none yet")];
      return [label, s("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y, class: "range" }), s("circle", { cx: x(row.rate), cy: y, r: 5, class: "at" }), s("text", { x: W, y: y + 4, "text-anchor": "end" }, `${row.k} of ${row.n}`)];
    }));
}

function axis(most, y) {
  const ticks = most < 4 ? [...Array(most + 1).keys()] : [0, Math.round(most / 2), most];
  return ticks.map((n) => [s("line", { x1: LEFT, x2: W, y1: y(n), y2: y(n), class: "grid" }), s("text", { x: LEFT - 6, y: y(n) + 4, "text-anchor": "end" }, String(n))]);
}
