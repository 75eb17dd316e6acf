// Page of a reader: queue, scan, decision. Every function has a key.

import { ask, get, post, viewsOf } from "./api.js";
import { confirmed, h, keyOf, score, show, toast } from "./dom.js";
import { STANDARD } from "./console.js";
import { claimOf } from "./claim.js";
import { drawingOf } from "./drawing.js";
import { functionsOf } from "./functions.js";
import { boxesOf, headOf, standing } from "./head.js";
import { isTicked, partRows } from "./parts.js";
import { bannerOf, isFree, queueItems, wishesOf } from "./queue.js";
import { partsOf } from "./regions.js";
import { roomOf } from "./room.js";
import { askReason, draftsOf, showKeys } from "./questions.js";
import { thresholdOf } from "./threshold.js";
import { Viewer } from "./viewer.js";

const VALUES = { c: "clear", s: "suspect", r: "recheck" };
const EVERY_MS = 2500, ANSWER_MS = 2300; // a hanging service is reported within five seconds

export function reviewPage(me, place, wanted) {
  const viewer = new Viewer();
  const state = { queue: [], scan: null, parts: [], ticked: new Set(), chosen: -1, threshold: 1, undo: null, busy: false, past: [], looking: null, truths: new Map() };
  const drafts = draftsOf(me.name);
  const draftOf = (id) => drafts.get(id) || drafts.set(id, { ticked: new Set(), drawn: [], reason: null, note: "" }).get(id);
  const list = h("ul.queue", { "aria-label": "queue" });
  const counted = h("span.muted.number");
  const head = h("div.head");
  const partList = h("ul.parts", { "aria-label": "flagged parts" });
  const partsHead = h("h2", {}, "Flagged parts");
  const threshold = thresholdOf(look);
  const about = h("div.small.muted");
  const buttons = Object.fromEntries(Object.entries(VALUES).map(([key, value]) => [value, h(`button.${value}`, { disabled: true, onclick: () => decide(value) }, value[0].toUpperCase() + value.slice(1), " ", h("kbd", {}, key.toUpperCase()))]));
  const functions = functionsOf(viewer, me);
  const drawing = drawingOf(viewer, () => state.scan && !state.done, drawParts);
  const wishes = wishesOf(me);
  const reader = h("div.reader");
  const room = roomOf(me, reader);
  const console_ = functions.bar(drawing.button, h("button", { title: "open the previous bag, read-only", onclick: previous }, "Previous ", h("kbd", {}, "P")), room.buttons, h("button", { onclick: showKeys, title: "all keys" }, "?"));
  const banner = bannerOf();

  const middle = h("div.view", {}, viewer.element, functions.mode);
  viewer.element.classList.add("fill");
  show(place, reader);
  show(reader,
    h("aside.side.left", { "aria-label": "queue" }, h("header.row.apart", {}, h("h1.small-head", {}, "Queue"), counted), h("div.grow", {}, list), h("section", {}, wishes.rows, h("button.primary.wide", { onclick: next }, "Next scan ", h("kbd", {}, "N")))),
    h("div.stage", {}, h("div", {}, banner.element, head), middle, console_),
    h("aside.side.right", { "aria-label": "flagged parts" }, h("header", {}, partsHead, about), h("div.grow", {}, partList),
      h("section", {}, h("h2", {}, "Threshold of this view"), threshold.rows),
      h("section.decision", {}, h("h2", {}, "Decision"), h("div.decide", {}, buttons.clear, buttons.suspect, buttons.recheck))),
  );

  // the queue

  async function refresh() {
    try {
      const found = await get("/v1/queue", { timeoutMs: ANSWER_MS });
      state.queue = found.scans;
      counted.textContent = found.waiting || "";
      document.title = found.waiting ? `(${found.waiting}) bagscan` : "bagscan";
      drawQueue(found.now);
      wishes.heard(found.scans);
      banner.reached(true);
    } catch (error) {
      banner.reached(error.status > 0 && error.status < 500); // a proxy returns 502 if the service is down
    }
  }

  function drawQueue(now) {
    show(list, queueItems(state.queue, now, state.scan && !state.done ? state.scan.id : null, open));
  }

  async function next() {
    const here = state.queue.findIndex((one) => state.scan && one.scan_id === state.scan.id);
    const after = [...state.queue.slice(here + 1), ...state.queue.slice(0, Math.max(0, here))].find(isFree);
    if (after) return open(after.scan_id);
    if (here < 0) {
      try { return open((await post("/v1/queue/claim")).scan_id); } catch (error) { if (error.status !== 404) return fault(error); }
    }
    toast(here < 0 ? "No scan is waiting for you." : "This is the only scan that is waiting.");
  }

  const open = (id) => instead(async () => (await claimed(id)) && loadOrRelease(id));

  // Open another scan, and release the previous one once it is loaded. `coming` resolves to false if the reader stays.
  async function instead(coming) {
    if (state.busy) return;
    state.busy = true;
    try {
      const before = state.scan && !state.done ? state.scan.id : null;
      if ((await coming()) !== false && before) await post(`/v1/queue/${before}/release`);
    } catch (error) {
      fault(error);
    } finally {
      state.busy = false;
      refresh();
    }
  }

  // Claim a scan for this tab; resolves to false if the reader leaves it in another tab.
  async function claimed(id) {
    try {
      await post("/v1/queue/claim", { scan_id: id });
    } catch (error) {
      const { scans } = error.status === 409 ? await get("/v1/queue") : { scans: [] };
      if (scans.find((one) => one.scan_id === id)?.claim !== "elsewhere") throw error;
      if (!(await confirmed("This scan is open in another of your tabs. Continue here?", "Continue here"))) return false;
      await post("/v1/queue/claim", { scan_id: id, take_over: true });
    }
    return true;
  }

  // Open the previous bag read-only; repeated calls go further back. N returns to the queue.
  async function previous() {
    if (state.busy) return;
    const here = state.looking ?? state.past.length;
    const id = state.past.slice(0, here).reverse().find((one) => one !== state.scan?.id);
    if (!id) return toast("There is no earlier bag.");
    await instead(async () => {
      await load(id, true);
      state.looking = state.past.lastIndexOf(id, here - 1);
    });
  }

  // a scan

  // Load a scan, and release it for others if it cannot be shown.
  async function loadOrRelease(id) {
    try {
      await load(id);
    } catch (error) {
      post(`/v1/queue/${id}/release`).catch(() => {});
      throw error;
    }
  }

  // again: open read-only.
  async function load(id, again = false) {
    const scan = await get(`/v1/scans/${id}`);
    const views = await viewsOf(scan);
    if (state.left) return void (again || post(`/v1/queue/${id}/release`).catch(() => {})); // the reader has left this page
    const decisions = standing(scan.decisions), own = decisions.filter((one) => again && one.by === me.name);
    Object.assign(state, { scan, done: again, looking: null, ticked: again ? new Set(own.flatMap((one) => one.parts)) : draftOf(id).ticked, chosen: -1, threshold: scan.result.threshold ?? 1 });
    viewer.chosen = null;
    viewer.parts = [];
    viewer.drawn = again ? [] : draftOf(id).drawn;
    viewer.marks = boxesOf(again ? own : decisions);
    drawing.stop();
    viewer.how = { ...STANDARD };
    viewer.overlay = true;
    viewer.threshold = state.threshold;
    viewer.load(views);
    threshold.load(scan.result.threshold, views.some((view) => view.regions));
    if (!again && state.past.at(-1) !== id) state.past.push(id);
    for (const button of Object.values(buttons)) button.disabled = again || !me.permissions.includes("decide");
    buttons.clear.disabled ||= !views.length;
    buttons.clear.title = views.length ? "" : "No view of this scan could be read, so it cannot be cleared.";
    moveTo(again ? "#review" : `#review/${id}`);
    functions.refresh();
    listParts();
    if (state.parts.length && viewer.layout === "one") viewer.arrange(viewer.wished, state.parts[0].view);
    drawHead();
  }

  function drawHead() {
    const { scan, done, parts } = state;
    show(head, headOf(scan, { done, parts, truth: scan && state.truths.get(scan.id) }));
    if (scan) about.textContent = scan.result.model_id ? `model ${scan.result.model_id.slice(0, 8)} · operating point ${score(scan.result.threshold)}` : "not scored by a model";
  }

  function listParts() {
    const findings = state.scan.result.findings;
    state.parts = partsOf(viewer.views, state.threshold, findings);
    if (state.chosen >= state.parts.length) state.chosen = -1;
    viewer.parts = state.parts;
    viewer.draw();
    drawParts();
  }

  function drawParts() {
    const { scan, parts, ticked, chosen } = state;
    if (!scan) return;
    const flagged = parts.filter((part) => part.findings.length).length;
    partsHead.textContent = `Flagged parts${flagged ? " · " + flagged : ""}${parts.length > flagged ? `, ${parts.length - flagged} below the operating point` : ""}`;
    const rates = scan.result.findings.map((one) => one.expected_false_positive_rate);
    show(partList, partRows(viewer, { parts, ticked, chosen, own: scan.result.threshold, rates, closed: state.done }, { tick, choose: (index) => choose(index, true) }), state.done ? [] : drawing.rows());
  }

  function choose(index, look) {
    state.chosen = index;
    viewer.chosen = state.parts[index] || null;
    if (look && viewer.chosen) viewer.lookAt(viewer.chosen);
    else viewer.draw();
    drawParts();
    partList.children[index]?.scrollIntoView({ block: "nearest" });
  }

  function tick(index) {
    const part = state.parts[index];
    if (!part || state.done) return;
    const off = isTicked(part, state.ticked);
    for (const finding of part.findings) state.ticked[off ? "delete" : "add"](finding);
    drawParts();
  }

  function look(at) {
    state.threshold = viewer.threshold = at;
    viewer.chosen = null;
    state.chosen = -1;
    listParts();
  }

  // decisions

  async function decide(value) {
    if (!state.scan) toast("No scan is open. Press N.");
    if (state.scan && buttons[value].title) toast(buttons[value].title);
    if (!state.scan || state.done || state.busy || buttons[value].disabled) return;
    const { id } = state.scan;
    const asked = await askReason(value, me.reasons[value], state.parts.filter((part) => isTicked(part, state.ticked)).length, draftOf(id));
    if (!asked || state.busy || state.scan?.id !== id) return; // the scan was lost meanwhile: do not decide another
    state.busy = true;
    let free = null;
    try {
      const made = await decided(id, { value, ...asked, parts: [...state.ticked].sort((a, b) => a - b), drawn: viewer.drawn.map(({ view, box }) => ({ view_id: view, box_xyxy: box })) });
      const draft = draftOf(id);
      drafts.delete(id);
      state.done = true;
      state.toast?.();
      if (made.truth) state.truths.set(id, `This bag is simulated. ${made.truth}`);
      state.undo = made.tip || made.closed === undefined || !made.undoable ? null : { id, draft, number: made.decision, until: performance.now() + 1000 * me.undo_s };
      const action = state.undo && { text: "Undo (Ctrl Z)", do: undo };
      if (made.tip) state.toast = toast(`Test image: a threat of kind “${made.tip.kind.replace(/_/g, " ")}” was projected into this scan. ${made.tip.hit ? "You found it." : "It was missed."}`, { kind: made.tip.hit ? "hit" : "miss", seconds: 9 });
      else state.toast = toast(`Decided: ${value}.${made.truth ? " " + state.truths.get(id) : ""}${wishes.goesOn() ? "" : " N opens the next scan."}`, { action, seconds: action ? me.undo_s : 5 });
      clear();
      await refresh();
      free = wishes.goesOn() && state.queue.find(isFree);
    } catch (error) {
      fault(error);
    } finally {
      state.busy = false;
    }
    if (free && !state.left) await open(free.scan_id);
  }

  // If the claim has expired and nobody else has taken the scan, claim it again.
  async function decided(id, reading) {
    try {
      return await post(`/v1/scans/${id}/decisions`, reading);
    } catch (error) {
      if (error.status !== 409) throw error;
      await post("/v1/queue/claim", { scan_id: id });
      return post(`/v1/scans/${id}/decisions`, reading);
    }
  }

  // The address changes before this page is left: a reader on the way to another page is not called back.
  function moveTo(address) {
    if (["", "review"].includes(location.hash.slice(1).split("/")[0])) location.replace(address);
  }

  function clear() {
    state.scan = null;
    state.parts = viewer.parts = [];
    viewer.views = [];
    viewer.drawn = [];
    viewer.element.replaceChildren();
    threshold.clear();
    show(partList);
    about.textContent = "";
    viewer.how = { ...STANDARD };
    functions.refresh();
    for (const button of Object.values(buttons)) button.disabled = true;
    moveTo("#review");
    drawHead();
  }

  // Undo while the next scan opens waits until it is open, and counts from when the key was pressed.
  async function undo() {
    const pressed = performance.now();
    while (state.busy && !state.left) await new Promise((go) => setTimeout(go, 50));
    if (state.left) return;
    if (!state.undo || pressed > state.undo.until) return toast("There is nothing to undo.");
    const { id, draft, number } = state.undo;
    state.toast?.();
    await instead(async () => {
      await ask("DELETE", `/v1/scans/${id}/decisions/${number}`);
      state.undo = null;
      drafts.set(id, draft);
      toast("The decision is undone.");
      await loadOrRelease(id);
    });
  }

  function fault(error) { toast(error.message, { kind: "fault", seconds: 8 }); }

  // keys

  const typing = (event) => document.querySelector("dialog[open]") || (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select") !== null);
  const down = (event) => {
    if (event.isComposing || event.keyCode === 229 || typing(event)) return;
    const key = keyOf(event);
    if ((event.ctrlKey || event.metaKey) && key === "z" && !event.repeat) { event.preventDefault(); return undo(); }
    // AltGr, which some keyboards need for brackets, is reported as Ctrl and Alt.
    if (!event.getModifierState("AltGraph") && (event.ctrlKey || event.metaKey || event.altKey)) return;
    if (drawing.down(event) || functions.down(event)) return event.preventDefault();
    const act = {
      n: next, p: previous, "?": showKeys, z: () => state.parts[Math.max(0, state.chosen)] && choose(Math.max(0, state.chosen), true), x: () => tick(state.chosen), b: drawing.turn, ...room.keys,
      Tab: () => choose(state.chosen + (event.shiftKey ? -1 : 1), true),
    }[key];
    if (VALUES[key]) decide(VALUES[key]);
    else if (!act || (key === "Tab" && !withinParts(event))) return;
    else if (!event.repeat) act();
    event.preventDefault();
  };
  // Tab moves from part to part, and past the last or first part through the page.
  const withinParts = (event) => {
    const to = state.chosen + (event.shiftKey ? -1 : 1);
    if (document.activeElement !== document.body && !partList.contains(document.activeElement)) return false;
    if (to >= 0 && to < state.parts.length) return true;
    if (state.chosen >= 0) choose(-1, false);
    return false;
  };
  document.addEventListener("keydown", down);
  document.addEventListener("keyup", functions.up);
  window.addEventListener("blur", functions.blur);
  const poll = setInterval(refresh, EVERY_MS);
  const claim = claimOf(() => (state.scan && !state.done ? state.scan.id : null), Math.max(5, me.claim_s / 3) * 1000, (error) => { fault(error); clear(); }, () => {
    clear();
    toast("No input for five minutes: the scan is released for others. Your ticks and notes are kept.", { seconds: 3600 }); // still visible when the reader returns
  });
  drawHead();
  refresh().then(() => wanted && open(wanted));
  return () => {
    state.left = true; // pending requests must not reopen this page
    document.title = "bagscan";
    clearInterval(poll);
    claim.end();
    document.removeEventListener("keydown", down);
    document.removeEventListener("keyup", functions.up);
    window.removeEventListener("blur", functions.blur);
    state.toast?.();
    if (state.scan && !state.done) post(`/v1/queue/${state.scan.id}/release`).catch(() => {});
  };
}
