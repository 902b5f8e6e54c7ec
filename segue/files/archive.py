"""All of it together: rows and bytes, who reads, who sweeps, and the two faces that others see.

    Desk      what the Files API asks for
    Library   what an answer reads

Laws: it can be built before there is an event loop, and is used only while it is open; it is mended before it is used;
its database is opened before it, and closed behind it, by whoever made that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from segue.core import frozen
from segue.files.desk import Desk, Sizes
from segue.files.library import Library
from segue.files.news import News
from segue.files.rate import Rate
from segue.files.sweep import Forget, Sweeper, nobody, recover
from segue.files.tally import Tally
from segue.files.work import Count, Index, Pace, Parse, Work
from segue.store.base import Blobs, Quota, Store


@frozen
class Bounds:
    """What the archive keeps to.  `removed_kept_s` is how long a deleted file's id is remembered; what somebody still
    holds is looked after every `sweep_again_s`."""

    quota: Quota
    sizes: Sizes
    pace: Pace
    uploads_per_s: int = 3
    calls_per_s: int = 10
    removed_kept_s: float = 7 * 86400.0
    sweep_again_s: float = 2.0


class Archive:
    """The files that `store` and `blobs` keep."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        bounds: Bounds,
        parse: Parse,
        count: Count,
        index: Index | None,
        clock: Callable[[], float] = time.time,
        forget: Forget = nobody,
    ) -> None:
        self._is_open = False
        self.store = store
        self.blobs = blobs
        self.news, self.tally = News(), Tally()
        self.work = Work(self.store, self.blobs, parse, count, index, self.news, clock, bounds.pace, self.tally)
        self.sweeper = Sweeper(self.store, self.blobs, bounds.sweep_again_s, forget)
        self.library = Library(self.store, self.blobs, self.news)
        self.desk = Desk(
            self.store,
            self.blobs,
            bounds.quota,
            bounds.sizes,
            Rate(bounds.uploads_per_s, time.monotonic),
            Rate(bounds.calls_per_s, time.monotonic),
            bounds.removed_kept_s,
            clock,
            self.work.wake,
            self.removed,
            self.tally,
        )

    def removed(self) -> None:
        """Files were, here or elsewhere."""
        self.sweeper.wake()
        self.news.tell()

    async def open(self) -> None:
        """Mend what a crash has left, and begin; does nothing when it is open.  Raises StoreUnusable."""
        if self._is_open:
            return
        self._is_open = True
        self.blobs.open()
        await recover(self.store, self.blobs, self.work.wanted)
        self.work.open()
        self.sweeper.open()

    async def close(self) -> None:
        """Stop.  Safe to call without `open`, or after one that failed."""
        await self.work.close()
        await self.sweeper.close()
        self.blobs.close()
