"""An engine that can only score comes to the same cover as one that hands out whole rows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest

from segue.engine.seam.cover import Budget, Cover, Search
from segue.engine.seam.drive import ABREAST, Told, covered
from tests.engine.seam.toy import VOCABULARIES, Toy, shares

TRUNK = (1, 0, 2)


class Scorer:
    """Scores with the toy model what stands behind the trunk; counts who asks, and how many at a time."""

    def __init__(self, toy: Toy, seconds: float = 0.0, silent: frozenset[int] = frozenset()) -> None:
        self.toy, self.seconds, self.silent = toy, seconds, silent
        self.asked: list[tuple[int, ...]] = []
        self.now = self.most = 0

    async def score(self, ids: Sequence[int], candidates: Sequence[int]) -> Told:
        assert tuple(ids[: len(TRUNK)]) == TRUNK
        path = tuple(ids[len(TRUNK) :])
        self.asked.append(path)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        chances = np.log(self.toy.chances(path))
        return Told([-np.inf if token in self.silent else float(chances[token]) for token in candidates])


def told(toy: Toy, tail: bytes, budget: Budget) -> Cover:
    return toy.read(Search(toy.lexicon, tail, budget), ABREAST)


@pytest.mark.parametrize("pieces", VOCABULARIES)
async def test_the_same_cover(pieces: tuple[bytes, ...]) -> None:
    rng = random.Random(4)
    for salt in range(20):
        toy = Toy(pieces, salt)
        tail = toy.text(rng, rng.randrange(1, 6))
        budget = Budget(rng.choice([0.0, 0.05, 0.5]), rng.choice([2, 7, 100]), rng.random() < 0.5)
        scorer = Scorer(toy)
        ours, theirs = await covered(scorer, toy.lexicon, TRUNK, tail, budget, 60.0), told(toy, tail, budget)
        assert [part.path for part in ours.parts] == [part.path for part in theirs.parts]
        assert shares(ours) == pytest.approx(shares(theirs), rel=1e-4, abs=1e-9)
        assert ours.nodes == theirs.nodes
        assert ours.bound == pytest.approx(theirs.bound, rel=1e-4)
        assert len(scorer.asked) == len(set(scorer.asked)) == ours.nodes


async def test_some_are_scored_at_once() -> None:
    scorer = Scorer(Toy(VOCABULARIES[0], 1))
    await covered(scorer, scorer.toy.lexicon, TRUNK, b"abcab", Budget(0.0, 100), 60.0)
    assert scorer.most == ABREAST


async def test_it_ends_in_time_with_what_it_has() -> None:
    scorer = Scorer(Toy(VOCABULARIES[0], 1), seconds=0.05)
    began = time.monotonic()
    cover = await covered(scorer, scorer.toy.lexicon, TRUNK, b"abcabcab", Budget(0.0, 1000), 0.08)
    assert time.monotonic() - began < 2.0
    assert 1 <= cover.nodes < told(scorer.toy, b"abcabcab", Budget(0.0, 1000)).nodes
    assert 0.0 < cover.bound <= 1.0


async def test_what_cannot_be_scored_is_left_out() -> None:
    toy = Toy(VOCABULARIES[0], 2)
    silent = frozenset({2, 7})  # "c" and "abc"
    cover = await covered(Scorer(toy, silent=silent), toy.lexicon, TRUNK, b"ab", Budget(0.0, 100), 60.0)
    known = {token for path, token in shares(cover)} | {token for path, _ in shares(cover) for token in path}
    assert known
    assert not known & silent
    nothing = Scorer(toy, silent=frozenset(range(20)))
    cover = await covered(nothing, toy.lexicon, TRUNK, b"ab", Budget(0.0, 100), 60.0)
    assert (cover.parts, cover.bound, cover.nodes) == ((), 1.0, 1)


async def test_what_may_be_unknown_stays_in_the_bound() -> None:
    toy = Toy(VOCABULARIES[0], 2)
    silent = frozenset({2, 7})

    class Partly(Scorer):
        async def score(self, ids: Sequence[int], candidates: Sequence[int]) -> Told:
            told = await super().score(ids, candidates)
            chances = self.toy.chances(tuple(ids[len(TRUNK) :]))
            missing = sum(float(chances[token]) for token in candidates if token in self.silent)
            return Told(told.values, float(np.log(missing)) if missing else -np.inf)

    cover = await covered(Partly(toy, silent=silent), toy.lexicon, TRUNK, b"ab", Budget(0.0, 100), 60.0)
    whole = shares(await covered(Scorer(toy), toy.lexicon, TRUNK, b"ab", Budget(0.0, 100), 60.0))
    found = shares(cover)
    away = sum(abs(whole.get(key, 0.0) - found.get(key, 0.0)) for key in {*whole, *found}) / 2
    assert 0.0 < away <= cover.bound + 1e-6
