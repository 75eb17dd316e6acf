// Log in, or create the first admin with the one-time link.

import { get, keepSession, post } from "./api.js";
import { h, show } from "./dom.js";

const NO_COOKIE = "The password is correct, but the browser does not store the session cookie: with secure_cookie, the service requires HTTPS. Use HTTPS, or start the service without secure_cookie.";

export function loginPage(place, token, entered) {
  const name = h("input", { name: "name", autocomplete: "username", required: true, maxlength: 64 });
  const password = h("input", { name: "password", type: "password", autocomplete: token ? "new-password" : "current-password", required: true, minlength: token ? 10 : 1, maxlength: 256 });
  const fault = h("div.fault.small", { role: "alert" });
  const form = h("form", {}, h("div.brand", {}, h("img", { src: "static/icon.svg", alt: "" }), "bagscan"),
    token ? h("p.muted", {}, "Create the first admin. The password needs at least 10 characters; this link works only once.") : null,
    h("label", {}, h("span", {}, "Name"), name), h("label", {}, h("span", {}, "Password"), password), fault, h("button.primary", {}, token ? "Create admin" : "Log in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.textContent = "";
    try {
      const body = { name: name.value, password: password.value };
      const me = await post(token ? "/v1/setup" : "/v1/sessions", token ? { ...body, token } : body);
      if (!(await get("/v1/me")).name) throw new Error(NO_COOKIE); // over HTTP, a browser silently drops cookies that require HTTPS
      keepSession(me);
      entered(me);
    } catch (error) {
      fault.textContent = error.message;
      password.select();
    }
  });
  show(place, h("main.gate", {}, form));
  name.focus();
}
