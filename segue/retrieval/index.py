"""One document's index: what `find` and `digest` ask of it.

Laws: read-only and mapped, so many threads and processes may share one; offsets are bytes of the text it was built
from, and `fits` says whether a text can be that one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segue.retrieval.blob import Array, Unreadable, open_blob
from segue.retrieval.lines import Text

Ids = npt.NDArray[np.uint32]

NEEDED = frozenset(
    {"facts", "lines", "line_words", "passages", "parts", "label_ends", "labels"}
    | {"terms", "term_ends", "postings", "outline", "central"}
)


@dataclass(frozen=True, slots=True)
class Index:
    """The arrays of a blob.  `lines[i]` to `lines[i + 1]` are the bytes of line i; `passages[i]` to `passages[i + 1]`
    are its lines; `postings` name a line once for every time a word stands on it."""

    text_bytes: int
    words: int
    lines: Ids
    line_words: npt.NDArray[np.uint16]
    passages: Ids
    parts: Ids
    """The first line of each part."""
    labels: tuple[str, ...]
    terms: Ids
    term_ends: Ids
    postings: Ids
    outline: Ids
    central: Ids
    meaning: str
    """Which vectors these are; empty: none."""
    signs: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int8]
    """Vectors, as bytes, and before that their signs alone."""

    @classmethod
    def open(cls, path: Path, thorough: bool = False) -> Index:
        """A blob; raises `blob.Unreadable` where it has to be built again.  `thorough` reads every byte of it."""
        found = open_blob(path, thorough)
        if missing := NEEDED - found.keys():
            raise Unreadable(f"without {min(missing)}")
        index = cls._of(found)
        counts = len(index.lines) - 1, len(index.passages) - 1, len(index.terms), len(index.postings)
        if counts != tuple(int(each) for each in found["facts"][2:6]) or len(index.line_words) != counts[0]:
            raise Unreadable("damaged: facts")
        if counts[0] < 0 or int(index.lines[-1]) != index.text_bytes:
            raise Unreadable("damaged: lines")
        return index

    @classmethod
    def _of(cls, found: dict[str, Array]) -> Index:
        ends, joined = found["label_ends"].tolist(), found["labels"].tobytes()
        labels = [joined[begin:end].decode("utf-8", "replace") for begin, end in zip([0, *ends], ends, strict=False)]
        return cls(
            int(found["facts"][0]), int(found["facts"][1]),
            found["lines"], found["line_words"], found["passages"], found["parts"], tuple(labels),
            found["terms"], found["term_ends"], found["postings"], found["outline"], found["central"],
            found["meaning"].tobytes().decode() if "meaning" in found else "",
            found.get("signs", np.empty((0, 2), np.uint64)), found.get("rows", np.empty((0, 128), np.int8)),
        )  # fmt: skip

    @property
    def count(self) -> int:
        """How many lines."""
        return len(self.lines) - 1

    def fits(self, text: Text) -> bool:
        """Can this be the text it was built from?"""
        return len(text) == self.text_bytes

    def posted(self, term: int) -> Ids:
        """The lines a word stands on, in order, once for each time; raises Unreadable where they are none of ours."""
        at = int(np.searchsorted(self.terms, np.uint32(term)))
        if at == len(self.terms) or int(self.terms[at]) != term:
            return self.postings[:0]
        posted = self.postings[int(self.term_ends[at - 1]) if at else 0 : int(self.term_ends[at])]
        if len(posted) and int(posted[-1]) >= self.count:
            raise Unreadable("damaged: postings")
        return posted

    def part_of(self, line: int) -> int:
        """Which part a line is in."""
        return max(0, bisect_right(self.parts, line) - 1)

    def lines_of(self, part: int) -> tuple[int, int]:
        """The first line of a part, and the one behind its last."""
        behind = int(self.parts[part + 1]) if part + 1 < len(self.parts) else self.count
        return (int(self.parts[part]) if len(self.parts) else 0), behind

    def label_of(self, line: int) -> str:
        """What its part is called."""
        return self.labels[self.part_of(line)] if self.labels else ""

    def label_at(self, at: int) -> str:
        """What the part of this byte is called."""
        return self.label_of(self.line_at(at))

    def line_at(self, at: int) -> int:
        """The line that this byte is in."""
        return int(np.searchsorted(self.lines[:-1], np.uint32(at), "right")) - 1  # any other type copies all lines

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The bytes of several lines, both ends included."""
        return int(self.lines[first]), int(self.lines[last + 1])
