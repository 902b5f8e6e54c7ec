// Where one conversation is tried: its messages, the beginning of the answer, and how the model goes on from the caret.

import { can, reads, upload, FILES, call } from "./api.js";
import { callCards, copyDialog, facts, fault, pretty, seamText, sentence } from "./answer.js";
import { Reader, announce, area, field, h, put, select } from "./dom.js";
import { Editor, tokenView } from "./editor.js";
import { fieldsOf, fresh, panel } from "./request.js";
import { Run, placed, unitsOf } from "./run.js";
import { t } from "./words.js";

const IMAGE_BYTES_MAX = 8 * 1024 * 1024;

/** What is on the page; it outlives the page, not the tab. */
let state = null;
let view = { draw() {}, live() {} };

export function forget() {
  state?.run?.stop();
  state = null;
}

function begin() {
  state = { system: "", messages: [{ role: "user", text: "", images: [] }], files: [], set: fresh(), run: null, tokens: false, error: null, chosen: false };
  state.editor = new Editor(t("Answer"), { changed: () => view.live(), run: () => go() });
}

/** The messages as they are sent; a file's text is read by models that read documents. */
function messages(prefix) {
  const said = [];
  const files = state.files.map((file) => `fileid://${file.id}`).join(",");
  if (state.system || files) said.push({ role: "system", content: state.system || "You are a helpful assistant." });
  if (files) said.push({ role: "system", content: files });
  for (const { role, text, images = [], calls, id } of state.messages) {
    const content = images.length ? [...images.map((url) => ({ type: "image_url", image_url: { url } })), { type: "text", text }] : text;
    said.push({ role, content, ...(calls ? { tool_calls: calls.map(({ id, type, function: called }) => ({ id, type, function: called })) } : {}), ...(id ? { tool_call_id: id } : {}) });
  }
  if (prefix) said.push({ role: "assistant", content: prefix, partial: true });
  return said;
}

const body = (prefix) => {
  const { model, ...fields } = fieldsOf(state.set);
  return { model, messages: messages(prefix), ...fields };
};

async function go() {
  if (state.run?.running) return;
  const { editor, set } = state;
  let asked;
  try {
    asked = body(editor.text.slice(0, editor.caret));
    state.error = null;
  } catch (error) {
    state.error = error;
    view.draw();
    return;
  }
  const prefix = editor.cut();
  const reader = new Reader();
  const several = set.n > 1;
  let shown = 0;
  const run = (state.run = new Run(asked, () => {
    const [choice] = run.choices;
    const following = scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    if (!several) {
      if (choice.text.length > shown) { editor.say(choice.text.slice(shown)); shown = choice.text.length; }
      if (run.seam && !editor.marks.some((mark) => mark.run === run)) {
        editor.marks.push({ at: prefix.length, back: unitsOf(prefix, run.seam.back), told: seamText(run.seam), run });
        editor.paint();
      }
      reader.hear(choice.text, !run.running);
    }
    if (!run.running) ended(run, prefix, several);
    view.live();
    if (following) scrollTo(0, document.documentElement.scrollHeight);
  }));
  state.prefix = prefix;
  state.chosen = !several;
  editor.lock(true);
  announce(t("writing…"));
  view.draw();
  await run.go();
}

function ended(run, prefix, several) {
  const { editor } = state;
  editor.lock(false);
  if (!several) editor.tokens = [...editor.tokens.filter((each) => each.end <= prefix.length), ...placed(run.choices[0], prefix.length)];
  editor.paint();
  announce(run.error ? sentence(run.error) : t(run.state === "stopped" ? "stopped" : "ended"));
  view.draw();
}

/** One of several candidates becomes the answer. */
function take(choice) {
  const { editor, prefix, run } = state;
  editor.keep();
  editor.splice(prefix.length, editor.text.length - prefix.length, "", "you");
  if (run.seam) editor.marks.push({ at: prefix.length, back: unitsOf(prefix, run.seam.back), told: seamText(run.seam), run });
  editor.say(choice.text);
  editor.tokens = [...editor.tokens, ...placed(choice, prefix.length)];
  state.chosen = true;
  view.draw();
}

/** From a point in the answer, perhaps with another token there. */
function goFrom(at, text) {
  const { editor } = state;
  state.tokens = false;
  editor.caret = at;
  editor.cut();
  if (text) { editor.splice(at, 0, text, "you"); editor.end(); }
  go();
}

