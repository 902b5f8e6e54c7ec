"""What has become of files since the server started, and how long reading them took: for whoever watches it.

Laws: only sums over everybody; a step is timed when it was really taken, also where it failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Step = Literal["parse", "count", "index"]

BOUNDS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(slots=True)
class Durations:
    """How many took no longer than each of `BOUNDS_S`, and how many longer; and all of them together."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[sum(seconds > bound for bound in BOUNDS_S)] += 1
        self.sum_s += seconds


@dataclass(slots=True)
class Tally:
    """`read` are those that came to be answered about, `troubled` those that never will."""

    uploaded: int = 0
    deleted: int = 0
    read: int = 0
    troubled: int = 0
    steps: dict[Step, Durations] = field(
        default_factory=lambda: {"parse": Durations(), "count": Durations(), "index": Durations()}
    )

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Time what is done inside."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.steps[step].add(time.monotonic() - begun)
