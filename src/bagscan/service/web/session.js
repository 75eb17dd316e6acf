// Log in again over the open page when a session ends.

import { dialog, h } from "./dom.js";

const QUIET_MS = 1500; // the dialog waits for a pause in typing, which it would interrupt
let typedAt = -QUIET_MS;
document.addEventListener("keydown", () => { typedAt = performance.now(); }, true);

let asked = null; // a single dialog, even if several requests wait for it

// Log the same account in again. Resolves to the response of /v1/sessions, or null if the reader leaves.
export function logInAgain(name, logIn) {
  asked = asked || question(name, logIn).finally(() => { asked = null; });
  return asked;
}

async function question(name, logIn) {
  while (performance.now() - typedAt < QUIET_MS) await new Promise((go) => setTimeout(go, 100));
  return dialog((close, box) => {
    const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true, maxlength: 256, autofocus: true });
    const fault = h("div.fault.small", { role: "alert" });
    const form = h("form", {}, h("h1", {}, "Log in again"),
      h("p.muted", {}, `The session of ${name} has ended, or another account has logged in with this browser. Your ticks and notes are kept.`),
      h("label.field", {}, h("span", {}, "Password"), password), fault,
      h("div.row.apart", {}, h("button", { type: "button", onclick: () => close(null) }, "Leave"), h("button.primary", {}, "Log in")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.textContent = "";
      try {
        close(await logIn({ name, password: password.value }));
      } catch (error) {
        fault.textContent = error.message;
        password.select();
      }
    });
    box.classList.add("session");
    box.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault()); // Escape would discard the page below
    box.addEventListener("cancel", (event) => event.preventDefault());
    return form;
  });
}
