"""What the wire needs of whoever keeps the files, and the bounds of what is read on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from segue.core import frozen
from segue.core.documents import File, Purpose


class Arriving(Protocol):
    """A file on its way in.  `write` is called in a thread, one call at a time."""

    @property
    def size(self) -> int:
        """How many bytes were written."""
        ...

    def write(self, data: bytes) -> None:
        """The next bytes."""
        ...

    def discard(self) -> None:
        """It is not wanted, or has been taken in."""
        ...


A = TypeVar("A", bound=Arriving)
A_co = TypeVar("A_co", bound=Arriving, covariant=True)


class Taker(Protocol[A_co]):
    """Takes in what comes of an upload."""

    def bytes_max(self, name: str, purpose: Purpose | None) -> int:
        """How large a file of this name may be; of an unknown purpose, at most."""
        ...

    async def begin(self) -> A_co:
        """A file begins to arrive: nothing is there before the first byte, and what is there is discarded at the end,
        also when it was kept."""
        ...


class Desk(Taker[A], Protocol[A]):
    """Takes files in, looks them up and hands them back, each for its workspace.

    `admit` raises RateExceeded; `keep` TooLarge and QuotaFull; all that take an id FileAbsent.
    """

    def admit(self, workspace: str, upload: bool) -> None:
        """May this workspace call now?"""
        ...

    async def keep(self, arriving: A, workspace: str, name: str, purpose: Purpose, description: str = "") -> File:
        """Take it in."""
        ...

    async def find(self, workspace: str, id: str) -> File:
        """One file."""
        ...

    async def progress(self, workspace: str, id: str) -> float:
        """How much of it has been read, 0 to 1."""
        ...

    async def page(
        self,
        workspace: str,
        after: str | None,
        limit: int,
        purpose: Purpose | None,
        since: int | None,
        until: int | None,
    ) -> tuple[Sequence[File], bool]:
        """Files, newest first, behind `after`, created at `since` to `until`; and whether there are more."""
        ...

    async def numbered(self, workspace: str, offset: int, limit: int) -> tuple[Sequence[File], int]:
        """Files, newest first, from a place in the list; and how many there are in all."""
        ...

    async def remove(self, workspace: str, id: str) -> None:
        """Forget a file."""
        ...

    def content(self, workspace: str, id: str) -> AbstractAsyncContextManager[tuple[File, Path]]:
        """A file and where its bytes are, for as long as the context lasts."""
        ...


@frozen
class UploadLimits:
    """Bounds of an upload.  `silence_s` is the longest wait for more, `whole_s` for all of it; `drained_bytes_max`
    is what is read past of one that is refused, so that its sender hears why."""

    files_max: int = 10
    fields_max: int = 64
    field_bytes_max: int = 16 * 1024
    header_bytes_max: int = 64 * 1024
    silence_s: float = 60.0
    whole_s: float = 3600.0
    drained_bytes_max: int = 64 * 1024**2
