"""The small things: counting in pieces, the index in its own process, names of what is made."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.documents import Part
from segue.files.artefacts import form, kind, parts_of, parts_to
from segue.files.counting import PIECE_BYTES, counted
from segue.files.indexing import IndexFailed, indexed
from tests.files.archives import write


async def pieces_of(path: Path, data: bytes) -> list[str]:
    write(path, data)
    told: list[str] = []

    async def count(piece: str) -> int:
        told.append(piece)
        return len(piece)

    assert await counted(path, count) == sum(map(len, told))
    assert max((len(piece.encode()) for piece in told), default=0) <= PIECE_BYTES
    return told


async def test_a_text_is_cut_at_line_ends(tmp_path: Path) -> None:
    line = "文字 and words\n"
    pieces = await pieces_of(tmp_path / "t", (line * 20_000).encode())
    assert len(pieces) > 5
    assert "".join(pieces) == line * 20_000
    assert all(piece.endswith("\n") for piece in pieces)


@pytest.mark.parametrize("char", ["x", "é", "文", "🦜"])
@pytest.mark.parametrize("before", range(4))
async def test_a_text_without_lines_is_cut_between_characters(char: str, before: int, tmp_path: Path) -> None:
    text = "a" * before + char * 50_000
    assert "".join(await pieces_of(tmp_path / "t", text.encode())) == text


async def test_the_shortest_texts(tmp_path: Path) -> None:
    assert await pieces_of(tmp_path / "t", b"") == []
    assert await pieces_of(tmp_path / "t", b"\n") == ["\n"]
    assert await pieces_of(tmp_path / "t", b"x" * PIECE_BYTES + b"\n") == ["x" * PIECE_BYTES, "\n"]


@settings(max_examples=50)
@given(st.lists(st.text("ab\n文🦜", max_size=9000), max_size=12))
def test_nothing_is_lost(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text = "".join(texts)
        assert "".join(asyncio.run(pieces_of(Path(folder) / "t", text.encode()))) == text


async def test_others_have_their_turn(tmp_path: Path) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    pieces = await pieces_of(tmp_path / "t", b"word word\n" * 100_000)
    task.cancel()
    assert turns >= len(pieces)


INDEXER = """
import json, os, sys, time
from pathlib import Path
text, out = map(Path, sys.argv[1:3])
parts = json.load(sys.stdin)
if parts == [[0, "fails"]]:
    sys.exit("no index, because")
if parts == [[0, "hangs"]]:
    out.write_text(str(os.getpid()))
    time.sleep(60)
out.write_text(json.dumps(parts) + text.read_text())
"""


@pytest.fixture
def indexer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "an_indexer.py").write_text(INDEXER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "text").write_text("text")
    return "an_indexer"


async def test_an_index_is_built_in_another_process(indexer: str, tmp_path: Path) -> None:
    await indexed(indexer, tmp_path / "text", [Part(0, "p. 1")], tmp_path / "out", 20)
    assert (tmp_path / "out").read_text() == '[[0, "p. 1"]]text'
    with pytest.raises(IndexFailed, match="because"):
        await indexed(indexer, tmp_path / "text", [Part(0, "fails")], tmp_path / "out", 20)


def lives(process: int) -> bool:
    return os.path.exists(f"/proc/{process}")


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
async def test_whoever_leaves_takes_the_process_along(indexer: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    task = asyncio.create_task(indexed(indexer, tmp_path / "text", [Part(0, "hangs")], out, 60))
    deadline = time.monotonic() + 20
    while not (out.exists() and out.read_text()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    process = int(out.read_text())
    assert lives(process)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(process)
    with pytest.raises(TimeoutError):
        await indexed(indexer, tmp_path / "text", [Part(0, "hangs")], out, 0.3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "txt"),
        ("a.b.PDF", "pdf"),
        ("a", "none"),
        (".bashrc", "none"),
        ("a.", "none"),
        ("a.文", "none"),
        ("a.t/t", "none"),
        ("a." + "x" * 17, "none"),
        ("a.tar.gz", "gz"),
        ("a. ", "none"),
    ],
)
def test_forms(name: str, expected: str) -> None:
    assert form(name) == expected
    assert kind("text-1", form(name)) == f"text-1.{expected}"


@given(st.lists(st.builds(Part, st.integers(0, 2**40), st.text())))
def test_parts_come_back(parts: list[Part]) -> None:
    assert parts_of(parts_to(parts)) == tuple(parts)
