"""Reads what was uploaded: its text, the length of it in tokens, what finds passages in it.

    claim -> parse -> count -> index -> finish          each step's result is a blob, and is not made twice

Laws: a job is begun at most `tries_max` times, by whatever it was ended; what is held is renewed, and what can no
longer be renewed is dropped at once; a result becomes a blob only while the job is still held; a job that takes long
leaves its place to others, so that a scan of a thousand pages holds no letter up.  This file knows no format.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

from segue.core import frozen
from segue.core.documents import Document, Part, Trouble
from segue.files import artefacts
from segue.files.news import News, heard
from segue.files.parsing.unreadable import Unreadable
from segue.files.tally import Tally
from segue.files.unbroken import unbroken
from segue.store.base import BYTES, BlobMissing, Blobs, Job, Key, Store

log = logging.getLogger("segue.files")

Progress = Callable[[int, int], None]
Parse = Callable[[Path, str, Progress], Awaitable[Document]]
Count = Callable[[Path], Awaitable[int]]
Index = Callable[[Path, Sequence[Part], Path], Awaitable[None]]

# What a file is told after its last try, by what ended that.
_AGAIN: frozenset[Trouble] = frozenset({"parse", "timeout"})
# How much of the whole is done once the text is there, and once it is counted.
_PARSED, _COUNTED = 0.6, 0.7


@frozen
class Pace:
    """How jobs are done.  `at_a_time` many, and beside them `long_max` that take longer than `long_after_s`; one that
    becomes long when those are as many already is given back as soon as another waits, and begins anew after
    `long_wait_s`.  Each is renewed every `beat_s` and lost after `lease_s` of silence; one that failed is tried again
    after `again_s`; others' jobs are looked for every `look_s`."""

    at_a_time: int = 1
    long_max: int = 1
    long_after_s: float = 20.0
    long_wait_s: float = 60.0
    tries_max: int = 3
    lease_s: float = 30.0
    beat_s: float = 1.0
    again_s: float = 5.0
    look_s: float = 5.0


class _LeaseLost(Exception):
    """The job is no longer ours."""


