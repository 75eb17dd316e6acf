// Dark or light theme.

import { h } from "./dom.js";
import { preferencesOf } from "./preferences.js";

export function themeButton(me) {
  const kept = preferencesOf(me);
  let theme = kept.get("theme") ?? "dark"; // scanner control rooms are dark
  const button = h("button.plain.theme", { onclick: () => { theme = theme === "dark" ? "light" : "dark"; kept.set("theme", theme); apply(); } });
  function apply() {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.title = `${button.textContent.toLowerCase()} page`;
  }
  apply();
  return button;
}
