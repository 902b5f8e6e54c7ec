"""An answer that comes back as a prefix goes on as if it had never stopped."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from tests.e2e.talk import PROTOCOLS, Answer, Ask, Protocol, ask, begun, streamed, user, whole

QUESTIONS = (
    "Tell me a story about a lighthouse keeper.",
    "用中文讲一个关于大海的小故事。",
    "Write a Python class for a bank account.",
    "Tell a joke with many emoji 🎉🚀.",
    "Give me ten facts about whales as a JSON list.",
    "写一个快速排序的 Python 函数。",
    "Explain the rainbow to a child.",
    "List the planets with one emoji each.",
)
GREEDY: dict[str, Any] = {"temperature": 0}
DRAWN: dict[str, Any] = {"temperature": 0.8, "seed": 11}
PENALISED: dict[str, Any] = {"temperature": 0.7, "seed": 5, "repetition_penalty": 1.15, "presence_penalty": 0.4}


def parts(
    http: httpx.Client, ways: tuple[tuple[Protocol, bool], tuple[Protocol, bool]], asked: Ask, cut: int
) -> tuple[Answer, Answer, Answer]:
    """The answer in one go; its first `cut` tokens; and the rest, asked for with these as the prefix."""
    total = asked.parameters["max_tokens"]

    def answer(way: tuple[Protocol, bool], wanted: Ask) -> Answer:
        return (streamed if way[1] else whole)(http, way[0], wanted)

    uncut = answer(ways[0], asked)
    first = answer(ways[0], asked.but(max_tokens=cut))
    if first.finish == "stop" or not first.text:
        return uncut, first, first
    rest = Ask((*asked.messages, begun(first.text)), asked.parameters | {"max_tokens": total - cut}, asked.model)
    return uncut, first, answer(ways[1], rest)


def check(http: httpx.Client, number: int, total: int, cut: int, extra: dict[str, Any]) -> None:
    chance = random.Random(number)
    ways = tuple((chance.choice(PROTOCOLS), chance.random() < 0.5) for _ in range(2))
    question = QUESTIONS[number % len(QUESTIONS)]
    asked = ask(user(question if number < len(QUESTIONS) else f"{question} ({number})"), max_tokens=total, **extra)
    uncut, first, rest = parts(http, (ways[0], ways[1]), asked, cut)
    if rest is first:  # it had ended, or had said nothing whole, before the cut
        assert uncut.text.startswith(first.text)
        return
    assert first.text + rest.text == uncut.text, (asked, ways, cut)
    assert rest.finish == uncut.finish
    assert rest.prompt_tokens == first.prompt_tokens + first.output_tokens


@pytest.mark.parametrize("extra", [GREEDY, DRAWN, PENALISED], ids=["greedy", "drawn", "penalised"])
def test_joined_parts_are_the_uncut_answer(http: httpx.Client, extra: dict[str, Any]) -> None:
    for number in range(4 if extra is GREEDY else 2):
        check(http, number, 24, 7 + 3 * number, extra)


def test_deterministic(http: httpx.Client) -> None:
    for number, extra in enumerate((GREEDY, DRAWN)):
        check(http, number + 3, 20, 9, extra | {"deterministic": True})


def test_the_cache_holds_prompt_and_answer(http: httpx.Client) -> None:
    asked = ask(user("Describe a market in the morning."), max_tokens=30, temperature=0.5, seed=4)
    first = whole(http, "compatible", asked)
    rest = whole(http, "native", Ask((*asked.messages, begun(first.text)), {"max_tokens": 4, "temperature": 0.5}))
    assert rest.prompt_tokens == first.prompt_tokens + first.output_tokens
    assert rest.cached_tokens >= first.prompt_tokens + first.output_tokens - 1


def test_each_choice_is_resumed_with_its_own_noise(http: httpx.Client) -> None:
    asked = ask(user("Invent a name for a ship and say why."), n=3, temperature=1.2, seed=21, max_tokens=20)
    uncut = whole(http, "compatible", asked)
    firsts = whole(http, "compatible", asked.but(max_tokens=8))
    for text, head in zip(uncut.texts, firsts.texts, strict=True):
        rest = Ask((*asked.messages, begun(head)), {"temperature": 1.2, "seed": 21, "max_tokens": 12})
        assert head + whole(http, "native", rest).text == text


def test_a_stop_may_begin_in_one_part_and_end_in_the_next(http: httpx.Client) -> None:
    question = user("Repeat exactly: alpha beta gamma delta epsilon")
    asked = ask(question, temperature=0, max_tokens=20)
    uncut = whole(http, "compatible", asked).text
    assert "gamma, delta" in uncut
    at = uncut.index("gamma, delta")
    begins = begun(uncut[: at + 3])
    answer = whole(http, "compatible", ask(question, begins, temperature=0, max_tokens=20, stop="gamma, d"))
    assert (answer.text, answer.finish) == ("", "stop")
    inside = begun(uncut[: at + 12])
    answer = whole(http, "compatible", ask(question, inside, temperature=0, max_tokens=20, stop="gamma, d"))
    assert answer.text, "a stop that lies wholly in the prefix has happened, and is over"


def test_a_character_cut_in_half_is_whole_again(http: httpx.Client) -> None:
    asked = ask(user("Answer with rare emoji only: 🦩🪐🫠🧿🪬🫧"), temperature=0, max_tokens=24)
    uncut = whole(http, "compatible", asked).text
    for cut in range(4, 16):
        first = whole(http, "compatible", asked.but(max_tokens=cut))
        if not first.text:
            continue
        rest = Ask((*asked.messages, begun(first.text)), asked.parameters | {"max_tokens": 24 - cut})
        assert first.text + whole(http, "compatible", rest).text == uncut, cut


def any_of(http: httpx.Client, seed: int, first: int, count: int) -> None:
    chance = random.Random(seed)
    for number in range(first, first + count):
        extra: dict[str, Any] = dict(chance.choice((GREEDY, DRAWN, PENALISED)))
        extra |= {"seed": chance.randrange(1000), "deterministic": True}
        if chance.random() < 0.4:
            extra["stop"] = chance.choice((["\n\n\n", "7."], "the end", ["。。", "xyz"]))
        check(http, number, 40, chance.randint(3, 37), extra)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_deterministic_at_length(rough_http: httpx.Client, part: int) -> None:
    """Twenty prompts each, 200 in all, to the letter, with a small quick model."""
    any_of(rough_http, part, 20 * part, 20)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_deterministic_at_length_with_the_default_model(http: httpx.Client, part: int) -> None:
    any_of(http, 100 + part, 10 * part, 10)
