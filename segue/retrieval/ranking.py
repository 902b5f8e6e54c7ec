"""Lines by how well they fit a question, over all documents asked: three rankings, fused.

    words    BM25 of every line, with a share of its neighbours'
    places   BM25 of passages, for questions whose words lie apart
    meaning  the likeness of vectors

Statistics are those of all documents asked together.  Fusion is by rank (RRF): the scores have nothing in common.
The lines that come out best are then read once more, word against word (`reread`).

Laws: the lines of document d are numbered from `firsts[d]`; nothing is kept between questions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segue.retrieval import meaning
from segue.retrieval.index import Index
from segue.retrieval.question import NAME_WEIGHT, Question, names
from segue.retrieval.stops import stop_hashes
from segue.retrieval.words import Reading, read

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

K1, LINE_B, PASSAGE_B = 1.2, 0.3, 0.6
NEIGHBOUR = 0.25
RANKED_MAX, OF_EACH = 256, 8
"""Lines of a ranking; and of every document, also where others fit better."""
FUSION = 60.0
SIFTED_SHARE, SIFTED_MIN = 0.02, 4096
"""Lines that are compared byte by byte, of those nearest by signs alone."""
SAME, HAS = 0.95, 2.0
"""The likeness from which two words are one, and what having a word is worth beside the likeness of the rest."""
SCANNED_LINES_MAX = 1 << 16
"""Fewer lines than this are all compared byte by byte."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Lines, best first."""

    lines: Places
    scores: Floats


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents asked, as one."""

    indexes: Sequence[Index]
    firsts: Places
    passage_firsts: Places

    @classmethod
    def of(cls, indexes: Sequence[Index]) -> Corpus:
        """Of these, in this order."""
        firsts = np.cumsum([0, *(index.count for index in indexes)])
        passages = np.cumsum([0, *(len(index.passages) - 1 for index in indexes)])
        return cls(indexes, firsts, passages)

    def document(self, line: int) -> int:
        """Whose line it is."""
        return int(np.searchsorted(self.firsts, line, "right")) - 1


def by_words(corpus: Corpus, question: Question) -> tuple[Ranked, Ranked]:
    """Lines, and lines of passages, by BM25."""
    count, passages = int(corpus.firsts[-1]), int(corpus.passage_firsts[-1])
    total = max(sum(index.words for index in corpus.indexes), 1)
    lines, places = np.zeros(count, np.float32), np.zeros(passages, np.float32)
    sizes = np.concatenate([index.line_words for index in corpus.indexes]).astype(np.float32)
    within = np.concatenate([np.diff(index.passages.astype(np.intp)) for index in corpus.indexes])
    of_lines = np.repeat(np.arange(passages), within)
    place_sizes = np.bincount(of_lines, sizes, passages).astype(np.float32)
    for term, weight in zip(question.terms, question.weights, strict=True):
        posted = np.concatenate(
            [
                index.posted(term).astype(np.intp) + first
                for index, first in zip(corpus.indexes, corpus.firsts, strict=False)
            ]
        )
        _add(lines, posted, sizes, total / count, LINE_B, weight)
        _add(places, of_lines[posted], place_sizes, total / passages, PASSAGE_B, weight)
    near = lines.copy()
    near[1:] += NEIGHBOUR * lines[:-1]
    near[:-1] += NEIGHBOUR * lines[1:]
    best = _each(corpus, near)
    # A passage stands for its best line.
    top = _best(places, RANKED_MAX)
    shown = [_strongest(corpus, near, int(place)) for place in top.lines]
    return best, Ranked(np.array(shown, np.intp), top.scores)


def _add(scores: Floats, posted: Places, sizes: Floats, mean: float, b: float, weight: float) -> None:
    """One word's share; `posted` is in order."""
    if not len(posted):
        return
    at = np.flatnonzero(np.diff(posted, prepend=-1))
    found = posted[at]
    times = np.diff(at, append=len(posted)).astype(np.float32)
    rarity = np.log1p((len(scores) - len(found) + 0.5) / (len(found) + 0.5))
    scores[found] += weight * rarity * times * (K1 + 1) / (times + K1 * (1 - b + b * sizes[found] / mean))


def _strongest(corpus: Corpus, scores: Floats, place: int) -> int:
    document = int(np.searchsorted(corpus.passage_firsts, place, "right")) - 1
    index, first = corpus.indexes[document], int(corpus.firsts[document])
    number = place - int(corpus.passage_firsts[document])
    begin, end = int(index.passages[number]) + first, int(index.passages[number + 1]) + first
    return begin + int(np.argmax(scores[begin:end]))


def by_meaning(corpus: Corpus, asked: Floats) -> Ranked:
    """Lines by the likeness of their vectors to the question's."""
    found, scores = list[Places](), list[Floats]()
    signs = np.packbits(asked > 0).view(np.uint64)
    for index, first in zip(corpus.indexes, corpus.firsts, strict=False):
        if index.meaning != meaning.NAME:
            continue
        at = np.arange(index.count)
        if index.count > SCANNED_LINES_MAX:
            apart = np.bitwise_count(index.signs[:, 0] ^ signs[0]) + np.bitwise_count(index.signs[:, 1] ^ signs[1])
            keep = max(SIFTED_MIN, int(index.count * SIFTED_SHARE))
            counts = np.cumsum(np.bincount(apart, minlength=meaning.WIDTH + 1))
            at = np.flatnonzero(apart <= np.searchsorted(counts, keep))[: 2 * keep]
        likeness = np.empty(len(at), np.float32)
        for begin in range(0, len(at), meaning.GATHERED):
            part = at[begin : begin + meaning.GATHERED]
            likeness[begin : begin + len(part)] = index.rows[part].astype(np.float32) @ asked
        best = _best(likeness, RANKED_MAX)
        found.append(at[best.lines] + first)
        scores.append(best.scores)
    if not found:
        return Ranked(np.empty(0, np.intp), np.empty(0, np.float32))
    kept = np.concatenate([np.arange(len(lines)) for lines in found])  # the rank within the document
    lines, likenesses = np.concatenate(found), np.concatenate(scores)
    order = np.argsort(-likenesses, kind="stable")
    order = order[(np.arange(len(order)) < RANKED_MAX) | (kept[order] < OF_EACH)]
    return Ranked(lines[order], likenesses[order])


