// Log in, or make the first admin with the one-time link.

import { keepSession, post } from "./api.js";
import { h, show } from "./dom.js";

export function loginPage(place, token, entered) {
  const name = h("input", { name: "name", autocomplete: "username", required: true, maxlength: 64 });
  const password = h("input", { name: "password", type: "password", autocomplete: token ? "new-password" : "current-password", required: true, minlength: token ? 10 : 1, maxlength: 256 });
  const fault = h("div.fault.small", { role: "alert" });
  const form = h("form", {}, h("div.brand", {}, h("img", { src: "static/icon.svg", alt: "" }), "bagscan"),
    token ? h("p.muted", {}, "Make the first admin. The password needs at least 10 characters; this link works once.") : null,
    h("label", {}, h("span", {}, "Name"), name), h("label", {}, h("span", {}, "Password"), password), fault, h("button.primary", {}, token ? "Make admin" : "Log in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.textContent = "";
    try {
      const body = { name: name.value, password: password.value };
      const me = await post(token ? "/v1/setup" : "/v1/sessions", token ? { ...body, token } : body);
      keepSession(me);
      entered(me);
    } catch (error) {
      fault.textContent = error.message;
      password.select();
    }
  });
  show(place, h("div.gate", {}, form));
  name.focus();
}
