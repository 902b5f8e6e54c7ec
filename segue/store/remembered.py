"""What was said lately, in rows that servers share, so that any of them can go on from it.

    put -> a queue -> rows, written behind the requests          find <- rows

Laws: a request waits for no write; a thing belongs to a workspace and is nothing to any other; of each kind a workspace
has at most so many things of so many bytes together, give or take what is written between two looks (`SLACK_ROWS`, a
twentieth of the bytes), and the oldest go first; nothing is found past its end; what cannot be written, or waits when
the queue is full, is forgotten, for whoever remembers nothing only works longer.  It is left out of backups.  It does
not know what the things are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from segue.core import frozen
from segue.store.database import Database, Rows

log = logging.getLogger("segue.store")

QUEUE_ROWS_MAX = 10_000
QUEUE_BYTES_MAX = 64 * 1024**2
BATCH_ROWS_MAX = 500
SLACK_ROWS = 64
_PART = "remembered"
_SWEEP_S = 600.0
_AGAIN_S = 1.0


@frozen
class Bounds:
    """What a workspace may have of one kind: `versions_max` are things of one name; `kept_s` is how long."""

    rows_max: int
    bytes_max: int
    kept_s: float
    versions_max: int = 1


@frozen
class _Put:
    kind: str
    workspace: str
    name: str
    until: float
    data: bytes


class Remembered:
    """`bounds` by kind.  `first` is a statement that begins each change, where the database wants one."""

    def __init__(
        self, database: Database, bounds: dict[str, Bounds], first: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._bounds, self._first, self._clock = database, bounds, first, clock
        self._queue: deque[_Put] = deque()
        self._queue_bytes = 0
        self._grown: dict[tuple[str, str], tuple[int, int]] = {}
        """Rows and bytes that were put since the bounds were last looked at."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._swept_at = 0.0

    def put(self, kind: str, workspace: str, name: str, data: bytes) -> None:
        """Remember a thing, soon."""
        bounds = self._bounds[kind]
        if not bounds.rows_max or len(data) > bounds.bytes_max or self._task is None:
            return
        self._queue.append(_Put(kind, workspace, name, self._clock() + bounds.kept_s, data))
        self._queue_bytes += len(data)
        while len(self._queue) > QUEUE_ROWS_MAX or self._queue_bytes > QUEUE_BYTES_MAX:
            self._queue_bytes -= len(self._queue.popleft().data)
        self._idle.clear()
        self._wake.set()

    async def find(self, kind: str, workspace: str, names: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        """The things of these names, newest first."""
        marks = ", ".join("?" * len(names))
        where = f"kind = ? AND workspace = ? AND name IN ({marks}) AND until > ?"
        sql = f"SELECT name, data FROM remembered WHERE {where} ORDER BY number DESC"
        now = self._clock()
        return await self._database.read(
            lambda rows: [(name, bytes(data)) for name, data in rows.all(sql, kind, workspace, *names, now)]
        )

    async def remove(self, kind: str, workspace: str, name: str) -> bool:
        """Forget a thing.  False: there was none.

        It waits for what is being written, and not for the queue: under load that is never empty.
        """
        what = kind, workspace, name
        kept = deque(each for each in self._queue if (each.kind, each.workspace, each.name) != what)
        waited = len(kept) < len(self._queue)
        self._queue = kept
        self._queue_bytes = sum(len(each.data) for each in kept)
        sql = "DELETE FROM remembered WHERE kind = ? AND workspace = ? AND name = ?"
        async with self._writing:
            return await self._database.change(lambda rows: rows.run(sql, *what) > 0, _PART) or waited

    async def settled(self) -> None:
        """Return when what was put is in the rows, or was given up."""
        if self._task is not None:
            await self._idle.wait()

    async def open(self) -> None:
        """Begin to write.  The database is open."""
        if self._task is None:
            self._idle.set()
            self._task = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is there, and end.  Safe to call twice."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _AGAIN_S * 5)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _write(self) -> None:
        failing = False
        while True:
            if not self._queue:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_ROWS_MAX))]
            self._queue_bytes -= sum(len(each.data) for each in batch)
            if not batch:  # all of it was forgotten
                continue
            try:
                async with self._writing:
                    await self._database.change(self._act(batch), _PART)
                failing = False
            except Exception:  # whatever it is: only memory is lost
                if not failing:
                    log.exception("what was said cannot be remembered")
                failing = True
                await asyncio.sleep(_AGAIN_S)

    def _act(self, batch: Sequence[_Put]) -> Callable[[Rows], None]:
        looks: list[tuple[str, str]] = []
        for put in batch:
            key = put.kind, put.workspace
            rows, bytes_ = self._grown.get(key, (SLACK_ROWS, 0))  # the first one looks
            rows, bytes_ = rows + 1, bytes_ + len(put.data)
            self._grown[key] = rows, bytes_
            if rows > SLACK_ROWS or bytes_ > self._bounds[put.kind].bytes_max // 20:
                looks.append(key)
                self._grown[key] = 0, 0
        now = self._clock()
        sweep = now - self._swept_at >= _SWEEP_S
        if sweep:
            self._swept_at = now
            self._grown.clear()

        def act(rows: Rows) -> None:
            if self._first:
                rows.run(self._first)
            if sweep:
                rows.run("DELETE FROM remembered WHERE until <= ?", now)
            insert = "INSERT INTO remembered (kind, workspace, name, until, bytes, data) VALUES (?, ?, ?, ?, ?, ?)"
            rows.many(
                insert,
                [(each.kind, each.workspace, each.name, each.until, len(each.data), each.data) for each in batch],
            )
            for kind, workspace, name in {(each.kind, each.workspace, each.name): None for each in batch}:
                _keep_newest(rows, kind, workspace, name, self._bounds[kind].versions_max)
            for kind, workspace in dict.fromkeys(looks):
                _keep_within(rows, kind, workspace, self._bounds[kind])

        return act


def forget_remembered(rows: Rows, workspace: str) -> None:
    """A workspace is gone: forget all that it was told."""
    rows.run("DELETE FROM remembered WHERE workspace = ?", workspace)


def _keep_newest(rows: Rows, kind: str, workspace: str, name: str, count: int) -> None:
    where = "kind = ? AND workspace = ? AND name = ?"
    found = rows.all(
        f"SELECT number FROM remembered WHERE {where} ORDER BY number DESC LIMIT ?", kind, workspace, name, count
    )
    rows.run(f"DELETE FROM remembered WHERE {where} AND number < ?", kind, workspace, name, found[-1][0])


def _keep_within(rows: Rows, kind: str, workspace: str, bounds: Bounds) -> None:
    where = "kind = ? AND workspace = ?"
    held = rows.one(f"SELECT count(*), coalesce(sum(bytes), 0) FROM remembered WHERE {where}", kind, workspace)
    assert held is not None
    count, size = int(held[0]), int(held[1])
    if count <= bounds.rows_max and size <= bounds.bytes_max:
        return
    last = 0
    for number, bytes_ in rows.all(
        f"SELECT number, bytes FROM remembered WHERE {where} ORDER BY number", kind, workspace
    ):
        if count <= bounds.rows_max and size <= bounds.bytes_max:
            break
        count, size, last = count - 1, size - bytes_, number
    rows.run(f"DELETE FROM remembered WHERE {where} AND number <= ?", kind, workspace, last)