class Work:
    """Does the jobs of the store.  `index` is None where nothing is to be found in documents."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        parse: Parse,
        count: Count,
        index: Index | None,
        news: News,
        clock: Callable[[], float],
        pace: Pace,
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._parse = parse
        self._count = count
        self._index = index
        self._news = news
        self._clock = clock
        self._pace = pace
        self._tally = tally or Tally()
        self._jobs: set[asyncio.Task[None]] = set()
        self._long: set[asyncio.Task[None]] = set()
        self._overdue: dict[asyncio.Task[None], _Reading] = {}
        self._wake = asyncio.Event()
        self._finding: asyncio.Task[None] | None = None

    def wanted(self, form: str) -> Sequence[str]:
        """The kinds of blobs that a file of this form has once it is processed."""
        things = (artefacts.TEXT, artefacts.PARTS, *((artefacts.INDEX,) if self._index else ()))
        return [artefacts.kind(thing, form) for thing in things]

    def open(self) -> None:
        """Begin."""
        self._finding = asyncio.create_task(self._find())

    async def close(self) -> None:
        """Stop; what is under way is given back as if it had not been begun."""
        tasks = [*self._jobs, *([self._finding] if self._finding else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._finding is not None:  # a job may have been claimed in the very moment when the claim was given up
            self._finding = None
            await self._store.free([self._blobs.holder])

    def wake(self) -> None:
        """There is a job."""
        self._wake.set()

    async def _find(self) -> None:
        while True:
            self._wake.clear()
            try:
                while job := await self._claimed():
                    self._begin(job)
                if self._overdue and await self._store.waiting(self._clock(), self._pace.tries_max):
                    task, reading = self._overdue.popitem()
                    reading.waits = True
                    task.cancel()
                if await self._store.give_up(self._clock(), self._pace.tries_max, "parse"):
                    self._news.tell()
            except Exception:  # a database that is busy or full today may not be tomorrow
                log.exception("no job could be looked for")
            await heard(self._wake, self._pace.look_s)

    async def _claimed(self) -> Job | None:
        """A job, and the place to do it in."""
        if len(self._jobs - self._long) >= self._pace.at_a_time:
            return None
        return await self._store.claim(self._blobs.holder, self._clock(), self._pace.lease_s, self._pace.tries_max)

    def _begin(self, job: Job) -> None:
        reading = _Reading()
        task = asyncio.create_task(self._do(job, reading))
        self._jobs.add(task)

        def long() -> None:
            self._overdue[task] = reading
            self._settle_long()
            self._wake.set()

        late = asyncio.get_running_loop().call_later(self._pace.long_after_s, long)

        def ended(task: asyncio.Task[None]) -> None:
            late.cancel()
            self._jobs.discard(task)
            self._long.discard(task)
            self._overdue.pop(task, None)
            self._settle_long()
            self._wake.set()  # for the next one
            if not task.cancelled() and (error := task.exception()):
                log.error("a job could not be given back", exc_info=error)

        task.add_done_callback(ended)

    def _settle_long(self) -> None:
        """Who is overdue has a long place as soon as there is one."""
        while self._overdue and len(self._long) < self._pace.long_max:
            task = next(iter(self._overdue))
            del self._overdue[task]
            self._long.add(task)

    async def _do(self, job: Job, reading: _Reading) -> None:
        try:
            tokens = await self._held(job, reading, self._steps(job, reading))
            self._tally.read += await self._store.finish(job, self._blobs.holder, tokens)
        except _LeaseLost:
            log.info("job %d is no longer ours", job.id)
        except asyncio.CancelledError:
            until = self._clock() + self._pace.long_wait_s if reading.waits else 0.0
            await self._store.release(job, self._blobs.holder, until, tried=False)
            raise
        except Unreadable as error:
            log.info("job %d: %s (%s)", job.id, error.trouble, error)
            await self._troubled(job, error.trouble)
        except Exception:  # whatever it is: it is one file's trouble
            log.exception("job %d failed", job.id)
            await self._troubled(job, "parse")
        self._news.tell()

    async def _troubled(self, job: Job, trouble: Trouble) -> None:
        if trouble in _AGAIN and job.tries < self._pace.tries_max:
            until = self._clock() + self._pace.again_s
            await self._store.release(job, self._blobs.holder, until, tried=True)
            asyncio.get_running_loop().call_later(self._pace.again_s + 0.01, self._wake.set)
        else:
            self._tally.troubled += await self._store.fail(job, self._blobs.holder, trouble)

    async def _held(self, job: Job, reading: _Reading, steps: Coroutine[None, None, int]) -> int:
        """What `steps` comes to, while the job is renewed beside it.  Raises _LeaseLost."""
        task = asyncio.create_task(steps)
        try:
            while not (await asyncio.wait([task], timeout=self._pace.beat_s))[0]:
                until = self._clock() + self._pace.lease_s
                if not await self._store.renew(job, self._blobs.holder, until, round(reading.progress, 3)):
                    raise _LeaseLost
            return task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _steps(self, job: Job, reading: _Reading) -> int:
        """Everything there is to make of the bytes; the tokens of its text.  Raises Unreadable, _LeaseLost."""
        try:
            async with self._blobs.holding([job.content]):
                text, parts = await self._text(job, reading)
                reading.progress = _PARSED
                tokens = await self._tokens(job, text)
                reading.progress = _COUNTED
                if self._index is not None:
                    await self._indexed(job, text, parts)
                return tokens
        except BlobMissing as error:
            # Deleted in this very moment, else mended at the next start.
            raise _LeaseLost from error

    async def _text(self, job: Job, reading: _Reading) -> tuple[Path, tuple[Part, ...]]:
        with contextlib.suppress(BlobMissing):
            text, parts = await self._made(job, artefacts.TEXT), await self._made(job, artefacts.PARTS)
            return text, artefacts.parts_of(await asyncio.to_thread(parts.read_bytes))

        def told(done: int, total: int) -> None:
            reading.progress = _PARSED * min(done / total, 1.0) if total > 0 else 0.0

        bytes_ = await self._blobs.local(Key(job.content, BYTES))
        with self._tally.timed("parse"):
            document = await self._parse(bytes_, job.name, told)
        if not document.text or document.text.isspace():
            raise Unreadable("blank", "no text")
        text = await self._keep(job, artefacts.TEXT, lambda: _utf8(document.text))
        await self._keep(job, artefacts.PARTS, lambda: artefacts.parts_to(document.parts))
        return text, document.parts

    async def _tokens(self, job: Job, text: Path) -> int:
        with contextlib.suppress(BlobMissing):
            return int((await self._made(job, artefacts.TOKENS)).read_bytes())
        with self._tally.timed("count"):
            tokens = await self._count(text)
        await self._keep(job, artefacts.TOKENS, lambda: b"%d" % tokens)
        return tokens

    async def _indexed(self, job: Job, text: Path, parts: Sequence[Part]) -> None:
        assert self._index is not None
        with contextlib.suppress(BlobMissing):
            await self._made(job, artefacts.INDEX)
            return
        path = self._blobs.scratch()
        try:
            with self._tally.timed("index"):
                await self._index(text, parts, path)
            await self._put(job, artefacts.INDEX, path)
        finally:
            path.unlink(missing_ok=True)

    async def _made(self, job: Job, thing: str) -> Path:
        return await self._blobs.local(Key(job.content, artefacts.kind(thing, job.form)))

    async def _keep(self, job: Job, thing: str, data: Callable[[], bytes]) -> Path:
        path = self._blobs.scratch()
        try:
            await asyncio.to_thread(lambda: path.write_bytes(data()))
            return await self._put(job, thing, path)
        finally:
            path.unlink(missing_ok=True)

    async def _put(self, job: Job, thing: str, path: Path) -> Path:
        """Raises _LeaseLost, and then it is not there."""
        key = Key(job.content, artefacts.kind(thing, job.form))

        async def put() -> None:
            size = (await asyncio.to_thread(path.stat)).st_size
            async with self._blobs.changing(job.content):
                if not await self._store.made(job, self._blobs.holder, key.kind, size):
                    raise _LeaseLost
                await self._blobs.put(key, path)

        await unbroken(put())
        return await self._blobs.local(key)


class _Reading:
    """How far a job is, 0 to 1; and whether it is to wait for a place among the long ones."""

    def __init__(self) -> None:
        self.progress = 0.0
        self.waits = False


def _utf8(text: str) -> bytes:
    """Half of a surrogate pair is no character; its replacement is as long, so that the parts still fit."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
