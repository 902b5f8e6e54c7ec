"""One file of named arrays: written once, front to back, and mapped afterwards.

    MAGIC | VERSION | check of the table | table of sections | sections, each on a border of 64 bytes

Laws: a file with another magic, version, length or table is refused before anything of it is used; nothing in it is
code.  A finished file has its name at once and whole: it is written beside it and moved.  Reading may find what the
disk has damaged since: `open_blob(..., thorough=True)` reads every byte to make sure.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"segue\0ix"
VERSION = 1
"""Raised by every change of what is written, or of how words are read."""
BORDER = 64
SECTIONS_MAX = 32
TABLE = np.dtype(
    [("name", "S16"), ("kind", "S4"), ("check", "<u4"), ("start", "<u8"), ("rows", "<u8"), ("wide", "<u8")]
)
HEAD = np.dtype(
    [("magic", "S8"), ("version", "<u4"), ("check", "<u4"), ("length", "<u8"), ("sections", TABLE, (SECTIONS_MAX,))]
)
KINDS = {"u1": np.uint8, "i1": np.int8, "u2": np.uint16, "u4": np.uint32, "u8": np.uint64, "f4": np.float32}

Array = npt.NDArray[Any]


class Unreadable(Exception):
    """Not an index, or of another version, or damaged: build it again."""


class Writer:
    """Writes one file.  Sections come one after the other: `begin`, then `append` as often as wanted."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._head = np.zeros((), HEAD)
        self._count = 0
        self._kind = ""

    def __enter__(self) -> Writer:
        self._file = self._part.open("wb")
        self._file.write(bytes(HEAD.itemsize))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        try:
            if kind is None:
                self._finish()
                whole = True
        finally:
            self._file.close()
            if not whole:
                self._part.unlink(missing_ok=True)
        if whole:
            os.replace(self._part, self._path)

    def begin(self, name: str, kind: str, wide: int = 1) -> None:
        """A new section of rows of `wide` numbers."""
        self._file.write(bytes(-self._file.tell() % BORDER))
        self._row = self._head["sections"][self._count]
        self._row["name"], self._row["kind"], self._row["wide"] = name.encode(), kind.encode(), wide
        self._row["start"] = self._file.tell()
        self._count, self._kind = self._count + 1, kind

    def append(self, rows: Array) -> None:
        """More rows of the section that was begun last."""
        data = np.ascontiguousarray(rows, KINDS[self._kind])
        self._row["rows"] += data.size // int(self._row["wide"])
        self._row["check"] = zlib.crc32(data.data, int(self._row["check"]))
        data.tofile(self._file)

    def add(self, name: str, kind: str, rows: Array, wide: int = 1) -> None:
        """A whole section."""
        self.begin(name, kind, wide)
        self.append(rows)

    def _finish(self) -> None:
        self._head["magic"], self._head["version"], self._head["length"] = MAGIC, VERSION, self._file.tell()
        self._head["check"] = zlib.crc32(self._head["sections"].tobytes())
        self._file.seek(0)
        self._file.write(self._head.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())


def open_blob(path: Path, thorough: bool = False) -> dict[str, Array]:
    """The arrays of a file, mapped; raises Unreadable, and FileNotFoundError where there is none."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length < HEAD.itemsize:
            raise Unreadable("too short")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head = np.frombuffer(mapped, HEAD, 1)[0]
    if bytes(head["magic"]) != MAGIC:
        raise Unreadable("not an index")
    if int(head["version"]) != VERSION:
        raise Unreadable(f"version {int(head['version'])}, not {VERSION}")
    if zlib.crc32(head["sections"].tobytes()) != int(head["check"]) or int(head["length"]) != length:
        raise Unreadable("damaged")
    found: dict[str, Array] = {}
    for row in head["sections"]:
        if not row["name"]:
            break
        kind, wide, rows = np.dtype(KINDS[row["kind"].decode()]), int(row["wide"]), int(row["rows"])
        array = np.frombuffer(mapped, kind, rows * wide, int(row["start"]))
        if thorough and zlib.crc32(array.data) != int(row["check"]):
            raise Unreadable(f"damaged: {row['name'].decode()}")
        found[row["name"].decode()] = array.reshape(rows, wide) if wide > 1 else array
    return found
