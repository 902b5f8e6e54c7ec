"""The texts that are cut, and where.

Four kinds of natural text, written for this benchmark, so that no model has read them: English and
Chinese prose, program code, JSON.  They lie in `texts/`, passages divided by `----`.  The Chinese ones
are divided into words by blanks (by jieba 0.42.1), which are not part of the text.

A cut is told as the number of characters before it, for a prefix is a string of whole characters.
"""

from __future__ import annotations

import importlib
import inspect
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("chinese", "english", "code", "json")
LIBRARY = ("argparse", "bisect", "csv", "heapq", "json.decoder", "shlex", "statistics", "string", "textwrap")
"""Modules of the standard library whose source is cut too, where the texts have too few indented lines."""
PASSAGE_CHARACTERS_MAX = 2000
NEXT = 20
"""How many bytes behind a cut are asked about."""
_FOLDER = Path(__file__).parent / "texts"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, and the ends of its words where they are not plain to see."""

    text: str
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CutKind:
    """A way of cutting a kind of text; `places` finds all its cuts in a passage."""

    name: str
    text: str
    pattern: str

    def places(self, passage: Passage) -> Iterator[int]:
        """Every cut of this kind, none at the passage's ends."""
        found = passage.words if self.pattern == "word" else [m.end() for m in re.finditer(self.pattern, passage.text)]
        return (at for at in found if 0 < at < len(passage.text))


CUTS = (
    CutKind("Chinese, any character", "chinese", r"(?s)."),
    CutKind("Chinese, end of a word", "chinese", "word"),
    CutKind("English, any character", "english", r"(?s)."),
    CutKind("English, word and a blank", "english", r"\w "),
    CutKind("code, any character", "library", r"(?s)."),
    CutKind("code, newline and indentation", "library", r"\n[ \t]+(?=[^\s])"),
    CutKind("JSON, any character", "json", r"(?s)."),
)


def passages(kind: str) -> list[Passage]:
    """The passages of one kind; `library` is code of the standard library."""
    if kind == "library":
        return list(_library())
    raw = (_FOLDER / f"{kind}.txt").read_text(encoding="utf-8")
    parts = [part.strip("\n") for part in raw.split("\n----\n")]
    return [_segmented(part) if kind == "chinese" else Passage(part) for part in parts]


def drawn(kind: CutKind, count: int, seed: int = 1) -> list[tuple[Passage, int]]:
    """`count` different cuts at random, or all there are."""
    every = [(passage, at) for passage in passages(kind.text) for at in kind.places(passage)]
    return random.Random(seed).sample(every, min(count, len(every)))


def whole_characters(data: bytes, at: int) -> int:
    """The last place up to byte `at` where no character is cut."""
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _segmented(part: str) -> Passage:
    words, text = [], ""
    for word in re.findall(r"\S+|\n", part):
        text += word
        words.append(len(text))
    return Passage(text, tuple(words))


def _library() -> Iterator[Passage]:
    """Each top-level block, long ones cut off at a line's end."""
    for name in LIBRARY:
        source = inspect.getsource(importlib.import_module(name))
        for block in re.split(r"\n\n\n+", source):
            text = (
                block[: block.rfind("\n", 0, PASSAGE_CHARACTERS_MAX)] if len(block) > PASSAGE_CHARACTERS_MAX else block
            )
            if len(text) > 100:
                yield Passage(text)
