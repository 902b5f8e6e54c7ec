"""Who answers batches: one line after the other, when nobody else asks.

    validating -> in_progress -> finalizing -> completed | cancelled | expired, or failed

Laws: a line's answer is in the store before the next one is begun in its place, and what is in the store is not asked
again, so that whenever the process dies each line has one answer in the end; the engine is asked only while it has
nothing else to do; what is refused for want of room is tried again.  What a request says is `ask`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from segue.batches.lines import Asked, LineLimits, asked, checked
from segue.core import frozen
from segue.core.batches import Batch, BatchStatus, LineTrouble
from segue.core.documents import File, Purpose
from segue.core.errors import FileAbsent, QuotaFull, TooLarge
from segue.store.batching import BatchStore, Line, Wish

log = logging.getLogger("segue")

BUSY = (429, 503)
PAGE_LINES = 200


@frozen
class Answered:
    """What became of a line: the status and the body that a caller would have been sent."""

    status: int
    id: str
    body: bytes


class Arriving(Protocol):
    """A file on its way in."""

    def write(self, data: bytes) -> None:
        """The next bytes."""
        ...

    def discard(self) -> None:
        """It is not wanted, or has been taken in."""
        ...


A = TypeVar("A", bound=Arriving)


class Desk(Protocol[A]):
    """Where files are taken in and handed back; see `files.desk`."""

    async def begin(self) -> A:
        """A file begins to arrive."""
        ...

    async def keep(self, arriving: A, workspace: str, name: str, purpose: Purpose) -> File:
        """Take it in."""
        ...

    async def find(self, workspace: str, id: str) -> File:
        """One file.  Raises FileAbsent."""
        ...

    def content(self, workspace: str, id: str) -> AbstractAsyncContextManager[tuple[File, Path]]:
        """A file and where its bytes are.  Raises FileAbsent."""
        ...


Ask = Callable[[Batch, bytes], Awaitable[Answered]]
"""The answer to the body of a request, on the batch's endpoint and for its workspace."""
Busy = Callable[[], Awaitable[int]]
"""How many answers are under way or wait, everybody's."""


@frozen
class Habits:
    """`at_a_time`: lines; `look_s`: how often it is looked whether there is time, or a batch; a batch nobody was heard
    of for `lease_s` is another's; a line that found no room is tried `tries_max` times in all; `open_max`: batches of
    one workspace that are not over."""

    at_a_time: int = 4
    look_s: float = 0.2
    lease_s: float = 20.0
    tries_max: int = 10
    open_max: int = 100
    lines: LineLimits = LineLimits()


