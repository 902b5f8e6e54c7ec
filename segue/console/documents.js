// What was uploaded, what was read of it, and questions about it with the passages that were read for the answer.

import { FILES, all, call, reads, session, upload } from "./api.js";
import { facts, fault } from "./answer.js";
import { Reader, area, dialog, field, h, put, sure } from "./dom.js";
import { modelSelect } from "./request.js";
import { Run } from "./run.js";
import { bytes, day, t } from "./words.js";

const LOOK_MS = 1500;
const PAGE_BYTES = 60_000;
let state = null;
let view = { draw() {}, live() {} };

export function forget() {
  state?.run?.stop();
  clearTimeout(state?.timer);
  for (const each of state?.going ?? []) each.stopper.abort();
  state = null;
}

async function load() {
  const mine = state;
  clearTimeout(mine.timer);
  try {
    const files = (await all(FILES)).filter((file) => file.purpose === "file-extract");
    for (const file of files.filter((each) => each.status === "processing").slice(0, 5)) {
      file.progress = (await call("GET", `/api/v1/files/${file.id}`)).data.progress;
    }
    mine.files = files;
    mine.error = null;
  } catch (error) { mine.error = error; }
  if (state !== mine) return;
  for (const id of mine.chosen) if (!mine.files.some((file) => file.id === id && file.status !== "error")) mine.chosen.delete(id);
  view.draw();
  if (mine.files.some((file) => file.status === "processing")) mine.timer = setTimeout(load, LOOK_MS);
}

async function add(files) {
  for (const file of files) {
    const entry = { name: file.name, share: 0, stopper: new AbortController() };
    state.going.push(entry);
    view.draw();
    try {
      const made = await upload(file, (share) => { entry.share = share; view.draw(); }, entry.stopper.signal);
      state?.chosen.add(made.id);
    } catch (error) {
      if (state && error.name !== "AbortError") state.error = error;
    }
    if (!state) return;
    state.going = state.going.filter((other) => other !== entry);
    view.draw();
  }
  const { error } = state;
  await load();
  if (state && error) { state.error = error; view.draw(); }
}

async function remove(file) {
  if (!await sure(t("Delete this file?"), t("{0}, and all that was read of it, will be gone.", file.name), t("Delete"), t("Keep it"))) return;
  try { await call("DELETE", `${FILES}/${file.id}`); } catch (error) { state.error = error; }
  await load();
}

/** The text that was found, part by part. */
async function show(file) {
  const list = h("nav.parts", { "aria-label": t("Pages") }), text = h("pre.page", { tabindex: "0" }, "…");
  const box = dialog(file.name, h("div.reader", null, list, text), (close) => [h("button", { type: "button", onclick: close }, t("Close"))]);
  box.classList.add("wide");
  try {
    const { parts, bytes: size } = await call("GET", `/console/files/${file.id}/parts`);
    const open = async (at) => {
      const { start } = parts[at], end = Math.min(parts[at + 1]?.start ?? size, start + PAGE_BYTES);
      [...list.children].forEach((each, place) => each.setAttribute("aria-current", place === at ? "true" : "false"));
      const found = (await call("GET", `/console/files/${file.id}/text?start=${start}&end=${end}`)).text;
      text.textContent = found.trim() || t("(nothing was found here)");
    };
    const name = (part, at) => part.label || (parts.length === 1 ? t("All of it") : t("Part {0}", at + 1));
    put(list, parts.map((part, at) => h("button.small", { type: "button", onclick: () => open(at).catch((error) => put(text, fault(error))) }, name(part, at))));
    await open(0);
  } catch (error) { put(text, fault(error)); }
}

async function ask() {
  const { question, model, chosen } = state;
  if (state.run?.running || !question.trim() || !chosen.size) return;
  const reader = new Reader();
  state.run = new Run({ model, segue_citations: true, messages: [
    { role: "system", content: "You are a helpful assistant." },
    { role: "system", content: [...chosen].map((id) => `fileid://${id}`).join(",") },
    { role: "user", content: question },
  ] }, (run) => { reader.hear(run.choices[0].text, !run.running); view.live(); });
  view.live();
  await state.run.go();
}

