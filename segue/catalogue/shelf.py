"""Where model files lie, and how one is told from a half-fetched or wrong one.

Laws: a file under its own name is whole, because only a checked one is ever renamed to it; what
is still being fetched has `.part` at its end, what a fetch remembers has `.state`; a user's own
file, named by a path, is read where it is and never removed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segue.catalogue.read import Entry

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of the model files."""

    folder: Path

    def path(self, entry: Entry) -> Path:
        """Where the entry's file is, or would be.  An absolute path in the catalogue stays as it is."""
        return self.folder / entry.file

    def part(self, entry: Entry) -> Path:
        """Where it grows while it is fetched."""
        return self.folder / f"{entry.file}.part"

    def state(self, entry: Entry) -> Path:
        """What a broken fetch from pieces needs to go on."""
        return self.folder / f"{entry.file}.state"

    def lock(self, entry: Entry) -> Path:
        """Held by the one process that fetches it."""
        return self.folder / f"{entry.file}.lock"

    def present(self, entry: Entry) -> bool:
        """Whether the whole file is there: present under its name, and of the catalogue's size."""
        if not entry.file:
            return True
        try:
            size = self.path(entry).stat().st_size
        except OSError:
            return False
        return size == entry.bytes if entry.bytes else size > 0

    def intact(self, entry: Entry, tell: Callable[[int], None] | None = None) -> bool:
        """Whether the file has the catalogue's hash.  Reads all of it; `tell` hears the bytes read."""
        return not entry.sha256 or sha256(self.path(entry), tell) == entry.sha256

    def remove(self, entry: Entry) -> bool:
        """Remove the file and what a fetch left behind.  False when there was nothing, or it is not ours."""
        if not (entry.hubs or entry.pieces):
            return False
        found = False
        for path in (self.path(entry), self.part(entry), self.state(entry), self.lock(entry)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                found = found or path != self.lock(entry)
        return found


def sha256(path: Path, tell: Callable[[int], None] | None = None) -> str:
    """The file's SHA-256 in hexadecimal.  Raises OSError."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            done += len(block)
            if tell:
                tell(done)
    return digest.hexdigest()
