"""What docs/compatibility.md says was decided about Partial Mode is what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    LastRoleInvalid,
    NotSupported,
    PartialWithThinking,
)
from segue.core.events import Text
from segue.core.generation import Chunk, ModelCard
from segue.core.request import Request, Stop
from segue.output.assembly import Assembly
from segue.policy import rules
from tests.docs.test_tables import rows
from tests.wire.reading import TOOL, USER, both, refused

CARD = ModelCard("m", 100, 50, 20, "")
PREFIX = {"role": "assistant", "content": "x", "partial": True}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(*messages: Any, **fields: Any) -> Request:
    """The request, the same from both protocols."""
    one, other = both(fields, list(messages))
    assert (one.prefix, one.messages) == (other.prefix, other.messages)
    return one


def checked(card: ModelCard, *messages: Any, **fields: Any) -> Request:
    request = read(*messages, **fields)
    rules.check(request, card)
    return request


def able(*abilities: Any) -> ModelCard:
    return ModelCard("m", 100, 50, 20, "", abilities=frozenset(abilities))


def not_last() -> None:
    request = read(USER, PREFIX, USER)
    assert (request.prefix, request.ignored) == (None, ("messages.1.partial",))
    assert type(refused({}, [USER, PREFIX, {"role": "assistant", "content": "x"}])) is LastRoleInvalid


def other_role() -> None:
    request = read(USER | {"partial": True})
    assert (request.prefix, request.ignored) == (None, ("messages.0.partial",))


def empty() -> None:
    assert checked(CARD, USER, PREFIX | {"content": ""}).prefix == ""


def missing() -> None:
    for message in ({"role": "assistant", "partial": True}, PREFIX | {"content": None}):
        assert type(refused({}, [USER, message])) is FieldMissing


def not_boolean() -> None:
    for value in ("true", 1):
        assert type(refused({}, [USER, PREFIX | {"partial": value}])) is FieldWrong


def with_calls() -> None:
    assert type(refused({}, [USER, PREFIX | {"tool_calls": [CALL]}])) is FieldWrong


def in_parts() -> None:
    assert read(USER, PREFIX | {"content": [{"type": "text", "text": "a "}, {"text": "b"}]}).prefix == "a b"


def with_thinking() -> None:
    assert type(refused({"enable_thinking": True}, [USER, PREFIX])) is PartialWithThinking
    assert type(refused({"enable_thinking": True}, [USER | {"partial": True}])) is PartialWithThinking


def without_thinking() -> None:
    assert checked(CARD, USER, PREFIX, enable_thinking=False).prefix == "x"


def unable() -> None:
    with pytest.raises(LastRoleInvalid):
        checked(able(), USER, PREFIX)


def with_tools() -> None:
    assert checked(able("partial", "tools"), USER, PREFIX, tools=[TOOL]).prefix == "x"
    with pytest.raises(NotSupported):
        checked(CARD, USER, PREFIX, tools=[TOOL])


def with_json() -> None:
    assert checked(able("partial", "json"), USER, PREFIX, response_format={"type": "json_object"}).prefix == "x"
    with pytest.raises(NotSupported):
        checked(CARD, USER, PREFIX, response_format={"type": "json_object"})


def with_choices() -> None:
    assert checked(CARD, USER, PREFIX, n=4).choices == 4


def stop_in_prefix() -> None:
    assembly = Assembly(1, Stop(strings=("ab",)))
    said = assembly.feed(Chunk(0, (1,), b"b!"))  # behind a prefix that ends in "a"
    assert [event.text for event in said if isinstance(event, Text)] == ["b!"]


def no_flag() -> None:
    assert type(refused({}, [USER, {"role": "assistant", "content": "x"}])) is LastRoleInvalid


CHOICES: dict[str, Callable[[], None]] = {
    "`partial` on a message that is not the last": not_last,
    "`partial` on a message of another role": other_role,
    "`partial` with empty content": empty,
    "`partial` with missing or null content": missing,
    "`partial` that is not a boolean": not_boolean,
    "`partial` on a message with `tool_calls`": with_calls,
    "`partial` with content in text parts": in_parts,
    "`partial` together with `enable_thinking: true`": with_thinking,
    "`partial` together with `enable_thinking: false`": without_thinking,
    "`partial` with a model that cannot continue": unable,
    "`partial` together with tools": with_tools,
    "`partial` together with JSON mode": with_json,
    "`partial` together with `n` above 1": with_choices,
    "a stop string within the prefix": stop_in_prefix,
    "a last assistant message without `partial`": no_flag,
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_was_decided_is_what_happens(case: str) -> None:
    CHOICES[case]()


def test_every_decision_is_checked() -> None:
    told = [case for case, _ in rows("docs/compatibility.md", "Partial Mode: where the documents are silent")]
    assert told == list(CHOICES)
