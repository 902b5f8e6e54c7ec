// What is set beside the text: the model, how it draws, what the answer must look like, which functions it may call.

import { can, modelOf, session } from "./api.js";
import { area, field, h, put, select, tick } from "./dom.js";
import { t } from "./words.js";

/** name, step, low, high */
const NUMBERS = [
  ["temperature", 0.1, 0, 1.99], ["top_p", 0.05, 0.01, 1], ["top_k", 1, 0, 1000], ["max_tokens", 1, 1, 1e6], ["seed", 1, 0, 2147483647],
  ["presence_penalty", 0.1, -2, 2], ["frequency_penalty", 0.1, -2, 2], ["repetition_penalty", 0.05, 0.01, 10],
];

export const TOOLS_EXAMPLE = [{ type: "function", function: {
  name: "get_weather", description: "The weather in a city, now.",
  parameters: { type: "object", properties: { city: { type: "string", description: "Such as Hangzhou" } }, required: ["city"] },
} }];
export const SCHEMA_EXAMPLE = {
  type: "object", properties: { name: { type: "string" }, year: { type: "integer" } }, required: ["name", "year"], additionalProperties: false,
};

export function fresh() {
  return { model: session.names[0]?.name ?? "", numbers: {}, n: 1, stop: "", logprobs: true, deterministic: false, thinking: false, mono: false, form: "text", schema: "", pattern: "", tools: "", toolChoice: "auto" };
}

/** The fields of a body. Throws a sentence where something was not written as it must be. */
export function fieldsOf(set) {
  const body = { model: set.model };
  for (const [name] of NUMBERS) if (set.numbers[name] !== undefined && set.numbers[name] !== "") body[name] = Number(set.numbers[name]);
  if (set.n > 1) body.n = Number(set.n);
  const stops = set.stop.split("\n").filter(Boolean);
  if (stops.length) body.stop = stops.length === 1 ? stops[0] : stops;
  if (set.logprobs) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  if (set.deterministic) body.deterministic = true;
  if (can(set.model, "thinking")) body.enable_thinking = set.thinking;
  if (set.form === "json_object") body.response_format = { type: "json_object" };
  if (set.form === "json_schema") body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema: read(set.schema, t("JSON schema")) } };
  if (set.form === "regex" || set.form === "grammar") body[set.form] = set.pattern;
  if (set.tools.trim()) Object.assign(body, { tools: read(set.tools, t("Functions")), tool_choice: set.toolChoice });
  return body;
}

function read(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what}: ${error.message}`);
  }
}

export function modelSelect(value, onchange, only = () => true) {
  const box = h("select", { onchange: () => onchange(box.value) });
  const groups = [[t("Served here"), (each) => each.name === each.model], [t("Names they answer to"), (each) => each.name !== each.model]];
  for (const [label, wanted] of groups) {
    const names = session.names.filter((each) => wanted(each) && only(each));
    if (names.length) box.append(h("optgroup", { label }, names.map((each) => h("option", { value: each.name, selected: each.name === value }, each.name))));
  }
  return box;
}

export function numberFields(set, names = NUMBERS.map(([name]) => name)) {
  const known = modelOf(set.model)?.defaults ?? {};
  return NUMBERS.filter(([name]) => names.includes(name)).map(([name, step, min, max]) => {
    const box = h("input", { type: "number", step, min, max, value: set.numbers[name] ?? "", inputmode: "decimal", placeholder: known[name] ?? "", oninput: () => { set.numbers[name] = box.value; } });
    return field(name, box);
  });
}

/** The panel beside the playground. `changed` is called when what is shown elsewhere depends on it. */
export function panel(set, changed, letters) {
  const root = h("div.panel");
  const draw = () => {
    const text = (name, label, example, rows = 6) => {
      const box = area({ rows, class: "code", value: set[name], oninput: () => { set[name] = box.value; } });
      const made = field(label, box);
      if (example) made.append(h("button.small.link", { type: "button", onclick: () => { box.value = set[name] = JSON.stringify(example, null, 2); box.fit(); } }, t("Fill in an example")));
      return made;
    };
    put(root,
      field(t("Model"), modelSelect(set.model, (model) => { set.model = model; draw(); changed(); }), modelNote(set.model)),
      h("div.grid2", null,
        numberFields(set, ["temperature", "top_p", "max_tokens", "seed"]),
        field(t("Candidates (n)"), select([1, 2, 3, 4].map((n) => [String(n)]), String(set.n), (n) => { set.n = Number(n); })),
        field(t("Form of the answer"), select([["text", t("free text")], ["json_object", t("JSON")], ["json_schema", t("JSON schema")], ["regex", t("regular expression")], ["grammar", t("grammar (Lark)")]], set.form, (form) => { set.form = form; draw(); })),
      ),
      set.form === "json_schema" && text("schema", t("JSON schema"), SCHEMA_EXAMPLE),
      set.form === "regex" && text("pattern", t("Regular expression"), null, 1),
      set.form === "grammar" && text("pattern", t("Grammar"), null),
      h("details", { open: Boolean(set.tools) }, h("summary", null, t("Functions")),
        text("tools", t("Functions it may call, as JSON"), TOOLS_EXAMPLE),
        field(t("Choice"), select([["auto", t("as it likes")], ["required", t("at least one")], ["none", t("none")]], set.toolChoice, (choice) => { set.toolChoice = choice; }))),
      h("details", null, h("summary", null, t("More")),
        h("div.grid2", null, numberFields(set, ["top_k", "repetition_penalty", "presence_penalty", "frequency_penalty"])),
        text("stop", t("Stop at, one a line"), null, 2)),
      tick(t("Token probabilities"), set.logprobs, (on) => { set.logprobs = on; }),
      tick(t("Deterministic"), set.deterministic, (on) => { set.deterministic = on; }),
      tick(t("Letters of one width"), set.mono, (on) => { set.mono = on; letters(on); }),
      can(set.model, "thinking") && tick(t("Think first"), set.thinking, (on) => { set.thinking = on; }),
    );
  };
  draw();
  return root;
}

function modelNote(name) {
  const each = session.names.find((known) => known.name === name);
  if (!each) return t("This key may use no model.");
  const context = t("{0} tokens of context", session.models[each.model].context_tokens.toLocaleString());
  return each.name === each.model ? context : t("{0} answers to this name", each.model) + ` · ${context}`;
}
