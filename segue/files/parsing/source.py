"""The file that is read: an open descriptor, never a path, since the cage has no paths."""

from __future__ import annotations

import mmap
import os
from typing import BinaryIO


class Source:
    """`extension` is what the caller's name ends in, lower case and without the dot; it proves nothing."""

    def __init__(self, descriptor: int, extension: str) -> None:
        self.file: BinaryIO = os.fdopen(descriptor, "rb", closefd=False)
        self.bytes = os.fstat(descriptor).st_size
        self.extension = extension

    def head(self, size: int) -> bytes:
        """The first bytes."""
        self.file.seek(0)
        return self.file.read(size)

    def mapped(self) -> mmap.mmap:
        """All of it, without reading it into memory.  Copied on write, since C interfaces ask for a buffer that may
        be written to.  Not for an empty file."""
        return mmap.mmap(self.file.fileno(), self.bytes, access=mmap.ACCESS_COPY)
