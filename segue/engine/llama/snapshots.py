"""The cells of long prompts, kept in files: what was read once is there after a restart.

A snapshot is a prompt's tokens and the library's own copy of their cells.  It is found by the longest head
it has in common with a prompt of the same workspace, as sequences in memory are; the file's name tells
workspaces, models and releases of the library apart, and says nothing of what is in it.

Laws: only whole files have their name, and a damaged one is removed, not loaded; the least recently used go
first; what cannot be written is not kept, and nobody waits for the writing; one that has something of a document that
is to be forgotten goes.  Knows no cells and no model.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]

_HEAD = Struct("<8sIIIQ")
"""The mark, how many tokens and documents, the check sum of all that follows, the size of the cells in bytes."""
_MARK, _DOCUMENT_BYTES = b"segueKV2", 16
_DOCUMENTS_MAX = 10_000
"""Read of one file at most, whatever it says."""
_SUFFIX, _UNFINISHED = ".cells", ".unfinished"
_UNFINISHED_S = 600.0
"""How long another process may be at a file."""
_CHUNK_BYTES = 1 << 22


@dataclass(slots=True, eq=False)
class Snapshot:
    """A file that is whole."""

    path: Path
    scope: str
    ids: Ids
    documents: frozenset[str]
    size: int
    used_at: float


class Snapshots:
    """A folder of them, up to `bytes_max`.  `owner` says whose cells they are: model, release, kind of cache."""

    def __init__(self, folder: Path, owner: str, bytes_max: int) -> None:
        self._folder, self._owner, self._bytes_max = folder, owner, bytes_max
        self._kept: list[Snapshot] = []
        self._writer = ThreadPoolExecutor(1, "snapshots")
        self._writing: Future[Snapshot | None] | None = None
        self._forgotten: set[str] = set()
        """Documents to be forgotten, while one is being written."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _tidy(folder)
            self._kept = [found for path in folder.glob(f"*{_SUFFIX}") if (found := _read_head(path)) is not None]
        except OSError as error:
            _complain(error)

    def best(self, workspace: str, ids: Ids) -> tuple[Snapshot | None, int]:
        """The snapshot with the longest common head, and its length."""
        self._take_written()
        scope, found, length = self._scope(workspace), None, 0
        for each in self._kept:
            common = _common(each.ids, ids) if each.scope == scope else 0
            if common > length:
                found, length = each, common
        return found, length

    def load(self, snapshot: Snapshot) -> bytearray | None:
        """The cells; None, and forgotten, when the file is gone or damaged."""
        try:
            with snapshot.path.open("rb") as file:
                mark, count, documents, check, size = _HEAD.unpack(file.read(_HEAD.size))
                ids = file.read(_DOCUMENT_BYTES * documents + 4 * count)
                data = bytearray(size)
                whole = mark == _MARK and file.readinto(data) == size
            if whole and zlib.crc32(data, zlib.crc32(ids)) == check:
                snapshot.used_at = time.time()
                os.utime(snapshot.path, (snapshot.used_at, snapshot.used_at))
                return data
        except (OSError, ValueError, MemoryError) as error:
            _complain(error)
        self._forget(snapshot)
        return None

    @property
    def busy(self) -> bool:
        """One is being written: the next can wait until it is asked for again."""
        self._take_written()
        return self._writing is not None

    def keep(self, workspace: str, ids: Ids, data: memoryview, documents: frozenset[str] = frozenset()) -> None:
        """Write a snapshot, behind everybody's back; unless one is being written, or it is too large."""
        if not self.busy and len(data) <= self._bytes_max:
            self._writing = self._writer.submit(self._write, self._scope(workspace), ids.copy(), data, documents)

    def forget(self, documents: Collection[str]) -> None:
        """Remove what has something of these documents, also what is still being written."""
        if self.busy:
            self._forgotten.update(documents)
        for each in [each for each in self._kept if not each.documents.isdisjoint(documents)]:
            self._forget(each)

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()
        self._take_written()

    def _scope(self, workspace: str) -> str:
        return hashlib.blake2b(f"{self._owner}\0{workspace}".encode(), digest_size=12).hexdigest()

    def _write(self, scope: str, ids: Ids, data: memoryview, documents: frozenset[str]) -> Snapshot | None:
        head = bytes.fromhex("".join(sorted(documents))) + ids.astype("<i4").tobytes()
        name = f"{scope}-{hashlib.blake2b(head, digest_size=12).hexdigest()}{_SUFFIX}"
        check = zlib.crc32(data, zlib.crc32(head))
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=_UNFINISHED, delete=False) as file:
                temporary = Path(file.name)
                file.write(_HEAD.pack(_MARK, len(ids), len(documents), check, len(data)) + head)
                for at in range(0, len(data), _CHUNK_BYTES):
                    file.write(data[at : at + _CHUNK_BYTES])
            temporary.replace(self._folder / name)
        except OSError as error:
            _complain(error)
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            return None
        size = _HEAD.size + len(head) + len(data)
        return Snapshot(self._folder / name, scope, ids, documents, size, time.time())

    def _take_written(self) -> None:
        """What has been written meanwhile is kept, and others make room for it."""
        if self._writing is None or not self._writing.done():
            return
        written, self._writing = self._writing.result(), None
        if written is None:
            return
        for other in [each for each in self._kept if each.path == written.path or _begins(written, each)]:
            self._forget(other, keep_file=other.path == written.path)
        self._kept.append(written)
        forgotten, self._forgotten = self._forgotten, set()
        if not written.documents.isdisjoint(forgotten):
            self._forget(written)
        while sum(each.size for each in self._kept) > self._bytes_max:
            self._forget(min(self._kept, key=lambda each: each.used_at))

    def _forget(self, snapshot: Snapshot, keep_file: bool = False) -> None:
        self._kept.remove(snapshot)
        if not keep_file:
            try:
                snapshot.path.unlink(missing_ok=True)
            except OSError as error:
                _complain(error)


