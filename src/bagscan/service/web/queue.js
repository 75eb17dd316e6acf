// List of the queue: waiting scans, the open one, and locked ones.

import { age, h, score } from "./dom.js";
import { preferencesOf } from "./preferences.js";

const LOCKED = { taken: "another reader has this scan open", elsewhere: "open in another of your tabs" };
const labelOf = (one) => (one.claim === "taken" ? "locked" : one.claim === "elsewhere" ? "other tab" : one.decision === "CLEAR" && one.top_score === null ? "no device found" : score(one.top_score));

// Whether a scan can be opened without a question.
export const isFree = (one) => !(one.claim in LOCKED);

export function queueItems(scans, now, current, open) {
  if (!scans.length) return h("li.empty", {}, "The queue is empty.");
  return scans.map((one) => {
    const here = one.scan_id === current;
    return h(`li${here ? ".here" : ""}${isFree(one) || here ? "" : ".taken"}`, { "aria-current": here, title: LOCKED[one.claim] || "", onclick: () => one.claim !== "taken" && !here && open(one.scan_id) },
      h(`span.chip.${one.decision}`, {}, one.decision), h("button.name", { type: "button", "data-key": one.scan_id, disabled: one.claim === "taken", "aria-label": `${one.source_id}, ${one.decision}, ${labelOf(one)}` }, one.source_id), h("span.number.small", {}, labelOf(one)),
      h("span.age", {}, `${age(now - one.received_at)} ago${one.state === "dispute" ? " · readers disagree" : ""}`));
  });
}

// Banner while the service does not respond, since the queue would look current.
export function bannerOf() {
  const element = h("div.banner.hidden", { role: "alert" });
  let lostAt = null;
  function reached(answers) {
    lostAt = answers ? null : lostAt || new Date();
    element.classList.toggle("hidden", answers);
    if (lostAt) element.textContent = `The service has not responded since ${lostAt.toTimeString().slice(0, 8)}. The queue below is from that time; your ticks and notes are kept.`;
  }
  return { element, reached };
}

// Options of the queue: open the next scan after a decision, and a sound for a new alarm.
export function wishesOf(me) {
  const kept = preferencesOf(me);
  const wish = (name, text, usual) => {
    const box = h("input", { type: "checkbox", checked: (kept.get(name) ?? usual) === "1", onchange: () => kept.set(name, box.checked ? "1" : "0") });
    return { box, row: h("label.wish.small", {}, box, text) };
  };
  const goesOn = wish("goes-on", "Open the next scan automatically", "1"), sounds = wish("sounds", "Sound for a new alarm", "0");
  let known = null;
  return {
    rows: [goesOn.row, sounds.row],
    goesOn: () => goesOn.box.checked,
    // Called with every queue; the alarms of the first queue are not new.
    heard(scans) {
      const alarms = scans.filter((one) => one.decision === "ALARM").map((one) => one.scan_id);
      if (known && sounds.box.checked && alarms.some((id) => !known.has(id))) ring().catch(() => {}); // the page works without sound
      known = new Set([...(known || []), ...alarms]);
    },
  };
}

const RING_HZ = [660, 880], TONE_S = 0.16;

async function ring() {
  const context = new AudioContext();
  RING_HZ.forEach((hz, k) => {
    const tone = context.createOscillator(), volume = context.createGain(), at = context.currentTime + k * TONE_S;
    tone.frequency.value = hz;
    volume.gain.setValueAtTime(0.15, at);
    volume.gain.linearRampToValueAtTime(0, at + TONE_S);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + TONE_S);
  });
  setTimeout(() => context.close(), 2000);
}
