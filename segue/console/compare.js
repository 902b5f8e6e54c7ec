// One prompt, up to four models or settings, side by side.

import { facts, fault } from "./answer.js";
import { Reader, area, field, h, put } from "./dom.js";
import { fieldsOf, fresh, modelSelect, numberFields } from "./request.js";
import { Run } from "./run.js";
import { t } from "./words.js";

const LANES_MAX = 4;
let state = null;
let view = { draw() {}, live() {} };

export function forget() {
  for (const lane of state?.lanes ?? []) lane.run?.stop();
  state = null;
}

const lane = (numbers = {}) => ({ set: { ...fresh(), logprobs: false, numbers }, run: null, error: null });

function bodyOf(each) {
  const messages = [];
  if (state.system) messages.push({ role: "system", content: state.system });
  messages.push({ role: "user", content: state.user });
  if (state.prefix) messages.push({ role: "assistant", content: state.prefix, partial: true });
  const { model, ...fields } = fieldsOf(each.set);
  return { model, messages, ...fields };
}

const running = () => state.lanes.some((each) => each.run?.running);

function go() {
  if (running()) return;
  state.lanes.forEach((each, at) => {
    const reader = new Reader();
    each.error = null;
    each.run = new Run(bodyOf(each), (run) => { if (at === 0) reader.hear(run.choices[0].text, !run.running); view.live(); });
    each.run.go();
  });
  view.live();
}

function stop() { for (const each of state.lanes) each.run?.stop(); }

export default function page(root) {
  state ??= { system: "", user: "", prefix: "", lanes: [lane({ temperature: "0" }), lane({ temperature: "1" })] };
  const text = (name, label, rows, hint) => {
    const box = area({ rows, value: state[name], placeholder: hint, oninput: () => { state[name] = box.value; live(); },
      onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go(); } } });
    return field(label, box);
  };
  const bar = h("div.row.wrap.toolbar"), lanes = h("div.lanes");
  let answers = [];
  const live = () => {
    put(bar,
      running() ? h("button.primary", { type: "button", onclick: stop }, t("Stop"), h("kbd", null, "Esc"))
        : h("button.primary", { type: "button", disabled: !state.user, onclick: go }, t("Ask all"), h("kbd", null, "Ctrl ↵")),
      h("button", { type: "button", disabled: running() || state.lanes.length >= LANES_MAX, onclick: () => { const last = state.lanes.at(-1).set; const next = lane({ ...last.numbers, seed: String(1234 + state.lanes.length) }); next.set.model = last.model; state.lanes.push(next); draw(); } }, t("Add one more")));
    state.lanes.forEach((each, at) => put(answers[at],
      each.run && h("p.said", null, state.prefix && h("span.by-you", null, state.prefix), h("span.by-model", null, each.run.choices[0].text), each.run.running && h("span.cursor")),
      each.error && fault(each.error), each.run && facts(each.run)));
  };
  const draw = () => {
    answers = state.lanes.map(() => h("div.answer"));
    put(lanes, state.lanes.map((each, at) => h("section.lane", { "aria-label": t("Answer {0}", at + 1) },
      h("div.row", null, h("h2", null, String.fromCharCode(65 + at)), h("span.grow"),
        state.lanes.length > 1 && h("button.small.link", { type: "button", "aria-label": t("Remove {0}", String.fromCharCode(65 + at)), onclick: () => { each.run?.stop(); state.lanes.splice(at, 1); draw(); } }, t("Remove"))),
      field(t("Model"), modelSelect(each.set.model, (model) => { each.set.model = model; draw(); })),
      h("div.grid2", null, numberFields(each.set, ["temperature", "top_p", "max_tokens", "seed"])),
      answers[at])));
    live();
  };
  view = { draw, live };
  put(root, h("h1", null, t("Compare")),
    text("user", t("Prompt"), 3, t("What do you want to know?")),
    h("details", { open: Boolean(state.system || state.prefix) }, h("summary", null, t("System prompt and beginning")),
      text("system", t("System prompt"), 1), text("prefix", t("Beginning of the answer"), 1)),
    bar, lanes);
  draw();
}

document.addEventListener("keydown", (event) => { if (event.key === "Escape" && state) stop(); });