class Clerk:
    """`known`: is a model of this name served?"""

    def __init__(
        self,
        store: BatchStore,
        desk: Desk[Any],
        ask: Ask,
        busy: Busy,
        known: Callable[[str], bool],
        habits: Habits,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._desk, self._ask, self._busy = store, desk, ask, busy
        self._known, self._habits, self._clock = known, habits, clock
        self._holder = secrets.token_hex(8)
        self._own = 0  # of the answers under way, those that we asked for
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin; what was left unfinished is gone on with."""
        self._task = asyncio.create_task(self._run(), name="batches")

    async def close(self) -> None:
        """Stop.  Safe to call twice, or without `open`."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def add(self, batch: Batch) -> Batch:
        """Take a batch in.  Raises FileAbsent, QuotaFull."""
        file = await self._desk.find(batch.workspace, batch.input_file)
        if file.purpose != "batch":
            raise FileAbsent(batch.input_file)
        if not await self._store.add(batch, self._habits.open_max):
            raise QuotaFull("files", self._habits.open_max)
        self._woken.set()
        return batch

    async def find(self, workspace: str, id: str) -> Batch:
        """One of the workspace's.  Raises FileAbsent."""
        found = await self._store.find(workspace, id)
        if found is None:
            raise FileAbsent(id)
        return found

    async def page(self, workspace: str, limit: int, **wish: object) -> tuple[Sequence[Batch], bool]:
        """Newest first, and whether there are more.  Raises FileAbsent for an `after` that never was."""
        found = await self._store.page(workspace, limit, Wish(**wish))  # type: ignore[arg-type]
        if found is None:
            raise FileAbsent(str(wish.get("after")))
        return found

    async def cancel(self, workspace: str, id: str) -> Batch:
        """Let no line more be begun; one that is over stays what it is.  Raises FileAbsent."""
        batch = await self.find(workspace, id)
        turned = await self._store.turn(batch, "cancelling", int(self._clock()))
        self._woken.set()
        return turned or await self.find(workspace, id)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                batch = await self._store.claim(self._holder, self._clock(), self._habits.lease_s)
                if batch is not None:
                    await self._work(batch)
                    continue
            except Exception:
                log.exception("a batch could not be worked on")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(1.0, self._habits.look_s))

    async def _work(self, batch: Batch) -> None:
        """As far as it goes: to its end, or until it is somebody else's."""
        keeping = asyncio.create_task(self._keep_lease(batch))
        try:
            async with self._desk.content(batch.workspace, batch.input_file) as (_, path):
                if batch.status == "validating":
                    begun = await self._validated(batch, path)
                    if begun is None:
                        return
                    batch = begun
                if batch.status == "in_progress":
                    await self._answer_all(batch, path)
                await self._finish(batch, path)
        except FileAbsent:
            await self._failed(batch, "file_not_found", "The input file is not there any more.")
        except (QuotaFull, TooLarge):
            await self._failed(batch, "output_not_kept", "There is no room for the output file.")
        finally:
            keeping.cancel()

    async def _keep_lease(self, batch: Batch) -> None:
        while True:
            await asyncio.sleep(self._habits.lease_s / 4)
            try:
                await self._store.renew(batch, self._holder, self._clock() + self._habits.lease_s)
            except Exception:
                log.exception("a batch's lease was not renewed")

    async def _validated(self, batch: Batch, path: Path) -> Batch | None:
        total, troubles = await asyncio.to_thread(checked, path, batch.endpoint, self._habits.lines, self._known)
        now = int(self._clock())
        if troubles:
            await self._store.turn(batch, "failed", now, total=total, troubles=troubles)
            return None
        begun = await self._store.turn(batch, "in_progress", now, total=total)
        return begun or await self._store.find(batch.workspace, batch.id)

    async def _failed(self, batch: Batch, code: str, said: str) -> None:
        await self._store.turn(batch, "failed", int(self._clock()), troubles=(LineTrouble(code, said, 0),))

    async def _answer_all(self, batch: Batch, path: Path) -> None:
        done = await self._store.answered(batch)
        lines = (line for line in asked(path, self._habits.lines) if line.number not in done)
        takers = [asyncio.create_task(self._take(batch, lines)) for _ in range(self._habits.at_a_time)]
        try:
            await asyncio.gather(*takers)
        finally:
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)

    async def _take(self, batch: Batch, lines: Iterator[Asked]) -> None:
        """Answer one line after the other, as long as the batch goes on."""
        while await self._goes_on(batch):
            line = next(lines, None)
            if line is None:
                return
            await self._store.answer(batch, await self._answered(batch, line))

    async def _goes_on(self, batch: Batch) -> bool:
        """Waits until there is time; False when the batch was cancelled, has expired, or is somebody else's."""
        while True:
            now = self._clock()
            known = await self._store.renew(batch, self._holder, now + self._habits.lease_s)
            if known is None or known.status != "in_progress" or now >= known.expires_at:
                return False
            if await self._busy() <= self._own:
                return True
            await asyncio.sleep(self._habits.look_s)

    async def _answered(self, batch: Batch, line: Asked) -> Line:
        wait_s = self._habits.look_s
        self._own += 1
        try:
            for left in range(self._habits.tries_max, 0, -1):
                said = await self._ask(batch, line.body)
                if said.status not in BUSY or left == 1:
                    break
                await asyncio.sleep(wait_s)
                wait_s *= 2
        finally:
            self._own -= 1
        failed = said.status != 200
        response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (
            said.status,
            msgspec.json.encode(said.id),
            said.body,
        )
        return Line(line.number, failed, _written(f"{batch.id}-{line.number}", line.custom_id, response, None))

    async def _finish(self, batch: Batch, path: Path) -> None:
        """Write the files, where the batch is still ours."""
        known = await self._store.renew(batch, self._holder, self._clock() + self._habits.lease_s)
        if known is None:
            return
        end: BatchStatus = "completed"
        if known.status == "cancelling":
            end = "cancelled"
        elif known.completed + known.failed < known.total:
            if self._clock() < known.expires_at:
                return  # it was given up for another reason, and is claimed again
            end = "expired"
            await self._expire(known, path)
        if end != "cancelled" and known.status == "in_progress":
            await self._store.turn(known, "finalizing", int(self._clock()))
        output = await self._file(known, False)
        error = await self._file(known, True)
        turned = await self._store.turn(known, end, int(self._clock()), output_file=output, error_file=error)
        if turned is not None:
            await self._store.forget(known)

    async def _expire(self, batch: Batch, path: Path) -> None:
        """The lines that were not answered in time say so."""
        done = await self._store.answered(batch)
        trouble = {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window.",
        }
        for line in asked(path, self._habits.lines):
            if line.number not in done:
                data = _written(f"{batch.id}-{line.number}", line.custom_id, b"null", trouble)
                await self._store.answer(batch, Line(line.number, True, data))

    async def _file(self, batch: Batch, failed: bool) -> str:
        """The id of the file of answers, or of those that failed; "" where there are none."""
        at, arriving = 0, None
        try:
            while lines := await self._store.lines(batch, failed, at, PAGE_LINES):
                arriving = arriving or await self._desk.begin()
                await asyncio.to_thread(arriving.write, b"".join(line.data + b"\n" for line in lines))
                at = lines[-1].number
            if arriving is None:
                return ""
            name = f"{batch.id}_{'error' if failed else 'output'}.jsonl"
            return (await self._desk.keep(arriving, batch.workspace, name, "batch_output")).id
        finally:
            if arriving is not None:
                arriving.discard()


def _written(id: str, custom_id: str, response: bytes, trouble: object) -> bytes:
    encode = msgspec.json.encode
    return b'{"id":%b,"custom_id":%b,"response":%b,"error":%b}' % (
        encode(id),
        encode(custom_id),
        response,
        encode(trouble),
    )
