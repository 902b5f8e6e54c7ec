// The door, the frame around every page, and which page is open.

import { authorised, enter, leave, onLeave, session } from "./api.js";
import { $, h, put } from "./dom.js";
import { language, setLanguage, t } from "./words.js";

const PAGES = [["playground", "Playground"], ["compare", "Compare"], ["documents", "Documents"], ["usage", "Usage"], ["keys", "Keys"]];
const open = new Map();
const app = $("#app");

/** How it looks and speaks may be kept; nothing else is. */
const kept = (name) => { try { return localStorage.getItem(`segue.${name}`); } catch { return null; } };
const keep = (name, value) => { try { localStorage.setItem(`segue.${name}`, value); } catch { /* a tab that keeps nothing */ } };

function dress(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function speak(name) {
  setLanguage(name);
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
}

function preferences() {
  return [
    h("button.quiet", { type: "button", "data-do": "language", lang: language() === "zh" ? "en" : "zh-CN", onclick: () => { speak(language() === "zh" ? "en" : "zh"); keep("language", language()); draw(); $("[data-do=language]").focus(); } }, language() === "zh" ? "English" : "中文"),
    h("button.quiet", { type: "button", "data-do": "theme", onclick: () => { const theme = dark() ? "light" : "dark"; dress(theme); keep("theme", theme); draw(); $("[data-do=theme]").focus(); } }, dark() ? t("Light") : t("Dark")),
  ];
}

function door(why) {
  const told = h("div", { role: "alert" }, why === "refused" && h("p.fault", null, t("The key is not accepted any more.")));
  const key = h("input", { type: "password", id: "key", required: true, autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: "sk-…", "aria-describedby": "key-note" });
  const button = h("button.primary", { type: "submit" }, t("Enter"));
  const form = h("form.door", { onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await enter(key.value.trim());
      key.value = "";
      draw();
    } catch (error) {
      put(told, h("p.fault", null, error.code === "offline" ? t("The server cannot be reached.") : error.status === 401 ? t("This key is not accepted.") : error.message));
      button.disabled = false;
      key.focus();
      key.select();
    }
  } },
  h("p.brand.large", null, "Segue", h("span.by-model", null, "…")),
  h("h1", null, t("Write a beginning, and watch the model go on.")),
  h("label", { for: "key" }, t("Your key")), h("div.row", null, key, button),
  h("p.note", { id: "key-note" }, t("It stays in this tab's memory, and is gone when the tab is closed or loaded anew.")), told);
  put(app, h("header.top", null, h("span.grow"), preferences()), h("main.center", { id: "main" }, form));
  document.title = "Segue";
  key.focus();
  import("./playground.js");  // while the key is being typed
}

async function draw() {
  if (!authorised()) { door(); return; }
  const pages = PAGES.filter(([name]) => name !== "keys" || session.role === "admin");
  const wanted = location.hash.replace("#/", "");
  const [name, title] = pages.find(([each]) => each === wanted) ?? pages[0];
  const main = h("main", { id: "main", tabindex: "-1" });
  put(app,
    h("a.skip", { href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, t("To the page")),
    h("header.top", null,
      h("p.brand", null, "Segue"),
      h("nav", { "aria-label": t("Pages") }, pages.map(([each, shown], at) => h("a", { href: `#/${each}`, "aria-current": each === name ? "page" : undefined, "aria-keyshortcuts": `Alt+${at + 1}` }, t(shown)))),
      h("span.grow"), preferences(),
      h("button.quiet", { type: "button", onclick: () => leave() }, t("Leave"))),
    main,
    h("footer", null, h("p.quiet", null, t("{0} · workspace {1} · role {2}", `Segue ${session.version}`, session.workspace, session.role))));
  document.title = `${t(title)} · Segue`;
  if (!open.has(name)) open.set(name, await import(`./${name}.js`));
  if (main.isConnected) open.get(name).default(main);
}

onLeave((why) => {
  for (const page of open.values()) page.forget();
  for (const box of document.querySelectorAll("dialog")) box.remove();
  history.replaceState(null, "", location.pathname);
  door(why);
});
addEventListener("hashchange", () => { draw().then(() => $("#main")?.focus({ preventScroll: true })); });
addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey || !authorised()) return;
  const page = PAGES[Number(event.code.replace("Digit", "")) - 1];
  if (page) { event.preventDefault(); location.hash = `#/${page[0]}`; }
});
speak(kept("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
dress(kept("theme"));
draw();