const statusText = (file) => ({
  processing: file.progress ? t("being read, {0}", `${Math.round(file.progress * 100)}%`) : t("is being read"),
  processed: t("read"),
  error: t("cannot be read"),
})[file.status];

export default function page(root) {
  if (!session.files) { put(root, h("h1", null, t("Documents")), h("p", null, t("This server keeps no files."))); return; }
  const first = !state;
  state ??= { files: [], going: [], chosen: new Set(), question: "", model: session.names.find((each) => each.documents)?.name, run: null, error: null, timer: 0 };
  const input = h("input.unseen", { type: "file", multiple: true, tabindex: "-1", "aria-label": t("Files"), onchange: () => add([...input.files]) });
  const drop = h("div.drop", {
    ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); drop.classList.remove("over"); add([...event.dataTransfer.files]); },
  }, h("button.primary", { type: "button", onclick: () => input.click() }, t("Upload")), input, h("span.quiet", null, t("or drop files here: PDF, Word, Excel, text, books, pictures")));
  const list = h("div"), below = h("div"), asking = h("div.row.wrap.toolbar");
  const question = area({ rows: 2, value: state.question, placeholder: t("What do they say about…?"), oninput: () => { state.question = question.value; live(); },
    onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); } } });
  const row = (file) => h("tr", { "data-file": file.id },
    h("td", null, h("label.tick", null, h("input", { type: "checkbox", checked: state.chosen.has(file.id), disabled: file.status === "error",
      onchange: (event) => { if (event.target.checked) state.chosen.add(file.id); else state.chosen.delete(file.id); live(); } }), h("span", null, file.filename))),
    h("td.number", null, bytes(file.bytes)),
    h("td", { "data-status": file.status }, statusText(file)),
    h("td.number.wide-only", null, day(file.created_at)),
    h("td.end", null,
      h("button.small", { type: "button", disabled: file.status !== "processed", "aria-label": t("Pages of {0}", file.filename), onclick: () => show({ ...file, name: file.filename }) }, t("Pages")),
      h("button.small", { type: "button", "aria-label": t("Delete {0}", file.filename), onclick: () => remove({ ...file, name: file.filename }) }, t("Delete"))));
  const draw = () => {
    put(list,
      state.error && fault(state.error),
      state.going.map((each) => h("div.row.going", null, h("span", null, each.name), h("progress", { value: each.share, max: 1, "aria-label": t("Upload of {0}", each.name) }),
        h("span.number", null, `${Math.round(each.share * 100)}%`), h("button.small", { type: "button", onclick: () => each.stopper.abort() }, t("Stop")))),
      state.files.length ? h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("Files") }, h("table", null,
        h("thead", null, h("tr", null, h("th", null, t("File")), h("th.number", null, t("Size")), h("th", null, t("Status")), h("th.number.wide-only", null, t("Uploaded")), h("th", null, h("span.unseen", null, t("Acts"))))),
        h("tbody", null, state.files.map(row))))
        : !state.going.length && h("p.quiet", null, t("There are no files yet.")));
    live();
  };
  const live = () => {
    const { run } = state;
    put(asking, run?.running
      ? h("button.primary", { type: "button", onclick: () => run.stop() }, t("Stop"))
      : h("button.primary", { type: "button", disabled: !state.question.trim() || !state.chosen.size, onclick: ask }, state.chosen.size ? t("Ask about {0}", state.chosen.size === 1 ? t("one file") : t("{0} files", state.chosen.size)) : t("Ask")));
    put(below, run && [
      h("p.said.large", null, h("span.by-model", null, run.choices[0].text), run.running && h("span.cursor")),
      run.citations?.length > 0 && h("section", null, h("h2", null, t("What was read for it")), h("ol.passages", null, run.citations.map((each) => h("li", { value: each.index },
        h("p.quiet", null, [each.name, each.part].filter(Boolean).join(" · ")), h("blockquote", null, each.text ?? t("all of it"))))))
      , facts(run)]);
  };
  view = { draw, live };
  put(root, h("h1", null, t("Documents")), drop, list,
    h("section", { "aria-label": t("Ask") }, h("h2", null, t("Ask")),
      field(t("Question"), question), field(t("Model"), modelSelect(state.model, (model) => { state.model = model; }, (each) => reads(each.name))), asking, below));
  draw();
  if (first || !state.timer) load();
}
