"""Bytes in a local folder.

    blobs/<workspace>/<ab>/<cd>/<sha256>.<kind>     what is kept
    scratch/<a process>/                            what is being written

Laws: a blob gets its name by a rename, after its bytes are on the disk; nothing that a caller wrote is part of a path
but a workspace's name, with every character spelled out that could mean something there; what holds a blob, and the
lock around a change, are locks of the system, which end with their process however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from segue.core import frozen
from segue.store.base import BlobMissing, Content, Key, StoreUnusable

_LIFE = "life"
_LOOK_S = 0.01
_PLACES = 2**62
NAME = re.compile(r"([0-9a-f]{64})\.([a-z0-9_.-]{1,64})")


@frozen
class Entry:
    """A blob that lies in the folder; `used_at` is when it was put there or last touched."""

    key: Key
    used_at: float
    bytes: int


class FolderBlobs:
    """Blobs below `root`; see `base.Blobs`.  Belongs to one event loop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._scratch = root / "scratch"
        self._own = self._scratch / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._turn = asyncio.Lock()
        self._holds = Counter[Content]()
        self._going = set[Content]()
        self._life = self._change = self._held = -1

    def open(self) -> None:
        """See `base.Blobs`."""
        try:
            for folder in (self._root, self._blobs, self._scratch):  # nobody else is to read any of it
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._change = _opened(self._root / "changing")
            fcntl.flock(self._change, fcntl.LOCK_EX)  # for a moment: nobody tidies up between the next two lines
            self._own.mkdir(mode=0o700)
            self._life = _opened(self._own / _LIFE)
            # For as long as this process lives: it says that the scratch folder is still somebody's.
            fcntl.flock(self._life, fcntl.LOCK_EX)
            fcntl.flock(self._change, fcntl.LOCK_UN)
            # One byte of it for each content: a descriptor for each would be too many.  Such locks belong to the
            # process, so a process must not open the same folder twice.
            self._held = _opened(self._root / "holding")
        except OSError as error:
            raise StoreUnusable(f"{self._root} cannot be used: {error}. Set SEGUE_FILES_DIR.") from error

    def look(self) -> str:
        """See `base.Blobs`."""
        place = self._root.absolute()
        while not place.exists():
            place = place.parent
        if not os.access(place, os.W_OK | os.X_OK):
            raise StoreUnusable(f"{place} cannot be written to; set SEGUE_FILES_DIR")
        return f"{shutil.disk_usage(place).free / 1e9:.1f} GB free for files at {self._root}"

    @property
    def holder(self) -> str:
        """See `base.Blobs`."""
        return self._own.name

    def close(self) -> None:
        """See `base.Blobs`."""
        shutil.rmtree(self._own, ignore_errors=True)
        for descriptor in (self._life, self._change, self._held):
            if descriptor >= 0:
                os.close(descriptor)
        self._life = self._change = self._held = -1

    @asynccontextmanager
    async def changing(self, content: Content | None = None) -> AsyncIterator[None]:
        """See `base.Blobs`."""
        async with self._turn:
            # Never a waiting lock in a thread: if we were cancelled, it would be taken for nobody.
            while not _locked(self._change):  # noqa: ASYNC110 - the system does not tell when it is free
                await asyncio.sleep(_LOOK_S)
            try:
                yield
            finally:
                fcntl.flock(self._change, fcntl.LOCK_UN)

    async def put(self, key: Key, path: Path) -> None:
        """See `base.Blobs`."""
        await asyncio.to_thread(_put, path, self._path(key))

    async def local(self, key: Key) -> Path:
        """See `base.Blobs`."""
        path = self._path(key)
        if not await asyncio.to_thread(path.is_file):
            raise BlobMissing(key.kind)
        return path

    @asynccontextmanager
    async def holding(self, contents: Sequence[Content]) -> AsyncIterator[None]:
        """See `base.Blobs`."""
        held: list[Content] = []
        try:
            for content in contents:
                self._hold(content)
                held.append(content)
            yield
        finally:
            for content in held:
                self._release(content)

    def _hold(self, content: Content) -> None:
        if content in self._going:
            raise BlobMissing(content.sha256)
        if not self._holds[content]:
            try:
                fcntl.lockf(self._held, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _place(content))
            except OSError as error:
                raise BlobMissing(content.sha256) from error
        self._holds[content] += 1

    def _release(self, content: Content) -> None:
        self._holds[content] -= 1
        if not self._holds[content]:
            del self._holds[content]
            fcntl.lockf(self._held, fcntl.LOCK_UN, 1, _place(content))

    async def delete(self, content: Content, kinds: Sequence[str]) -> bool:
        """See `base.Blobs`."""
        if self._holds[content]:
            return False
        try:
            fcntl.lockf(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(content))
        except OSError:
            return False
        self._going.add(content)
        try:
            await asyncio.to_thread(_delete, [self._path(Key(content, kind)) for kind in kinds])
        finally:
            self._going.remove(content)
            fcntl.lockf(self._held, fcntl.LOCK_UN, 1, _place(content))
        return True

    async def keys(self) -> set[Key]:
        """See `base.Blobs`."""
        return await asyncio.to_thread(lambda: {key for key, _ in self._found()})

    def entries(self) -> Sequence[Entry]:
        """What lies here, for a thread."""
        entries = []
        for key, path in self._found():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                entries.append(Entry(key, stat.st_mtime, stat.st_size))
        return entries

    def _found(self) -> Iterator[tuple[Key, Path]]:
        for path in self._blobs.glob("*/*/*/*"):
            if named := NAME.fullmatch(path.name):
                yield Key(Content(unquote(path.relative_to(self._blobs).parts[0]), named[1]), named[2]), path

    def scratch(self) -> Path:
        """See `base.Blobs`."""
        return self._own / secrets.token_hex(8)

    async def tidy(self) -> Sequence[str]:
        """See `base.Blobs`."""
        return await asyncio.to_thread(self._tidied)

    def _tidied(self) -> Sequence[str]:
        gone = []
        for folder in self._scratch.iterdir():
            life = _opened(folder / _LIFE)
            try:
                if _locked(life):
                    shutil.rmtree(folder, ignore_errors=True)  # a child of the dead may still write; then next time
                    gone.append(folder.name)
            finally:
                os.close(life)
        return gone

    def _path(self, key: Key) -> Path:
        sha256 = key.content.sha256
        workspace = quote(key.content.workspace, safe="").replace(".", "%2E")
        return self._blobs / workspace / sha256[:2] / sha256[2:4] / f"{sha256}.{key.kind}"


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _place(content: Content) -> int:
    digest = hashlib.sha256(f"{content.workspace}/{content.sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _PLACES


def _put(path: Path, target: Path) -> None:
    _synced(path)
    while True:
        fresh = not target.parent.is_dir()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            path.replace(target)
        except FileNotFoundError:
            if target.parent.is_dir():
                raise
        else:  # else the folder was removed in this moment, since it was empty
            break
    _synced(target.parent)
    if fresh:
        _synced(target.parent.parent)
        _synced(target.parent.parent.parent)


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):  # not empty, or gone
            _synced(folder)
            folder.rmdir()
            folder.parent.rmdir()


def _synced(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