def _begins(longer: Snapshot, other: Snapshot) -> bool:
    """Has the longer one all of the other, and goes with all that the other goes with?"""
    same = longer.scope == other.scope and longer.documents >= other.documents
    return same and _common(longer.ids, other.ids) == len(other.ids)


def _common(one: Ids, other: Ids) -> int:
    size = min(len(one), len(other))
    differing = np.nonzero(one[:size] != other[:size])[0]
    return int(differing[0]) if len(differing) else size


def _read_head(path: Path) -> Snapshot | None:
    """What a file says of itself; None, and removed, when it is not whole."""
    status = path.stat()
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) == _HEAD.size:
            mark, count, documents, _, size = _HEAD.unpack(head)
            if mark == _MARK and status.st_size == _HEAD.size + _DOCUMENT_BYTES * documents + 4 * count + size:
                marks = frozenset(file.read(_DOCUMENT_BYTES).hex() for _ in range(documents))
                ids = np.frombuffer(file.read(4 * count), "<i4").astype(np.int32)
                return Snapshot(path, path.name.partition("-")[0], ids, marks, status.st_size, status.st_mtime)
    path.unlink(missing_ok=True)
    return None


def purge(folder: Path, documents: Collection[str]) -> None:
    """Remove what has something of these documents, whoever wrote it; for who has no engine to ask."""
    try:
        for path in folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # the engine was quicker
                with path.open("rb") as file:
                    marks = _marks(file)
                if marks is not None and not marks.isdisjoint(documents):
                    path.unlink(missing_ok=True)
    except OSError as error:
        _complain(error)


def _marks(file: BinaryIO) -> frozenset[str] | None:
    """The documents of a snapshot; None where it is none, or another version's."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(_MARK):
        return None
    count = _HEAD.unpack(head)[2]
    return frozenset(file.read(_DOCUMENT_BYTES).hex() for _ in range(min(count, _DOCUMENTS_MAX)))


def _tidy(folder: Path) -> None:
    """Remove what somebody who has died was writing."""
    for path in folder.glob(f"*{_UNFINISHED}"):
        if time.time() - path.stat().st_mtime > _UNFINISHED_S:
            path.unlink(missing_ok=True)


def _complain(error: Exception) -> None:
    sys.stderr.write(f"snapshots: {error}\n")
