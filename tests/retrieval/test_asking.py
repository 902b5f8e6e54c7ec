"""Asking of documents in files and in messages: what is found is in the text, what is built is kept within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from segue.core.documents import Part, Passage
from segue.retrieval.asking import Asking
from segue.retrieval.build import build

LINES = [f"Lighthouse number {n} stands on a rock, and its keeper counts {n * 7} ships.\n" for n in range(300)]
FACT = "The password of the seventh lighthouse is Quorvane.\r\n"
ENGLISH = "".join([*LINES[:150], FACT, *LINES[150:]])
CHINESE = "".join(f"第{n}座灯塔建在岩石上，守塔人每天数{n * 7}艘船。\n" for n in range(200)) + "暗号是苹果。\n"
QUESTION = "What is the password of the seventh lighthouse?"


@dataclass(frozen=True, slots=True)
class Held:
    text: Path
    parts: tuple[Part, ...] = (Part(0, ""),)
    index: Path | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    tokens: int
    held: Held | None = None
    sent: str = ""
    owner: str = "w"


class Builder:
    """Builds here and now, and remembers what; `gate` is waited for first, `fails` is raised."""

    def __init__(self, gate: asyncio.Event | None = None, fails: Exception | None = None) -> None:
        self.built: list[Path] = []
        self.begun = asyncio.Event()
        self.gate, self.fails = gate, fails

    async def __call__(self, text: Path, parts: Sequence[Part], blob: Path) -> None:
        self.built.append(text)
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        await asyncio.to_thread(lambda: build(text.read_bytes(), parts, blob))


def sent(text: str) -> Volume:
    return Volume(len(text.encode()) // 4, sent=text)


def stored(folder: Path, text: str, parts: tuple[Part, ...] = (Part(0, ""),), indexed: bool = True) -> Volume:
    path, index = folder / "text", folder / "index"
    path.write_bytes(text.encode())
    if indexed:
        build(text.encode(), parts, index)
    return Volume(len(text.encode()) // 4, Held(path, parts, index if indexed else None))


def in_place(found: Sequence[tuple[Passage, str]], *texts: str) -> None:
    """What is found is what stands there, in order."""
    for passage, text in found:
        assert texts[passage.document].encode()[passage.start : passage.end].decode() == text
    places = [(passage.document, passage.start) for passage, _ in found]
    assert places == sorted(places)


async def test_a_file_with_its_index(tmp_path: Path) -> None:
    half = len("".join(LINES[:150]).encode())
    builder = Builder()
    volume = stored(tmp_path, ENGLISH, (Part(0, "p. 1"), Part(half, "p. 2")))
    found = await Asking(builder, 10**9).find([volume], QUESTION, (), 400)
    in_place(found, ENGLISH)
    assert [passage.label for passage, text in found if "Quorvane" in text] == ["p. 2"]
    assert sum(len(text.encode()) for _, text in found) <= 400 * 8
    assert builder.built == []


@pytest.mark.parametrize("damage", [None, b"no index"])
async def test_a_file_without_one_that_can_be_used(tmp_path: Path, damage: bytes | None) -> None:
    volume = stored(tmp_path, ENGLISH, indexed=damage is not None)
    if damage is not None:
        (tmp_path / "index").write_bytes(damage)
    builder = Builder()
    found = await Asking(builder, 10**9).find([volume], QUESTION, (), 400)
    in_place(found, ENGLISH)
    assert any("Quorvane" in text for _, text in found)
    assert len(builder.built) == 1


async def test_texts_that_were_sent(tmp_path: Path) -> None:
    builder = Builder()
    asking = Asking(builder, 10**9)
    volumes = [sent(ENGLISH), sent(CHINESE), sent("")]
    found = await asking.find(volumes, "灯塔的暗号是什么？", (), 600)
    in_place(found, ENGLISH, CHINESE, "")
    assert any("苹果" in text for _, text in found)
    again = await asking.find(volumes, QUESTION, (), 600)
    assert any("Quorvane" in text for _, text in again)
    assert len(builder.built) == 3  # once for each


async def test_a_text_that_another_workspace_sent_is_read_as_if_it_were_new() -> None:
    builder = Builder()
    asking = Asking(builder, 10**9)
    for _ in range(2):
        await asking.find([sent(ENGLISH)], QUESTION, (), 400)
        await asking.find([replace(sent(ENGLISH), owner="another")], QUESTION, (), 400)
    assert len(builder.built) == 2


async def test_what_stands_for_all_of_them(tmp_path: Path) -> None:
    asking = Asking(Builder(), 10**9)
    told = await asking.digest([stored(tmp_path, ENGLISH), sent(CHINESE), sent("")], "What are these about?", 300)
    in_place(told, ENGLISH, CHINESE, "")
    assert {passage.document for passage, _ in told} == {0, 1}
    assert sum(len(text.encode()) for _, text in told) <= 300 * 8


async def test_all_of_each(tmp_path: Path) -> None:
    asking = Asking(Builder(), 10**9)
    assert await asking.texts([stored(tmp_path, ENGLISH), sent(CHINESE)]) == [ENGLISH, CHINESE]


async def test_what_is_kept_is_bounded() -> None:
    builder = Builder()
    asking = Asking(builder, 0)
    for _ in range(2):
        assert await asking.find([sent(ENGLISH)], QUESTION, (), 400)
    assert len(builder.built) == 2
    assert list(builder.built[0].parent.iterdir()) == []


async def test_what_was_used_last_stays() -> None:
    builder = Builder()
    asking = Asking(builder, 150_000)
    texts = [sent(ENGLISH), sent(ENGLISH + "a"), sent(ENGLISH + "b")]
    for volume in (texts[0], texts[1], texts[0], texts[2], texts[0]):
        await asking.find([volume], QUESTION, (), 400)
    names = [path.name for path in builder.built]
    assert len(names) == len(set(names)) + (names.count(names[0]) - 1)
    assert sum(path.stat().st_size for path in builder.built[0].parent.iterdir()) <= 150_000


async def test_questions_at_the_same_time_share_what_is_built() -> None:
    builder = Builder()
    asking = Asking(builder, 0)
    volumes = [sent(ENGLISH), sent(CHINESE)]
    questions = [asking.find([volumes[number % 2]], QUESTION, (), 400) for number in range(8)]
    found = await asyncio.gather(*questions)
    assert all(found)
    assert len(builder.built) < 8
    assert list(builder.built[0].parent.iterdir()) == []


async def test_what_is_there_does_not_wait_for_what_is_built() -> None:
    builder = Builder()
    asking = Asking(builder, 10**9)
    await asking.find([sent(ENGLISH)], QUESTION, (), 400)
    builder.gate = asyncio.Event()
    builder.begun.clear()
    other = asyncio.create_task(asking.find([sent(CHINESE)], QUESTION, (), 400))
    await builder.begun.wait()
    async with asyncio.timeout(20):
        assert await asking.find([sent(ENGLISH)], QUESTION, (), 400)
    builder.gate.set()
    assert await other


async def test_whoever_leaves_stops_the_work() -> None:
    builder = Builder(asyncio.Event())
    asking = Asking(builder, 10**9)
    task = asyncio.create_task(asking.find([sent(ENGLISH)], QUESTION, (), 400))
    await builder.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(builder.built[0].parent.iterdir()) == []
    builder.gate = None
    assert await asking.find([sent(ENGLISH)], QUESTION, (), 400)


async def test_what_cannot_be_built_is_told_and_tried_again() -> None:
    builder = Builder(fails=ValueError("no"))
    asking = Asking(builder, 10**9)
    with pytest.raises(ValueError, match="no"):
        await asking.find([sent(ENGLISH)], QUESTION, (), 400)
    builder.fails = None
    assert await asking.find([sent(ENGLISH)], QUESTION, (), 400)


async def test_what_a_question_wants() -> None:
    asking = Asking(Builder(), 0)
    assert await asking.wants_whole("What is this document about?", ())
    assert not await asking.wants_whole(QUESTION, ())
