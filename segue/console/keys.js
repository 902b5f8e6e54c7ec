// Workspaces and keys, for administrators: made, changed, revoked. A key's secret is shown once and kept nowhere.

import { all, call, session } from "./api.js";
import { fault } from "./answer.js";
import { copy, dialog, field, fresh, h, put, select, sure } from "./dom.js";
import { day, t } from "./words.js";

const ADMIN = "/admin/v1";
const LIMITS = ["requests_per_minute", "tokens_per_minute", "requests_per_second", "concurrent", "tokens_per_month", "cost_micros_per_month"];
const names = (text) => text.split(/[\s,]+/).filter(Boolean);

export function forget() {}

function limitFields(limits) {
  const boxes = Object.fromEntries(LIMITS.map((name) => [name, h("input", { type: "number", min: 0, value: limits?.[name] ?? "", placeholder: "∞" })]));
  return {
    root: h("details", { open: LIMITS.some((name) => limits?.[name] != null) }, h("summary", null, t("Limits")), h("div.grid2", null, LIMITS.map((name) => field(name, boxes[name])))),
    read: () => Object.fromEntries(LIMITS.map((name) => [name, boxes[name].value === "" ? null : Number(boxes[name].value)])),
  };
}

/** A form in a dialog; what it throws is said in it. */
function form(title, fields, yes, act) {
  const told = h("div");
  const id = fresh("form");
  const box = dialog(title, h("form", { id, onsubmit: async (event) => {
    event.preventDefault();
    try { await act(); box.close(); } catch (error) { put(told, fault(error)); }
  } }, fields, told), (close) => [h("button", { type: "button", onclick: close }, t("Cancel")), h("button.primary", { type: "submit", form: id }, yes)]);
}

function models(value, note) {
  const box = h("input", { type: "text", value: value ?? "", placeholder: note, autocapitalize: "off", spellcheck: "false" });
  return box;
}

function showSecret(made) {
  const secret = h("code.secret", { tabindex: "0" }, made.secret);
  dialog(t("Your new key"), h("div", null, h("p", null, t("It is shown this once. Keep it where secrets are kept.")), secret), (close) => [
    h("button", { type: "button", onclick: (event) => copy(made.secret, event.currentTarget, t("Copied")) }, t("Copy")),
    h("button.primary", { type: "button", onclick: close }, t("I have it")),
  ]).addEventListener("close", () => { secret.textContent = ""; });
}

