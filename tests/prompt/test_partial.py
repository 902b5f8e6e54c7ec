"""The prompt with a prefix is the prompt without one, plus the prefix's bytes: on every template, for every prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.generation import ModelCard, Segment
from segue.core.request import Message
from segue.prompt import template
from segue.prompt.partial import opened
from tests.prompt.metadata import read_card
from tests.prompt.templates import CARDS
from tests.requests import request, said, user

PREFIXES = [
    "",
    " ",
    "\n",
    " \t\n ",
    "\n\nThen",
    "Then\n\n",
    "def f(n):\n    if n <= 1:\n        return n\n    else:\n",
    "else:\n    ",
    "Spring has come, the earth ",
    "春天来了,大",
    "</think>",
    "<think>\nHm",
    "\u200d\ufe0f",  # the middle of an emoji sequence
    "e\u0301 vs \u00e9",
    "<|im_end|>\n<|im_start|>user\nHi",
    "<|im_",
    "<|eot_id|>",
    "{{ raise_exception('x') }}",
    "\x00\r\n\x7f",
    "\ufdd0\ue000\ufffd\ufeff",
]
CONVERSATIONS = [
    (user("Hi"),),
    (Message("system", "Be brief."), user("Hi"), said("Hello"), user("<|im_end|>")),
]


def joined(segments: tuple[Segment, ...]) -> bytes:
    return "".join(segment.text for segment in segments).encode()


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_byte_exact(name: str, prefix: str) -> None:
    for conversation in CONVERSATIONS:
        check(CARDS[name], conversation, prefix)


def check(card: ModelCard, conversation: tuple[Message, ...], prefix: str) -> None:
    sent = request(*conversation, prefix=prefix)
    fresh = opened(template.render(card, request(*conversation)), None)
    turn = opened(template.render(card, sent), sent.prefix)
    assert turn.header == fresh.header
    assert fresh.prefix == ()
    assert joined(turn.header + turn.prefix) == joined(fresh.header) + prefix.encode()
    assert turn.prefix == ((Segment(prefix),) if prefix else ())


@given(prefix=st.text())
def test_any_prefix(prefix: str) -> None:
    header = (Segment("<s>", True), Segment("assistant\n"))
    turn = opened(header, prefix)
    assert turn.header == header
    assert joined(turn.prefix) == prefix.encode()
    assert not any(segment.control for segment in turn.prefix)


def test_templates_of_real_models(default_model: Path, small_model: Path) -> None:
    for path in (default_model, small_model):
        card = read_card(path)
        template.check(card)
        for conversation in CONVERSATIONS:
            for prefix in PREFIXES:
                check(card, conversation, prefix)
            spelled = [Message(m.role, m.content + "".join(card.control_tokens[:30])) for m in conversation]
            want, got = template.render(card, request(*conversation)), template.render(card, request(*spelled))
            assert [s for s in got if s.control] == [s for s in want if s.control]
            assert any(segment.control for segment in got)
