"""The same request, whole and streamed, is the same answer: chosen at random, the same ones every time."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from tests.e2e.talk import PROTOCOLS, Ask, Message, begun, said, streamed, user, whole

QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Write a Python function that adds two numbers.", ("def add(", "```python\n", "    ")),
    ("写一首关于秋天的短诗。", ("秋天来了,", "落叶", "《秋》\n\n")),
    ("Describe the sea in one sentence.", ("The sea is", "  The", "Blue")),
    ("What is the capital of France?", ("The capital", "Par", "")),
    ("用一句话介绍你自己。", ("我是", "你好!我", "作为")),
    ("Write a haiku about snow, with an emoji.", ("❄", "Snow", "White\n")),
    ("Reverse a list in JavaScript.", ("const reversed =", "function reverse(", "```js\n")),
)
STOPS: tuple[Any, ...] = (".", "\n", ["。", "\n\n"], ["return", "the"], [198, 13], [[271], [13, 220]], "🎉")


def asks(seed: int, count: int) -> list[Ask]:
    chance = random.Random(seed)
    return [_ask(chance) for _ in range(count)]


def _ask(chance: random.Random) -> Ask:
    question, prefixes = chance.choice(QUESTIONS)
    messages: list[Message] = [user(question)]
    if chance.random() < 0.3:
        messages[:0] = [user("Hi."), said("Hello! What can I do?")]
    if chance.random() < 0.6:
        messages.append(begun(chance.choice(prefixes)))
    chosen: dict[str, Any] = {"max_tokens": chance.randint(1, 20)}
    options: dict[str, Any] = {
        "temperature": chance.choice((0, 0.3, 0.7, 1.0, 1.9)),
        "top_p": chance.choice((0.1, 0.5, 0.95, 1.0)),
        "top_k": chance.choice((0, 1, 5, 40, 1000)),
        "seed": chance.choice((0, 1, 1234, 2**31 - 1)),
        "repetition_penalty": chance.choice((1.0, 1.1, 1.5)),
        "presence_penalty": chance.choice((-1.0, 0.5, 2.0)),
        "frequency_penalty": chance.choice((-0.5, 0.5)),
        "stop": chance.choice(STOPS),
        "n": chance.choice((1, 2, 3)),
        "logprobs": True,
    }
    chosen |= {name: value for name, value in options.items() if chance.random() < 0.4}
    if "logprobs" in chosen:
        chosen["top_logprobs"] = chance.randint(0, 5)
    return Ask(tuple(messages), chosen)


def check(http: httpx.Client, asked: Ask, number: int) -> None:
    protocol = PROTOCOLS[number % 2]
    expected = whole(http, protocol, asked)
    assert streamed(http, protocol, asked).said() == expected.said(), asked
    assert len(expected.texts) == asked.parameters.get("n", 1)
    assert expected.output_tokens <= asked.parameters["max_tokens"] * len(expected.texts)
    assert any(expected.tokens) <= ("logprobs" in asked.parameters)


def test_whole_is_what_a_stream_adds_up_to(http: httpx.Client) -> None:
    for number, asked in enumerate(asks(2025, 9)):
        check(http, asked, number)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_whole_is_what_a_stream_adds_up_to_at_length(http: httpx.Client, part: int) -> None:
    for number, asked in enumerate(asks(part, 20)):
        check(http, asked, number)
