// Regions of a view: labels, scores, and outlines as paths in pixels.

const NEAR_PX = 5; // regions with at most four pixels between them are one part, as in the report

export function readRegions({ head, buffer, start }) {
  const { height, width, n } = head;
  const size = 2 * height * width;
  const scores = new Float32Array(buffer.slice(start + size, start + size + 4 * n));
  const labels = new Uint16Array(buffer, start, height * width);
  return { height, width, labels, scores, paths: new Map() };
}

// Path of the borders between regions, except those next to a flagged region.
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

// Closed outlines of a region, which can be drawn with dashes.
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

// Flagged regions at a threshold: [{view, label, score, box}].
function flaggedRegions(regions, view, threshold) {
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

// Merge flagged regions that touch into parts, as the report does. Returns [{view, score, box, regions, findings, name}] by
// falling score; findings are indices of findings, the highest first; name is the class of prohibited item, if any.
export function partsOf(views, threshold, findings) {
  const parts = views.filter((view) => view.regions).flatMap((view) => touching(view.regions, flaggedRegions(view.regions, view.name, threshold)));
  for (const part of parts) {
    part.findings = part.regions.map((region) => numberOf(region, findings)).filter((number) => number >= 0);
    const label = findings[part.findings[0]]?.label;
    part.name = label && label !== "anomaly" ? label.replaceAll("_", " ") : "";
  }
  return parts.sort((a, b) => b.score - a.score);
}

const numberOf = (region, findings) => findings.findIndex((one) => one.view_id === region.view && one.box_xyxy.every((value, i) => value === region.box[i]) && Math.abs(one.score - region.score) < 1e-6);

function touching(regions, flagged) {
  const parent = new Map(flagged.map((region) => [region.label, region.label]));
  const root = (label) => { while (parent.get(label) !== label) label = parent.get(label); return label; };
  const { height, width, labels } = regions;
  for (const region of flagged) {
    const [x1, y1, x2, y2] = region.box;
    for (let y = y1; y < y2; y++) {
      for (let x = x1; x < x2; x++) {
        const at = y * width + x;
        if (labels[at] !== region.label) continue;
        if (x > 0 && x + 1 < width && y + 1 < height && labels[at - 1] === region.label && labels[at + 1] === region.label && labels[at + width] === region.label) continue; // inside the region
        for (let v = y; v <= Math.min(height - 1, y + NEAR_PX); v++) {
          for (let u = Math.max(0, x - NEAR_PX); u <= Math.min(width - 1, x + NEAR_PX); u++) {
            const other = labels[v * width + u];
            if (other !== region.label && parent.has(other)) parent.set(root(other), root(region.label));
          }
        }
      }
    }
  }
  const groups = new Map();
  for (const region of flagged) groups.set(root(region.label), [...(groups.get(root(region.label)) || []), region]);
  return [...groups.values()].map((members) => {
    members.sort((a, b) => b.score - a.score);
    const box = [0, 1, 2, 3].map((i) => (i < 2 ? Math.min : Math.max)(...members.map((one) => one.box[i])));
    return { view: members[0].view, score: members[0].score, box, regions: members };
  });
}
