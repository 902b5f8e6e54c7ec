"""Builds a document's index, in blocks, so that a text of any length takes about the same memory.

    python -m segue.retrieval.build TEXT BLOB < PARTS

TEXT is a file of UTF-8, PARTS a JSON list of `[start, label]`; it is meant to be run as a process of its own, which
gives all its memory back.

Laws: the same text, parts and vectors give the same bytes; the blob has its name only when it is whole.
"""

from __future__ import annotations

import itertools
import mmap
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segue.core.documents import Part
from segue.retrieval import meaning
from segue.retrieval.blob import Writer
from segue.retrieval.central import Sketch
from segue.retrieval.lines import Text, cut
from segue.retrieval.meaning import Vectors
from segue.retrieval.words import Words, read

BLOCK_BYTES = 1 << 19
PASSAGE_BYTES = 1200
SHELVES = 16
"""Temporary files, each of which is sorted in memory."""
TEXT_BYTES_MAX = (1 << 32) - 1
BYTE_SCALE = 300.0
"""A number of a vector, as a byte: 128 numbers of a vector of length 1 are seldom beyond 0.42."""


@dataclass(slots=True)
class Block:
    """Some lines: where each begins and ends."""

    first: int
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


class Shelves:
    """All postings, as hash and line in one number, divided by hash."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._files = [_scratch(stack, folder) for _ in range(SHELVES)]
        self._borders = np.arange(1, SHELVES, dtype=np.uint64) * np.uint64((1 << 64) // SHELVES)

    def put(self, words: Words, first: int) -> None:
        """The words of a block whose first line has this number."""
        keys = words.hashes.astype(np.uint64) << np.uint64(32) | (words.lines + first).astype(np.uint64)
        keys.sort()
        bounds = [0, *np.searchsorted(keys, self._borders).tolist(), len(keys)]
        for file, (begin, end) in zip(self._files, itertools.pairwise(bounds), strict=True):
            keys[begin:end].tofile(file)

    def sorted(self) -> Iterator[npt.NDArray[np.uint64]]:
        """All of them in order, shelf after shelf."""
        for file in self._files:
            file.seek(0)
            keys = np.frombuffer(file.read(), np.uint64).copy()
            keys.sort()
            yield keys


def _scratch(stack: ExitStack, folder: Path) -> BinaryIO:
    """A file without a name, beside the blob: what may write the one may write the other."""
    return stack.enter_context(cast(BinaryIO, tempfile.TemporaryFile(dir=folder)))


def build(text: Text, parts: Sequence[Part], path: Path, vectors: Vectors | None = None) -> None:
    """Writes the index of a text to a path.

    `vectors` are `meaning.vectors()`, or None for an index of words alone.  Raises ValueError where the text is not
    UTF-8 or the parts are not in order.
    """
    size = len(text)
    if size > TEXT_BYTES_MAX:
        raise ValueError("a text has at most 4 GiB")
    starts = [part.start for part in parts] or [0]
    if starts[0] != 0 or sorted(starts) != starts or starts[-1] > size:
        raise ValueError("parts begin at 0 and follow each other")
    vectors = vectors.building() if vectors else None
    with ExitStack() as stack:
        view = stack.enter_context(memoryview(text))
        shelves, sketch, counts = Shelves(stack, path.parent), Sketch(), list[npt.NDArray[np.int64]]()
        signs = _scratch(stack, path.parent)
        writer = stack.enter_context(Writer(path))
        if vectors:
            writer.begin("rows", "i1", meaning.WIDTH)
        begins = list[npt.NDArray[np.uint32]]()
        for block in _blocks(text, starts):
            lines = [str(view[start:end], "utf-8") for start, end in zip(block.starts, block.ends, strict=True)]
            words = read([line.replace("\n", " ") for line in lines])
            shelves.put(words, block.first)
            counts.append(np.bincount(words.lines, minlength=len(lines)))
            begins.append(np.array(block.starts, np.uint32))
            rows = vectors.lines(words.reading, len(lines)) if vectors else None
            sketch.see(block.first, lines, words, rows)
            if rows is not None:
                writer.append(np.clip(np.rint(rows * BYTE_SCALE), -127, 127))
                np.packbits(rows > 0, axis=1).tofile(signs)
        bounds = np.append(np.concatenate([*begins, np.empty(0, np.uint32)]), size).astype(np.uint32)
        if vectors:
            signs.seek(0)
            writer.add("signs", "u8", np.frombuffer(signs.read(), np.uint64), 2)
            writer.add("meaning", "u1", np.frombuffer(meaning.NAME.encode(), np.uint8))
        _finish(writer, bounds, counts, parts, starts, shelves, sketch)


def _blocks(text: Text, starts: Sequence[int]) -> Iterator[Block]:
    """Lines, about as many at a time as fill a block; none reaches over a part's border."""
    block = Block(0)
    for begin, end in zip(starts, [*starts[1:], len(text)], strict=True):
        start = begin
        for at in cut(text, begin, end):
            block.starts.append(start)
            block.ends.append(at)
            start = at
            if at - block.starts[0] >= BLOCK_BYTES:
                yield block
                block = Block(block.first + len(block.starts))
    if block.starts:
        yield block


