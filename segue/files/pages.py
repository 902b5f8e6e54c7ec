"""What was read of a file, for whoever wants to look at it.

Laws: as those of `library`, through which it reads; it waits for nothing, and counts as a call of the Files API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from segue.core.documents import Part
from segue.files.desk import Desk
from segue.files.library import Library


class Pages:
    """The texts of files.  Both raise RateExceeded, FileUnknown, FileGone, FileProcessing, FileTroubled."""

    def __init__(self, library: Library, desk: Desk) -> None:
        self._library = library
        self._desk = desk

    async def parts(self, workspace: str, id: str) -> tuple[Sequence[Part], int]:
        """Where the file's parts begin; how many bytes its text has."""
        self._desk.admit(workspace, upload=False)
        async with self._library.reading(workspace, [id], 0) as (found,):
            return found.parts, await asyncio.to_thread(lambda: found.text.stat().st_size)

    async def text(self, workspace: str, id: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of its text, as far as there are."""
        self._desk.admit(workspace, upload=False)
        async with self._library.reading(workspace, [id], 0) as (found,):
            return await asyncio.to_thread(_piece, found.text, start, end)


def _piece(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as text:
        text.seek(start)
        return text.read(end - start)
