// The server, as any client sees it. The key is in this variable and nowhere else: not in an address, not in storage.

let key = "";

/** What the server tells a key of itself: role, workspace, models, prices. Null where nobody has logged in. */
export let session = null;

export const CHAT = "/compatible-mode/v1/chat/completions";
export const FILES = "/compatible-mode/v1/files";

let away = () => {};
export const onLeave = (then) => { away = then; };

export class Failure extends Error {
  constructor(status, code, message, id) {
    super(message || `HTTP ${status}`);
    Object.assign(this, { status, code, id });
  }
}

export async function enter(given) {
  const told = await call("GET", "/console/session", undefined, given);
  key = given;
  session = told;
}

export function leave(why) {
  key = "";
  session = null;
  away(why);
}

export const authorised = () => key;

async function failure(response) {
  const id = response.headers.get("x-request-id");
  let text = "";
  try {
    text = await response.text();
    const body = JSON.parse(text);
    const said = body.error ?? body;
    return new Failure(response.status, said.code, said.message, id);
  } catch {
    return new Failure(response.status, "", text.slice(0, 300), id);
  }
}

async function ask(method, path, body, { signal, as, headers } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: "no-store",
      credentials: "omit",
      headers: { authorization: `Bearer ${as ?? key}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "offline", "");
  }
  if (response.ok) return response;
  const fault = await failure(response);
  if (response.status === 401 && as === undefined) leave("refused");
  throw fault;
}

export async function call(method, path, body, as) {
  return (await ask(method, path, body, { as })).json();
}

/** Objects of a stream of events. `opened` is given the response's headers. */
export async function* streamed(path, body, signal, opened) {
  const response = await ask("POST", path, body, { signal });
  opened(response.headers);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const frames = held.split("\n\n");
    held = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data) continue;
      if (data === "[DONE]") return;
      const object = JSON.parse(data);
      if (object.error) throw new Failure(200, object.error.code, object.error.message, object.request_id);
      yield object;
    }
  }
}

/** Uploads a file; `progress` is given a share, 0 to 1. The rest of fetch cannot tell it. */
export function upload(file, progress, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("purpose", "file-extract");
    form.append("file", file, file.name);
    request.open("POST", FILES);
    request.setRequestHeader("authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => failed(new Failure(0, "offline", ""));
    request.onabort = () => failed(new DOMException("", "AbortError"));
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* said below */ }
      if (request.status === 200) done(body);
      else failed(new Failure(request.status, body.error?.code, body.error?.message, request.getResponseHeader("x-request-id")));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Every page of a list. */
export async function all(path, most = 1000) {
  const found = [];
  for (;;) {
    const sign = path.includes("?") ? "&" : "?";
    const after = found.length ? `&after=${encodeURIComponent(found.at(-1).id)}` : "";
    const page = await call("GET", `${path}${sign}limit=100${after}`);
    found.push(...page.data);
    if (!page.has_more || found.length >= most) return found;
  }
}

export const modelOf = (name) => session.models[session.names.find((each) => each.name === name)?.model];
export const can = (name, ability) => modelOf(name)?.abilities.includes(ability) ?? false;
export const reads = (name) => session.names.find((each) => each.name === name)?.documents ?? false;
