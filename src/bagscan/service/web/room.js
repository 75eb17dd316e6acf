// More space for the images: collapsible panels and full screen.

import { h, toast } from "./dom.js";
import { preferencesOf } from "./preferences.js";

const FOLDED = ["none", "queue", "all"]; // which panels are hidden

export function roomOf(me, reader) {
  const kept = preferencesOf(me);
  let folded = FOLDED.includes(kept.get("folded")) ? kept.get("folded") : FOLDED[0];
  const apply = () => { for (const one of FOLDED) reader.classList.toggle(`without-${one}`, one === folded && one !== "none"); };
  const fold = () => { folded = FOLDED[(FOLDED.indexOf(folded) + 1) % FOLDED.length]; kept.set("folded", folded); apply(); };
  const fill = async () => {
    try { await (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()); } catch { toast("This browser does not support full screen."); }
  };
  apply();
  return {
    buttons: [h("button", { title: "hide panels: the queue, both, or none", onclick: fold }, "Panels ", h("kbd", {}, "W")), h("button", { title: "full screen", onclick: fill }, "Screen ", h("kbd", {}, "F"))],
    keys: { w: fold, f: fill },
  };
}
