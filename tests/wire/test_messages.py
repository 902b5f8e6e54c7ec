"""Messages become a conversation and a prefix, or Faults: golden cases for both protocols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from segue.core.errors import (
    Fault,
    FieldMissing,
    FieldWrong,
    LastRoleInvalid,
    MessagesInvalid,
    NotSupported,
    OutOfRange,
    PartialUnclear,
    PartialWithThinking,
    TooLarge,
)
from segue.core.request import Message, ToolCall

from .reading import PLAIN, USER, any_of, assistant, both, compat, native, refused

GOES_ON, OPENS = "continue_final_message", "add_generation_prompt"
CALL = {"id": "c1", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}

CONVERSATIONS: list[tuple[list[Any], tuple[Message, ...]]] = [
    ([USER], (Message("user", "hi"),)),
    ([{"role": "system", "content": "s"}, USER], (Message("system", "s"), Message("user", "hi"))),
    ([{"role": "user", "content": ""}], (Message("user", ""),)),
    ([{"role": "user", "content": " a\x00\n"}], (Message("user", " a\x00\n"),)),
    (
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}], "name": "n"}],
        (Message("user", "a b", name="n"),),
    ),
    (
        [{"role": "user", "content": [{"text": "a", "cache_control": {"type": "ephemeral"}}]}],
        (Message("user", "a"),),
    ),
    (
        [USER, CALLING, {"role": "tool", "content": "r"}],
        (
            Message("user", "hi"),
            Message("assistant", "", tool_calls=(ToolCall("c1", "f", "{}"),)),
            Message("tool", "r"),
        ),
    ),
    (
        [USER, CALLING, {"role": "tool", "content": "r", "tool_call_id": "c1", "name": "f"}],
        (
            Message("user", "hi"),
            Message("assistant", "", tool_calls=(ToolCall("c1", "f", "{}"),)),
            Message("tool", "r", name="f", tool_call_id="c1"),
        ),
    ),
    ([USER, {"role": "function", "content": "r", "name": "f"}], (Message("user", "hi"), Message("tool", "r", "f"))),
    (
        [
            {
                "role": "assistant",
                "content": "x",
                "reasoning_content": "t",
                "refusal": None,
                "function_call": None,
                "audio": None,
                "annotations": [],
                "tool_calls": None,
                "partial": False,
            },
            USER,
        ],
        (Message("assistant", "x", reasoning="t"), Message("user", "hi")),
    ),
]


@pytest.mark.parametrize(("listed", "expected"), CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_conversations(listed: list[Any], expected: tuple[Message, ...]) -> None:
    request, other = both({}, listed)
    assert request == other == replace(PLAIN, messages=expected)


PREFIXES: list[tuple[list[Any], str, int, tuple[str, ...]]] = [
    ([USER, assistant(content="abc", partial=True)], "abc", 1, ()),
    ([USER, assistant(content="  a\n\n", partial=True)], "  a\n\n", 1, ()),
    ([USER, assistant(content="", partial=True)], "", 1, ()),
    ([USER, assistant(content=[{"text": "a"}, {"type": "text", "text": "b"}], partial=True)], "ab", 1, ()),
    ([USER, assistant(content="a"), assistant(content="b", partial=True)], "b", 2, ()),
    (
        [assistant(content="a", partial=True), USER, assistant(content="b", partial=True)],
        "b",
        2,
        ("messages.0.partial",),
    ),
]


@pytest.mark.parametrize(("listed", "prefix", "left", "ignored"), PREFIXES, ids=range(len(PREFIXES)))
def test_a_partial_last_message_is_the_prefix(
    listed: list[Any], prefix: str, left: int, ignored: tuple[str, ...]
) -> None:
    request, other = both({"enable_thinking": False}, listed)
    assert request.prefix == other.prefix == prefix
    assert len(request.messages) == len(other.messages) == left
    assert request.ignored == ignored
    assert other.ignored == tuple("input." + name for name in ignored)


def test_partial_elsewhere_is_ignored_and_listed() -> None:
    for role in ("user", "system", "assistant"):
        request, _ = both({}, [{"role": role, "content": "x", "partial": True}, USER])
        assert request.prefix is None
        assert request.ignored == ("messages.0.partial",)
    request, _ = both({}, [USER | {"partial": True}])
    assert (request.prefix, request.ignored) == (None, ("messages.0.partial",))


BAD_CONVERSATIONS: list[tuple[list[Any], type[Fault], dict[str, Any]]] = [
    ([USER, assistant(content="a")], LastRoleInvalid, {}),
    ([USER, assistant(content="a", partial=False)], LastRoleInvalid, {}),
    ([USER, assistant(content="a", partial=None)], LastRoleInvalid, {}),
    ([USER, {"role": "system", "content": "s"}], LastRoleInvalid, {}),
    ([{"role": "system", "content": "s"}], LastRoleInvalid, {}),
    ([USER, {"role": "system", "content": "s", "partial": True}], LastRoleInvalid, {}),
    ([assistant(content="a", partial=True)], MessagesInvalid, {"why": "no_user"}),
    ([{"role": "system", "content": "s"}, assistant(content="a", partial=True)], MessagesInvalid, {"why": "no_user"}),
    *[
        ([USER, assistant(content="a", partial=value)], FieldWrong, {"field": "messages.1.partial"})
        for value in any_of("true", 1, 0, [], {})
    ],
    ([USER | {"partial": "x"}], FieldWrong, {"field": "messages.0.partial"}),
    ([USER, assistant(partial=True)], FieldMissing, {"field": "messages.1.content"}),
    ([USER, assistant(content=None, partial=True)], FieldMissing, {"field": "messages.1.content"}),
    ([USER, CALLING | {"partial": True}], FieldMissing, {"field": "messages.1.content"}),
    ([USER, CALLING | {"partial": True, "content": ""}], FieldWrong, {"value": "tool_calls"}),
    ([], MessagesInvalid, {"why": "empty"}),
    ([1], FieldWrong, {"expected": "message"}),
    ([{"role": "user"}], FieldMissing, {"field": "messages.0.content"}),
    ([{"content": "x"}], FieldMissing, {"field": "messages.0.role"}),
    ([{"role": "developer", "content": "x"}], MessagesInvalid, {"why": "role", "value": "developer"}),
    ([{"role": 1, "content": "x"}], MessagesInvalid, {"why": "role"}),
    *[
        ([{"role": "user", "content": value}], MessagesInvalid, {"why": "content_type"})
        for value in any_of(1, {}, [], [1])
    ],
    ([{"role": "user", "content": [{"type": "text", "text": 1}]}], MessagesInvalid, {"why": "content_type"}),
    ([{"role": "user", "content": [{}]}], MessagesInvalid, {"why": "content_type"}),
    *[
        ([{"role": "user", "content": [{"text": "a"}, part]}], NotSupported, {"feature": "media"})
        for part in ({"audio": "x"}, {"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}})
    ],
    ([USER, {"role": "tool", "content": "r"}], MessagesInvalid, {"why": "tool_without_call", "index": 1}),
    (
        [USER, CALLING, {"role": "tool", "content": "r", "tool_call_id": "other"}],
        MessagesInvalid,
        {"why": "tool_without_call", "index": 2},
    ),
    (
        [USER, assistant(tool_calls=[{"function": {"name": "f"}}]), {"role": "tool", "content": "r"}],
        MessagesInvalid,
        {"why": "call_without_arguments", "index": 1},
    ),
    ([USER, assistant(tool_calls="x"), USER], FieldWrong, {"field": "messages.1.tool_calls"}),
    ([USER] * 7, TooLarge, {"what": "messages"}),
]


@pytest.mark.parametrize(("listed", "fault", "facts"), BAD_CONVERSATIONS, ids=lambda value: str(value)[:50])
def test_no_conversation(listed: list[Any], fault: type[Fault], facts: dict[str, Any]) -> None:
    raised = refused({}, listed)
    assert type(raised) is fault
    assert {name: getattr(raised, name) for name in facts} == facts


@pytest.mark.parametrize("where", [0, 2])
def test_partial_excludes_thinking_after_the_numbers(where: int) -> None:
    listed = [assistant(content="a"), USER, assistant(content="b", partial=True)]
    listed = [message if index == 2 else message | {"partial": index == where} for index, message in enumerate(listed)]
    assert type(refused({"enable_thinking": True}, listed)) is PartialWithThinking
    assert type(refused({"enable_thinking": True, "top_p": 7}, listed)) is OutOfRange


BEGUN = assistant(content="x")
PREFIXED: list[dict[str, Any]] = [
    {"messages": [USER, BEGUN | {"partial": True}]},
    {"messages": [USER, BEGUN | {"prefix": True}]},
    {"messages": [USER, BEGUN | {"prefix": True, "partial": True}]},
    {"messages": [USER, BEGUN], "continue_final_message": True},
    {"messages": [USER, BEGUN], "continue_final_message": True, "add_generation_prompt": False},
    {"messages": [USER, BEGUN | {"partial": True}], "add_generation_prompt": False},
    {"messages": [USER, BEGUN | {"prefix": True}], "continue_final_message": True},
]


@pytest.mark.parametrize("fields", PREFIXED)
def test_other_servers_words_for_a_prefix_mean_the_same(fields: dict[str, Any]) -> None:
    assert compat({"model": "m"} | fields)[0] == replace(PLAIN, prefix="x")


UNCLEAR: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": [USER, BEGUN | {"partial": True, "prefix": False}]}, "messages.1.partial", "messages.1.prefix"),
    ({"messages": [USER, BEGUN], "continue_final_message": True, "add_generation_prompt": True}, GOES_ON, OPENS),
    ({"messages": [USER], "continue_final_message": True}, GOES_ON, "messages.0.role"),
    ({"messages": [USER, BEGUN | {"partial": False}], "continue_final_message": True}, GOES_ON, "messages.1.partial"),
    ({"messages": [USER, BEGUN | {"prefix": True}], "continue_final_message": False}, GOES_ON, "messages.1.prefix"),
    ({"messages": [USER, BEGUN | {"partial": True}], "add_generation_prompt": True}, OPENS, "messages.1.role"),
    ({"messages": [USER], "add_generation_prompt": False}, OPENS, "messages.0.role"),
]


@pytest.mark.parametrize(("fields", "one", "other"), UNCLEAR)
def test_contradictions_about_a_prefix_are_refused(fields: dict[str, Any], one: str, other: str) -> None:
    with pytest.raises(PartialUnclear) as raised:
        compat({"model": "m"} | fields)
    assert (raised.value.one, raised.value.other) == (one, other)


def test_other_words_for_a_prefix_elsewhere() -> None:
    request = compat(
        {"model": "m", "messages": [USER, BEGUN | {"prefix": True}, USER], "continue_final_message": False}
    )
    assert (request[0].prefix, request[0].ignored) == (None, ("messages.1.prefix",))
    assert compat({"model": "m", "messages": [USER], "add_generation_prompt": True})[0] == PLAIN
    for name in (GOES_ON, OPENS):
        with pytest.raises(FieldWrong):
            compat({"model": "m", "messages": [USER, BEGUN], name: "yes"})
    with pytest.raises(LastRoleInvalid):  # natively it is a field like any other unknown one
        native({"model": "m", "input": {"messages": [USER, BEGUN | {"prefix": True}]}})


def test_a_thought_is_a_prefix_too() -> None:
    def read(**fields: Any) -> tuple[str | None, str | None]:
        request, other = both({}, [USER, assistant(partial=True, **fields)])
        assert (request.thought, request.prefix) == (other.thought, other.prefix)
        return request.thought, request.prefix

    assert read(reasoning_content="I", content="") == ("I", None)
    assert read(reasoning_content="I", content=None) == ("I", None)
    assert read(reasoning_content="I") == ("I", None)
    assert read(reasoning_content="I", content="So") == ("I", "So")
    assert read(reasoning_content="", content="So") == (None, "So")
    assert read(reasoning_content="", content="") == (None, "")
    assert compat({"model": "m", "messages": [USER, assistant(reasoning_content="I", prefix=True)]})[0].thought == "I"
    for thinking in (True, False):
        request, _ = both({"enable_thinking": thinking}, [USER, assistant(partial=True, reasoning_content="I")])
        assert request.thinking is thinking
