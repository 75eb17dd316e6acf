// Dark or light, as the reader wants it.

import { h } from "./dom.js";
import { preferencesOf } from "./preferences.js";

export function themeButton(me) {
  const kept = preferencesOf(me);
  let theme = kept.get("theme") ?? "dark"; // rooms with scanners are
  const button = h("button.plain.theme", { onclick: () => { theme = theme === "dark" ? "light" : "dark"; kept.set("theme", theme); told(); } });
  function told() {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.title = `${button.textContent.toLowerCase()} page`;
  }
  told();
  return button;
}
