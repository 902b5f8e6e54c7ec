"""First a thought, then the answer: over an engine whose runs are written out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.errors import QueueFull
from segue.core.generation import Chunk, Constraint, Decoding, FinishReason, Joined, Opened, Prompt, Segment
from segue.engine import thought
from segue.engine.scripted import Echo, Scripted, scripted_card
from segue.engine.thought import Plan, thoughtful

Item = Opened | Chunk | Exception


class Runs:
    """Says each run's items in turn, and keeps what it was asked and whether it was closed."""

    def __init__(self, *runs: Sequence[Item]) -> None:
        self.runs = list(runs)
        self.prompts: list[Prompt] = []
        self.closed = 0

    async def __call__(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        self.prompts.append(prompt)
        try:
            for item in self.runs.pop(0):
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


def said(text: str, finish: FinishReason | None = None, joined: Joined | None = None) -> Chunk:
    return Chunk(0, tuple(text.encode()), text.encode(), finish=finish, joined=joined)


def prompt(**more: object) -> Prompt:
    known: dict[str, object] = {"answer_at": 2, "output_tokens_max": 500, "decoding": Decoding()}
    return Prompt("r", "m", "w", [1, 2, 3, 4], **(known | more))  # type: ignore[arg-type]


def plan(budget: int | None = None, then: Constraint | None = None) -> Plan:
    return Plan(b"</think>", lambda ended: (Segment("." if ended else "\n."),), budget, True, then)


async def told(runs: Runs, how: Plan, asked: Prompt | None = None) -> tuple[str, str, int, FinishReason | None]:
    """The thought, the answer, the thought's tokens, and why it ended."""
    engine = Scripted(Echo(), scripted_card())
    parts: dict[bool, bytes] = {True: b"", False: b""}
    spent, finish = 0, None
    async with aclosing(thoughtful(engine, runs, asked or prompt(), how)) as items:
        async for item in items:
            if isinstance(item, Chunk):
                assert finish is None, "nothing follows the end"
                parts[item.thought] += item.data
                spent += len(item.ids) * item.thought
                finish = item.finish
    return parts[True].decode(), parts[False].decode(), spent, finish


TEXT = "I see.\n\nWell </thin\n\n</think>\n\n\nIt is.\n\n"


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
async def test_it_does_not_matter_how_it_is_cut(sizes: list[int], budget: int) -> None:
    pieces, rest, at = [], TEXT, 0
    while rest:
        size = sizes[at % len(sizes)]
        pieces.append(said(rest[:size]))
        rest, at = rest[size:], at + 1
    ended = Chunk(0, (), b"", finish="stop")
    whole = await told(Runs([Opened(0), *pieces, ended]), plan())
    spent = TEXT.index("</think>") + len("</think>")
    assert whole == ("I see.\n\nWell </thin", "It is.\n\n", spent, "stop")
    runs = Runs([Opened(0), *pieces, ended], [Opened(0), said("Yes", "stop")])
    cut = await told(runs, plan(budget))
    if budget < spent:
        shown = TEXT[:budget].rstrip("\n")
        assert cut == (shown, "Yes", budget, "stop")
        drawn = list(TEXT[:budget].encode())
        closing = list((b"" if TEXT[:budget].endswith("\n") else b"\n") + b".")
        assert list(runs.prompts[1].ids) == [1, 2, 3, 4, *drawn, *closing]
        assert (runs.prompts[1].answer_at, runs.prompts[1].drawn_at) == (2, 2)
        assert runs.prompts[1].output_tokens_max == 500 - budget
    else:
        assert cut == whole
    assert runs.closed == len(runs.prompts), "no run is left open"


async def test_what_a_seam_made_of_the_beginning_is_in_the_second_run() -> None:
    first: list[Item] = [Opened(0), said("ab", joined=Joined(2, (9,))), said("cd")]
    runs = Runs(first, [Opened(0), said("x", "stop")])
    await told(runs, plan(3))
    assert list(runs.prompts[1].ids) == [1, 2, 9, *b"abc", *b"\n."]
    assert runs.prompts[1].seam is None


async def test_an_answer_with_a_form_is_counted_from_its_own_beginning() -> None:
    form = Constraint("g")
    runs = Runs([Opened(0), said("a</think>"), said("free")], [Opened(0), said("\nkept", "stop")])
    assert await told(runs, plan(then=form)) == ("a", "kept", 9, "stop")
    one, two = runs.prompts
    assert one.constraint is None
    assert (two.constraint, two.first_choice, two.answer_at) == (form, 1, len(two.ids))
    assert list(two.ids) == [1, 2, 3, 4, *b"a</think>", *b"\n\n"]
    runs = Runs([Opened(0), Chunk(0, (5,), b"a</think>\n")], [Opened(0), said("kept", "stop")])
    await told(runs, plan(then=form))
    assert list(runs.prompts[1].ids)[-2:] == [4, 5], "the blank line was said with the mark"


async def test_the_length_is_of_both() -> None:
    assert await told(Runs([Opened(0), said("abc", "length")]), plan()) == ("abc", "", 3, "length")
    room = prompt(output_tokens_max=3)
    assert await told(Runs([Opened(0), said("abc")]), plan(3), room) == ("abc", "", 3, "length")
    assert await told(Runs([Opened(0), said("abc", "length")], [said("x", "stop")]), plan(3)) == ("abc", "x", 3, "stop")


async def test_a_place_that_was_lost_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thought, "RETURN_LOOK_S", 0.0)
    runs = Runs([Opened(0), said("ab", "stop")], [QueueFull()], [QueueFull()], [Opened(0), said("x", "stop")])
    assert await told(runs, plan()) == ("ab", "x", 2, "stop")
    monkeypatch.setattr(thought, "RETURN_WAIT_S", -1.0)
    with pytest.raises(QueueFull):
        await told(Runs([Opened(0), said("ab", "stop")], [QueueFull()]), plan())


async def test_leaving_closes_the_run() -> None:
    runs = Runs([Opened(0), said("ab"), said("cd")])
    items = thoughtful(Scripted(Echo(), scripted_card()), runs, prompt(), plan())
    assert isinstance(await anext(items), Opened)
    await anext(items)
    await items.aclose()
    assert runs.closed == 1
