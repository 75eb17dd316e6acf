// Entry point: choose the page by the address and the permissions of the account.

import { ask, get, keepSession } from "./api.js";
import { filledIn, h, show, toast } from "./dom.js";
import { loginPage } from "./login.js";
import { reviewPage } from "./review.js";
import { archivePage } from "./archive.js";
import { themeButton } from "./theme.js";
import { auditPage, modelsPage, peoplePage, statisticsPage } from "./oversight.js";

const PAGES = [
  ["review", "Review", "decide", reviewPage],
  ["scans", "Scans", "statistics", archivePage],
  ["statistics", "Statistics", "statistics", statisticsPage],
  ["models", "Models", "models.read", modelsPage],
  ["accounts", "Accounts", "accounts", peoplePage],
  ["audit", "Audit", "audit.read", auditPage],
];

const app = document.getElementById("app");
let leave = null;
let shown = null;

async function changePassword() {
  const old = h("input", { type: "password", autocomplete: "current-password", required: true }), next = h("input", { type: "password", autocomplete: "new-password", required: true, minlength: 10 });
  const made = await filledIn("Change your password", [["Old", old], ["New, at least 10 characters", next]], "Change", () => ask("PUT", "/v1/me/password", { old: old.value, new: next.value }));
  if (made) location.reload(); // a new password ends every session, including this one
}

async function start() {
  const [page, token] = location.hash.slice(1).split("=");
  const me = await get("/v1/me").catch(() => ({ name: null }));
  if (me.name) { keepSession(me); return enter(me); }
  loginPage(app, page === "setup" ? token : null, (entered) => { location.hash = "review"; enter(entered); });
}

function enter(me) {
  const mine = PAGES.filter(([, , permission]) => me.permissions.includes(permission));
  let place = h("main.place", { id: "place" });
  const links = mine.map(([name, text]) => h("a", { href: `#${name}` }, text));
  const out = h("button.plain", { onclick: async () => { await ask("DELETE", "/v1/sessions").catch(() => {}); location.hash = ""; location.reload(); } }, "Log out");
  show(app, h("div.frame", {}, h("header.bar", {}, h("span.brand", {}, h("img", { src: "static/icon.svg", alt: "" }), "bagscan"), h("nav", {}, links), themeButton(me), h("button.who.plain", { title: "change your password", onclick: changePassword }, `${me.name} · ${me.role}`), out), place));
  const turn = async () => {
    const [wanted, detail] = location.hash.slice(1).split("/");
    const page = mine.find(([name]) => name === wanted) || mine[0];
    if (!page) { show(place, h("div.page", {}, h("h1", {}, "No page available"), h("p.muted", {}, "This account can only use the API."))); return; }
    if (shown === page[0]) return; // the page itself handles what follows the slash
    leave?.();
    shown = page[0];
    const own = h("main.place", { id: "place" }); // a page that finishes late draws into a detached element
    place.replaceWith(own);
    place = own;
    links.forEach((link, i) => link.classList.toggle("here", mine[i] === page));
    leave = null;
    try {
      const back = await page[3](me, own, detail);
      if (place !== own) { if (typeof back === "function") back(); }
      else leave = typeof back === "function" ? back : null;
    } catch (error) {
      if (place !== own) return;
      if (error.status === 401) location.reload();
      toast(error.message, { kind: "fault" });
    }
  };
  window.onhashchange = turn;
  turn();
}

start();
