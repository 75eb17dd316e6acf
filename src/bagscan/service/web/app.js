// Which page is shown, and to whom.

import { get, keepToken, ask } from "./api.js";
import { h, show, toast } from "./dom.js";
import { loginPage } from "./login.js";
import { reviewPage } from "./review.js";
import { auditPage, historyPage, modelsPage, peoplePage, statisticsPage } from "./oversight.js";

const PAGES = [
  ["review", "Review", "decide", reviewPage],
  ["scans", "Scans", "statistics", historyPage],
  ["statistics", "Statistics", "statistics", statisticsPage],
  ["models", "Models", "models.read", modelsPage],
  ["accounts", "Accounts", "accounts", peoplePage],
  ["audit", "Audit", "audit.read", auditPage],
];

const app = document.getElementById("app");
let leave = null;
let shown = null;

async function start() {
  const [page, token] = location.hash.slice(1).split("=");
  const me = await get("/v1/me").catch(() => ({ name: null }));
  if (me.name) { keepToken(me.csrf); return enter(me); }
  loginPage(app, page === "setup" ? token : null, (entered) => { location.hash = "review"; enter(entered); });
}

function enter(me) {
  const mine = PAGES.filter(([, , permission]) => me.permissions.includes(permission));
  const place = h("div", { id: "place" });
  place.className = "place";
  const links = mine.map(([name, text]) => h("a", { href: `#${name}` }, text));
  const out = h("button.plain", { onclick: async () => { await ask("DELETE", "/v1/sessions").catch(() => {}); location.hash = ""; location.reload(); } }, "Log out");
  show(app, h("div.frame", {}, h("header.bar", {}, h("span.brand", {}, h("img", { src: "static/icon.svg", alt: "" }), "bagscan"), h("nav", {}, links), h("span.who.muted", {}, `${me.name} · ${me.role}`), out), place));
  const turn = async () => {
    const [wanted, detail] = location.hash.slice(1).split("/");
    const page = mine.find(([name]) => name === wanted) || mine[0];
    if (!page) { show(place, h("div.page", {}, h("h1", {}, "Nothing to see"), h("p.muted", {}, "This account uses the API alone."))); return; }
    if (shown === page[0]) return; // the page itself changes what follows the slash
    leave?.();
    shown = page[0];
    links.forEach((link, i) => link.classList.toggle("here", mine[i] === page));
    leave = null;
    try {
      const back = await page[3](me, place, detail);
      leave = typeof back === "function" ? back : null;
    } catch (error) {
      if (error.status === 401) location.reload();
      toast(error.message, { kind: "fault" });
    }
  };
  window.onhashchange = turn;
  turn();
}

start();
