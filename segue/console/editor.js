// A text that two write: the caller in ink, the model in colour. A plain textarea takes the keys, so that caret, input
// methods, undo and screen readers work as everywhere; a mirror behind it, of the same measure, has the colours.

import { h, put } from "./dom.js";
import { t } from "./words.js";

export class Editor {
  constructor(label, { changed, run }) {
    this.runs = [];      // { by: "you" | "model", text }
    this.marks = [];     // { at, back, told }: where a prefix was joined to what follows
    this.tokens = [];    // { start, end, token }, in order
    this.past = [];
    this.caret = 0;
    this.changed = changed;
    this.mirror = h("div.mirror", { "aria-hidden": "true" });
    this.box = h("textarea", { "aria-label": label, spellcheck: "false", rows: 4, autocapitalize: "off" });
    this.box.addEventListener("input", () => this.typed());
    for (const event of ["keyup", "pointerup", "focus", "select"]) this.box.addEventListener(event, () => this.moved());
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.moved(); run(); }
    });
    this.root = h("div.editor", null, this.mirror, this.box);
    new ResizeObserver(() => this.fit()).observe(this.root);
  }

  get text() { return this.runs.map((run) => run.text).join(""); }
  get atEnd() { return this.caret >= this.text.length; }
  get said() { return this.runs.some((run) => run.by === "model"); }

  label(text) { this.box.setAttribute("aria-label", text); }

  moved() {
    if (this.box.readOnly) return;
    const caret = this.box.selectionStart;
    if (caret === this.caret) return;
    this.caret = caret;
    this.paint();
    this.changed();
  }

  typed() {
    const before = this.text, now = this.box.value;
    let head = 0;
    const most = Math.min(before.length, now.length, this.box.selectionStart);
    while (head < most && before[head] === now[head]) head++;
    let tail = 0;
    while (tail < Math.min(before.length, now.length) - head && before.at(-1 - tail) === now.at(-1 - tail)) tail++;
    this.splice(head, before.length - tail - head, now.slice(head, now.length - tail), "you");
    this.caret = this.box.selectionStart;
    this.paint();
    this.changed();
  }

  /** What lies behind the change is what it was, but its tokens followed another text. */
  splice(at, count, text, by) {
    const parts = [];
    let place = 0;
    const keep = (run, from, to) => { if (to > from) parts.push({ by: run.by, text: run.text.slice(from, to) }); };
    for (const run of this.runs) { keep(run, 0, Math.min(run.text.length, at - place)); place += run.text.length; }
    if (text) parts.push({ by, text });
    place = 0;
    for (const run of this.runs) { keep(run, Math.max(0, at + count - place), run.text.length); place += run.text.length; }
    this.runs = parts.reduce((joined, run) => {
      if (joined.at(-1)?.by === run.by) joined.at(-1).text += run.text;
      else joined.push({ ...run });
      return joined;
    }, []);
    this.tokens = this.tokens.filter((token) => token.end <= at);
    this.marks = this.marks.filter((mark) => mark.at <= at);
  }

  keep() {
    const known = { runs: this.runs.map((run) => ({ ...run })), marks: [...this.marks], tokens: [...this.tokens] };
    if (this.text && this.past.at(-1)?.runs.map((run) => run.text).join("") !== this.text) this.past.push(known);
    if (this.past.length > 50) this.past.shift();
  }

  back() {
    const known = this.past.pop();
    if (known) this.load(known);
  }

  load({ runs, marks = [], tokens = [] }) {
    Object.assign(this, { runs, marks, tokens });
    this.end();
  }

  write(text) { this.load({ runs: text ? [{ by: "you", text }] : [] }); }

  /** Everything behind the caret goes; what remains is the prefix. */
  cut() {
    const text = this.text;
    this.keep();
    if (this.caret < text.length) this.splice(this.caret, text.length - this.caret, "", "you");
    this.end();
    return this.text;
  }

  say(text) { this.splice(this.text.length, 0, text, "model"); this.end(); }

  end() {
    this.caret = this.text.length;
    this.paint();
    this.changed();
  }

  select(at) {
    this.caret = at;
    this.paint();
    this.box.focus();
    this.box.setSelectionRange(at, at);
    this.changed();
  }

  paint() {
    const text = this.text;
    if (this.box.value !== text) {
      this.box.value = text;
      this.box.setSelectionRange(this.caret, this.caret);
    }
    const cuts = new Set([this.caret]);
    for (const mark of this.marks) { cuts.add(mark.at - mark.back); cuts.add(mark.at); }
    const nodes = [];
    const cutting = this.said && this.caret < text.length;
    let place = 0;
    for (const stop of [...cuts, text.length].filter((cut) => cut > 0 && cut <= text.length).sort((a, b) => a - b)) {
      if (stop === place) continue;
      const more = `${this.tailed(place, stop) ? ".tail" : ""}${cutting && place >= this.caret ? ".behind" : ""}`;
      nodes.push(this.parts(place, stop).map((part) => h(`span.by-${part.by}${more}`, null, part.text)));
      nodes.push(this.marks.filter((mark) => mark.at === stop).map(seamMark));
      place = stop;
    }
    put(this.mirror, nodes, "\u200b");
    this.fit();
  }

  /** Whose the text between two places is. */
  parts(from, to) {
    let place = 0;
    return this.runs.map((run) => {
      const text = run.text.slice(Math.max(0, from - place), Math.max(0, to - place));
      place += run.text.length;
      return { by: run.by, text };
    }).filter((part) => part.text);
  }

  /** Whether that could be spelled otherwise when what follows was joined to it. */
  tailed(from, to) { return this.marks.some((mark) => mark.back > 0 && from >= mark.at - mark.back && to <= mark.at); }

  fit() {
    this.box.style.height = `${Math.max(this.mirror.scrollHeight, 120)}px`;
    this.box.placeholder = t("Begin the answer here, or leave it empty. The model goes on from the caret.");
  }

  lock(locked) { this.box.readOnly = locked; this.root.classList.toggle("busy", locked); }
}

