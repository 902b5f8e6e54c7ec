// One request for an answer, from its first byte to its end: what was said, in which tokens, how fast, for how much.

import { CHAT, modelOf, session, streamed } from "./api.js";

const bytes = new TextEncoder();
const size = (text) => bytes.encode(text).length;

/** `exact; bound=1.2e-04; nodes=5; back=4`, as an object; null where there was no prefix. */
export function seamOf(header) {
  if (!header) return null;
  const [mode, ...facts] = header.split("; ");
  const told = Object.fromEntries(facts.map((fact) => fact.split("=")));
  return { mode, bound: Number(told.bound ?? 0), nodes: Number(told.nodes ?? 0), back: Number(told.back ?? 0), header };
}

/** How many UTF-16 units the last `count` bytes of a text are. */
export function unitsOf(text, count) {
  let at = text.length;
  while (count > 0 && at > 0) {
    const units = at > 1 && text.codePointAt(at - 2) > 0xffff ? 2 : 1;
    at -= units;
    count -= size(text.slice(at, at + units));
  }
  return text.length - at;
}

/** Where the tokens of a choice lie in a text in which it begins at `base`: [{start, end, token}], by counting bytes. */
export function placed({ text, tokens, lead }, base) {
  const ends = [];
  let unit = 0;
  for (const character of text) {
    unit += character.length;
    for (let i = size(character); i > 1; i--) ends.push(unit - character.length);
    ends.push(unit);
  }
  let byte = lead;
  return tokens.map((token) => {
    const start = byte ? ends[Math.min(byte, ends.length) - 1] ?? 0 : 0;
    byte += token.bytes.length;
    return { start: base + start, end: base + (ends[Math.min(byte, ends.length) - 1] ?? 0), token };
  });
}

/** `lead`: so many bytes come first of a token that an earlier answer had drawn and that its caller cut. What was sent of
 * the text never runs ahead of what was sent of its tokens by more than that. */
const empty = () => ({ text: "", thought: "", tokens: [], calls: [], reason: null, ahead: 0, lead: 0 });

export class Run {
  constructor(body, changed) {
    this.body = { ...body, stream: true, stream_options: { include_usage: true } };
    this.changed = changed;
    this.choices = Array.from({ length: body.n ?? 1 }, empty);
    this.state = "waiting";
    this.usage = this.seam = this.citations = this.error = this.first = this.ended = null;
    this.headers = {};
    this.stopper = new AbortController();
  }

  get running() { return this.state === "waiting" || this.state === "running"; }

  stop() { if (this.running) { this.state = "stopped"; this.stopper.abort(); } }

  async go() {
    this.began = performance.now();
    try {
      for await (const event of streamed(CHAT, this.body, this.stopper.signal, (headers) => this.open(headers))) this.take(event);
      if (this.running) this.state = "done";
    } catch (error) {
      if (this.state !== "stopped") { this.state = "failed"; this.error = error; }
    }
    this.ended = performance.now();
    this.tell(true);
    return this;
  }

  open(headers) {
    for (const name of ["x-request-id", "x-segue-model", "x-segue-seam", "x-segue-documents", "x-segue-ignored"]) this.headers[name] = headers.get(name);
    this.seam = seamOf(headers.get("x-segue-seam"));
    this.state = "running";
    this.tell();
  }

  take(event) {
    if (event.usage) this.usage = event.usage;
    if (event.segue_citations) this.citations = event.segue_citations;
    for (const { index, delta, logprobs, finish_reason } of event.choices) {
      const choice = this.choices[index];
      if (delta.content || delta.reasoning_content || delta.tool_calls) this.first ??= performance.now();
      if (delta.content) choice.text += delta.content;
      if (delta.reasoning_content) choice.thought += delta.reasoning_content;
      if (logprobs?.content) choice.tokens.push(...logprobs.content);
      choice.ahead += size(delta.content ?? "") - (logprobs?.content ?? []).reduce((sum, token) => sum + token.bytes.length, 0);
      choice.lead = Math.max(choice.lead, choice.ahead);
      for (const call of delta.tool_calls ?? []) {
        const known = (choice.calls[call.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
        known.id ||= call.id ?? "";
        known.function.name ||= call.function?.name ?? "";
        known.function.arguments += call.function?.arguments ?? "";
      }
      if (finish_reason) choice.reason = finish_reason;
    }
    this.tell();
  }

  /** At most once a frame, but for the end. */
  tell(now) {
    if (now) { cancelAnimationFrame(this.frame); this.frame = 0; this.changed(this); return; }
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.changed(this); });
  }

  get spoken() { return this.usage?.completion_tokens ?? this.choices.reduce((sum, choice) => sum + choice.tokens.length, 0); }

  get figures() {
    const end = this.ended ?? performance.now();
    const after = this.first === null ? 0 : (end - this.first) / 1000;
    const cached = this.usage?.prompt_tokens_details?.cached_tokens ?? 0;
    return {
      input: this.usage?.prompt_tokens, cached, output: this.spoken,
      first: this.first === null ? null : this.first - this.began,
      total: end - this.began,
      speed: after > 0.05 && this.spoken > 1 ? (this.spoken - 1) / after : null,
      cost: this.usage ? costOf(this.body.model, this.usage.prompt_tokens, cached, this.usage.completion_tokens) : null,
    };
  }
}

/** What so many tokens cost, in the catalogue's currency; null where there are no prices. */
export function costOf(name, input, cached, output) {
  const prices = modelOf(name)?.prices;
  if (!prices || !(prices.input || prices.cached || prices.output)) return null;
  return ((input - cached) * prices.input + cached * prices.cached + output * prices.output) / 1e6;
}

export const currency = () => session.currency;
