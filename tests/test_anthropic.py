"""The Anthropic protocol over the whole house but the model, as its own SDK sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx
import pytest
from dashscope import Client
from dashscope.v2.errors import NotFoundError

from segue.engine.scripted import Scripted
from segue.wire.anthropic.read import FIELDS
from tests.test_calls import KEY, ONE, PARIS, TWO, House
from tests.test_calls import card as calling
from tests.test_calls import house as served
from tests.test_thinking import ANSWER, SPENT, THOUGHT, USED, Thinker
from tests.test_thinking import card as thinking

USER: Any = {"role": "user", "content": "How is the weather?"}
TOOLS: Any = [
    {"name": "get_time", "description": "Now", "input_schema": {"type": "object"}},
    {
        "name": "get_weather",
        "description": "Of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
]
PATH = "/apps/anthropic/v1/messages"


@contextmanager
def house(
    said: str, engine: Scripted | None = None, bearer: bool = False
) -> Iterator[tuple[anthropic.Anthropic, House]]:
    key: dict[str, Any] = {"auth_token": KEY} if bearer else {"api_key": KEY}
    with served(said, calling(), engine) as listening:
        base = f"{listening.base}/apps/anthropic"
        with anthropic.Anthropic(base_url=base, max_retries=0, timeout=20, **key) as client:
            yield client, listening


@pytest.fixture(scope="module")
def plain() -> Iterator[House]:
    with house("Sunny, I think.") as (_, listening):
        yield listening


def asked(client: anthropic.Anthropic, *messages: Any, **fields: Any) -> Any:
    given: dict[str, Any] = {"model": "qwen-plus", "max_tokens": 500, "messages": list(messages) or [USER]}
    return client.messages.create(**given | fields)


def post(house: House, body: Any, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.post(house.base + PATH, headers={"x-api-key": KEY} | headers, json=body)


def test_whole() -> None:
    for bearer in (False, True):
        with house("Sunny.", bearer=bearer) as (client, _):
            message = asked(client, system="Be brief.")
            assert (message.type, message.role, message.model) == ("message", "assistant", "qwen-plus")
            assert [(block.type, block.text) for block in message.content] == [("text", "Sunny.")]
            assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
            assert message.id.startswith("msg_")
            assert (message.usage.output_tokens, message.usage.cache_read_input_tokens) == (6, 0)
            assert message._request_id == message.id.removeprefix("msg_")
            counted = client.messages.count_tokens(model="qwen-plus", messages=[USER], system="Be brief.")
            assert counted.input_tokens == message.usage.input_tokens
            assert asked(client, max_tokens=2).stop_reason == "max_tokens"
            stopped = asked(client, stop_sequences=["n"])
            assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == ("Su", "end_turn", None)


def test_streamed_events_in_their_order() -> None:
    with house("Sunny.") as (client, _):
        with client.messages.stream(model="qwen-plus", max_tokens=50, messages=[USER]) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_message()
        raw = [event.type for event in asked(client, stream=True)]
    assert raw == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert kinds[0] == "message_start"
    assert message.content[0].model_dump()["text"] == "Sunny."
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 6)


def test_a_last_turn_of_the_assistants_is_a_prefix() -> None:
    engine = Thinker("", answer=" and warm", served=thinking())
    with house("", engine) as (client, _):
        contents: list[Any] = ["Sunny \n", [{"type": "text", "text": "Sunny"}, {"type": "text", "text": " \n"}]]
        for content in contents:
            message = asked(client, USER, {"role": "assistant", "content": content})
            assert message.content[0].text == " and warm"
            assert engine.prompts[-1].endswith("assistant\n<think>\n\n</think>\n\nSunny \n"), "to the byte"
        empty = asked(client, USER, {"role": "assistant", "content": ""})
        assert empty.content[0].text == " and warm"


def test_functions_are_called_and_answered() -> None:
    with house(TWO) as (client, _):
        message = asked(client, tools=TOOLS)
        assert message.stop_reason == "tool_use"
        assert [(block.type, block.name, block.input) for block in message.content] == [
            ("tool_use", "get_weather", PARIS),
            ("tool_use", "get_time", {}),
        ]
        results: Any = [
            {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "fine"}]}
            for block in message.content
        ]
        again = asked(
            client,
            USER,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [*results, {"type": "text", "text": "So?"}]},
            tools=TOOLS,
        )
        assert again.stop_reason == "tool_use"
        one = asked(client, tools=TOOLS, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        assert len(one.content) <= 2
    with house("One moment. " + TWO) as (client, _):
        with client.messages.stream(model="qwen-plus", max_tokens=500, messages=[USER], tools=TOOLS) as stream:
            kinds = [(event.type, getattr(event, "index", None)) for event in stream if event.type.endswith("_stop")]
            final = stream.get_final_message()
        assert kinds == [
            ("content_block_stop", 0),
            ("content_block_stop", 1),
            ("content_block_stop", 2),
            ("message_stop", None),
        ]
        blocks: list[Any] = final.content
        assert [block.type for block in blocks] == ["text", "tool_use", "tool_use"]
        assert (blocks[1].input, blocks[2].input) == (PARIS, {})


def test_a_function_is_demanded() -> None:
    with house(ONE) as (client, _):
        for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
            assert asked(client, tools=TOOLS, tool_choice=choice).content[-1].input == PARIS
        said = asked(client, tools=TOOLS, tool_choice={"type": "none"})
        assert (said.content[0].type, said.stop_reason) == ("text", "end_turn")


def test_thinking() -> None:
    engine = Thinker(f"{THOUGHT}\n</think>{ANSWER}", answer="Two.", served=thinking())
    on: Any = {"type": "enabled", "budget_tokens": 1024}
    with house("", engine) as (client, _):
        message = asked(client, thinking=on)
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert (message.content[0].thinking, message.content[0].signature) == (THOUGHT, "")
        assert (message.content[1].text, message.usage.output_tokens) == ("There are two.", USED)
        asked(client, USER, {"role": "assistant", "content": message.content}, USER)
        with client.messages.stream(model="qwen-plus", max_tokens=500, messages=[USER], thinking=on) as stream:
            final: Any = stream.get_final_message()
        assert (final.content[0].thinking, final.content[1].text) == (THOUGHT, "There are two.")
        cut = asked(client, thinking={"type": "enabled", "budget_tokens": 5})
        assert (cut.content[0].thinking, cut.content[1].text) == (THOUGHT[:5], "Two.")
        inside = asked(
            client, USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "I", "signature": ""}]}
        )
        assert inside.content[0].thinking == THOUGHT
        assert engine.prompts[-1].endswith("<think>\nI")
        off = asked(client, thinking={"type": "disabled"})
        assert [block.type for block in off.content] == ["text"]
        with pytest.raises(anthropic.BadRequestError, match="Partial mode is not supported"):
            asked(client, USER, {"role": "assistant", "content": "a"}, thinking=on)
    assert SPENT


def test_the_dashscope_client_speaks_it_too(plain: House) -> None:
    with Client(api_key=KEY, base_url=f"{plain.base}/apps/anthropic", protocol="anthropic", max_retries=0) as client:
        answer = client.chat.completions.create(model="qwen-plus", messages=[USER])
        assert answer.choices[0].message.content == "Sunny, I think."
        assert answer.usage.output_tokens == 15
        chunks = list(client.chat.completions.create(model="qwen-plus", messages=[USER], stream=True))
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Sunny, I think."
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="nobody", messages=[USER])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "you must provide a model parameter."),
    ({"max_tokens": None}, "Field required: max_tokens"),
    ({"max_tokens": 0}, "Range of max_tokens should be"),
    ({"messages": None}, "you must provide a messages parameter"),
    ({"messages": []}, "[] is too short - 'messages'"),
    ({"messages": "hi"}, "Input should be a valid list: messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, "system is not one of"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "The input messages do not contain elements with the role"),
    ({"messages": [{"role": "user"}]}, "The content field is a required field."),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
        "input content must be a string.",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "odd"}]}]},
        "Input should be 'text': messages.0.content.0.type",
    ),
    ({"temperature": 2}, "Temperature should be in [0.0, 2.0)"),
    ({"stop_sequences": [1]}, "Input should be a valid list: stop_sequences"),
    ({"system": [{"type": "image"}]}, "input content must be a string."),
    ({"thinking": {"type": "on"}}, "Input should be 'enabled' or 'adaptive' or 'disabled': thinking.type"),
    ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "The thinking_budget parameter must be a positive"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "The tool call is not supported."),
    ({"tools": [{"description": "x"}]}, "Field required: tools.0.name"),
    ({"tool_choice": {"type": "any"}}, "Field required: tools"),
    (
        {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "x"}},
        "tool_choice.name must be the name of one of the tools, got 'x'",
    ),
    ({"output_config": {"format": {"type": "json"}}}, "Input should be 'json_schema': output_config.format.type"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals(plain: House, fields: dict[str, Any], said: str) -> None:
    answer = post(plain, {"model": "qwen-plus", "max_tokens": 5, "messages": [USER]} | fields)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["error"]["message"].startswith(said)
    assert body["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


def test_errors_keep_their_class_in_the_sdk(plain: House) -> None:
    base = f"{plain.base}/apps/anthropic"
    given: Any = {"base_url": base, "max_retries": 0}
    with (
        anthropic.Anthropic(api_key="sk-wrong", **given) as client,
        pytest.raises(anthropic.AuthenticationError) as told,
    ):
        asked(client)
    assert told.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    with anthropic.Anthropic(api_key=KEY, **given) as client:
        with pytest.raises(anthropic.NotFoundError) as missing:
            asked(client, model="nobody")
        assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
        with pytest.raises(anthropic.NotFoundError):
            client.models.list()
    wrong = httpx.get(base + "/v1/messages", headers={"x-api-key": KEY}, trust_env=False)
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (405, "invalid_request_error")


@pytest.mark.parametrize("name", [name for name in FIELDS if "." not in name])
def test_every_field_is_what_its_table_says(plain: House, name: str) -> None:
    answer = post(plain, {"model": "qwen-plus", "max_tokens": 50, "messages": [USER]} | {name: {"odd": 1}})
    if FIELDS[name].status == "ignored":
        assert answer.headers["x-segue-ignored"] == name
    elif name == "output_config":
        assert answer.headers["x-segue-ignored"] == "output_config.odd"
    else:
        assert answer.status_code == 400, json.dumps(answer.json())
