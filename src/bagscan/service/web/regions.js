// Sub-components of a view: which pixels, which score, and their outlines as paths in pixels.

export function readRegions({ head, buffer, start }) {
  const { height, width, n } = head;
  const size = 2 * height * width;
  const scores = new Float32Array(buffer.slice(start + size, start + size + 4 * n));
  const labels = new Uint16Array(buffer, start, height * width);
  return { height, width, labels, scores, paths: new Map() };
}

// Where two regions meet, each border once, of those that are not flagged on both sides.
export function benignPath(regions, threshold) {
  const { height, width, labels, scores } = regions;
  const flagged = (label) => label !== 65535 && scores[label] >= threshold;
  const path = new Path2D();
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const here = labels[i];
      if (x + 1 < width && labels[i + 1] !== here && !(flagged(here) || flagged(labels[i + 1]))) { path.moveTo(x + 1, y); path.lineTo(x + 1, y + 1); }
      if (y + 1 < height && labels[i + width] !== here && !(flagged(here) || flagged(labels[i + width]))) { path.moveTo(x, y + 1); path.lineTo(x + 1, y + 1); }
    }
  }
  return path;
}

// The closed outlines of one region, so that a dashed line runs around it.
export function outline(regions, label) {
  if (regions.paths.has(label)) return regions.paths.get(label);
  const { height, width, labels } = regions;
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] === label;
  const next = new Map();
  const add = (x1, y1, x2, y2) => {
    const key = y1 * (width + 1) + x1;
    if (!next.has(key)) next.set(key, []);
    next.get(key).push(y2 * (width + 1) + x2);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) add(x, y, x + 1, y);
      if (!inside(x + 1, y)) add(x + 1, y, x + 1, y + 1);
      if (!inside(x, y + 1)) add(x + 1, y + 1, x, y + 1);
      if (!inside(x - 1, y)) add(x, y + 1, x, y);
    }
  }
  const path = new Path2D();
  while (next.size) {
    const first = next.keys().next().value;
    let at = first;
    path.moveTo(at % (width + 1), Math.floor(at / (width + 1)));
    do {
      const ways = next.get(at);
      const to = ways.pop();
      if (!ways.length) next.delete(at);
      at = to;
      path.lineTo(at % (width + 1), Math.floor(at / (width + 1)));
    } while (at !== first && next.has(at));
    path.closePath();
  }
  regions.paths.set(label, path);
  return path;
}

// Flagged regions at a threshold, by falling score: [{view, label, score, box}].
function flaggedParts(regions, view, threshold) {
  const found = [];
  regions.scores.forEach((score, label) => { if (score >= threshold) found.push({ view, label, score }); });
  const boxes = new Map(found.map((part) => [part.label, [Infinity, Infinity, -1, -1]]));
  for (let i = 0; i < regions.labels.length; i++) {
    const box = boxes.get(regions.labels[i]);
    if (!box) continue;
    const x = i % regions.width, y = Math.floor(i / regions.width);
    if (x < box[0]) box[0] = x;
    if (y < box[1]) box[1] = y;
    if (x + 1 > box[2]) box[2] = x + 1;
    if (y + 1 > box[3]) box[3] = y + 1;
  }
  for (const part of found) part.box = boxes.get(part.label);
  return found.filter((part) => part.box[2] > 0);
}

// Flagged regions of all views by falling score, each with the number of its finding, or -1 where it is below the operating point.
export function partsOf(views, threshold, findings) {
  const parts = views.filter((view) => view.regions).flatMap((view) => flaggedParts(view.regions, view.name, threshold)).sort((a, b) => b.score - a.score);
  for (const part of parts) part.finding = findings.findIndex((one) => one.view_id === part.view && one.box_xyxy.every((value, i) => value === part.box[i]) && Math.abs(one.score - part.score) < 1e-6);
  return parts;
}
