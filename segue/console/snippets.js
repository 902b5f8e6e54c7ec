// The same request for a terminal or a program. The key is never in it: it is read from the environment.

import { CHAT } from "./api.js";

const EXTENSIONS = new Set(["top_k", "repetition_penalty", "enable_thinking", "deterministic", "regex", "grammar", "segue_citations"]);

export function snippets(body) {
  const base = location.origin;
  const plain = { ...body };
  for (const name of ["stream", "stream_options"]) delete plain[name];
  return { curl: curl(base, plain), "Python · openai": openai(base, plain), "Python · dashscope": dashscope(base, plain), "Node · openai": node(base, plain) };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curl = (base, body) => `curl ${base}${CHAT} \\
  -H "Authorization: Bearer $DASHSCOPE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${quoted(JSON.stringify(body, null, 2))}
`;

/** JSON as Python writes it. */
function python(value, indent = 0) {
  const pad = "    ".repeat(indent + 1), end = "    ".repeat(indent);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return value.length ? `[\n${value.map((each) => pad + python(each, indent + 1)).join(",\n")},\n${end}]` : "[]";
  if (typeof value === "object") {
    const rows = Object.entries(value).map(([name, each]) => `${pad}${JSON.stringify(name)}: ${python(each, indent + 1)}`);
    return rows.length ? `{\n${rows.join(",\n")},\n${end}}` : "{}";
  }
  return JSON.stringify(value);
}

const named = (values, pad = "    ") => Object.entries(values).map(([name, value]) => `${pad}${name}=${python(value, 1)},\n`).join("");

function openai(base, body) {
  const own = Object.fromEntries(Object.entries(body).filter(([name]) => EXTENSIONS.has(name)));
  const rest = Object.fromEntries(Object.entries(body).filter(([name]) => !EXTENSIONS.has(name)));
  if (Object.keys(own).length) rest.extra_body = own;
  return `import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["DASHSCOPE_API_KEY"], base_url="${base}/compatible-mode/v1")
stream = client.chat.completions.create(
${named(rest)}    stream=True,
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
`;
}

function dashscope(base, body) {
  return `import os

import dashscope

dashscope.base_http_api_url = "${base}/api/v1"
stream = dashscope.Generation.call(
    api_key=os.environ["DASHSCOPE_API_KEY"],
${named(body)}    result_format="message",
    stream=True,
    incremental_output=True,
)
for chunk in stream:
    if chunk.status_code != 200:
        raise SystemExit(f"{chunk.code}: {chunk.message}")
    for choice in chunk.output.choices:
        print(choice.message.content or "", end="", flush=True)
print()
`;
}

const node = (base, body) => `import OpenAI from "openai";

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: "${base}/compatible-mode/v1",
});
const stream = await client.chat.completions.create(${JSON.stringify({ ...body, stream: true }, null, 2)});
for await (const chunk of stream) {
  for (const choice of chunk.choices) process.stdout.write(choice.delta.content ?? "");
}
console.log();
`;