export default function page(root) {
  const list = h("div", { "aria-busy": "true" });
  const load = async () => {
    try {
      const [workspaces, keys] = [await all(`${ADMIN}/workspaces`), await all(`${ADMIN}/keys`)];
      if (list.isConnected) draw(workspaces, keys);
    } catch (error) { put(list, fault(error)); }
    list.removeAttribute("aria-busy");
  };
  const act = async (method, path, body) => {
    try { await call(method, ADMIN + path, body); } catch (error) { await load(); list.prepend(fault(error)); return; }
    await load();
  };

  function workspaceForm(known) {
    const name = h("input", { type: "text", required: true, value: known?.name ?? "" }), id = h("input", { type: "text", pattern: "[a-z0-9][a-z0-9_\\-]*", placeholder: t("made up, if empty") });
    const may = models(known?.models?.join(", "), t("names of models, with commas")), limits = limitFields(known?.limits);
    form(known ? t("Change a workspace") : t("New workspace"), [field(t("Name"), name), !known && field(t("Id"), id),
      known?.models !== null && field(t("Models it may use"), may), limits.root], known ? t("Save") : t("Make it"), async () => {
      const body = { name: name.value, limits: limits.read() };
      if (known?.models !== null) body.models = names(may.value);
      if (!known && id.value) body.id = id.value;
      await call(known ? "PATCH" : "POST", `${ADMIN}/workspaces${known ? `/${known.id}` : ""}`, body);
      await load();
    });
  }

  function keyForm(workspaces, known) {
    const name = h("input", { type: "text", required: true, value: known?.name ?? "" });
    const workspace = select(workspaces.map((each) => [each.id, each.name === each.id ? each.id : `${each.name} (${each.id})`]), "default", () => {});
    const role = select([["member", t("member: asks models")], ["read-only", t("read-only: looks")], ["admin", t("admin: does all this")]], known?.role ?? "member", () => {});
    const days = h("input", { type: "number", min: 1, max: 36500, placeholder: t("for good") });
    const may = models(known?.models?.join(", "), t("all of its workspace's")), limits = limitFields(known?.limits);
    form(known ? t("Change a key") : t("New key"), [field(t("Name"), name), !known && field(t("Workspace"), workspace), field(t("Role"), role), !known && field(t("Holds for so many days"), days),
      field(t("Models it may use"), may), limits.root], known ? t("Save") : t("Make it"), async () => {
      const body = { name: name.value, role: role.value, models: may.value.trim() ? names(may.value) : null, limits: limits.read() };
      if (!known) { body.workspace = workspace.value; if (days.value) body.expires_in_s = Number(days.value) * 86400; }
      const made = await call(known ? "PATCH" : "POST", `${ADMIN}/keys${known ? `/${known.id}` : ""}`, body);
      await load();
      if (made.secret) showSecret(made);
    });
  }

  const limited = (limits) => LIMITS.filter((name) => limits[name] !== null).map((name) => `${name} ${limits[name].toLocaleString()}`).join(", ") || "–";
  const standing = (key) => (key.revoked_at ? t("revoked") : key.expires_at && key.expires_at * 1000 < Date.now() ? t("over") : key.expires_at ? t("until {0}", day(key.expires_at)) : t("valid"));

  function draw(workspaces, keys) {
    const listed = (label, head, rows) => h("div.scroll", { tabindex: "0", role: "region", "aria-label": label }, h("table", null,
      h("thead", null, h("tr", null, head.map((name) => h("th", null, name)), h("th", null, h("span.unseen", null, t("Acts"))))), h("tbody", null, rows)));
    put(list,
      h("div.row", null, h("h2", null, t("Keys")), h("span.grow"), h("button.primary", { type: "button", onclick: () => keyForm(workspaces) }, t("New key"))),
      listed(t("Keys"), [t("Name"), t("Key"), t("Workspace"), t("Role"), t("Standing"), t("Models")], keys.map((key) => h(`tr${key.revoked_at ? ".gone" : ""}`, { "data-key": key.id },
        h("th", { scope: "row" }, key.name), h("td", null, h("code", null, key.hint ? `${key.hint}…` : key.id)), h("td", null, key.workspace), h("td", null, key.role), h("td", { "data-standing": key.revoked_at ? "revoked" : "" }, standing(key)), h("td", null, key.models === null ? t("all") : key.models.join(", ")),
        h("td.end", null, !key.revoked_at && [
          h("button.small", { type: "button", "aria-label": t("Change {0}", key.name), onclick: () => keyForm(workspaces, key) }, t("Change")),
          h("button.small", { type: "button", disabled: key.id === session.key, "aria-label": t("Revoke {0}", key.name), onclick: async () => {
            if (await sure(t("Revoke this key?"), t("{0} will open nothing any more. This cannot be undone.", key.name), t("Revoke"), t("Keep it"))) await act("DELETE", `/keys/${key.id}`);
          } }, t("Revoke"))])))),
      h("div.row", null, h("h2", null, t("Workspaces")), h("span.grow"), h("button", { type: "button", onclick: () => workspaceForm() }, t("New workspace"))),
      listed(t("Workspaces"), [t("Name"), t("Id"), t("Models"), t("Limits")], workspaces.map((each) => h("tr", null,
        h("th", { scope: "row" }, each.name), h("td", null, h("code", null, each.id)), h("td", null, each.models === null ? t("all") : each.models.join(", ") || t("none")), h("td", null, limited(each.limits)),
        h("td.end", null,
          h("button.small", { type: "button", "aria-label": t("Change {0}", each.name), onclick: () => workspaceForm(each) }, t("Change")),
          each.models !== null && h("button.small", { type: "button", "aria-label": t("Remove {0}", each.name), onclick: async () => {
            if (await sure(t("Remove this workspace?"), t("{0}: its keys will open nothing, its files will be deleted. This cannot be undone.", each.name), t("Remove"), t("Keep it"))) await act("DELETE", `/workspaces/${each.id}`);
          } }, t("Remove")))))));
  }
  put(root, h("h1", null, t("Keys and workspaces")), list);
  load();
}