/** The answer becomes a message, and the conversation goes on. */
function reply(calls, results) {
  const { editor } = state;
  state.messages.push({ role: "assistant", text: editor.text, calls });
  if (results) results.forEach((text, at) => state.messages.push({ role: "tool", text, id: calls[at].id }));
  else state.messages.push({ role: "user", text: "", images: [] });
  editor.past = [];
  editor.write("");
  state.run = null;
  view.draw();
  if (results) go();
  else document.querySelector(".messages .message:last-child textarea").focus();
}

function messageCard(message, at) {
  const roles = { user: t("You"), assistant: t("Model"), system: t("System"), tool: t("Result") };
  const name = t("Message {0}", at + 1);
  const box = area({ rows: 2, value: message.text, placeholder: message.role === "user" ? t("What do you want to know?") : "", "aria-label": `${name}: ${roles[message.role]}`,
    oninput: () => { message.text = box.value; },
    onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); state.editor.caret = state.editor.text.length; go(); } } });
  const role = select(Object.entries(roles).filter(([role]) => role !== "tool" || message.role === "tool"), message.role, (role) => { message.role = role; view.draw(); });
  role.setAttribute("aria-label", `${name}: ${t("Role")}`);
  return h(`div.message.from-${message.role}`, null,
    h("div.row", null, role, h("span.grow"),
      state.messages.length > 1 && h("button.small.link", { type: "button", "aria-label": t("Remove message {0}", at + 1), onclick: () => { state.messages.splice(at, 1); view.draw(); } }, t("Remove"))),
    box,
    message.calls && h("pre.code", { tabindex: "0" }, message.calls.map((call) => `${call.function.name}(${pretty(call.function.arguments)})`).join("\n")),
    message.images?.length > 0 && h("div.row", null, message.images.map((url, place) => h("figure", null, h("img", { src: url, alt: t("Image {0}", place + 1) }),
      h("button.small", { type: "button", "aria-label": t("Remove image {0}", place + 1), onclick: () => { message.images.splice(place, 1); view.draw(); } }, "×")))));
}

/** A button that opens the system's choice of files. */
function picker(label, accept, chosen, off) {
  const input = h("input.unseen", { type: "file", accept, multiple: true, tabindex: "-1", "aria-label": label, onchange: () => chosen([...input.files]) });
  return [h("button", { type: "button", disabled: Boolean(off), title: off, onclick: () => input.click() }, label), input];
}

function addImages(files) {
  const to = state.messages.findLast((message) => message.role === "user");
  for (const file of files) {
    if (!to || file.size > IMAGE_BYTES_MAX || !file.type.startsWith("image/")) { state.error = new Error(t("{0}: images of at most 8 MB, beside a message of yours.", file.name)); view.draw(); continue; }
    const reader = new FileReader();
    reader.onload = () => { to.images.push(reader.result); view.draw(); };
    reader.readAsDataURL(file);
  }
}

async function addFiles(files) {
  for (const file of files) {
    const entry = { name: file.name, id: "", status: "0%" };
    state.files.push(entry);
    view.draw();
    try {
      const made = await upload(file, (done) => { entry.status = `${Math.round(done * 100)}%`; view.draw(); });
      entry.id = made.id;
      entry.status = made.status;
      for (let tries = 0; entry.status === "processing" && tries < 600 && state?.files.includes(entry); tries++) {
        view.draw();
        await new Promise((later) => setTimeout(later, 1000));
        entry.status = (await call("GET", `${FILES}/${entry.id}`)).status;
      }
    } catch (error) {
      state.files = state.files.filter((other) => other !== entry);
      state.error = error;
    }
    view.draw();
  }
}

const statusWord = (status) => ({ processing: t("is being read"), processed: t("read"), error: t("cannot be read") })[status] ?? status;

