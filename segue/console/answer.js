// What an answer leaves behind, in words: how it was joined, what it took, why it ended, what it called, what went wrong.

import { currency } from "./run.js";
import { copy, dialog, h, fresh, field, area } from "./dom.js";
import { snippets } from "./snippets.js";
import { count, millis, t } from "./words.js";

export function seamText(seam) {
  if (!seam) return "";
  if (seam.mode === "exact") {
    const open = seam.back ? t("the last {0} bytes could be spelled otherwise", seam.back) : t("the prefix's own tokens stand");
    if (!seam.back && !seam.nodes) return t("Seam: exact; {0}", open);
    return t("Seam: exact to {0}; beginnings read: {1}; {2}", seam.bound.toExponential(1), seam.nodes, open);
  }
  return { resumed: t("Seam: resumed, from the tokens it was said in"), healed: t("Seam: healed"), plain: t("Seam: plain, the prefix as it stands") }[seam.mode] ?? seam.header;
}

const REASONS = { stop: "it had ended", length: "it was as long as allowed", tool_calls: "it calls a function" };

export function figuresLine(run) {
  const { input, cached, output, first, total, speed, cost } = run.figures;
  const told = [];
  if (input !== undefined) told.push(cached ? t("{0} tokens in, {1} of them cached", count(input), count(cached)) : t("{0} tokens in", count(input)));
  if (output) told.push(t("{0} out", count(output)));
  if (first !== null) told.push(t("first after {0}", millis(first)));
  if (speed) told.push(t("{0} tokens/s", speed.toFixed(1)));
  if (!run.running) told.push(t("{0} in all", millis(total)));
  if (cost !== null) told.push(`${cost.toFixed(6)} ${currency()}`);
  return told.join(" · ");
}

export function outcome(run) {
  const reason = run.choices[0]?.reason;
  return { waiting: t("waiting for the first token…"), running: t("writing…"), stopped: t("stopped"), failed: t("failed"), done: reason && REASONS[reason] ? t(REASONS[reason]) : t("ended") }[run.state];
}

export function sentence(error) {
  if (error.code === "offline") return t("The server cannot be reached.");
  const told = error.message || String(error);
  return error.id ? `${told} (${error.id})` : told;
}

export const fault = (error) => h("p.fault", { role: "alert" }, sentence(error));

/** Lines below an answer. */
export function facts(run) {
  const seam = seamText(run.seam);
  const more = [
    run.headers["x-segue-model"] && run.headers["x-segue-model"] !== run.body.model && t("answered by {0}", run.headers["x-segue-model"]),
    run.headers["x-segue-documents"] && t("documents: {0}", run.headers["x-segue-documents"]),
    run.headers["x-segue-ignored"] && t("ignored: {0}", run.headers["x-segue-ignored"]),
    run.headers["x-request-id"],
  ].filter(Boolean);
  return h("div.facts", null,
    h("p", null, h("span.state", { "data-state": run.state }, outcome(run)), figuresLine(run) && ` · ${figuresLine(run)}`),
    seam && h("p.certificate", { "data-certificate": run.seam.header }, seam),
    more.length > 0 && h("p.quiet", null, more.join(" · ")),
    run.error && fault(run.error));
}

/** The calls of an answer, and where what came of them is written. */
export function callCards(calls, send) {
  const results = calls.map((call) => {
    const box = area({ rows: 2, class: "code", value: call.result ?? "", oninput: () => { call.result = box.value; } });
    return box;
  });
  return h("section.calls", { "aria-label": t("Calls") },
    calls.map((call, at) => h("div.card", null,
      h("p", null, h("code.by-model", null, `${call.function.name}(${pretty(call.function.arguments)})`)),
      field(t("What came of it"), results[at]))),
    h("button", { type: "button", onclick: () => send(results.map((box) => box.value)) }, t("Send the results and go on")));
}

export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

export function copyDialog(body) {
  const made = snippets(body);
  const names = Object.keys(made);
  const id = fresh("tabs");
  const code = h("pre.snippet", { tabindex: "0", role: "tabpanel", "aria-labelledby": `${id}-0` });
  const tabs = names.map((name, at) => h("button.tab", { type: "button", role: "tab", id: `${id}-${at}`, onclick: () => show(at) }, name));
  const show = (at, focus) => {
    code.textContent = made[names[at]];
    code.setAttribute("aria-labelledby", `${id}-${at}`);
    tabs.forEach((tab, number) => { tab.setAttribute("aria-selected", String(number === at)); tab.tabIndex = number === at ? 0 : -1; });
    if (focus) tabs[at].focus();
  };
  const bar = h("div.tabs", { role: "tablist", "aria-label": t("Copy as") }, tabs);
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show((tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length, true);
  });
  show(0);
  const box = dialog(t("Copy as"), h("div", null, bar, code, h("p.quiet", null, t("Your key is not in it: put it into DASHSCOPE_API_KEY."))), (close) => [
    h("button", { type: "button", onclick: close }, t("Close")),
    h("button.primary", { type: "button", onclick: (event) => copy(code.textContent, event.currentTarget, t("Copied")) }, t("Copy")),
  ]);
  box.classList.add("wide");
}
