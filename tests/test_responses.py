"""The Responses protocol over the whole house but the model, as the OpenAI SDK sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from segue.core.errors import ResponseUnknown
from segue.core.request import Message
from segue.wire.responses.kept import Kept, KeptLimits
from segue.wire.responses.read import FIELDS
from tests.test_calls import KEY, PARIS, TWO, House, card
from tests.test_calls import house as served
from tests.test_thinking import ANSWER, SPENT, THOUGHT, USED, Thinker
from tests.test_thinking import card as thinking

TOOLS: Any = [
    {"type": "function", "name": "get_time", "description": "Now", "parameters": {}, "strict": False},
    {
        "type": "function",
        "name": "get_weather",
        "description": "Of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": False,
    },
]
PATH = "/compatible-mode/v1/responses"


@pytest.fixture(scope="module")
def thinker() -> Iterator[tuple[House, Thinker]]:
    engine = Thinker(f"{THOUGHT}\n</think>{ANSWER}", answer="Two it is.", served=thinking())
    with served("", engine=engine) as listening:
        yield listening, engine


@pytest.fixture
def client(thinker: tuple[House, Thinker]) -> Iterator[openai.OpenAI]:
    with thinker[0].openai() as client:
        yield client


def post(house: House, path: str = PATH, /, **body: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=20) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return client.post(house.base + path, headers=headers, json={"model": "qwen-plus", "input": "Hi"} | body)


def test_whole_and_gone_on_from(client: openai.OpenAI, thinker: tuple[House, Thinker]) -> None:
    given: dict[str, Any] = {"model": "qwen-plus", "metadata": {"a": "b"}}
    first = client.responses.create(input="How many?", instructions="Be brief.", **given)
    assert (first.output_text, first.status, first.object) == ("Two it is.", "completed", "response")
    assert first.usage is not None
    assert (first.usage.output_tokens, first.usage.output_tokens_details.reasoning_tokens) == (10, 0)
    assert (first.instructions, first.metadata) == ("Be brief.", {"a": "b"})
    assert first.id == f"resp_{first._request_id}"
    second = client.responses.create(input="Sure?", previous_response_id=first.id, **given)
    assert second.previous_response_id == first.id
    shown = thinker[1].prompts[-1]
    assert shown.index("How many?") < shown.index("Two it is.") < shown.index("Sure?")
    assert "Be brief." not in shown, "instructions are not carried over"
    third = client.responses.create(input=[{"role": "user", "content": "?"}], previous_response_id=second.id, **given)
    assert thinker[1].prompts[-1].count("Two it is.") == 2
    assert client.responses.retrieve(third.id).output_text == "Two it is."
    client.responses.delete(third.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(third.id)
    with pytest.raises(openai.NotFoundError) as told:
        client.responses.create(input="?", previous_response_id=third.id, **given)
    assert told.value.code == "previous_response_not_found"
    unkept = client.responses.create(input="?", store=False, **given)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(input="?", previous_response_id=unkept.id, **given)
    short = client.responses.create(input="?", max_output_tokens=3, **given)
    assert (short.status, short.output_text) == ("incomplete", "Two")
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"


def test_streamed_events_in_their_order(client: openai.OpenAI) -> None:
    on: dict[str, Any] = {"enable_thinking": True}
    events = list(client.responses.create(model="qwen-plus", input="How many?", stream=True, extra_body=on))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    reasoning = "response.reasoning_summary"
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        f"{reasoning}_part.added",
        f"{reasoning}_text.delta",
        f"{reasoning}_text.done",
        f"{reasoning}_part.done",
        "response.output_item.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.completed",
    ]
    last: Any = events[-1]
    assert last.response.output_text == "There are two."
    assert [item.type for item in last.response.output] == ["reasoning", "message"]
    assert last.response.output[0].summary[0].text == THOUGHT
    assert last.response.usage.output_tokens_details.reasoning_tokens == SPENT
    assert last.response.usage.output_tokens == USED
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "There are two."
    whole = client.responses.create(model="qwen-plus", input="How many?", extra_body=on)
    assert [item.model_dump() | {"id": ""} for item in whole.output] == [
        item.model_dump() | {"id": ""} for item in last.response.output
    ]
    # A streamed one is gone on from like a whole one, and its items may be sent back.
    client.responses.create(model="qwen-plus", input="Sure?", previous_response_id=last.response.id)
    listed: Any = [
        {"role": "user", "content": "How many?"},
        *last.response.output,
        {"role": "user", "content": "Sure?"},
    ]
    assert client.responses.create(model="qwen-plus", input=listed).output_text == "Two it is."
    with client.responses.stream(model="qwen-plus", input="How many?") as stream:
        assert stream.get_final_response().output_text == "Two it is."


def test_functions_are_called_and_answered() -> None:
    with served("One moment. " + TWO, card()) as listening, listening.openai() as client:
        first = client.responses.create(model="qwen-plus", input="Weather?", tools=TOOLS)
        kinds = [item.type for item in first.output]
        assert kinds == ["message", "function_call", "function_call"]
        calls: Any = first.output[1:]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [("get_weather", PARIS), ("get_time", {})]
        outputs: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "fine"} for call in calls]
        second = client.responses.create(model="qwen-plus", input=outputs, previous_response_id=first.id, tools=TOOLS)
        assert second.status == "completed"
        replayed: Any = [{"role": "user", "content": "Weather?"}, *first.output, *outputs]
        assert client.responses.create(model="qwen-plus", input=replayed, tools=TOOLS).output[1].type == "function_call"
        with client.responses.stream(model="qwen-plus", input="Weather?", tools=TOOLS) as stream:
            done = [event for event in stream if event.type == "response.function_call_arguments.done"]
            final = stream.get_final_response()
        assert [json.loads(event.arguments) for event in done] == [PARIS, {}]
        assert [item.type for item in final.output] == kinds


def test_a_last_message_may_be_a_prefix(thinker: tuple[House, Thinker]) -> None:
    user = {"role": "user", "content": "How many?"}
    begun = {"role": "assistant", "content": [{"type": "output_text", "text": "I say "}], "partial": True}
    got = post(thinker[0], input=[user, begun]).json()
    assert got["output"][0]["content"][0]["text"] == "Two it is."
    assert thinker[1].prompts[-1].endswith("I say ")
    post(thinker[0], input="?", previous_response_id=got["id"])
    assert "I say Two it is." in thinker[1].prompts[-1], "what it went on from is part of the answer"
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I see"}]}
    inside = post(thinker[0], input=[user, thought, begun | {"content": ""}]).json()
    assert [item["type"] for item in inside["output"]] == ["reasoning", "message"]
    assert thinker[1].prompts[-1].endswith("<think>\nI see")


def test_the_older_path(thinker: tuple[House, Thinker]) -> None:
    got = post(thinker[0], "/api/v2/apps/protocols/compatible-mode/v1/responses").json()
    assert got["output"][0]["content"][0]["text"] == "Two it is."


USER = {"role": "user", "content": "a"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "you must provide a model parameter."),
    ({"input": None}, "Field required: input"),
    ({"input": []}, "[] is too short - 'messages'"),
    ({"input": 1}, "Input should be a valid list: input"),
    ({"input": [1]}, "Input should be a valid dictionary: input.0"),
    (
        {"input": [{"role": "odd", "content": "a"}]},
        "Input should be 'user' or 'assistant' or 'system' or 'developer': in",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "input content must be a string.",
    ),
    ({"input": [USER, {"type": "web_search_call"}]}, "Input should be 'message' or 'reasoning' or 'function_call' or"),
    ({"input": [USER, {"type": "function_call", "name": "f", "arguments": "{}"}]}, "Field required: input.1.call_id"),
    ({"input": [USER, {"role": "assistant", "content": "a"}]}, "Role must be in"),
    (
        {"input": [{"role": "system", "content": "a"}]},
        "The input messages do not contain elements with the role of user",
    ),
    ({"max_output_tokens": 0}, "Range of max_tokens should be [1, 8192]"),
    ({"background": True}, "Input should be 'false': background"),
    ({"conversation": "c"}, "Input should be 'null': conversation"),
    ({"tools": [{"type": "web_search"}]}, "The tool call is not supported."),
    ({"tool_choice": "required"}, "Field required: tools"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name must be the name of one of"),
    ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice is one of the strings that should be"),
    (
        {"text": {"format": {"type": "xml"}}},
        "Input should be 'text' or 'json_object' or 'json_schema': text.format.type",
    ),
    ({"text": {"format": {"type": "json_schema"}}}, "Field required: text.format.schema"),
    (
        {"enable_thinking": True, "input": [USER, {"role": "assistant", "content": "a", "partial": True}]},
        "Partial mode is not supported when enable_thinking is true",
    ),
]


@pytest.mark.parametrize(("body", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals(thinker: tuple[House, Thinker], body: dict[str, Any], said: str) -> None:
    answer = post(thinker[0], **body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", [name for name in FIELDS if "." not in name])
def test_every_field_is_what_its_table_says(thinker: tuple[House, Thinker], name: str) -> None:
    answer = post(thinker[0], **{name: {"odd": 1}})
    if FIELDS[name].status == "ignored":
        assert answer.headers["x-segue-ignored"] == name
    elif name == "text":
        assert answer.headers["x-segue-ignored"] == "text.odd"
    elif name == "metadata":
        assert answer.json()["metadata"] == {"odd": 1}
    else:
        assert answer.status_code == 400, json.dumps(answer.json())


def test_what_is_kept_is_bounded_and_a_workspaces_own() -> None:
    now = 0.0
    kept = Kept(KeptLimits(responses_max=2, bytes_max=2000, kept_s=10), lambda: now)
    said = (Message("user", "a"),)
    for id in ("r1", "r2", "r3"):
        kept.keep("w", id, said, b"{}")
    assert kept.held[0] == 2
    assert kept.find("w", "r2").messages == said
    kept.keep("w", "r4", said, b"{}")  # r3 was unused for longer than r2
    for workspace, id in (("w", "r1"), ("w", "r3"), ("v", "r2")):
        with pytest.raises(ResponseUnknown):
            kept.find(workspace, id)
    kept.keep("w", "r5", (Message("user", "a" * 1700),), b"{}")
    assert kept.held[0] == 1
    kept.keep("w", "r6", (Message("user", "a" * 3000),), b"{}")
    assert kept.held == (0, 0), "what is larger than all the room is not kept"
    kept.keep("w", "r7", said, b"{}")
    now = 11.0
    with pytest.raises(ResponseUnknown):
        kept.find("w", "r7")
    assert kept.held == (0, 0)