export default function page(root) {
  if (!state) begin();
  const { editor } = state;
  editor.label(t("Answer"));
  const talk = h("div.messages"), tools = h("div.row.wrap"), below = h("div"), stage = h("div"), bar = h("div.row.wrap.toolbar");
  const system = area({ rows: 1, value: state.system, placeholder: t("Who the model is, and how it is to answer"), oninput: () => { state.system = system.value; } });
  const draw = () => {
    put(talk, state.messages.map(messageCard));
    const sees = can(state.set.model, "vision"), reading = reads(state.set.model);
    put(tools,
      h("button", { type: "button", onclick: () => { state.messages.push({ role: state.messages.at(-1)?.role === "user" ? "assistant" : "user", text: "", images: [] }); draw(); talk.lastElementChild.querySelector("textarea").focus(); } }, t("Add a message")),
      picker(t("Add an image"), "image/*", addImages, sees ? "" : t("this model sees no images")),
      picker(t("Add a file"), "", addFiles, reading ? "" : t("files: choose a name such as qwen-long")),
      h("span.quiet", null, [!sees && t("this model sees no images"), !reading && t("files: choose a name such as qwen-long")].filter(Boolean).join(" · ")),
      state.files.length > 0 && h("ul.chips", { "aria-label": t("Files") }, state.files.map((file) => h("li.chip", null, `${file.name} · ${statusWord(file.status)} `,
        h("button.small", { type: "button", "aria-label": t("Remove {0}", file.name), onclick: () => { state.files = state.files.filter((other) => other !== file); draw(); } }, "×")))));
    const { run } = state;
    put(stage, state.tokens && !run?.running ? tokenView(editor, goFrom) : editor.root);
    editor.paint();
    live();
  };
  const live = () => {
    const { run } = state;
    const running = run?.running ?? false;
    const focused = document.activeElement?.dataset?.act;
    const act = (name, label, what, props) => h(`button${props?.primary ? ".primary" : ""}`, { type: "button", "data-act": name, onclick: what, disabled: props?.off, "aria-pressed": props?.pressed, "aria-keyshortcuts": props?.keys }, label, props?.hint && h("kbd", null, props.hint));
    put(bar,
      running
        ? act("stop", t("Stop"), () => run.stop(), { primary: true, hint: "Esc", keys: "Escape" })
        : act("go", editor.atEnd ? (editor.text ? t("Go on") : t("Answer")) : t("Go on from here"), () => { state.tokens = false; go(); }, { primary: true, hint: "Ctrl ↵", keys: "Control+Enter" }),
      act("again", t("Start again"), () => { editor.keep(); editor.write(editor.runs[0]?.by === "you" ? editor.runs[0].text : ""); state.run = null; state.tokens = false; draw(); }, { off: running || !editor.said }),
      act("undo", t("Undo"), () => { editor.back(); state.tokens = false; draw(); }, { off: running || !editor.past.length }),
      act("tokens", t("Tokens"), () => { state.tokens = !state.tokens; draw(); }, { off: running || !editor.text, pressed: String(state.tokens) }),
      act("reply", t("Reply"), () => reply(), { off: running || !editor.text }),
      h("span.grow"),
      act("copy", t("Copy as…"), () => { try { copyDialog(body(editor.text.slice(0, editor.caret))); } catch (error) { state.error = error; draw(); } }),
    );
    if (focused) bar.querySelector(`[data-act="${focused}"], [data-act="${{ go: "stop", stop: "go" }[focused]}"]`)?.focus();
    const several = run && run.choices.length > 1 && !state.chosen;
    put(below,
      state.error && fault(state.error),
      run && run.choices[0].thought && h("details.thought", { open: !run.choices[0].text }, h("summary", null, t("Thought")), h("p", null, run.choices[0].thought)),
      several && h("div.lanes", null, run.choices.map((choice, at) => h("section.lane", { "aria-label": t("Candidate {0}", at + 1) },
        h("p.said", null, state.prefix && h("span.by-you", null, state.prefix.length > 60 ? `…${state.prefix.slice(-60)}` : state.prefix), h("span.by-model", null, choice.text), choice.reason === null && h("span.cursor")),
        h("button.small", { type: "button", disabled: running, "data-take": at, onclick: () => take(choice) }, t("Take this one"))))),
      !running && run?.choices[0].calls.length > 0 && callCards(run.choices[0].calls.filter(Boolean), (results) => reply(run.choices[0].calls.filter(Boolean), results)),
      run && facts(run));
  };
  view = { draw, live };
  put(root,
    h("h1", null, t("Playground")),
    h("div.columns", null,
      h("div.main", null,
        h("details.system", { open: Boolean(state.system) }, h("summary", null, t("System prompt")), field(t("System prompt"), system)),
        talk, tools,
        h(`section.stage${state.set.mono ? ".mono" : ""}`, { "aria-label": t("Answer") }, h("h2", null, t("Answer")), stage, bar, below)),
      h("aside", { "aria-label": t("Parameters") }, h("details.parameters", { open: matchMedia("(min-width: 60rem)").matches }, h("summary", null, h("h2", null, t("Parameters"))), panel(state.set, draw, (on) => root.querySelector(".stage").classList.toggle("mono", on))))));
  draw();
  if (!state.messages[0].text) talk.querySelector("textarea")?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) state?.run?.stop();
});
