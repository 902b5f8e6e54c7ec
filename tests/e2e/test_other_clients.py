"""curl, and the `openai` package for Node, against a running server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from tests.e2e.server import KEY, Server
from tests.e2e.talk import CHAT, GENERATION, PROTOCOLS, Protocol, ask, begun, user

COUNT = ask(user("Count from 1 to 20, separated by commas."), begun("1, 2, 3,"), temperature=0, max_tokens=6)
NODE_PACKAGE = "openai@6"
NODE_PROGRAM = """
import OpenAI from "openai";
const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.BASE, maxRetries: 0 });
const messages = JSON.parse(process.env.MESSAGES);
const given = { model: "qwen-plus", messages, max_tokens: 6, temperature: 0 };
const whole = await client.chat.completions.create(given);
let text = "";
for await (const chunk of await client.chat.completions.create({ ...given, stream: true })) {
  text += chunk.choices[0].delta.content;
}
let refused = null;
try {
  await client.chat.completions.create({ ...given, enable_thinking: true });
} catch (error) {
  refused = { status: error.status, code: error.code, type: error.type, id: error.requestID };
}
const message = whole.choices[0].message;
console.log(JSON.stringify({ message, text, refused, called: "tool_calls" in message, usage: whole.usage }));
"""


def curl(server: Server, protocol: Protocol, body: dict[str, Any], *options: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    path = CHAT if protocol == "compatible" else GENERATION
    line = [program, "-sS", "--noproxy", "*", "-X", "POST", server.base + path, "--data-binary", "@-"]
    headers = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    done = subprocess.run(
        [*line, *headers, *options], input=json.dumps(body), capture_output=True, text=True, timeout=150, check=True
    )
    return done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_curl(server: Server, protocol: Protocol) -> None:
    body = json.loads(curl(server, protocol, COUNT.body(protocol), "--fail-with-body"))
    choice = (body if protocol == "compatible" else body["output"])["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": " 4, 5,"}
    assert choice["finish_reason"] == "length"


def test_curl_streams_compatible_frames(server: Server) -> None:
    body = COUNT.body("compatible") | {"stream": True, "stream_options": {"include_usage": True}}
    frames = curl(server, "compatible", body, "-N").split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    bodies = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
    assert all(body["object"] == "chat.completion.chunk" for body in bodies)
    assert all(body["usage"] is None for body in bodies[:-1])
    assert bodies[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(body["choices"][0]["delta"]["content"] for body in bodies[:-1]) == " 4, 5,"
    assert (bodies[-1]["choices"], bodies[-1]["usage"]["completion_tokens"]) == ([], 6)


def test_curl_streams_native_frames(server: Server) -> None:
    body = COUNT.but(incremental_output=True).body("native")
    frames = curl(server, "native", body, "-N", "-H", "X-DashScope-SSE: enable").split("\n\n")
    assert frames.pop() == ""
    text = ""
    for number, frame in enumerate(frames, 1):
        *head, data = frame.split("\n")
        assert head == [f"id:{number}", "event:result", ":HTTP_STATUS/200"]
        output = json.loads(data.removeprefix("data:"))["output"]["choices"][0]
        text += output["message"]["content"]
        assert output["finish_reason"] == ("length" if number == len(frames) else "null")
    assert text == " 4, 5,"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the installed package; fetched into the user's cache once a machine."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not installed")
    folder = platformdirs.user_cache_path("segue") / "test-node" / NODE_PACKAGE
    modules = folder / "node_modules"
    if not (modules / "openai" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        line = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), NODE_PACKAGE]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm could not install {NODE_PACKAGE} within two minutes")
        if done.returncode:
            pytest.skip(f"npm could not install {NODE_PACKAGE}: {done.stderr.strip()[-300:]}")
    return modules


def test_node(server: Server, node_modules: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    program = tmp_path / "ask.mjs"
    program.write_text(NODE_PROGRAM)
    environment = os.environ | {
        "KEY": KEY,
        "BASE": server.compatible,
        "MESSAGES": json.dumps(COUNT.messages),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        ["node", str(program)], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["message"]["content"] == answer["text"] == " 4, 5,"
    assert not answer["called"]
    assert answer["usage"]["completion_tokens"] == 6
    identity = answer["refused"].pop("id")
    assert len(identity) == 36
    assert answer["refused"] == {"status": 400, "code": "invalid_parameter_error", "type": "invalid_request_error"}
