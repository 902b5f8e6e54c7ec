"""What an answer reads of the files it is asked about.

Laws: a file of another workspace is one that never was; whoever reads a file holds its bytes, so that a file which is
deleted meanwhile is still read to its end; who waits for a file waits for the news of it, and only looks by itself for
what another process may have done.  This file knows no protocol and no parser.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from segue.core import frozen
from segue.core.documents import File, Part
from segue.core.errors import FileGone, FileProcessing, FileTroubled, FileUnknown
from segue.files import artefacts
from segue.files.news import News, heard
from segue.store.base import BlobMissing, Blobs, Content, Key, Store

_LOOK_S = 1.0


@frozen
class Readable:
    """A file that has been read: `text` is its text in UTF-8, `index` what finds passages in it, where there is one.
    The paths hold until the `reading` they came from ends."""

    file: File
    text: Path
    parts: tuple[Part, ...]
    index: Path | None


class Library:
    """The files of all workspaces, once they have been read."""

    def __init__(self, store: Store, blobs: Blobs, news: News) -> None:
        self._store = store
        self._blobs = blobs
        self._news = news

    @asynccontextmanager
    async def reading(
        self, workspace: str, ids: Sequence[str], wait_s: float
    ) -> AsyncGenerator[tuple[Readable, ...], None]:
        """The named files in the named order.  Those that are still being read are waited for, `wait_s` in all.

        Raises FileUnknown, FileGone, FileProcessing, FileTroubled: for the first file, in the named order, that was
        never there or is gone; else for the first that is not readable.
        """
        files = await self._settled(workspace, ids, wait_s)
        async with AsyncExitStack() as held:
            readables = []
            for file in files:
                try:
                    await held.enter_async_context(self._blobs.holding([Content(workspace, file.sha256)]))
                    readables.append(await self._readable(file))
                except BlobMissing as error:  # deleted since it was found
                    raise FileGone(file.id) from error
            yield tuple(readables)

    async def _settled(self, workspace: str, ids: Sequence[str], wait_s: float) -> list[File]:
        """The files, all processed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            ticket = self._news.ticket()
            files = [await self._found(workspace, id) for id in ids]
            for file in files:
                if file.status == "error":
                    raise FileTroubled(file.id, file.trouble or "parse")
            waiting = [file for file in files if file.status == "processing"]
            if not waiting:
                return files
            left = until - loop.time()
            if left <= 0:
                raise FileProcessing(waiting[0].id)
            await heard(ticket, min(left, _LOOK_S))

    async def _found(self, workspace: str, id: str) -> File:
        file = await self._store.find(workspace, id)
        if file is not None and file.purpose == "file-extract":
            return file
        if await self._store.gone(workspace, id):
            raise FileGone(id)
        raise FileUnknown(id)

    async def _readable(self, file: File) -> Readable:
        form = artefacts.form(file.name)
        content = Content(file.workspace, file.sha256)

        async def made(thing: str) -> Path:
            return await self._blobs.local(Key(content, artefacts.kind(thing, form)))

        parts = await made(artefacts.PARTS)
        try:
            index = await made(artefacts.INDEX)
        except BlobMissing:
            index = None
        return Readable(file, await made(artefacts.TEXT), await asyncio.to_thread(_parts, parts), index)


def _parts(path: Path) -> tuple[Part, ...]:
    return artefacts.parts_of(path.read_bytes())
