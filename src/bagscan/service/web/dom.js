// DOM helpers without a framework: h("p.muted", {title: "x"}, "text", child).

export function h(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (value !== null && value !== undefined && (value !== false || name.startsWith("aria-"))) element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity));
  return element;
}

// Replace the content of an element. The focus stays on the control with the same data-key.
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

export function toast(text, { kind = "", action = null, seconds = 5 } = {}) {
  const box = h(`div.toast${kind ? "." + kind : ""}`, {}, h("span", {}, text));
  const gone = () => box.remove();
  if (action) box.append(h("button", { onclick: () => { gone(); action.do(); } }, action.text));
  document.getElementById("toasts").append(box);
  setTimeout(gone, seconds * 1000);
  return gone;
}

// Show a modal dialog. Resolves to the value that build's `close` is called with, or null.
export function dialog(build) {
  return new Promise((resolve) => {
    const box = h("dialog");
    let answer = null;
    box.append(build((value) => { answer = value; box.close(); }, box));
    box.addEventListener("close", () => { box.remove(); resolve(answer); });
    document.body.append(box);
    box.showModal();
  });
}

// Show a form in a dialog, with rows of [label, control]. Errors appear in the form, which keeps its input.
export function filledIn(title, rows, doing, send) {
  return dialog((close) => {
    const fault = h("div.fault.small", { role: "alert" });
    const form = h("form", {}, h("h1", {}, title), rows.map(([label, control]) => h("label.field", {}, h("span", {}, label), control)), fault,
      h("div.row.apart", {}, h("button", { type: "button", onclick: () => close(null) }, "Cancel"), h("button.primary", {}, doing)));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.textContent = "";
      try { close((await send()) ?? true); } catch (error) { fault.textContent = error.message; }
    });
    return form;
  });
}

// What a key means: its letter, or on keyboards of other scripts the one that a Latin keyboard has in its place.
export function keyOf(event) {
  if (event.key.length !== 1) return event.key;
  if (/^[\x20-\x7e]$/.test(event.key)) return event.key.toLowerCase();
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : event.key;
}

export function confirmed(question, doing = "Yes", kind = "primary") {
  return dialog((close) => h("div", {}, h("p", {}, question),
    h("div.row.apart", {}, h("button", { onclick: () => close(null) }, "Cancel"), h(`button.${kind}`, { autofocus: true, onclick: () => close(true) }, doing))));
}

export const time = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");

export function age(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

export const score = (value) => (value === null || value === undefined ? "–" : value > 0.99 ? value.toFixed(4) : value.toFixed(3));
