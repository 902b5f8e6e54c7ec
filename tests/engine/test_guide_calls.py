"""Constraints over a real vocabulary: what may be said, and in which tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.core.request import Tool, ToolChoice
from segue.engine.llama.guide import Guide, Guides
from segue.engine.llama.vocabulary import Vocabulary
from segue.prompt.tools import constraint
from tests.prompt.vocabularies import load
from tests.requests import request, user

WEATHER = Tool("get_weather", "", {"properties": {"city": {"type": "string"}}, "required": ["city"]})


@pytest.fixture(scope="module")
def vocabulary(default_model: Path) -> Vocabulary:
    return load(default_model)


def guide(vocabulary: Vocabulary, choice: ToolChoice, prefix: str = "") -> Guide:
    asked = request(user("?"), tools=(WEATHER,), tool_choice=choice)
    guides = Guides(vocabulary)
    guides.compile(grammar := constraint(asked, prefix).grammar)
    return guides.guide(grammar)


def test_a_demanded_call_is_forced_in_the_model_s_own_tokens(vocabulary: Vocabulary) -> None:
    at = guide(vocabulary, ToolChoice("required"))
    ids = at.forced()
    assert ids[0] == vocabulary.control["<tool_call>"]
    text = b"".join(vocabulary.pieces(ids)).decode()
    assert text.startswith('<tool_call>\n{"name": "get_weather", "arguments": {"city')
    rest = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}'.removeprefix(text)
    at.consume([*ids, *vocabulary.encode([(rest, False)])])
    ids = at.forced()
    assert b"".join(vocabulary.pieces(ids)) == b"}\n</tool_call>"
    assert ids[-1] == vocabulary.control["</tool_call>"]
    at.consume(ids)
    assert at.ended


def test_what_is_free_until_a_call_begins(vocabulary: Vocabulary) -> None:
    at = guide(vocabulary, ToolChoice("auto"))
    mark, end = vocabulary.control["<tool_call>"], vocabulary.eos
    allowed = at.allowed()
    assert allowed[mark]
    assert allowed[end]
    assert allowed[vocabulary.encode([("Hello", False)])].all()
    assert not allowed[vocabulary.control["<|im_start|>"]]
    at.consume([*vocabulary.encode([("Hello.", False)]), mark])
    assert b"".join(vocabulary.pieces(at.forced())).startswith(b'\n{"name": "get_weather", "arguments": {"city')
    assert not at.allowed()[end]
