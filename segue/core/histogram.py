"""How often something took how long: counts in buckets, as Prometheus has them.

Law: adding costs a search in a dozen numbers; nothing is kept of a single time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts of times up to each of `bounds_s`, and beyond; and their sum."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = tuple(bounds_s)
        self.counts = [0] * (len(self.bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, time_s: float) -> None:
        """It took so long, once more."""
        self.counts[bisect_left(self.bounds_s, time_s)] += 1
        self.sum_s += time_s

    def cumulative(self) -> list[tuple[str, int]]:
        """How many took at most so long, by bound; the last one is all."""
        told, sum = [], 0
        for bound, count in zip([*map(str, self.bounds_s), "+Inf"], self.counts, strict=True):
            sum += count
            told.append((bound, sum))
        return told
