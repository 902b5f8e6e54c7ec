"""What docs/compatibility.md says was decided about Partial Mode is what happens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    LastRoleInvalid,
    NotSupported,
    PartialWithThinking,
    PrefixIllegal,
)
from segue.core.events import Text
from segue.core.generation import Chunk, Decoding, ModelCard, Prompt
from segue.core.request import Format, Request, Stop, Tool, ToolChoice
from segue.engine.seam.cover import Budget, Search
from segue.engine.seam.lexicon import Lexicon
from segue.output.assembly import Assembly, Before
from segue.output.toolcalls import ToolCalls
from segue.policy import rules
from segue.prompt import tools
from segue.prompt.answers import Answers, Recorder, place
from segue.prompt.constraint import check, constraint
from tests.docs.test_tables import rows
from tests.requests import CALLER
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


MARKED = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
F = Tool("f", "", {})


def called(prefix: str, answer: str) -> list[tuple[str, str]]:
    """What is said of an answer to a prefix."""
    reader = ToolCalls((F,), prefix)
    return [piece for piece in (*reader.feed(answer), *reader.end()) if piece[0] != "end"]


def inside_a_call() -> None:
    for at in range(len("<tool_call>"), MARKED.index("}")):
        kinds, texts = zip(*called(MARKED[:at], MARKED[at:]), strict=True)
        assert (set(kinds), "".join(texts)) == ({"call", "arguments"}, 'f{"a": 1}')


def whole_calls() -> None:
    assert called(MARKED, " Done.") == [("text", " Done.")]
    assert called(MARKED, MARKED)[0] == ("call", "f")


def text_before_a_call() -> None:
    demanded = Request("", CALLER, "m", (), tools=(F,), tool_choice=ToolChoice("required"))
    wanted = tools.constraint(demanded, "Sure. ")
    check(wanted, f"Sure. {MARKED}".encode())
    with pytest.raises(PrefixIllegal):
        check(wanted, b"Sure. Well")


def no_call_begins() -> None:
    for mode in ("auto", "required"):
        asked = Request("", CALLER, "m", (), tools=(F,), tool_choice=ToolChoice(mode))
        with pytest.raises(PrefixIllegal) as refusal:
            tools.constraint(asked, '<tool_call>\n{"name": "g')
        assert refusal.value.at == len('<tool_call>\n{"name": "')


def with_json() -> None:
    assert (
        checked(
            able("partial", "json"),
            {"role": "user", "content": "JSON!"},
            PREFIX,
            response_format={"type": "json_object"},
        ).prefix
        == "x"
    )
    wanted = constraint(Format("json_object"))
    assert wanted is not None
    check(wanted, b'{"a": 1')
    with pytest.raises(PrefixIllegal) as refusal:
        check(wanted, b'{"a": x')
    assert refusal.value.at == 6


def with_choices() -> None:
    assert checked(CARD, USER, PREFIX, n=4).choices == 4


def said(before: Before, *pieces: bytes) -> str:
    """The text of an answer in these pieces that `ab` stops."""
    assembly = Assembly(1, Stop(strings=("ab",)), before)
    events = [event for piece in pieces for event in assembly.feed(Chunk(0, (1,), piece))]
    events += assembly.feed(Chunk(0, (), b"", finish="stop"))
    return "".join(event.text for event in events if isinstance(event, Text))


def stop_in_prefix() -> None:
    assert said(Before("xab"), b"c", b"d") == "cd"


def stop_across() -> None:
    assert said(Before("xa"), b"bc", b"d") == ""
    assert said(Before("xa"), b"c", b"ab", b"d") == "c"


def inside_a_token() -> None:
    pieces = [b" Fran", b" France", b" Frankly", b"ce", b"x"]
    search = Search(Lexicon(pieces), b" Fran", Budget())
    (root,) = search.wanted(1)
    search.told(root, np.log(np.asarray([0.1, 0.6, 0.2, 0.05, 0.05], np.float32)))
    elements = {
        pieces[each.token][each.used :]: round(math.exp(each.logprob), 3) for each in search.cover().heaviest(9)
    }
    assert elements == {b"ce": 0.667, b"kly": 0.222, b"": 0.111}


def said_before() -> None:
    answers, how = Answers(8, 10_000), Decoding()
    recorder = Recorder(answers, Prompt("r", "m", "w", [1, 2], 2, how, 9), b"", None)
    recorder.saw(Chunk(0, (5,), b"fo"))
    recorder.saw(Chunk(0, (6,), b"ur"))
    recorder.keep()
    found = answers.find(place("w", "m", [1, 2]), b"four", how)
    assert found is not None
    assert found.ids.tolist() == [5, 6]
    assert answers.find(place("other", "m", [1, 2]), b"four", how) is None


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
    "a prefix that ends inside a call (`<tool_call>` and half an object)": inside_a_call,
    "a prefix with whole calls in it": whole_calls,
    "a prefix with text, and a call is demanded": text_before_a_call,
    "a prefix that no text or call begins with, such as one of an unknown function": no_call_begins,
    "`partial` together with JSON mode, a schema, `regex` or `grammar`": with_json,
    "`partial` together with `n` above 1": with_choices,
    "a stop string within the prefix": stop_in_prefix,
    "a stop string that begins in the prefix and ends in the answer": stop_across,
    "a prefix that ends inside a token": inside_a_token,
    "a prefix that this server has said in this conversation": said_before,
    "a last assistant message without `partial`": no_flag,
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_was_decided_is_what_happens(case: str) -> None:
    CHOICES[case]()


def test_every_decision_is_checked() -> None:
    told = [case for case, _ in rows("docs/compatibility.md", "Partial Mode: where the documents are silent")]
    assert told == list(CHOICES)
