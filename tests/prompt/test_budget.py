"""Limits and defaults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.core.errors import OutOfRange, PromptTooLong
from segue.core.generation import Decoding, Segment
from segue.core.request import Sampling
from segue.prompt import budget
from tests.prompt.templates import CARDS

CARD = replace(
    CARDS["qwen2.5"], context_tokens=100, output_tokens_max=50, output_tokens_default=20, decoding=Decoding(seed=7)
)


@pytest.mark.parametrize(
    ("asked", "prompt_tokens", "given"),
    [(None, 10, 20), (50, 10, 50), (1, 10, 1), (50, 90, 10), (None, 99, 1), (None, 0, 20), (50, 50, 50)],
)
def test_room(asked: int | None, prompt_tokens: int, given: int) -> None:
    assert budget.output_tokens(asked, prompt_tokens, CARD) == given


@pytest.mark.parametrize("prompt_tokens", [100, 101, 10_000])
def test_no_room(prompt_tokens: int) -> None:
    with pytest.raises(PromptTooLong) as raised:
        budget.output_tokens(1, prompt_tokens, CARD)
    assert (raised.value.tokens, raised.value.limit) == (prompt_tokens, 99)


def test_a_text_that_cannot_fit_is_refused_unencoded() -> None:
    card = replace(CARD, token_bytes_max=4)
    budget.size([Segment("春" * 100), Segment("x" * 99)], card)
    with pytest.raises(PromptTooLong) as raised:
        budget.size([Segment("春" * 100), Segment("x" * 100)], card)
    assert (raised.value.tokens, raised.value.limit) == (100, 99)
    budget.size([Segment("x" * 10_000)], replace(CARD, token_bytes_max=0))


def test_more_than_the_model_gives() -> None:
    with pytest.raises(OutOfRange) as raised:
        budget.output_tokens(51, 10, CARD)
    assert (raised.value.field, raised.value.value, raised.value.high) == ("max_tokens", 51, 50)


def test_nothing_said() -> None:
    assert budget.decoding(Sampling(), CARD) == CARD.decoding


def test_everything_said() -> None:
    said = Sampling(
        temperature=0.0,
        top_p=1.0,
        top_k=5,
        repetition_penalty=1.5,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
        seed=0,
    )
    assert budget.decoding(said, CARD) == Decoding(0.0, 1.0, 5, 1.5, -2.0, 2.0, 0)


@pytest.mark.parametrize(("asked", "used"), [(0, 0), (1, 1), (100, 100), (101, 0), (10**9, 0), (None, 20)])
def test_top_k_off(asked: int | None, used: int) -> None:
    assert budget.decoding(Sampling(top_k=asked), CARD).top_k == used


def test_top_k_off_by_default() -> None:
    assert budget.decoding(Sampling(), replace(CARD, decoding=Decoding(top_k=1000))).top_k == 0
