"""An archive whose files are read by small functions that do what their names say.

What a file says decides what becomes of it: `blank`, `pages` and so on are troubles; `slow` waits for `Reader.go`;
`dies` fails each time, `dies once` the first time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args
from unittest.mock import patch

from segue.core.documents import Document, File, Part, Purpose, Trouble
from segue.files.archive import Archive, Bounds
from segue.files.desk import Desk, Sizes
from segue.files.parsing.unreadable import Unreadable
from segue.files.sweep import Forget, nobody
from segue.files.work import Pace
from segue.store import folder, sqlite
from segue.store.base import Blobs, Quota
from segue.store.database import Database
from segue.store.filing import FilesStore
from segue.store.folder import FolderBlobs
from segue.store.sqlite import SqliteDatabase

_PATIENCE_S = 60.0
PACE = Pace(at_a_time=2, lease_s=2.0, beat_s=0.02, again_s=0.02, look_s=0.2)
BOUNDS = Bounds(
    Quota(1000, 10**9), Sizes(10_000, 2_000, 20_000), PACE, uploads_per_s=0, calls_per_s=0, sweep_again_s=0.05
)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@dataclass
class Reader:
    """Reads files as text, and remembers what it was asked for."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    parsed: list[str] = field(default_factory=list)
    counted: int = 0
    indexed: int = 0

    async def parse(self, path: Path, name: str, progress: Callable[[int, int], None]) -> Document:
        self.parsed.append(name)
        text = bytes_of(path).decode("utf-8", "surrogatepass")
        if text in get_args(Trouble):
            raise Unreadable(text)  # type: ignore[arg-type]
        if text == "dies" or (text == "dies once" and self.parsed.count(name) == 1):
            raise RuntimeError("the parser died")
        if text.startswith("slow"):
            progress(1, 2)
            await self.go.wait()
        return Document(text, (Part(0, "p. 1"), Part(len(text.encode("utf-8", "replace")) // 2, "p. 2")))

    async def count(self, path: Path) -> int:
        self.counted += 1
        return len(bytes_of(path))

    async def index(self, text: Path, parts: Sequence[Part], out: Path) -> None:
        self.indexed += 1
        write(out, b"index of " + bytes_of(text))


def local(root: Path) -> tuple[Database, Blobs]:
    """Where one server keeps its files."""
    return SqliteDatabase(root / "files.sqlite"), FolderBlobs(root)


@asynccontextmanager
async def opened(
    root: Path,
    reader: Reader | None = None,
    bounds: Bounds = BOUNDS,
    indexes: bool = True,
    kept: Callable[[Path], tuple[Database, Blobs]] = local,
    forget: Forget = nobody,
) -> AsyncIterator[Archive]:
    """An open archive.  It does not wait for the disk: a process that is killed loses nothing by that."""
    reader = reader or Reader()
    (database, blobs), index = kept(root), reader.index if indexes else None
    archive = Archive(FilesStore(database), blobs, bounds, reader.parse, reader.count, index, forget=forget)
    with patch.object(folder, "_synced"), patch.object(sqlite, "_SYNCHRONOUS", "OFF"):
        try:
            await database.open()
            await archive.open()
            yield archive
        finally:
            await archive.close()
            await database.close()


def paced(**changes: object) -> Bounds:
    return replace(BOUNDS, pace=replace(PACE, **changes))  # type: ignore[arg-type]


async def uploaded(
    desk: Desk, data: bytes, name: str = "a.txt", purpose: Purpose = "file-extract", workspace: str = "w"
) -> File:
    arriving = await desk.begin()
    try:
        arriving.write(data)
        return await desk.keep(arriving, workspace, name, purpose)
    finally:
        arriving.discard()


async def settled(archive: Archive, *files: File) -> list[File]:
    """The files, once none of them is being read."""
    found: list[File] = []
    async with asyncio.timeout(_PATIENCE_S):
        for file in files:
            while True:
                ticket = archive.news.ticket()
                seen = await archive.desk.find(file.workspace, file.id)
                if seen.status != "processing":
                    break
                await ticket.wait()
            found.append(seen)
    return found


def lying(root: Path) -> list[str]:
    """Every blob, and every file that is half written."""
    return sorted(
        name
        for place in ("blobs", "scratch")
        for _, _, names in os.walk(root / place)
        for name in names
        if name != "life"
    )


async def swept(root: Path) -> None:
    """Wait until there is nothing."""
    async with asyncio.timeout(_PATIENCE_S):
        while lying(root):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
