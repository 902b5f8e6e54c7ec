"""Calls of functions over the whole house but the model, as both SDKs see them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dashscope
import httpx
import openai
import pytest
import uvicorn

from segue.app import build
from segue.config import Auth, Models, Settings
from segue.core.generation import Ability, Chunk, ModelCard
from segue.engine.scripted import Say, Script, Scripted, Verbatim, scripted_card
from tests.prompt.templates import QWEN25

KEY = "sk-known"
W = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
T = '{"name": "get_time", "arguments": {}}'
ONE, TWO = f"<tool_call>\n{W}\n</tool_call>", f"<tool_call>\n{W}\n</tool_call>\n<tool_call>\n{T}\n</tool_call>"
PARIS = {"city": "Paris"}
USER: Any = {"role": "user", "content": "How is the weather?"}
# Loose, as the official samples have them.
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_time", "description": "Now", "parameters": {}}},
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            "required": ["city"],
        },
    },
]


def card(*abilities: Ability) -> ModelCard:
    made = scripted_card("segue-scripted")
    return replace(made, template=QWEN25, abilities=frozenset({"partial", "json", *abilities}))


@dataclass(frozen=True, slots=True)
class House:
    """A listening server."""

    base: str

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=KEY, base_url=f"{self.base}/compatible-mode/v1", max_retries=0, timeout=20)

    def native(self, **parameters: Any) -> Any:
        return dashscope.Generation.call(
            api_key=KEY,
            base_address=f"{self.base}/api/v1",
            **{"model": "qwen-plus", "messages": [USER], "tools": TOOLS, "result_format": "message", **parameters},
        )

    def post(self, **body: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.post(
                f"{self.base}/compatible-mode/v1/chat/completions",
                headers={"Authorization": f"Bearer {KEY}"},
                json={"model": "qwen-plus", "messages": [USER], "tools": TOOLS, **body},
            )


@contextmanager
def house(script: Script | str, served: ModelCard | None = None, engine: Scripted | None = None) -> Iterator[House]:
    said = Say(script, size=3) if isinstance(script, str) else script
    settings = Settings(auth=Auth(api_key=KEY), models=Models(default="segue-scripted"))
    app = build(settings, {"segue-scripted": engine or Scripted(said, served or card())})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        time.sleep(0.05)  # the engine starts behind the socket
        yield House(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(10)


def arguments(calls: Any) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


def asked(client: openai.OpenAI, **parameters: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "qwen-plus", "messages": [USER], "tools": TOOLS, "parallel_tool_calls": True, **parameters}
    )


def test_whole_by_the_openai_sdk() -> None:
    with house(TWO) as served, served.openai() as client:
        (choice,) = asked(client).choices
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "")
        calls = choice.message.tool_calls
        assert [(call.type, len(call.id), call.id[:5]) for call in calls] == [("function", 27, "call_")] * 2
        assert calls[0].id != calls[1].id
        assert arguments([call.model_dump() for call in calls]) == [("get_weather", PARIS), ("get_time", {})]
        # The message goes back as it came, with results that name no call.
        history = [USER, choice.message, {"role": "tool", "content": "sunny"}, {"role": "tool", "content": "noon"}]
        assert asked(client, messages=history).choices[0].finish_reason == "tool_calls"


def test_streamed_by_the_openai_sdk() -> None:
    with house("One moment. " + TWO) as served, served.openai() as client:
        text = ""
        calls: dict[int, dict[str, Any]] = {}
        reasons = []
        for chunk in asked(client, stream=True):
            delta = chunk.choices[0].delta
            text += delta.content  # unseen, as the official samples do
            reasons.append(chunk.choices[0].finish_reason)
            for piece in delta.tool_calls or []:
                call = calls.setdefault(piece.index, {"id": "", "function": {"name": "", "arguments": ""}})
                call["id"] += piece.id
                call["function"]["name"] += piece.function.name or ""
                call["function"]["arguments"] += piece.function.arguments
        assert text == "One moment. "
        assert reasons == [None] * (len(reasons) - 1) + ["tool_calls"]
        assert len(reasons) > 8
        assert arguments(calls.values()) == [("get_weather", PARIS), ("get_time", {})]
        assert {len(call["id"]) for call in calls.values()} == {27}
        with client.chat.completions.stream(
            model="qwen-plus", messages=[USER], tools=TOOLS, parallel_tool_calls=True
        ) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        assert message.tool_calls is not None
        assert arguments([call.model_dump() for call in message.tool_calls]) == [
            ("get_weather", PARIS),
            ("get_time", {}),
        ]
        assert message.content == "One moment. "


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "get_weather"}}])
def test_whole_by_the_dashscope_sdk(choice: Any) -> None:
    with house(ONE) as served:
        answer = served.native(tool_choice=choice)
        assert answer.status_code == 200, answer
        (only,) = answer.output.choices
        assert only.finish_reason == ("tool_calls" if choice == "auto" else "stop")
        assert only.message.content == ""
        assert only.message.tool_calls[0]["type"] == "function"
        assert arguments(only.message.tool_calls) == [("get_weather", PARIS)]
    with house("Hello.") as served:
        assert "tool_calls" not in served.native().output.choices[0].message


@pytest.mark.parametrize("incremental", [True, False])
def test_streamed_by_the_dashscope_sdk(incremental: bool) -> None:
    with house("Hm. " + TWO) as served:
        text = ""
        calls: dict[int, dict[str, Any]] = {}
        answers = list(served.native(stream=True, incremental_output=incremental, parallel_tool_calls=True))
        for answer in answers:
            assert answer.status_code == 200, answer
            message = answer.output.choices[0].message
            text = text + message.content if incremental else message.content
            for piece in message.get("tool_calls") or []:
                known = calls.setdefault(piece["index"], {"id": "", "function": {"name": "", "arguments": ""}})
                function = piece["function"]
                if not incremental:
                    known["id"], known["function"] = piece["id"], dict(function)
                    continue
                known["id"] += piece["id"]
                known["function"]["name"] += function.get("name") or ""
                known["function"]["arguments"] += function["arguments"]
        assert text == "Hm. "
        assert [answer.output.choices[0].finish_reason for answer in answers][-2:] == ["null", "tool_calls"]
        assert arguments(calls.values()) == [("get_weather", PARIS), ("get_time", {})]
        assert answers[-1].usage.output_tokens == len(("Hm. " + TWO).encode())


def test_a_call_in_the_middle_of_its_arguments_becomes_one_call() -> None:
    prefix = ONE[: ONE.index("aris")]
    for mode in ("required", "auto"):
        with house(ONE.removeprefix(prefix)) as served:
            messages = [USER, {"role": "assistant", "content": prefix, "partial": True}]
            (choice,) = served.post(messages=messages, tool_choice=mode).json()["choices"]
            assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "")
            assert arguments(choice["message"]["tool_calls"]) == [("get_weather", PARIS)]
            said = served.post(messages=messages, tool_choice=mode, stream=True).text
            assert said.count('"name":"get_weather"') == 1
            assert '"arguments":"{\\"city\\": \\"P"' in said


def test_an_answer_cut_off_in_a_call() -> None:
    with house(ONE) as served:
        (choice,) = served.post(max_tokens=ONE.index("ris")).json()["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Pa'


def test_a_fenced_call_is_a_call_and_other_json_is_text() -> None:
    for said, called in ((f"```json\n{W}\n```", True), ('{"name": "John", "arguments": {}}', False)):
        with house(said) as served:
            (choice,) = served.post().json()["choices"]
            assert ("tool_calls" in choice["message"]) is called
            assert choice["message"]["content"] == ("" if called else said)
            assert choice["finish_reason"] == ("tool_calls" if called else "stop")


def test_marks_are_text_where_nothing_may_be_called() -> None:
    bodies: list[dict[str, Any]] = [{"tool_choice": "none"}, {"tools": []}]
    for body in bodies:
        with house(ONE) as served:
            (choice,) = served.post(**body).json()["choices"]
            assert choice["message"] == {"role": "assistant", "content": ONE}


def test_log_probabilities_are_those_of_text() -> None:
    with house("Hi.\n" + ONE) as served:
        (choice,) = served.post(logprobs=True).json()["choices"]
        assert bytes(byte for each in choice["logprobs"]["content"] for byte in each["bytes"]).startswith(b"Hi.\n")
        assert b"arguments" not in bytes(byte for each in choice["logprobs"]["content"] for byte in each["bytes"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "Range of n should be [1, 1]"),
    ({"tools": None, "tool_choice": "required"}, "Field required: tools"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "nobody"}}},
        "tool_choice.function.name must be the name of one of the tools, got 'nobody'",
    ),
    ({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "json"}]}, "exclude"),
    (
        {"messages": [USER, {"role": "assistant", "content": '<tool_call>{"name": "x', "partial": True}]},
        "at byte 21: expected 'g'",
    ),
    ({"tools": TOOLS * 65}, "Range of tools length should be [1, 128]"),
    (
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "b", "content": "x"},
            ]
        },
        "must be a response to a preceeding message",
    ),
]


def test_what_is_refused() -> None:
    with house("Hi") as served:
        for body, said in REFUSED:
            answer = served.post(**body)
            assert answer.status_code == 400, body
            assert said in answer.json()["error"]["message"]
    plain = scripted_card("segue-scripted")
    with house("Hi", plain) as served:  # its template prints no tools
        assert "The tool call is not supported." in served.post().json()["error"]["message"]
    with house("Hi", replace(card(), abilities=frozenset({"partial"}))) as served:  # nothing keeps it to a form
        assert served.post().status_code == 200
        assert served.post(tool_choice="required").status_code == 400


def test_a_failure_in_a_call_is_a_failure() -> None:
    cut = Verbatim((Chunk(0, (1,), ONE[:40].encode()),))
    with house(cut) as served:
        assert served.post().status_code == 500
        assert '"error"' in served.post(stream=True).text.rsplit("data: ", 1)[-1]
