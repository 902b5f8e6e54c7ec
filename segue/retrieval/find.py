"""The passages of several documents that a question is most likely answered in.

Laws: at most `bytes_max` bytes of text together; passages are as `windows` makes them; the same question of the same
documents finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segue.core.documents import Passage
from segue.retrieval import meaning, ranking, windows
from segue.retrieval.index import Index
from segue.retrieval.lines import Text
from segue.retrieval.question import Question, understood
from segue.retrieval.ranking import Corpus, Ranked
from segue.retrieval.settle import Settled, keyed, settle
from segue.retrieval.subject import Subject

BYTES_MAX = 3000
REREAD_MAX = 128
WORDS_SHARE, PLACES_SHARE, MEANING_SHARE, REREAD_SHARE = 1.0, 0.5, 1.0, 2.0
COPIES_MAX, COPIES_SEEN_MAX = 2, 256
PAIR_COST = 0.08
"""By how much a line and the next must fit better than the line alone to be shown as one."""


def find(
    indexes: Sequence[Index],
    texts: Sequence[Text],
    question: str,
    bytes_max: int = BYTES_MAX,
    history: Sequence[str] = (),
    vectors: meaning.Vectors | None = None,
    statements: str = "",
) -> tuple[Passage, ...]:
    """The passages, at most `bytes_max` bytes of text together.

    `history` is what was asked before, oldest first; `vectors` are `meaning.vectors()`, or None to go by words alone;
    `statements` is how a text may put the answer: what is worded as they are is found as what the question is.
    A question without words finds nothing.  Raises ValueError where a text is not the one its index was built from.
    """
    for index, text in zip(indexes, texts, strict=True):
        if not index.fits(text):
            raise ValueError("an index belongs to another text")
    kept = [number for number, index in enumerate(indexes) if index.count]
    asked = understood(question, history, statements)
    if not kept or not asked.text.strip() or bytes_max <= 0:
        return ()
    corpus = Corpus.of([indexes[number] for number in kept])
    some = [texts[number] for number in kept]
    ranked, spread = _ranked(corpus, some, asked, vectors)
    ranked = _completed(corpus, _single(corpus, some, ranked))
    subject, settled = Subject(corpus, question, statements), Settled(ranked, spread)
    if vectors is not None and statements:
        settled = settle(corpus, some, subject, (question, statements), settled, vectors)
    found = windows.shown(corpus, some, settled.ranked, settled.spread, bytes_max, asked.compares)
    found = keyed(corpus, some, subject, found, settled)
    return tuple(replace(passage, document=kept[passage.document]) for passage in found)


def _ranked(
    corpus: Corpus, texts: Sequence[Text], asked: Question, vectors: meaning.Vectors | None
) -> tuple[Ranked, frozenset[int]]:
    """Lines, best first; and which of them go on in the next line."""
    by_words, by_places = ranking.by_words(corpus, asked)
    rankings = [(by_words, WORDS_SHARE), (by_places, PLACES_SHARE)]
    if vectors is None or all(index.meaning != meaning.NAME for index in corpus.indexes):
        return ranking.fused(rankings), frozenset()
    reading, weights = ranking.rarity(corpus, asked.text.replace("\n", " "))
    rankings.append((ranking.by_meaning(corpus, vectors.whole(reading, weights)), MEANING_SHARE))
    again = ranking.fused(rankings).lines[:REREAD_MAX]
    alone = [windows.line(corpus, texts, int(line)) for line in again]
    pairs = [f"{line} {windows.after(corpus, texts, int(number))}" for line, number in zip(alone, again, strict=True)]
    both = ranking.reread([*alone, *pairs], reading, weights, vectors)
    spread = np.zeros(len(again), np.bool_)
    for scores in both:
        one, other = scores[: len(again)], scores[len(again) :] - PAIR_COST
        spread |= (scores is both[0]) & (other > one)
        met = np.maximum(one, other)
        order = np.argsort(-met, kind="stable")
        rankings.append((Ranked(again[order], met[order]), REREAD_SHARE))
    return ranking.fused(rankings), frozenset(again[spread].tolist())


def _single(corpus: Corpus, texts: Sequence[Text], ranked: Ranked) -> Ranked:
    """Without lines that say what `COPIES_MAX` better ones say: what stands on every page is shown no more often."""
    said: dict[str, int] = {}
    keep = np.ones(len(ranked.lines), np.bool_)
    for place, line in enumerate(ranked.lines[:COPIES_SEEN_MAX].tolist()):
        text = windows.line(corpus, texts, line).strip()
        said[text] = said.get(text, 0) + 1
        keep[place] = said[text] <= COPIES_MAX
    return Ranked(ranked.lines[keep], ranked.scores[keep])


def _completed(corpus: Corpus, ranked: Ranked) -> Ranked:
    """With the most central line, or the first, of every document that has none among the ranked."""
    seen = set((np.searchsorted(corpus.firsts, ranked.lines, "right") - 1).tolist())
    more = [
        int(corpus.firsts[number]) + (int(index.central[0]) if len(index.central) else 0)
        for number, index in enumerate(corpus.indexes)
        if number not in seen
    ]
    if not more:
        return ranked
    lines = np.concatenate([ranked.lines, np.array(more, np.intp)])
    return Ranked(lines, np.concatenate([ranked.scores, np.zeros(len(more), np.float32)]))
