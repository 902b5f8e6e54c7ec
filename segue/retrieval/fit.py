"""Of lines that all name what is asked for: which of them answers, by what the question and its statements say.

Where a text says thirty things of one museum, every line about it has the question's rarest words, and those decide
nothing: what else the question says must.  It can be put in several ways (statements are some), and a line that is
like one of them need not be like the others.

Laws: the name's words, which nearly all of the lines have, say nothing; a form is covered by sentences as far as the
likest of their words are like its own; a line is as good as its best sentence that has the name, alone or with the one
behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segue.retrieval import ranking
from segue.retrieval.lines import sentences
from segue.retrieval.meaning import Vectors, unit
from segue.retrieval.ranking import Corpus
from segue.retrieval.words import Reading

Floats = npt.NDArray[np.float32]

SHARED_MIN = 0.8
"""Of the lines: a word of a name that so many of them have is one of the name asked for."""
OWN_SHARE, NUMBER_SHARE = 0.2, 0.5
"""What it is worth that a sentence says little else, and that it has a number where the statements have one."""
NEXT_COST = 0.2
"""By how much a sentence and the next must fit better than the sentence alone."""
SENTENCES_MAX = 16
"""Of one line."""

_NUMBER = re.compile("[0-9]")


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a line fits, and with which of its characters; whether the next line has part in it."""

    score: float
    start: int
    end: int
    beyond: bool


def fits(
    corpus: Corpus,
    question: str,
    statements: str,
    names: Sequence[str],
    lines: Sequence[tuple[str, str]],
    table: Vectors,
) -> list[Fit]:
    """Of each line; `lines` are each with the one behind it, "" where there is none."""
    forms = [question, *(text for _, text in sentences(statements))]
    numbers = sum(_NUMBER.search(form) is not None for form in forms[1:]) / max(1, len(forms) - 1)
    said = _Said(corpus, forms, names, lines, table)
    found = [Fit(-np.inf, 0, len(line), False) for line, _ in lines]
    for line, places, fit in said.parts():
        score = said.covered(places) + OWN_SHARE * said.own(places) - NEXT_COST * (len(places) > 1)
        score += NUMBER_SHARE * numbers * said.numbered(places)
        if score > found[line].score:
            found[line] = replace(fit, score=score)
    return found


class _Said:
    """The sentences of all lines, each line's followed by the one behind it, and how like the forms they are."""

    def __init__(
        self,
        corpus: Corpus,
        forms: Sequence[str],
        names: Sequence[str],
        lines: Sequence[tuple[str, str]],
        table: Vectors,
    ) -> None:
        self._texts, self._starts, self._lines = list[str](), list[int](), list[tuple[range, bool]]()
        for line, after in lines:
            parts = list(sentences(line))[:SENTENCES_MAX]
            self._lines.append((range(len(self._texts), len(self._texts) + len(parts)), bool(after)))
            for start, text in [*parts, *([(len(line), after)] if after else [])]:
                self._starts.append(start)
                self._texts.append(text)
        reading, weights = ranking.rarities(corpus, self._texts)
        self._words: list[set[int]] = [set() for _ in self._texts]
        for place, word, weight in zip(reading.lines.tolist(), reading.hashes.tolist(), weights.tolist(), strict=True):
            if weight:
                self._words[place].add(word)
        of_lines = (set[int]().union(*(self._words[place] for place in own)) for own, _ in self._lines)
        counts = Counter(word for words in of_lines for word in words)
        # What else they all have counts for all alike: of six that say the same no one fits badly.
        of_names = {word for word, text in _texts(reading) if any(text in name for name in names)}
        self._shared = {word for word in of_names if counts[word] >= SHARED_MIN * len(lines)}
        weights[np.isin(reading.hashes, np.array(sorted(self._shared), np.uint64))] = 0.0
        asked, shares = self._asked(corpus, forms, table)
        likeness = (unit(table.words(reading)) * (weights > 0)[:, None]) @ asked.T
        first = np.flatnonzero(np.diff(reading.lines, prepend=-1))
        at = reading.lines[first]
        self._shares = shares
        self._nearest = np.zeros((len(self._texts), len(asked)), np.float32)
        self._owns = np.zeros((len(self._texts), shares.shape[1]), np.float32)
        self._weights = np.zeros(len(self._texts), np.float32)
        if len(first) and len(asked):
            self._nearest[at] = np.maximum.reduceat(likeness, first, axis=0)
            own = np.stack([likeness[:, column > 0].max(axis=1) for column in shares.T], axis=1)
            self._owns[at] = np.add.reduceat(own * weights[:, None], first, axis=0)
            self._weights[at] = np.add.reduceat(weights, first)

    def _asked(self, corpus: Corpus, forms: Sequence[str], table: Vectors) -> tuple[Floats, Floats]:
        """The words of all forms, those of each in a row, and what share of which form each is."""
        reading, weights = ranking.rarities(corpus, forms)
        weights[np.isin(reading.hashes, np.array(sorted(self._shared), np.uint64))] = 0.0
        vectors, shares = unit(table.words(reading)), list[Floats]()
        for number in range(len(forms)):
            share = weights[(reading.lines == number) & (weights > 0)]
            if len(share):
                shares.append(share / share.sum())
        found = np.zeros((sum(map(len, shares)), len(shares)), np.float32)
        begin = 0
        for number, share in enumerate(shares):
            found[begin : begin + len(share), number] = share
            begin += len(share)
        return vectors[weights > 0], found

    def parts(self) -> Iterator[tuple[int, list[int], Fit]]:
        """What may answer: of which line, the places of the sentences, and where they stand in it."""
        for line, (own, after) in enumerate(self._lines):
            has = [len(self._shared & self._words[place]) for place in own]
            for place in (place for place, count in zip(own, has, strict=True) if count == max(has)):
                start, end = self._starts[place], self._starts[place] + len(self._texts[place])
                yield line, [place], Fit(0.0, start, end, False)
                if place + 1 in own:
                    behind = self._starts[place + 1] + len(self._texts[place + 1])
                    yield line, [place, place + 1], Fit(0.0, start, behind, False)
                elif after:
                    yield line, [place, place + 1], Fit(0.0, start, end, True)

    def covered(self, places: Sequence[int]) -> float:
        """How much these sentences say of what the likest form says, from 0 to 1."""
        return float((self._nearest[places].max(axis=0) @ self._shares).max(initial=0.0))

    def own(self, places: Sequence[int]) -> float:
        """How much of what they say that form says which says most of it."""
        return float((self._owns[places].sum(axis=0) / max(float(self._weights[places].sum()), 1e-9)).max(initial=0.0))

    def numbered(self, places: Sequence[int]) -> float:
        """How much those say of the likest form that have a number, from 0 to 1."""
        return max((self.covered([place]) for place in places if _NUMBER.search(self._texts[place])), default=0.0)


def _texts(reading: Reading) -> Iterator[tuple[int, str]]:
    """Each word once, and how it is written."""
    hashes, firsts = np.unique(reading.hashes, return_index=True)
    for word, first in zip(hashes.tolist(), firsts.tolist(), strict=True):
        yield word, reading.word(first)
