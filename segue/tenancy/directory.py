"""Who may ask, in memory: what the rows say of keys and workspaces, never older than a poll.

Laws: a request waits for no database; every server that shares the database asks it `poll_s` after `poll_s` whether
anything was changed, so what is revoked anywhere opens nothing anywhere soon; while the database cannot be asked, what
was known holds, and the server says that it is not ready.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from segue.core import frozen
from segue.core.request import Caller
from segue.core.tenancy import UNLIMITED, WORKSPACE, KeyRecord, Limits, Workspace
from segue.policy.auth import Grant, Ring, ring
from segue.store.database import Database, Rows
from segue.tenancy import rows

log = logging.getLogger("segue.tenancy")

ASKED_MAX_S = 10.0
"""A database that gave no answer for so long is told by `fresh`."""


@frozen
class Fixed:
    """A key of the settings: of the default workspace, and in no row.  Where one of them is the `only` key, those of
    the rows open nothing."""

    grant: Grant
    only: bool = False


@frozen
class _Seen:
    """The rows as they were at a revision, and the ring that follows from them."""

    revision: int
    workspaces: dict[str, Workspace]
    ring: Ring


class Directory:
    """The ring of the moment.  `removed` is called when workspaces were."""

    def __init__(
        self,
        database: Database,
        poll_s: float,
        fixed: Sequence[Fixed] = (),
        removed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._poll_s = poll_s
        self._fixed = tuple(fixed)
        self._removed = removed
        self._clock = clock
        self._seen = _Seen(-1, {}, _ring({}, (), self._fixed))
        self._asked_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._heeding: list[Callable[[], None]] = []

    def current(self) -> Ring:
        """Every key that opens something."""
        return self._seen.ring

    def opens(self, caller: Caller) -> bool:
        """Whether its key is still one of them."""
        return (caller.key, caller.workspace) in self._seen.ring.holders

    def heed(self, changed: Callable[[], None]) -> None:
        """Have this called whenever keys may have been revoked."""
        self._heeding.append(changed)

    def workspace(self, id: str) -> Workspace | None:
        """One that is there."""
        return self._seen.workspaces.get(id)

    @property
    def fresh(self) -> bool:
        """Has the database given an answer lately?"""
        return self._clock() - self._asked_at < ASKED_MAX_S

    async def open(self) -> None:
        """Read everything, and go on asking.  The database is open.  Raises StoreUnusable."""
        await self._database.change(lambda all: rows.begin(all, int(time.time())), "tenancy")
        await self.refresh()
        self._task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Ask no more.  Safe to call without `open`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def refresh(self) -> None:
        """Read what was changed since."""
        async with self._one:
            asked_at, known, fixed = self._clock(), self._seen.revision, self._fixed

            def changes(all: Rows) -> _Seen | None:
                number = rows.revision(all)
                if number == known:
                    return None
                spaces = {each.id: each for each in rows.workspaces(all)}
                return _Seen(number, spaces, _ring(spaces, rows.open_keys(all), fixed))  # all of it in the thread

            seen = await self._database.read(changes)
            self._asked_at = asked_at
            if seen is not None:
                self._take(seen)

    def _take(self, seen: _Seen) -> None:
        before, self._seen = self._seen, seen
        if before.workspaces.keys() - seen.workspaces.keys():
            self._removed()
        if before.ring.holders.keys() - seen.ring.holders.keys():
            for changed in self._heeding:
                changed()

    async def _poll(self) -> None:
        told = False
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.refresh()
                told = False
            except Exception:  # whatever it is: what is known holds, and the next poll may find it gone
                if not told:
                    log.exception("the database cannot be asked for keys; those known still hold")
                told = True


def _ring(spaces: Mapping[str, Workspace], keys: Sequence[KeyRecord], fixed: Sequence[Fixed]) -> Ring:
    grants = []
    if not any(each.only for each in fixed):
        grants = [_grant(key, spaces[key.workspace]) for key in keys if key.workspace in spaces]
    home = spaces.get(WORKSPACE)
    limits = UNLIMITED if home is None else home.limits
    return ring([*grants, *(_at_home(each.grant, limits) for each in fixed)], {*spaces, WORKSPACE})


def _grant(key: KeyRecord, workspace: Workspace) -> Grant:
    caller = Caller(
        key=key.id,
        workspace=workspace.id,
        organisation=workspace.organisation,
        role=key.role,
        models=workspace.models,
        key_models=key.models,
        limits=None if key.limits == UNLIMITED else key.limits,
        workspace_limits=workspace.limits,
    )
    return Grant(key.sha256, caller, math.inf if key.expires_at is None else key.expires_at)


def _at_home(grant: Grant, limits: Limits) -> Grant:
    return replace(grant, caller=replace(grant.caller, workspace_limits=limits))
