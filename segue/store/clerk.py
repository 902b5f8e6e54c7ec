"""Enters records behind the requests, in batches.

Laws: a request never waits for the ledger; a record is in the journal when the event loop's turn ends, and in the
ledger `BEHIND_S` later; while the ledger cannot be written, at most `QUEUE_MAX` records are kept in memory, and the
others in the journal only; `close` enters everything, or leaves it in the journal for the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from segue.core.usage import Entries, Record, Scope, Spent
from segue.store.journal import BATCH_MAX, Journal, Left, left_behind
from segue.store.ledger import Ledger

log = logging.getLogger("segue")

BEHIND_S = 0.25
AGAIN_S = 1.0
QUEUE_MAX = 50_000
_PURGE_S = 3600.0
_DAY_S = 86400.0


class Watching(Protocol):
    """Whoever wants to know what has been used."""

    def watched(self) -> Sequence[Scope]:
        """Whose use."""
        ...

    def stale(self) -> bool:
        """Whether it is time to be told, even though there is nothing to enter."""
        ...

    def settled(self, entered: Sequence[Record], spent: Mapping[Scope, Spent]) -> None:
        """These records are entered, and these are the sums with them."""
        ...


class Clerk:
    """Enters records into `ledger`.  `kept_days`: how long a record is kept there, 0 for good."""

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        watching: Watching | None = None,
        kept_days: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._journal = Journal(folder)
        self._watching = watching
        self._kept_days = kept_days
        self._clock = clock
        self._fresh: list[Record] = []  # of this turn of the event loop
        self._behind: list[Record] = []  # in the journal, and to be entered
        self._spilled = False  # there is more in the journal than that
        self._spilled_records = 0  # about so many more
        self._written = self._lost = 0
        self._before_turn = 0  # so many of them are in the journal's earlier files
        self._turn: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._settling = asyncio.Lock()
        self._failing = False

    @property
    def behind(self) -> int:
        """How many records have yet to be entered."""
        return len(self._fresh) + len(self._behind)

    @property
    def entries(self) -> Entries:
        """What became of the records so far."""
        return Entries(self._written, self.behind + self._spilled_records, self._lost)

    def enter(self, record: Record) -> None:
        """Take a record."""
        self._fresh.append(record)
        if self._turn is None:
            self._turn = asyncio.get_running_loop()
            self._turn.call_soon(self._put_down)

    async def open(self) -> None:
        """Bring in what others have left, and begin.  Does nothing when it is open."""
        if self._task is None:
            await self._bring_in()
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Enter what is there, and end."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        self._put_down()
        while self.behind or self._spilled:
            if not await self._settle():
                left = "they are in the journal and will be entered at the next start"
                log.error("%d records of use could not be entered: %s", self.behind, left)
                self._journal.close(remove=False)
                return
        self._journal.close(remove=True)

    async def settle(self) -> None:
        """Enter all there is now, and tell whoever watches."""
        self._put_down()
        await self._settle()

    def _put_down(self) -> None:
        fresh, self._fresh, self._turn = self._fresh, [], None
        if not fresh:
            return
        put_down = self._journal.write(fresh)
        if len(self._behind) + len(fresh) > QUEUE_MAX:
            self._spilled = True
            if put_down:
                self._spilled_records += len(fresh)
            else:
                self._lost += len(fresh)
        else:
            self._behind += fresh

    async def _work(self) -> None:
        purged_at = -_PURGE_S
        while True:
            await asyncio.sleep(AGAIN_S if self._failing else BEHIND_S)
            if self._behind or self._spilled or (self._watching is not None and self._watching.stale()):
                await self._settle()
            now = asyncio.get_running_loop().time()
            if self._kept_days and not self._failing and now - purged_at >= _PURGE_S:
                purged_at = now if not await self._purge() else now - _PURGE_S + 1

    async def _settle(self) -> bool:
        """Enter what is behind; whether that went well."""
        async with self._settling:
            if self._before_turn <= 0 and not self._spilled and self._journal.turn():
                self._before_turn = len(self._behind)
            batch = self._behind[:BATCH_MAX]
            watched = self._watching.watched() if self._watching is not None else ()
            month = time.strftime("%Y-%m", time.gmtime(self._clock()))
            try:
                if self._spilled and not self._behind:
                    # Twice is once: those that are entered already are known by their ids.
                    self._spilled = False
                    for records in self._journal.batches():
                        self._written += (await self._ledger.enter(records)).new
                    self._spilled_records = 0
                entered = await self._ledger.enter(batch, month, watched)
            except Exception as error:
                if not self._failing:
                    log.exception("records of use cannot be entered; they wait in the journal: %r", error)
                self._failing = True
                self._spilled = self._spilled or not batch
                return False
            if self._failing:
                log.info("records of use can be entered again")
            self._failing = False
            self._written += entered.new
            del self._behind[: len(batch)]
            if self._watching is not None:
                self._watching.settled(batch, entered.spent)
            if not self._behind and not self._spilled:
                self._before_turn = 0
                self._journal.entered()  # what is fresh is not in it yet
            elif self._before_turn > 0:
                self._before_turn -= len(batch)
                if self._before_turn <= 0:
                    self._journal.turned_entered()
            return True

    async def _bring_in(self) -> None:
        """Enter what processes that are no more have left."""
        for left in left_behind(self._folder):
            done = False
            try:
                await self._bring(left)
                done = True
            except Exception:
                log.exception("records of use that were left behind cannot be entered; they stay")
            finally:
                left.close(remove=done)

    async def _bring(self, left: Left) -> None:
        found = new = unread = 0
        for records, torn in left.batches():
            found, unread = found + len(records), unread + torn
            new += (await self._ledger.enter(records)).new
        self._written, self._lost = self._written + new, self._lost + unread
        if found or unread:
            said = "a server that was cut off has left %d records of use: %d were new, %d unreadable"
            log.warning(said, found, new, unread)

    async def _purge(self) -> bool:
        """Forget the oldest records that are past their time; whether there may be more."""
        try:
            return await self._ledger.purge(self._clock() - self._kept_days * _DAY_S) > 0
        except Exception:
            log.exception("old records of use cannot be removed")
            return False
