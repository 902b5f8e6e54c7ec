"""The server's side: progress, ends of every kind, and a process that is gone afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from pathlib import Path

import pytest

from segue.core.documents import Document, Part
from segue.files.parsing import frames
from segue.files.parsing import parser as module
from segue.files.parsing.limits import ParseLimits, limits_from, limits_to
from segue.files.parsing.parser import Parser
from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.samples import pdf

# What stands in for the reading process: it says these bytes.
SAY = "import sys, os, time, signal; out = sys.stdout.buffer; from segue.files.parsing.frames import *\n"


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"hello")
    return path


def saying(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(module, "_START", f"import sys; sys.path.append(sys.argv[1])\n{SAY}{code}")


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_text_of_a_file(blob: Path) -> None:
    assert await Parser().parse(blob, "x.txt") == Document("hello", (Part(0, ""),), 0)


@pytest.fixture
def three_pages(blob: Path) -> Path:
    blob.write_bytes(pdf(["a", "b", "c"]))
    return blob


async def test_progress_is_told_page_by_page(three_pages: Path) -> None:
    told: list[tuple[int, int]] = []
    await Parser().parse(three_pages, "x.pdf", lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


async def test_a_file_that_is_not_there_is_our_own_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Parser().parse(tmp_path / "none", "x.txt")


async def test_many_at_a_time(tmp_path: Path) -> None:
    parser = Parser()
    for number in range(8):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    found = await asyncio.gather(*(parser.parse(tmp_path / f"{number}", "x.txt") for number in range(8)))
    assert [document.text for document in found] == [f"{number}" for number in range(8)]


async def test_offsets_are_bytes_and_text_before_a_part_has_one(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[frames.Frame] = [
        frames.Text("é"),
        frames.Part("A"),
        frames.Text("語"),
        frames.Text("x"),
        frames.Part("B"),
        frames.Done(2),
    ]
    saying(monkeypatch, f"out.write({b''.join(frames.pack(frame) for frame in said)!r})")
    found = await Parser().parse(blob, "x")
    assert found == Document("é語x", (Part(0, ""), Part(2, "A"), Part(6, "B")), 2)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "parse"),
        ("os.abort()", "parse"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "timeout"),
        ("sys.exit(3)", "parse"),
        ("pass", "parse"),
        ("out.write(b'abc')", "parse"),
        ("out.write(b'\\xff' * 100)", "parse"),
        ("out.write(b'\\x03\\0\\0\\0abc'); out.flush(); time.sleep(60)", "parse"),
        ("out.write(pack(Text('x'))); os.fsync", "parse"),
        ("out.write(pack(Done(1))); sys.exit(1)", "parse"),
        ("out.write(pack(Failed('pages', '')))", "pages"),
        ("out.write(pack(Failed('format', ''))); out.flush(); os.abort()", "format"),
        ("out.write(pack(Failed('format', '')).replace(b'format', b'formed'))", "parse"),
        ("time.sleep(60)", "timeout"),
        ("out.close(); os.close(1); time.sleep(60)", "timeout"),
        ("[(out.write(pack(Progress(1, 2))), out.flush(), time.sleep(0.01)) for _ in range(9999)]", "timeout"),
    ],
)
async def test_every_end_has_its_trouble(blob: Path, monkeypatch: pytest.MonkeyPatch, code: str, trouble: str) -> None:
    saying(monkeypatch, code)
    before = children()
    wall_s = 1.5 if trouble == "timeout" else 60.0  # a busy machine may be long in starting a process
    with pytest.raises(Unreadable) as caught:
        await Parser(dataclasses.replace(ParseLimits(), wall_s=wall_s)).parse(blob, "x")
    assert caught.value.trouble == trouble
    assert children() <= before


async def test_a_process_that_never_stops_talking(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVERHEAD_BYTES", 1000)
    saying(monkeypatch, "while True: out.write(pack(Text('x' * 1000)))")
    with pytest.raises(Unreadable) as caught:
        await Parser(dataclasses.replace(ParseLimits(), text_bytes_max=100_000)).parse(blob, "x")
    assert caught.value.trouble == "parse"


async def test_too_many_parts(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, "while True: out.write(pack(Part('')))")
    with pytest.raises(Unreadable) as caught:
        await Parser(dataclasses.replace(ParseLimits(), parts_max=100)).parse(blob, "x")
    assert caught.value.trouble == "parse"


async def test_when_the_caller_leaves_the_process_goes(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, "time.sleep(60)")
    before = children()
    task = asyncio.create_task(Parser().parse(blob, "x"))
    async with asyncio.timeout(30):
        while not children() - before:  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() <= before


async def test_a_missing_wall_is_warned_of_once(
    blob: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saying(monkeypatch, "out.write(pack(Caged(['landlock'])) + pack(Text('x')) + pack(Done(0)))")
    parser = Parser()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await parser.parse(blob, "x")
    assert [record.getMessage() for record in caplog.records] == [
        "files are read without landlock, which this system does not allow"
    ]


async def test_the_process_knows_nothing_of_our_environment(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_SECRET", "x")
    saying(monkeypatch, "out.write(pack(Text(repr(dict(os.environ)))) + pack(Done(0)))")
    assert "SEGUE_SECRET" not in (await Parser().parse(blob, "x")).text


def test_limits_travel() -> None:
    limits = dataclasses.replace(ParseLimits(), pages_max=7, wall_s=0.5)
    assert limits_from(limits_to(limits)) == limits
