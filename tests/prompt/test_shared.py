"""Answers that other servers have said: the same record, found for the same prefix, and nothing where there is none."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest

from segue.core.generation import Chunk, Decoding, Prompt
from segue.prompt.answers import Answers, Recorded, Recorder, place
from segue.prompt.shared import SharedAnswers, packed, unpacked

HOW = Decoding(temperature=0.5, seed=2**63 - 1)


class Shelf:
    def __init__(self) -> None:
        self.things: list[tuple[str, str, bytes]] = []
        self.away = False

    def put(self, workspace: str, name: str, data: bytes) -> None:
        self.things.append((workspace, name, data))

    async def find(self, workspace: str, names: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        if self.away:
            raise OSError("away")
        return [(name, data) for whose, name, data in reversed(self.things) if whose == workspace and name in names]


def said(answers: Answers, text: bytes, workspace: str = "w", documents: frozenset[str] = frozenset()) -> bytes:
    """Somebody hears an answer; where it is kept."""
    prompt = Prompt("r", "m", workspace, [1, 2], 2, HOW, 9, documents=documents)
    recorder = Recorder(answers, prompt, b"", None)
    for number, byte in enumerate(text):
        recorder.saw(Chunk(0, (number + 10,), bytes([byte])))
    recorder.keep()
    return place(workspace, "m", [1, 2])


def test_a_record_comes_back_as_it_was() -> None:
    record = Recorded(array("i", [5, 6, 7]), "hé".encode(), 1, 2, 1, array("q", [1, 3]), HOW, 3)
    assert unpacked(packed(record)) == record
    assert unpacked(packed(record).replace(b"little", b"middle").replace(b"big", b"odd")) is None, "another machine's"
    for broken in (b"", b"\x00", packed(record)[:-3], packed(record)[:-40] + b"x" * 40):
        assert unpacked(broken) is None


async def test_what_one_has_said_the_other_goes_on_with(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    one, other = (SharedAnswers(8, 10_000, shelf) for _ in range(2))
    where = said(one, b"hello there")
    mine = one.find(where, b"hello", HOW)
    assert mine is not None
    assert other.find(where, b"hello", HOW) is None
    assert not await other.learn("v", [where]), "another workspace's is nothing to it"
    assert await other.learn("w", [where])
    assert other.find(where, b"hello", HOW) == mine
    shelf.away = True
    assert not await other.learn("w", [where])
    assert "cannot be asked" in caplog.text


async def test_answers_about_documents_stay_where_they_are() -> None:
    shelf = Shelf()
    where = said(SharedAnswers(8, 10_000, shelf), b"hello", documents=frozenset({"d"}))
    assert shelf.things == []
    assert not await SharedAnswers(8, 10_000, shelf).learn("w", [where])
    nothing = SharedAnswers(0, 0, shelf)
    said(nothing, b"hello")
    assert shelf.things == []
    assert not await nothing.learn("w", [where])
