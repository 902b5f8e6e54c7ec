"""The cover of a prefix's tail from any engine that can score: over HTTP, or in a test.

Law: what the embedded engine does natively and this come to the same cover; only the batching differs.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segue.core import frozen
from segue.engine.seam.cover import Budget, Cover, Legal, Search
from segue.engine.seam.lexicon import Lexicon

ABREAST = 4
"""Nodes scored at a time: an engine that batches reads them in about the time of one."""


@frozen
class Told:
    """Natural-log probabilities of candidates, in their order; -inf where the engine cannot say, and `unknown` is
    what all of these have together at most."""

    values: Sequence[float]
    unknown: float = -math.inf


class Scorer(Protocol):
    """An engine that can tell how likely tokens are."""

    async def score(self, ids: Sequence[int], candidates: Sequence[int]) -> Told:
        """How likely each candidate is as the token after `ids`."""
        ...


async def covered(
    scorer: Scorer,
    lexicon: Lexicon,
    trunk: Sequence[int],
    tail: bytes,
    budget: Budget,
    seconds: float,
    legal: Legal | None = None,
    abreast: int = ABREAST,
) -> Cover:
    """The cover of `tail`, which is not empty, behind the tokens of `trunk`.  Ends when the budget or the
    time does; the bound then says how far it came."""
    search, began = Search(lexicon, tail, budget, legal), time.monotonic()
    while nodes := search.wanted(abreast):
        asked = [search.candidates(node) for node in nodes]
        told = await asyncio.gather(
            *(scorer.score([*trunk, *node.path], ids.tolist()) for node, ids in zip(nodes, asked, strict=True))
        )
        for node, ids, each in zip(nodes, asked, told, strict=True):
            row: npt.NDArray[np.float32] = np.asarray(each.values, np.float32)
            search.scored(node, ids, row, unknown=each.unknown)
        if time.monotonic() - began > seconds:
            search.give_up()
    return search.cover()
