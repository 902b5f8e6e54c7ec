// What was used: by day, model, key and workspace, how quickly answers came, and what the cache spared.

import { call, session } from "./api.js";
import { fault } from "./answer.js";
import { field, h, put, select } from "./dom.js";
import { bars, spans } from "./plot.js";
import { count, millis, short, t } from "./words.js";

const DAY_MS = 86_400_000;
let state = { days: "7", by: "model" };

export function forget() { state = { days: "7", by: "model" }; }

const named = (at) => new Date(at).toISOString().slice(0, 10);

async function rowsOf(by, from, to) {
  const found = [];
  let page = "";
  do {
    const told = await call("GET", `/admin/v1/usage?from=${from}&to=${to}&by=${by}&limit=1000${page && `&page=${encodeURIComponent(page)}`}`);
    found.push(...told.rows);
    page = told.next ?? "";
  } while (page && found.length < 10_000);
  return found;
}

const sum = (rows, name) => rows.reduce((all, row) => all + Number(row[name]), 0);
const percent = (part, whole) => (whole ? `${((part / whole) * 100).toFixed(1)}%` : "–");
const money = (value, currency) => `${Number(value).toFixed(value >= 1 ? 2 : 4)} ${currency}`.trim();
const took = (value) => (value === null || value === undefined ? "–" : millis(value));
const pace = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));

function tiles(rows) {
  const input = sum(rows, "input_tokens"), cached = sum(rows, "cached_tokens");
  const told = [
    [t("Requests"), count(sum(rows, "requests"))], [t("Failed"), count(sum(rows, "failed"))],
    [t("Tokens in"), short(input)], [t("Tokens out"), short(sum(rows, "output_tokens"))],
    [t("From the cache"), percent(cached, input)],
  ];
  if (sum(rows, "cost") > 0) told.push([t("Cost"), money(sum(rows, "cost"), rows[0].currency)]);
  return h("dl.tiles", null, told.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function table(rows, of, head) {
  const columns = [[t("Requests"), (row) => count(row.requests)], [t("Failed"), (row) => count(row.failed)], [t("Tokens in"), (row) => count(row.input_tokens)],
    [t("cached"), (row) => percent(row.cached_tokens, row.input_tokens)], [t("Tokens out"), (row) => count(row.output_tokens)],
    [t("First token, median"), (row) => took(row.first_token_ms?.p50)], [t("95th percentile"), (row) => took(row.first_token_ms?.p95)],
    [t("Tokens/s"), (row) => pace(row.tokens_per_second?.p50)], [t("Cost"), (row) => money(row.cost, row.currency)]];
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": head }, h("table", null,
    h("thead", null, h("tr", null, h("th", null, head), columns.map(([name]) => h("th.number", null, name)))),
    h("tbody", null, rows.map((row) => h("tr", null, h("th", { scope: "row" }, row[of] || "–"), columns.map(([, value]) => h("td.number", null, value(row))))))));
}

/** Every day of the range, also those on which nothing was asked. */
function filled(rows, from, days) {
  const known = new Map(rows.map((row) => [row.day, row]));
  return Array.from({ length: days }, (_, at) => {
    const name = named(Date.parse(from) + at * DAY_MS);
    return known.get(name) ?? { day: name, requests: 0, failed: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0 };
  });
}

export default function page(root) {
  const body = h("div", { "aria-busy": "true" });
  const sides = [["model", t("Model")], ["key", t("Key")], ...(session.role === "admin" ? [["workspace", t("Workspace")]] : [])];
  const load = async () => {
    const asked = state, to = named(Date.now()), from = named(Date.now() - (Number(state.days) - 1) * DAY_MS);
    try {
      const [byDay, bySide] = [await rowsOf("day", from, to), await rowsOf(state.by, from, to)];
      if (asked !== state || !body.isConnected) return;
      const days = filled(byDay, from, Number(state.days));
      const label = (row) => row.day.slice(5);
      const times = (name, value) => days.map((row) => ({ name: label(row), p50: row[name]?.p50 ?? null, p95: row[name]?.p95 ?? null, told: `${row.day}: ${value(row[name]?.p50)} / ${value(row[name]?.p95)}` }));
      const wide = body.clientWidth, width = Math.round(wide > 880 ? (wide - 40) / 2 : wide);
      put(body, tiles(byDay), h("div.plots", null,
        bars(width, t("Tokens a day"), days.map((row) => ({ name: label(row), parts: [row.cached_tokens, row.input_tokens - row.cached_tokens, row.output_tokens],
          told: `${row.day}: ${count(row.cached_tokens)} / ${count(row.input_tokens)} / ${count(row.output_tokens)}` })), [t("in, from the cache"), t("in, read"), t("out")], short),
        bars(width, t("Requests a day"), days.map((row) => ({ name: label(row), parts: [row.requests - row.failed, row.failed], told: `${row.day}: ${row.requests}, ${row.failed}` })), [t("answered"), t("failed")], short, ["part1", "bad"]),
        spans(width, t("First token after"), times("first_token_ms", took), (value) => millis(value)),
        spans(width, t("Tokens a second"), times("tokens_per_second", pace), (value) => short(value))),
        h("h2", null, sides.find(([name]) => name === state.by)[1]), table(bySide, state.by, sides.find(([name]) => name === state.by)[1]),
        h("details", null, h("summary", null, t("The days as a table")), table(byDay, "day", t("Day"))));
    } catch (error) {
      put(body, fault(error.status === 404 ? new Error(t("This server tells nothing of what was used.")) : error));
    }
    body.removeAttribute("aria-busy");
  };
  const change = (name) => (value) => { state = { ...state, [name]: value }; load(); };
  put(root, h("h1", null, t("Usage")),
    h("div.row.wrap.filters", null, field(t("Days (UTC)"), select([["7", t("7 days")], ["30", t("30 days")], ["90", t("90 days")]], state.days, change("days"))), field(t("By"), select(sides, state.by, change("by")))),
    body);
  load();
}
