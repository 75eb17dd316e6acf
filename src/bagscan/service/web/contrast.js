// Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) on log attenuation, at the scan's full bit depth.

const TILE_PX = 64, BINS = 256, MOST = 8; // log attenuation of the last bin
const LIMIT = 3; // times the mean count of a bin; the excess is spread over all bins, which limits the noise of air
const SHARE = 0.7; // weight of the equalised scale; the rest is the linear scale
const OUT = 4; // output log attenuation of the last bin

// Equalise (H, W) log attenuation; the output lies in 0 to OUT.
export function locally({ attenuation, height, width }) {
  const rows = Math.max(1, Math.round(height / TILE_PX)), columns = Math.max(1, Math.round(width / TILE_PX));
  const binOf = (a) => Math.min(BINS - 1, Math.floor((BINS * Math.max(0, a)) / MOST));
  const maps = Array.from({ length: rows * columns }, (_, k) => mapOf(tile(Math.floor(k / columns), k % columns)));
  const out = new Float32Array(attenuation.length);
  for (let y = 0, i = 0; y < height; y++) {
    const v = Math.min(rows - 1, Math.max(0, ((y + 0.5) * rows) / height - 0.5)), r = Math.min(rows - 1, Math.floor(v)), r2 = Math.min(rows - 1, r + 1), fv = v - r;
    for (let x = 0; x < width; x++, i++) {
      const u = Math.min(columns - 1, Math.max(0, ((x + 0.5) * columns) / width - 0.5)), c = Math.min(columns - 1, Math.floor(u)), c2 = Math.min(columns - 1, c + 1), fu = u - c;
      const bin = binOf(attenuation[i]);
      const above = maps[r * columns + c][bin] * (1 - fu) + maps[r * columns + c2][bin] * fu;
      const below = maps[r2 * columns + c][bin] * (1 - fu) + maps[r2 * columns + c2][bin] * fu;
      out[i] = above * (1 - fv) + below * fv;
    }
  }
  return out;

  function tile(r, c) {
    const counts = new Float32Array(BINS);
    const [y1, y2] = [Math.floor((r * height) / rows), Math.floor(((r + 1) * height) / rows)], [x1, x2] = [Math.floor((c * width) / columns), Math.floor(((c + 1) * width) / columns)];
    for (let y = y1; y < y2; y++) for (let x = x1; x < x2; x++) counts[binOf(attenuation[y * width + x])]++;
    return { counts, n: Math.max(1, (y2 - y1) * (x2 - x1)) };
  }

  // Output value of every bin: the cumulative share of pixels, mixed with the linear scale so that air stays white in every tile.
  function mapOf({ counts, n }) {
    const most = (LIMIT * n) / BINS;
    let over = 0;
    for (let k = 0; k < BINS; k++) if (counts[k] > most) { over += counts[k] - most; counts[k] = most; }
    const map = new Float32Array(BINS);
    for (let k = 0, sum = 0; k < BINS; k++) {
      sum += counts[k] + over / BINS;
      map[k] = OUT * (SHARE * (sum / n) + (1 - SHARE) * (k / BINS)) * Math.min(1, k / 4);
    }
    return map;
  }
}
