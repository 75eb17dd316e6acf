// Room for the pictures: panels that fold, and the whole screen.

import { h, toast } from "./dom.js";
import { preferencesOf } from "./preferences.js";

const FOLDED = ["none", "queue", "all"]; // which panels are away

export function roomOf(me, reader) {
  const kept = preferencesOf(me);
  let folded = FOLDED.includes(kept.get("folded")) ? kept.get("folded") : FOLDED[0];
  const told = () => { for (const one of FOLDED) reader.classList.toggle(`without-${one}`, one === folded && one !== "none"); };
  const fold = () => { folded = FOLDED[(FOLDED.indexOf(folded) + 1) % FOLDED.length]; kept.set("folded", folded); told(); };
  const fill = async () => {
    try { await (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()); } catch { toast("This browser does not offer full screen."); }
  };
  told();
  return {
    buttons: [h("button", { title: "fold the panels: the queue, both, none", onclick: fold }, "Panels ", h("kbd", {}, "W")), h("button", { title: "the whole screen", onclick: fill }, "Screen ", h("kbd", {}, "F"))],
    keys: { w: fold, f: fill },
  };
}
