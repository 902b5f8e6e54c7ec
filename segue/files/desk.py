"""Where files are handed in, looked up and handed back: what the Files API asks for, in words of no protocol.

Laws: a file is there with its bytes, its row and its job, or not at all; whoever may not call is told before a byte is
read; sizes are those of the bytes that came.  This file knows no parser.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from segue.core import frozen
from segue.core.documents import File, Purpose
from segue.core.errors import FileAbsent, TooLarge
from segue.files import artefacts
from segue.files.rate import Rate
from segue.files.tally import Tally
from segue.files.unbroken import unbroken
from segue.store.base import BYTES, BlobMissing, Blobs, Content, Key, Quota, Store

_PREFIXES: dict[Purpose, str] = {
    "file-extract": "file-fe-",
    "batch": "file-batch-",
    "batch_output": "file-batch_output-",
    "upload": "file-upload-",
}
_ID_BYTES = 12
_IMAGES = frozenset({"bmp", "png", "jpg", "jpeg", "gif"})


@frozen
class Sizes:
    """How large one file may be, in bytes."""

    document_bytes_max: int = 150 * 1024**2
    image_bytes_max: int = 20 * 1024**2
    batch_bytes_max: int = 500 * 1024**2
    upload_bytes_max: int = 1024**3

    def of(self, name: str, purpose: Purpose | None) -> int:
        """For a file of this name; where its purpose is not known yet, what the most generous one allows."""
        if purpose == "upload":
            return self.upload_bytes_max
        if purpose != "file-extract":
            return self.batch_bytes_max if purpose else max(self.batch_bytes_max, self.of(name, "file-extract"))
        return self.image_bytes_max if artefacts.form(name) in _IMAGES else self.document_bytes_max


class Arriving:
    """A file on its way in: bytes go to a scratch file, and are hashed.  `write` is for a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """The next bytes."""
        if self._file is None:
            self._file = self.path.open("xb")
        self._file.write(data)
        self.sha256.update(data)
        self.md5.update(data)
        self.size += len(data)

    def shut(self) -> None:
        """There are no more; may be said twice."""
        if self._file is None or not self._file.closed:
            self.write(b"")
        if self._file is not None:
            self._file.close()

    def discard(self) -> None:
        """It is not wanted, or it has been taken in."""
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)


class Desk:
    """`added` and `removed` are called once a file was."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        quota: Quota,
        sizes: Sizes,
        uploads: Rate,
        calls: Rate,
        remembered_s: float,
        clock: Callable[[], float],
        added: Callable[[], None],
        removed: Callable[[], None],
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._quota = quota
        self._sizes = sizes
        self._uploads = uploads
        self._calls = calls
        self._remembered_s = remembered_s
        self._clock = clock
        self._added = added
        self._removed = removed
        self._tally = tally or Tally()

    def admit(self, workspace: str, upload: bool) -> None:
        """May this workspace call now?  Raises RateExceeded."""
        (self._uploads if upload else self._calls).take(workspace)

    def bytes_max(self, name: str, purpose: Purpose | None) -> int:
        """How large a file of this name may be."""
        return self._sizes.of(name, purpose)

    async def begin(self) -> Arriving:
        """A file begins to arrive; it must be discarded, also after it was kept."""
        return Arriving(self._blobs.scratch())

    async def keep(
        self, arriving: Arriving, workspace: str, name: str, purpose: Purpose, description: str = "", mark: str = ""
    ) -> File:
        """Take a file in that has arrived; `mark`: its id ends so.  Raises TooLarge, QuotaFull."""
        limit = self._sizes.of(name, purpose)
        if arriving.size > limit:
            raise TooLarge("file", limit)
        file = File(
            id=_PREFIXES[purpose] + (mark or secrets.token_hex(_ID_BYTES)),
            workspace=workspace,
            name=name,
            bytes=arriving.size,
            sha256=arriving.sha256.hexdigest(),
            md5=arriving.md5.hexdigest(),
            purpose=purpose,
            created_at=int(self._clock()),
            status="processing" if purpose == "file-extract" else "processed",
            description=description,
        )
        kept = await unbroken(self._keep(file, arriving))
        self._tally.uploaded += 1
        if kept.status == "processing":
            self._added()
        return kept

    async def _keep(self, file: File, arriving: Arriving) -> File:
        content = Content(file.workspace, file.sha256)
        await asyncio.to_thread(arriving.shut)
        async with self._blobs.changing(content):
            await self._blobs.put(Key(content, BYTES), arriving.path)
            try:
                return await self._store.add(file, artefacts.form(file.name), self._quota)
            except BaseException:
                if not await self._store.kinds(content):
                    await self._blobs.delete(content, [BYTES])
                raise

    async def find(self, workspace: str, id: str) -> File:
        """One file.  Raises FileAbsent."""
        file = await self._store.find(workspace, id)
        if file is None:
            raise FileAbsent(id)
        return file

    async def progress(self, workspace: str, id: str) -> float:
        """How much of it has been read, 0 to 1."""
        return await self._store.progress(workspace, id)

    async def page(
        self,
        workspace: str,
        after: str | None,
        limit: int,
        purpose: Purpose | None,
        since: int | None,
        until: int | None,
    ) -> tuple[Sequence[File], bool]:
        """Files, newest first, and whether there are more.  Raises FileAbsent for an `after` that never was."""
        listed = await self._store.page(workspace, after, limit, purpose, since, until)
        if listed is None:
            raise FileAbsent(after or "")
        return listed.files, listed.more

    async def numbered(self, workspace: str, offset: int, limit: int) -> tuple[Sequence[File], int]:
        """Files from a place in the list, and how many there are in all."""
        return await self._store.numbered(workspace, offset, limit)

    async def remove(self, workspace: str, id: str) -> None:
        """Forget a file.  Raises FileAbsent."""
        if not await self._store.remove(workspace, id, self._clock(), self._remembered_s):
            raise FileAbsent(id)
        self._tally.deleted += 1
        self._removed()

    @asynccontextmanager
    async def content(self, workspace: str, id: str) -> AsyncGenerator[tuple[File, Path], None]:
        """A file and its bytes, held meanwhile.  Raises FileAbsent."""
        file = await self.find(workspace, id)
        content = Content(workspace, file.sha256)
        try:
            async with self._blobs.holding([content]):
                yield file, await self._blobs.local(Key(content, BYTES))
        except BlobMissing as error:
            raise FileAbsent(id) from error
