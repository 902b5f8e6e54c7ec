"""Removes the bytes that nobody needs, and at start mends what a crash has left.

Laws: bytes that a file has, or that somebody holds, stay; every change of which bytes there are is made within
`changing`, together with the rows that say so; after `recover` there is no blob without a row, no row without its blob
and no half-written file of a process that is no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from segue.files.news import heard
from segue.files.unbroken import unbroken
from segue.store.base import Blobs, Content, Store

log = logging.getLogger("segue.files")

_CONTENTS_MAX = 1000

Forget = Callable[[Content], Awaitable[None]]
"""Whoever else keeps something of a content lets go of it."""


async def nobody(content: Content) -> None:
    """Nobody else keeps anything."""


async def recover(store: Store, blobs: Blobs, wanted: Callable[[str], Sequence[str]]) -> None:
    """Make rows and bytes agree.  `wanted` gives the kinds of blobs that a processed file of a form has."""
    async with blobs.changing():
        gone = await blobs.tidy()
        freed = await store.free(gone) if gone else 0
        there, rows = await blobs.keys(), await store.kept()
        orphans: dict[Content, list[str]] = {}
        for key in there - rows:
            orphans.setdefault(key.content, []).append(key.kind)
        for content, kinds in orphans.items():
            await blobs.delete(content, kinds)
        mended = await store.mend(list(rows - there), wanted)
    if gone or orphans or mended:
        log.info(
            "recovered: %d processes had ended, %d jobs freed, %d orphans removed, %d files changed",
            len(gone),
            freed,
            len(orphans),
            mended,
        )


async def sweep(store: Store, blobs: Blobs, forget: Forget) -> bool:
    """Remove what no file has; `forget` is told first.  False: some of it is held, or there was too much for one
    time."""
    contents = await store.unneeded(_CONTENTS_MAX)
    done = len(contents) < _CONTENTS_MAX
    for content in contents:
        done = await unbroken(_swept(store, blobs, content, forget)) and done
    return done


async def _swept(store: Store, blobs: Blobs, content: Content, forget: Forget) -> bool:
    if not await store.needed(content):
        await forget(content)  # before its rows go: what a crash interrupts is begun again
    async with blobs.changing(content):
        if await store.needed(content):
            return True
        if not await blobs.delete(content, await store.kinds(content)):
            return False
        await store.forget(content)
    return True


class Sweeper:
    """Sweeps when woken, and again after `again_s` while something is left."""

    def __init__(self, store: Store, blobs: Blobs, again_s: float, forget: Forget) -> None:
        self._store = store
        self._blobs = blobs
        self._forget = forget
        self._again_s = again_s
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin, with what was left by others."""
        self._wake.set()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """A file was removed."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while not await sweep(self._store, self._blobs, self._forget):
                    await heard(self._wake, self._again_s)
            except Exception:  # it is tried again with the next file that is removed
                log.exception("a sweep failed")
