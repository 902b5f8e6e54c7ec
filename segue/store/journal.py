"""Records on their way to the ledger, in a file that outlives the process.

Why: what the process has written to a file is there after `kill -9`, without waiting for any disk; a database is
written to in batches.  A line is a checksum and a JSON array, so that one that was cut off is known for what it is.

Laws: each process writes files of its own, and holds a lock on them that ends with it; whoever finds a file that nobody
holds brings what it says into the ledger and removes it; where a file cannot be written, that is logged once, and
records are kept in memory only.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from segue.core.usage import Record

log = logging.getLogger("segue")

PATTERN = "usage-*.journal"
ROTATE_BYTES = 4 * 1024**2
BATCH_MAX = 2000
_CHECK_BYTES = 9  # eight hexadecimal digits and a blank

_encoder = msgspec.json.Encoder()


class Segment:
    """One file, held by this process.  `size` is what was written to it."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self.path = folder / f"usage-{os.getpid()}-{secrets.token_hex(4)}.journal"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.size = 0

    def write(self, records: Sequence[Record]) -> None:
        """Raises OSError."""
        data = b"".join([_line(record) for record in records])
        self.size += len(data)
        while data:
            data = data[os.write(self._file, data) :]

    def clear(self) -> None:
        """All that it says is in the ledger.  Raises OSError."""
        os.ftruncate(self._file, 0)
        self.size = 0

    def close(self, remove: bool) -> None:
        """Let go of it; what stays is brought in by whoever comes next."""
        if remove:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)


class Journal:
    """The journal in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment: Segment | None = None
        self._full: list[Segment] = []
        self._failed = False

    def write(self, records: Sequence[Record]) -> bool:
        """Put them down; whether they could be."""
        try:
            if self._segment is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._segment = Segment(self._folder)
            self._segment.write(records)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("records of use cannot be put down in %s: %s", self._folder, error)
            self._failed = True
        return not self._failed

    def turn(self) -> bool:
        """Begin a new file, if this one is large enough; whether all that was put down until now is in others."""
        if self._segment is None or self._segment.size < ROTATE_BYTES or self._full:
            return False
        self._full.append(self._segment)
        self._segment = None
        return True

    def turned_entered(self) -> None:
        """Everything before the last turn is in the ledger."""
        for segment in self._full:
            segment.close(remove=True)
        self._full.clear()

    def entered(self) -> None:
        """Everything that was put down is in the ledger."""
        self.turned_entered()
        if self._segment is not None and self._segment.size:
            with suppress(OSError):
                self._segment.clear()

    def batches(self) -> Iterator[list[Record]]:
        """Everything that was put down and may not be in the ledger."""
        for segment in [*self._full, *([self._segment] if self._segment else [])]:
            with suppress(OSError), segment.path.open("rb") as data:
                for records, _ in read_batches(data):
                    yield records

    def close(self, remove: bool) -> None:
        """Let go of it."""
        for segment in [*self._full, *([self._segment] if self._segment else [])]:
            segment.close(remove)
        self._full.clear()
        self._segment = None


class Left:
    """A file that its process has left behind; held until `close`."""

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file

    def batches(self) -> Iterator[tuple[list[Record], int]]:
        """See `read_batches`."""
        with open(self._file, "rb", closefd=False) as data:
            yield from read_batches(data)

    def close(self, remove: bool) -> None:
        """Let go of it, and remove it when what it says has been brought in."""
        if remove:
            with suppress(OSError):
                self._path.unlink()
        os.close(self._file)


def left_behind(folder: Path) -> Iterator[Left]:
    """The files of processes that are no more."""
    for path in sorted(folder.glob(PATTERN)):
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:  # else somebody has just brought it in
                yield Left(path, file)
                continue
        except OSError:  # its process lives
            pass
        os.close(file)


def read_batches(data: BinaryIO) -> Iterator[tuple[list[Record], int]]:
    """The records, some at a time, and how many lines between them are not whole."""
    records: list[Record] = []
    torn = 0
    for line in data:
        check, body = line[:_CHECK_BYTES], line[_CHECK_BYTES:-1]
        try:
            if check != b"%08x " % zlib.crc32(body):
                raise ValueError("cut off")
            records.append(Record(*msgspec.json.decode(body)))
        except (msgspec.MsgspecError, TypeError, ValueError):  # or of another version
            torn += 1
        if len(records) >= BATCH_MAX:
            yield records, torn
            records, torn = [], 0
    if records or torn:
        yield records, torn


def _line(record: Record) -> bytes:
    body = _encoder.encode(
        (
            record.id,
            record.at,
            record.workspace,
            record.key,
            record.endpoint,
            record.model,
            record.served,
            record.input_tokens,
            record.cached_tokens,
            record.output_tokens,
            record.reasoning_tokens,
            record.first_ms,
            record.total_ms,
            record.outcome,
            record.cost_micros,
        )
    )
    return b"%08x %b\n" % (zlib.crc32(body), body)