const seamMark = (mark) => h("span.seam", { "data-at": mark.at, "data-back": mark.back, title: mark.told });

/** A probability, as people write it. */
export const share = (logprob) => {
  const p = Math.exp(logprob) * 100;
  return p >= 99.95 ? "100%" : p >= 10 ? `${p.toFixed(1)}%` : p >= 0.1 ? `${p.toFixed(2)}%` : p > 0 && p < 0.001 ? "<0.001%" : `${p.toFixed(3)}%`;
};

export const visible = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·");

/** The tokens of an answer, each a button; beside it what else could have come. `go(at, text)`: go on from there. */
export function tokenView(editor, go) {
  const text = editor.text;
  const panel = h("div.choices", { role: "group", "aria-label": t("What else could have come"), hidden: true });
  const flow = h("div.tokens", { role: "group", "aria-label": t("Tokens of the answer") });
  let place = 0;
  const drawn = new Set();
  const mark = (at) => {
    for (const each of editor.marks) if (each.at === at && !drawn.has(each) && drawn.add(each)) flow.append(seamMark(each));
  };
  const plain = (to) => {
    for (const stop of [...editor.marks.flatMap((each) => [each.at - each.back, each.at]), to].filter((cut) => cut > place && cut <= to).sort((a, b) => a - b)) {
      for (const part of editor.parts(place, stop)) flow.append(h(`span.by-${part.by}${editor.tailed(place, stop) ? ".tail" : ""}`, null, part.text));
      place = stop;
      mark(stop);
    }
    mark(to);
  };
  const buttons = editor.tokens.map((each, number) => {
    plain(Math.max(each.start, place));
    const { token } = each;
    const p = Math.exp(token.logprob);
    const level = p >= 0.9 ? 0 : p >= 0.6 ? 1 : p >= 0.3 ? 2 : p >= 0.1 ? 3 : 4;
    const shown = text.slice(each.start, each.end);
    const button = h(`button.token.p${level}`, {
      type: "button", "data-logprob": token.logprob, "data-token": token.token, tabindex: number ? "-1" : "0", "aria-pressed": "false",
      "aria-label": `${visible(token.token)} ${share(token.logprob)}`,
      onclick: () => open(number),
    }, shown.replaceAll("\n", "⏎") || "◌");
    // A button is a block of its own: lines are broken beside it.
    const lines = shown.replace(/[^\n]/g, "");
    if (shown.endsWith("\n")) flow.append(button, lines);
    else flow.append(lines, button);
    place = Math.max(place, each.end);
    return button;
  });
  plain(text.length);
  flow.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -1e9, End: 1e9 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    const next = buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)];
    for (const each of buttons) each.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  function open(number) {
    const { start, token } = editor.tokens[number];
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === buttons[number]));
    const rows = [token, ...token.top_logprobs.filter((other) => other.token !== token.token)];
    panel.hidden = false;
    put(panel,
      h("p.quiet", null, t("Token {0} of {1}", number + 1, buttons.length)),
      h("ul", null, rows.map((row, place) => h(`li${place ? "" : ".chosen"}`, null,
        h("code", null, visible(row.token)),
        h("meter", { min: 0, max: 1, value: Math.exp(row.logprob), "aria-label": t("Probability") }),
        h("span.number", { "data-logprob": row.logprob }, share(row.logprob)),
        place === 0
          ? h("button.small", { type: "button", onclick: () => go(start, "") }, t("Go on from before it"))
          : row.token.startsWith("bytes:") ? h("span") : h("button.small", { type: "button", onclick: () => go(start, row.token) }, t("Go on with this")),
      ))));
  }
  if (!buttons.length) return h("p.quiet", null, t("There are no tokens to show: go on once with token probabilities switched on."));
  return h("div", null, flow, h("p.quiet.key", { "aria-hidden": "true" }, t("likely"), [0, 1, 2, 3, 4].map((level) => h(`span.token.p${level}`, null, "\u2003")), t("unlikely")), panel);
}


