"""Lines that name what is asked for: which of them are shown first, and what of them is told once more.

Laws: of ranked lines only the best are looked at, and those that have the name, as long as they are few; what does not
name it keeps its order; no line is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce

import numpy as np

from segue.core.documents import Passage
from segue.retrieval.fit import Fit, fits
from segue.retrieval.lines import Text
from segue.retrieval.meaning import Vectors
from segue.retrieval.ranking import Corpus, Places, Ranked
from segue.retrieval.subject import Subject
from segue.retrieval.windows import after, line, trimmed
from segue.retrieval.words import read

SETTLED_MAX = 128
"""Lines that are looked at, of the best, and so many more that have the name."""
FIRST_MAX = 8
"""Of those that name it, so many come before all others."""
STRONG_MIN, KEPT_MIN = 0.5, 4
"""Of how well the best of them fits: what fits worse is as if it did not name it, but for the best few."""
FIT_MIN = 0.4
"""Where none fits that well, how well they fit tells nothing."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Lines, best first; which of them go on in the next one; which bytes of those that name what is asked for answer,
    where that is known; and which name it and are far behind others that do."""

    ranked: Ranked
    spread: frozenset[int]
    keys: dict[int, tuple[int, int]] = field(default_factory=dict)
    weak: frozenset[int] = frozenset()


def settle(
    corpus: Corpus, texts: Sequence[Text], subject: Subject, forms: tuple[str, str], found: Settled, vectors: Vectors
) -> Settled:
    """With the lines that name what is asked for first, those that answer before others.  `forms` are the question and
    the statements."""
    ranked = found.ranked
    best = [line(corpus, texts, number) for number in ranked.lines[:SETTLED_MAX].tolist()]
    names = subject.names(best)
    more, said = _more(corpus, texts, names, ranked, best)
    rest = ranked.lines[SETTLED_MAX:]
    lines = np.concatenate([ranked.lines[:SETTLED_MAX], more, rest[~np.isin(rest, more)]])
    said = [*best, *said]
    places = np.flatnonzero(subject.named(said))
    if len(places) < 2:
        return found
    naming = lines[places].tolist()
    pairs = [(said[place], after(corpus, texts, number)) for place, number in zip(places, naming, strict=True)]
    fit = fits(corpus, *forms, names, pairs, vectors)
    keys = {
        number: _bytes(corpus, number, pair[0], each) for number, pair, each in zip(naming, pairs, fit, strict=True)
    }
    most = max(each.score for each in fit)
    told = most >= FIT_MIN
    order = places[np.argsort([-each.score if told else 0.0 for each in fit], kind="stable")]
    least = STRONG_MIN * most if told else -np.inf
    poor = {number for number, each in zip(naming, fit, strict=True) if each.score < least}
    weak = frozenset(poor.difference(lines[order[:KEPT_MIN]].tolist()))
    first = lines[order[: min(FIRST_MAX, len(naming) - len(weak))]]
    lines[places] = lines[order]
    lines = np.concatenate([first, lines[~np.isin(lines, first)]])
    wider = frozenset(number for number, each in zip(naming, fit, strict=True) if each.beyond)
    scores = np.concatenate([ranked.scores, np.zeros(len(lines) - len(ranked.lines), np.float32)])
    return Settled(Ranked(lines, scores), found.spread | wider, keys, weak)


def _more(
    corpus: Corpus, texts: Sequence[Text], names: Sequence[str], ranked: Ranked, best: Sequence[str]
) -> tuple[Places, list[str]]:
    """Lines that have a name and are far behind others that have much of the rest, and what they say; none where they
    are many, and none that says what another says."""
    found = np.setdiff1d(_having(corpus, names), ranked.lines[:SETTLED_MAX])
    told, kept, said = {text.strip() for text in best}, list[int](), list[str]()
    for number in found.tolist() if len(found) <= SETTLED_MAX else []:
        text = line(corpus, texts, number)
        if text.strip() not in told:
            told.add(text.strip())
            kept.append(number)
            said.append(text)
    return np.array(kept, np.intp), said


def _having(corpus: Corpus, names: Sequence[str]) -> Places:
    """The lines that have all words of a name, in order."""
    words, found = read(list(names)), [np.empty(0, np.intp)]
    for number in range(len(names)):
        terms = words.hashes[(words.lines == number) & (words.weights >= 1.0)].tolist()
        for index, first in zip(corpus.indexes, corpus.firsts.tolist(), strict=False):
            posted = [np.unique(index.posted(term)) for term in terms]
            if posted:
                both = reduce(partial(np.intersect1d, assume_unique=True), posted)
                found.append(both.astype(np.intp) + first)
    return np.unique(np.concatenate(found))


def _bytes(corpus: Corpus, number: int, text: str, fit: Fit) -> tuple[int, int]:
    """Which bytes of its document they are."""
    document = corpus.document(number)
    own = number - int(corpus.firsts[document])
    index = corpus.indexes[document]
    start = index.span(own, own)[0]
    end = index.span(own, own + 1)[1] if fit.beyond else start + len(text[: fit.end].encode())
    return start + len(text[: fit.start].encode()), end


def keyed(
    corpus: Corpus, texts: Sequence[Text], subject: Subject, found: Sequence[Passage], settled: Settled
) -> list[Passage]:
    """With what of the best line of each passage that names what is asked for does, and what it goes on in; but once
    where several say the same."""
    ranks = {number: rank for rank, number in enumerate(settled.ranked.lines.tolist())}
    lines = [_inside(corpus, passage) for passage in found]
    every = [number for each in lines for number in each]
    told = subject.named([line(corpus, texts, number) for number in every])
    naming = {number for number, names in zip(every, told, strict=True) if names} - settled.weak
    keys, said = list[Passage](), set[bytes]()
    for passage, inside in zip(found, lines, strict=True):
        index, first = corpus.indexes[passage.document], int(corpus.firsts[passage.document])
        mine = [number for number in inside if number in naming]
        for best in sorted(mine, key=lambda number: (ranks.get(number, len(ranks)), number)):
            last = best + 1 if best in settled.spread and best + 1 in inside else best
            start, end = settled.keys.get(best) or index.span(best - first, last - first)
            start, end = trimmed(texts[passage.document], max(start, passage.start), min(end, passage.end))
            key = bytes(memoryview(texts[passage.document])[start:end])
            if key and key not in said:
                said.add(key)
                passage = replace(passage, key=(start, end))
                break
        keys.append(passage)
    return keys


def _inside(corpus: Corpus, passage: Passage) -> range:
    """The lines of a passage."""
    index, first = corpus.indexes[passage.document], int(corpus.firsts[passage.document])
    return range(first + index.line_at(passage.start), first + index.line_at(passage.end - 1) + 1)
