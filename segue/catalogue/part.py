"""The growing file of a fetch, and what is told while it grows.

Laws: bytes are only appended, never past the expected size; every source continues what another
left, since all of them hold the same file; the whole is judged by its hash alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


class SourceFailed(Exception):
    """This source cannot give the file.  The message says why; another source may do better."""


class PullFailed(Exception):
    """The file could not be fetched.  The message says why and what to do next."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a fetch is: bytes of the file on disk, bytes in all, and what is being done."""

    done: int
    total: int
    doing: str


Tell = Callable[[Step], None]


class Part:
    """An open `.part` file of `total` bytes in the end."""

    def __init__(self, path: Path, total: int, tell: Tell) -> None:
        self._file = path.open("ab")
        self._total = total
        self._tell = tell
        self.doing = ""
        if self.done > total:
            self.cut(0)

    @property
    def done(self) -> int:
        """Bytes there are."""
        return self._file.tell()

    @property
    def total(self) -> int:
        """Bytes there will be."""
        return self._total

    def say(self, doing: str) -> None:
        """Tell what is being done now."""
        self.doing = doing
        self._tell(Step(self.done, self._total, doing))

    def append(self, data: bytes) -> None:
        """Add `data`.  Raises SourceFailed when that is more than the file has."""
        if self.done + len(data) > self._total:
            raise SourceFailed("it gave more bytes than the file has")
        self._file.write(data)
        self._tell(Step(self.done, self._total, self.doing))

    def cut(self, size: int) -> None:
        """Forget everything after `size` bytes."""
        self._file.truncate(size)
        self._file.seek(0, os.SEEK_END)

    def keep(self) -> None:
        """Make what is there survive a crash."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