def _each(corpus: Corpus, scores: Floats) -> Ranked:
    """The best, and some of every document."""
    best = _best(scores, RANKED_MAX)
    if len(corpus.indexes) == 1:
        return best
    found = [best.lines]
    for first, behind in itertools.pairwise(corpus.firsts.tolist()):
        found.append(_best(scores[first:behind], OF_EACH).lines + first)
    lines = np.unique(np.concatenate(found))
    lines = lines[np.argsort(-scores[lines], kind="stable")]
    return Ranked(lines, scores[lines])


def _best(scores: Floats, count: int) -> Ranked:
    """Those above zero, best first; the earlier one of equals."""
    at = np.flatnonzero(scores > 0)
    if len(at) > count:
        least = np.partition(scores[at], -count)[-count]
        at = at[scores[at] >= least]
    at = at[np.argsort(-scores[at], kind="stable")][:count]
    return Ranked(at, scores[at])


def fused(rankings: Sequence[tuple[Ranked, float]]) -> Ranked:
    """Several rankings as one: each gives a line its share over the line's rank."""
    points: dict[int, float] = {}
    for ranked, share in rankings:
        seen = set[int]()
        for rank, line in enumerate(ranked.lines.tolist()):
            if line not in seen:  # a line may stand for two passages
                seen.add(line)
                points[line] = points.get(line, 0.0) + share / (FUSION + rank + 1)
    order = sorted(points, key=lambda line: (-points[line], line))
    return Ranked(np.array(order, np.intp), np.array([points[line] for line in order], np.float32))


def rarity(corpus: Corpus, question: str) -> tuple[Reading, Floats]:
    """The words of a question a vector can be looked up for, and what each of them says."""
    reading, weights, terms = _weighed(corpus, [question])
    weights[np.isin(terms, list(names(question)))] *= NAME_WEIGHT
    return reading, weights


def rarities(corpus: Corpus, texts: Sequence[str]) -> tuple[Reading, Floats]:
    """The same of several texts at once, in which no word counts as a name."""
    return _weighed(corpus, texts)[:2]


def _weighed(corpus: Corpus, texts: Sequence[str]) -> tuple[Reading, Floats, npt.NDArray[np.int64]]:
    """What each word says, and how the index knows it (-1: not at all)."""
    reading = read([" ".join(text.split()) for text in texts]).reading
    _, firsts, inverse = np.unique(reading.hashes, return_index=True, return_inverse=True)
    words = read([reading.word(int(first)) for first in firsts])
    count, stops = int(corpus.firsts[-1]), set(stop_hashes().tolist())
    weights, terms = np.zeros(len(firsts), np.float32), np.full(len(firsts), -1, np.int64)
    met = np.zeros(len(firsts), np.bool_)
    lines, at = np.unique(words.lines, return_index=True)  # the first term is the word itself
    for line, term in zip(lines.tolist(), words.hashes[at].tolist(), strict=True):
        terms[line] = term
        if term not in stops:
            found = sum(len(index.posted(term)) for index in corpus.indexes)
            weights[line], met[line] = np.log1p(count / (found + 1)), found > 0
    weights, met = weights[inverse], met[inverse]
    if (strange := (weights > 0) & ~met).any():
        # How rare a word is that stands nowhere says nothing: it is worth what the others are.
        known = weights[(weights > 0) & met]
        weights[strange] = known.mean() if len(known) else 1.0
    return reading, weights, terms[inverse]


def reread(lines: Sequence[str], reading: Reading, weights: Floats, table: meaning.Vectors) -> tuple[Floats, Floats]:
    """Each line word against word, in two ways: how near some word of it comes to each of the question's; and which
    of the question's words it has, with the likeness of all that is left of both."""
    asked = table.words(reading)
    heard = read([line.replace("\n", " ") for line in lines]).reading
    said = table.words(heard)
    near, rest = np.zeros(len(lines), np.float32), np.zeros(len(lines), np.float32)
    if not len(said) or not len(asked):
        return near, rest
    likeness = meaning.unit(said) @ meaning.unit(asked).T
    first = np.flatnonzero(np.diff(heard.lines, prepend=-1))
    best = np.maximum.reduceat(likeness, first, axis=0)
    share = weights / max(float(weights.sum()), 1e-9)
    same = best > SAME
    theirs = np.add.reduceat(said * (likeness.max(axis=1) <= SAME)[:, None], first, axis=0)
    mine = (~same & (weights > 0)).astype(np.float32) @ asked
    at = heard.lines[first]
    near[at] = best @ share
    rest[at] = HAS * (same @ share) + (meaning.unit(theirs) * meaning.unit(mine)).sum(axis=1)
    return near, rest