def _finish(
    writer: Writer,
    lines: npt.NDArray[np.uint32],
    counts: list[npt.NDArray[np.int64]],
    parts: Sequence[Part],
    starts: Sequence[int],
    shelves: Shelves,
    sketch: Sketch,
) -> None:
    """What is known when all lines have been seen."""
    line_words = np.concatenate([*counts, np.empty(0, np.int64)])
    part_lines = np.searchsorted(lines[:-1], np.array(starts, np.uint32)).astype(np.uint32)
    passages = _passages(lines, part_lines)
    writer.add("lines", "u4", lines)
    writer.add("line_words", "u2", np.minimum(line_words, 65535))
    writer.add("passages", "u4", passages)
    labels = [part.label.encode("utf-8", "replace") for part in parts]
    writer.add("parts", "u4", part_lines)
    writer.add("label_ends", "u4", np.cumsum([len(label) for label in labels], dtype=np.uint32))
    writer.add("labels", "u1", np.frombuffer(b"".join(labels), np.uint8))
    terms, ends, end = list[npt.NDArray[np.uint32]](), list[npt.NDArray[np.int64]](), 0
    writer.begin("postings", "u4")
    for keys in shelves.sorted():
        hashes = (keys >> np.uint64(32)).astype(np.uint32)
        writer.append(keys & np.uint64(0xFFFFFFFF))
        last = np.flatnonzero(np.diff(hashes, append=hashes[-1:] ^ 1))
        terms.append(hashes[last])
        ends.append(last + 1 + end)
        end += len(keys)
    writer.add("terms", "u4", np.concatenate(terms))
    writer.add("term_ends", "u4", np.concatenate(ends))
    writer.add("outline", "u4", sketch.outline())
    writer.add("central", "u4", sketch.central())
    distinct = sum(map(len, terms))
    facts = [int(lines[-1]), int(line_words.sum()), len(lines) - 1, len(passages) - 1, distinct, end]
    writer.add("facts", "u8", np.array(facts, np.uint64))


def _passages(lines: npt.NDArray[np.uint32], part_lines: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The first line of each passage: as many lines as fill one, within a part; and behind the last, their number."""
    count = len(lines) - 1
    found = list[npt.NDArray[np.intp]]()
    for begin, end in zip(part_lines.tolist(), [*part_lines[1:].tolist(), count], strict=True):
        if end > begin:
            number = (lines[begin:end] - lines[begin]) // PASSAGE_BYTES
            found.append(begin + np.flatnonzero(np.diff(number, prepend=-1)))
    return np.append(np.concatenate([*found, np.empty(0, np.intp)]), count).astype(np.uint32)


def main() -> int:
    """Builds one; parts are read from the standard input."""
    text_path, blob_path = map(Path, sys.argv[1:3])
    rows = msgspec.json.decode(sys.stdin.buffer.read() or b"[]", type=list[tuple[int, str]])
    parts = [Part(start, label) for start, label in rows]
    with text_path.open("rb") as file, ExitStack() as stack:
        empty = text_path.stat().st_size == 0
        text: Text = b"" if empty else stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        build(text, parts, blob_path, meaning.vectors())
    return 0


if __name__ == "__main__":
    sys.exit(main())
