"""What a question is about, where it names something: Felix Voss, the Kestrel museum, 黄铜观测站, 1990.

A small model that is shown the right sentence between others, of other names, takes one of those; shown once more which
sentences name what was asked for, it takes the right one.

Laws: names are full names (`names.named`); else a word that is written like one and that few lines have, with a
neighbour where some text has both side by side; and Chinese words side by side that much of the question's weight is
on.  A name is in a text as it stands in the question, but for case and the form of characters; of several, a text has
half of what the best one has.  Where there is none, no text is told from another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import numpy.typing as npt

from segue.retrieval import ranking
from segue.retrieval.lines import sentences
from segue.retrieval.names import named
from segue.retrieval.question import LETTER, NAME_WEIGHT, TEXT_CHARACTERS_MAX, foreign, names
from segue.retrieval.ranking import Corpus
from segue.retrieval.words import Reading, read

RUN_MAX = 4
"""Words side by side: names that no dictionary has are read as single characters."""
RUN_SHARE = 0.3
"""Of a question's weight, that Chinese words have which are a name."""
RUN_ALONE_SHARE = 0.5
"""The same of a single word."""
LINES_MAX, LINES_SHARE = 16, 0.1
"""A word that stands in more lines than that names what all of the text is about, and tells no line from another."""
PART_MIN = 0.5
"""Of what the best text has."""

_HAN = re.compile("[\u3400-\u9fff]+")
_COUNT = re.compile("[0-9]{1,3}")
"""No name by itself."""


class Subject:
    """What a question is about, as far as that can be told.  `corpus` are the documents asked; `statements`, how a text
    may put the answer, name it in another language where they are in one and the question's own name is nowhere."""

    def __init__(self, corpus: Corpus, question: str, statements: str = "") -> None:
        abroad = [text for _, text in sentences(statements) if foreign(text, question)]
        said = [question, " ".join(abroad)]
        self._asked = [_Asked(corpus, " ".join(each.split())[-TEXT_CHARACTERS_MAX:]) for each in said if each.strip()]

    def named(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts name it; none where that cannot be told."""
        said, found = self._names(texts)
        scores = np.zeros(len(texts))
        for weight, name in found:
            scores += weight * _having(said, name)
        return [bool(each) for each in (scores > 0) & (scores >= PART_MIN * scores.max(initial=0.0))]

    def names(self, texts: Sequence[str]) -> list[str]:
        """What says most of the names that some text has."""
        found = self._names(texts)[1]
        return [max(found)[1]] if found else []

    def _names(self, texts: Sequence[str]) -> tuple[list[str], list[tuple[float, str]]]:
        reading = read([" ".join(text.split()) for text in texts]).reading
        said, met = _spoken(reading).split("\n")[: len(texts)], set(reading.hashes.tolist())
        names = (list(_names(asked.met(met), said)) for asked in self._asked)
        return said, next(filter(None, names), [])


class _Asked:
    """The words of a question: what each is worth (nothing, where it was not `met` in the texts), whether few lines
    have it, whether it is written like a name, and whether it is Chinese."""

    def __init__(self, corpus: Corpus, asked: str) -> None:
        reading, weights = ranking.rarity(corpus, asked)
        called, words = names(asked), [reading.word(number) for number in range(len(weights))]
        again = read(words)
        self.hashes: list[int] = reading.hashes.tolist()
        self.heavy: list[float] = weights.tolist()
        like = set(again.lines[np.isin(again.hashes, list(called))].tolist())
        self.like = [number in like for number in range(len(words))]
        count, own = int(corpus.firsts[-1]), weights / np.where(self.like, NAME_WEIGHT, 1.0)
        lines = count / np.expm1(np.maximum(own, 1e-6)) - 1
        self.rare: list[bool] = (lines <= max(LINES_MAX, LINES_SHARE * count)).tolist()
        self.han = [_HAN.fullmatch(word) is not None for word in words]
        self.counts = [_COUNT.fullmatch(word) is not None for word in words]
        self.full = named(asked)
        self._text, self._spans, self._beside = _spoken(reading), reading.spans, _beside(reading)

    def met(self, words: set[int]) -> _Asked:
        """The same among texts that have these words."""
        found = copy(self)
        found.heavy = [weight if word in words else 0.0 for weight, word in zip(self.heavy, self.hashes, strict=True)]
        return found

    def run(self, first: int, last: int) -> str:
        """These words, both ends included, as they stand there."""
        return self._text[self._spans.starts[first] : self._spans.ends[last]]

    def joined(self, first: int, last: int) -> bool:
        """Are they there, are they in the texts, and do they stand side by side?"""
        inside = first >= 0 and last < len(self.heavy)
        return inside and all(self.heavy[first : last + 1]) and all(self._beside[first:last])

    def weight(self, first: int, last: int) -> float:
        """What they are worth together."""
        return sum(self.heavy[first : last + 1])


def _names(asked: _Asked, said: Sequence[str]) -> Iterator[tuple[float, str]]:
    """What is named, and what it is worth; each is in some text."""
    taken = set[int]()
    for name in sorted(asked.full):
        reading = read([name]).reading
        if _having(said, text := _spoken(reading)).any():
            words = set(reading.hashes.tolist())
            mine = [number for number, word in enumerate(asked.hashes) if word in words]
            taken.update(mine)
            # A name that no dictionary has may be cut into other words there, and still it is worth something.
            yield sum(asked.heavy[number] for number in mine) or 1.0, text
    for number, like in enumerate(asked.like):
        if like and number not in taken and asked.rare[number]:
            pairs = [(number, number + 1), (number - 1, number)]
            runs = sorted((run for run in pairs if asked.joined(*run)), key=lambda run: -asked.weight(*run))
            alone = [(number, number)] if asked.joined(number, number) and not asked.counts[number] else []
            for first, last in [*runs, *alone]:
                if _having(said, asked.run(first, last)).any():
                    taken.update(range(first, last + 1))
                    yield asked.weight(first, last), asked.run(first, last)
                    break
    total = sum(asked.heavy)
    chinese = [
        (first, last)
        for first in range(len(asked.han))
        for last in range(first, min(first + RUN_MAX, len(asked.han)))
        if all(asked.han[first : last + 1])
        and asked.joined(first, last)
        and asked.weight(first, last) >= (RUN_SHARE if last > first else RUN_ALONE_SHARE) * total
    ]
    for first, last in sorted(chinese, key=lambda run: (-asked.weight(*run), -len(asked.run(*run)), run)):
        if not taken.intersection(range(first, last + 1)) and _having(said, asked.run(first, last)).any():
            yield asked.weight(first, last), asked.run(first, last)
            return


def _beside(reading: Reading) -> list[bool]:
    """Of each word but the last, whether the next one follows at once, or behind one blank."""
    gaps = reading.spans.starts[1:] - reading.spans.ends[:-1]
    blank = reading.codes[np.minimum(reading.spans.ends[:-1], len(reading.codes) - 1)] == ord(" ")
    return [bool(each) for each in (gaps == 0) | ((gaps == 1) & blank)]


def _spoken(reading: Reading) -> str:
    return reading.codes.tobytes().decode("utf-32-le")


def _having(texts: Sequence[str], name: str) -> npt.NDArray[np.bool_]:
    """Which texts have the name, not inside a longer word of letters; Chinese ones may stand around it."""
    before = "" if _HAN.match(name[:1]) else f"(?<!{LETTER})"
    behind = "" if _HAN.match(name[-1:]) else f"(?!{LETTER})"
    pattern = re.compile(before + re.escape(name) + behind)
    return np.array([pattern.search(text) is not None for text in texts], np.bool_)
