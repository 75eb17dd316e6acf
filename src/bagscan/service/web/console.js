// Image functions of a scanner console: (H, W) arrays of the scan's counts in, RGBA out.

import { locally } from "./contrast.js";

// [effective Z, red, green, blue] at a mean log attenuation of DEPTH, as in bagscan.physics.pseudo_colour.
const ANCHORS = [[7.4, 0.9, 0.52, 0.15], [9.8, 0.58, 0.6, 0.18], [12.6, 0.2, 0.6, 0.36], [16, 0.14, 0.5, 0.62], [20.5, 0.17, 0.36, 0.76], [30, 0.14, 0.27, 0.76]];
const DEPTH = 1.3;
const BLACK_FROM = 2, BLACK_AT = 5.5;
const N_Z = 128, N_A = 512, Z_FROM = 5, Z_TO = 32, A_TO = 6;
const DENSE = 0.05, DENSE_Z = 24; // below this low-energy transmission, an unknown Z means metal
export const ORGANIC_BELOW = 10.5, METAL_FROM = 17;

let table = null;

function colours() {
  if (table) return table;
  table = new Uint8Array(N_Z * N_A * 3);
  for (let i = 0; i < N_Z; i++) {
    const z = Z_FROM + ((Z_TO - Z_FROM) * i) / (N_Z - 1);
    let k = 0;
    while (k < ANCHORS.length - 2 && z > ANCHORS[k + 1][0]) k++;
    const share = Math.min(1, Math.max(0, (z - ANCHORS[k][0]) / (ANCHORS[k + 1][0] - ANCHORS[k][0])));
    for (let j = 0; j < N_A; j++) {
      const a = (A_TO * j) / (N_A - 1);
      const t = Math.min(1, Math.max(0, (a - BLACK_FROM) / (BLACK_AT - BLACK_FROM)));
      const dark = 1 - t * t * (3 - 2 * t);
      for (let c = 0; c < 3; c++) {
        const glass = ANCHORS[k][c + 1] + share * (ANCHORS[k + 1][c + 1] - ANCHORS[k][c + 1]);
        table[(i * N_A + j) * 3 + c] = Math.round(255 * Math.pow(glass, a / DEPTH) * dark);
      }
    }
  }
  return table;
}

// Prepare a view for render(): mean log attenuation, effective Z (or null), colour planes (null unless pseudo-colour).
export function prepare({ head, buffer, start }) {
  const { channels, height, width, bits } = head;
  const n = height * width;
  const plane = (name) => {
    const index = channels.indexOf(name);
    if (index < 0) return null;
    return bits === 16 ? new Uint16Array(buffer, start + 2 * n * index, n) : new Uint8Array(buffer, start + n * index, n);
  };
  const full = bits === 16 ? 65535 : 255;
  const attenuation = new Float32Array(n);
  const colour = head.quantity === "pseudo_colour" ? ["red", "green", "blue"].map(plane) : null;
  let z = null;
  if (colour) {
    z = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const [r, g, b] = colour.map((p) => p[i] / full);
      attenuation[i] = -Math.log(Math.max(0.003, (r + g + b) / 3));
      z[i] = r >= b ? (r - b > 0.04 ? 8 : 13) : b - r > 0.04 ? 22 : 13; // by hue: orange is organic, blue is metal
    }
  } else {
    const given = ["low", "high"].map(plane).filter(Boolean);
    const used = given.length ? given : channels.filter((name) => name !== "zeff").slice(0, 1).map(plane);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (const p of used) sum -= Math.log(Math.max(3e-4, p[i] / full));
      attenuation[i] = used.length ? Math.max(0, sum / used.length) : 0;
    }
    const zeff = plane("zeff");
    if (zeff) {
      z = smoothed(Float32Array.from(zeff, (count) => count / 1000), height, width);
      const low = plane("low");
      if (low) for (let i = 0; i < n; i++) if (!zeff[i] && low[i] < DENSE * full) z[i] = DENSE_Z;
    }
  }
  return { height, width, attenuation, z, colour, full };
}

// Average effective Z over 3 × 3 pixels, since it is noisy at low attenuation.
function smoothed(values, height, width) {
  const out = new Float32Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0, weight = 0;
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          const yy = y + dy, xx = x + dx;
          if (yy < 0 || xx < 0 || yy >= height || xx >= width) continue;
          const value = values[yy * width + xx];
          if (value > 0) { sum += value; weight++; }
        }
      }
      out[y * width + x] = weight ? sum / weight : 0;
    }
  }
  return out;
}

const PENETRATE = 0.3; // share of the attenuation that remains, which makes dense areas visible
export const STANDARD = { density: 0, organic: false, metal: false, edges: false, invert: false, grey: false, penetrate: false, local: false };

// Return the RGBA image of a prepared view under the settings `how`.
export function render(view, how) {
  const { height, width, z, colour, full } = view;
  if (how.local) view.local ||= locally(view); // computed once, since it is slow
  const attenuation = how.local ? view.local : view.attenuation;
  const pixels = new Uint8ClampedArray(4 * height * width);
  const t = colours();
  const gain = Math.pow(2, -how.density / 2) * (how.penetrate ? PENETRATE : 1); // one step divides attenuation by 1.4
  const plain = !how.local && !how.penetrate && !how.organic && !how.metal && !how.edges && !how.grey && how.density === 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      let a = attenuation[i];
      if (how.edges) {
        const left = attenuation[x ? i - 1 : i], right = attenuation[x < width - 1 ? i + 1 : i];
        const up = attenuation[y ? i - width : i], down = attenuation[y < height - 1 ? i + width : i];
        a = Math.max(0, a + 2.5 * (a - (left + right + up + down) / 4));
      }
      a *= gain;
      let r, g, b;
      const material = z ? z[i] : 0;
      const wanted = how.organic ? material < ORGANIC_BELOW : how.metal ? material >= METAL_FROM : true;
      if (!wanted && attenuation[i] > 0.02) {
        r = g = b = 255 - Math.min(60, 22 * a); // other materials stay visible as a shadow
      } else if (colour && plain) {
        [r, g, b] = colour.map((p) => (255 * p[i]) / full);
      } else if (colour && !how.grey) {
        const scale = Math.exp(view.attenuation[i] - a);
        [r, g, b] = colour.map((p) => Math.min(255, ((255 * p[i]) / full) * scale));
      } else if (how.grey || !z) {
        r = g = b = 255 * Math.exp(-a);
      } else {
        const k = Math.round(((Math.min(Z_TO, Math.max(Z_FROM, material || 7)) - Z_FROM) / (Z_TO - Z_FROM)) * (N_Z - 1));
        const j = Math.min(N_A - 1, Math.round((a / A_TO) * (N_A - 1)));
        const at = (k * N_A + j) * 3;
        r = t[at]; g = t[at + 1]; b = t[at + 2];
      }
      if (how.invert) { r = 255 - r; g = 255 - g; b = 255 - b; }
      const o = 4 * i;
      pixels[o] = r; pixels[o + 1] = g; pixels[o + 2] = b; pixels[o + 3] = 255;
    }
  }
  return new ImageData(pixels, width, height);
}
