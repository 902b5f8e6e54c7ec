"""Notes on documents that are too long to be shown: every piece is read once, and nothing is left running."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.errors import PromptTooLong, QueueFull
from segue.core.request import Request
from segue.prompt.notes import NOTE_TOKENS_MAX, Source, noted
from tests.prompt.shelves import FRUIT, Desk, asked
from tests.requests import request, user

ASKED = request(user("What is it about?"))


class Model:
    """Says how long what it is shown is; refuses more than `room` characters."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.shown: list[str] = []
        self.running = self.most = 0
        self.gate: asyncio.Event | None = None
        self.fails = False

    async def say(self, sent: Request, tokens: int) -> str:
        (turn,) = sent.messages
        if len(turn.content) > self.room:
            raise PromptTooLong(len(turn.content), self.room)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            self.shown.append(turn.content)
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
            if self.fails and len(self.shown) > 2:
                raise QueueFull
            return f"note of {tokens}"
        finally:
            self.running -= 1


def source(text: str) -> Source:
    return Source("a.txt", text, len(text))


async def test_every_piece_is_read_once_and_in_order() -> None:
    model = Model()
    found = await noted(ASKED, [source(FRUIT), source("Nuts.\n")], 4096, 2000, 3, model.say)
    spans = [(passage.document, passage.start, passage.end) for passage, _ in found]
    assert spans[0][:2] == (0, 0)
    assert spans[-1] == (1, 0, 6)
    assert spans[-2][2] == len(FRUIT)
    assert all(one[2] == other[1] for one, other in pairwise(spans[:-1]))
    assert all(FRUIT[end - 1] == "\n" for document, _, end in spans if not document)
    assert [passage.label for passage, _ in found] == [f"{n}/{len(found)}" for n in range(1, len(found) + 1)]
    assert {text for _, text in found} == {f"note of {min(NOTE_TOKENS_MAX, 2000 // len(found))}"}
    assert all(shown.startswith("[a.txt]\n\n") and shown.endswith("\n\nWhat is it about?") for shown in model.shown)
    assert 1 < model.most <= 3


async def test_a_piece_that_does_not_fit_is_halved() -> None:
    model = Model(room=1500)
    found = await noted(ASKED, [source(FRUIT)], 4096, 4000, 3, model.say)
    assert len(found) > len(FRUIT) / 1500
    assert "".join(FRUIT[passage.start : passage.end] for passage, _ in found) == FRUIT
    assert await noted(ASKED, [source("x" * 500)], 4096, 4000, 3, Model(room=10).say) == []


async def test_one_that_fails_ends_the_others() -> None:
    model = Model()
    model.fails = True
    with pytest.raises(QueueFull):
        await noted(ASKED, [source(FRUIT)], 2000, 4000, 3, model.say)
    assert model.running == 0


async def test_a_caller_who_leaves_ends_them() -> None:
    model = Model()
    model.gate = asyncio.Event()
    task = asyncio.create_task(noted(ASKED, [source(FRUIT)], 2000, 4000, 3, model.say))
    for _ in range(5):
        await asyncio.sleep(0)
    assert model.running == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.running == 0


@given(st.text(max_size=5000), st.integers(256, 3000), st.integers(0, 500), st.integers(1, 4))
def test_any_text(text: str, context: int, note_tokens: int, at_a_time: int) -> None:
    model = Model(room=700)
    found = asyncio.run(noted(ASKED, [source(text)], context, note_tokens, at_a_time, model.say))
    data = text.encode("utf-8", "replace")
    spans = [(passage.start, passage.end) for passage, _ in found]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(data) for start, end in spans)


async def test_an_answer_over_notes() -> None:
    desk = Desk(notes_tokens_max=10**6)
    sent = asked(user("What is it about?"), files=("long.txt", "a.txt"))
    job = await desk.prepare(sent)
    assert job.reading is not None
    assert job.reading.tier == "notes"
    assert {citation.file for citation in job.reading.citations} == {"long.txt", "a.txt"}
    assert len(job.prompt.ids) + 256 <= 4096
    assert (await desk.engine.health()).running == 0
    less = await Desk(notes_tokens_max=1000).prepare(sent)
    assert less.reading is not None
    assert (less.reading.tier, less.prompt_tokens) == ("digest", job.prompt_tokens)
