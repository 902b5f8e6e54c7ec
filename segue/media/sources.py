"""The bytes behind an address: fetched, spelled out in it, or uploaded before.

Laws: all pictures of a request together have a limit, beside that of each; a video goes to a file without a name, which
is gone with whoever had it; what somebody else uploaded is not there.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

from segue.core.errors import MediumRefused
from segue.media.fetch import Fetcher
from segue.media.limits import FetchLimits

UPLOADED = ("oss://", "fileid://")
_DATA = "data:"
_HEAD_CHARS_MAX = 256
_WRITE_BYTES = 1 << 20
_STILLS_AT_A_TIME = 8


class Shelf(Protocol):
    """Where uploads lie."""

    def held(self, workspace: str, address: str) -> AbstractAsyncContextManager[Path]:
        """Where the bytes are of what a workspace uploaded, for as long as the context lasts.  Raises FileUnknown,
        MediumRefused."""
        ...


class Nothing:
    """A shelf without uploads."""

    def held(self, workspace: str, address: str) -> AbstractAsyncContextManager[Path]:
        """There is nothing."""
        raise MediumRefused("lost")


@dataclass(slots=True)
class Purse:
    """How many bytes of pictures a request may still have."""

    left: int
    whole: int

    def spend(self, size: int) -> None:
        """Raises MediumRefused."""
        self.left -= size
        if self.left < 0:
            raise MediumRefused("large", self.whole - self.left, self.whole)


class Sources:
    """Gets them."""

    def __init__(self, fetcher: Fetcher, shelf: Shelf, limits: FetchLimits, uri_bytes_max: int) -> None:
        self._fetcher = fetcher
        self._shelf = shelf
        self._limits = limits
        self._uri_bytes_max = uri_bytes_max

    async def stills(self, workspace: str, addresses: set[str], purse: Purse) -> dict[str, bytes]:
        """The bytes of each.  Raises MediumRefused, FileUnknown."""
        places = asyncio.Semaphore(_STILLS_AT_A_TIME)

        async def one(address: str) -> bytes:
            async with places:
                return await self._still(workspace, address, purse)

        tasks = {address: asyncio.ensure_future(one(address)) for address in addresses}
        try:
            return {address: await task for address, task in tasks.items()}
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def video(self, workspace: str, address: str, file: BinaryIO) -> bytes:
        """Write a video to `file`; its SHA-256.  Raises MediumRefused, FileUnknown."""
        digest, pending = hashlib.sha256(), bytearray()

        def write(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        async def take(piece: bytes) -> None:
            pending.extend(piece)
            if len(pending) >= _WRITE_BYTES:
                await flush()

        async def flush() -> None:
            data = bytes(pending)
            pending.clear()
            await asyncio.to_thread(write, data)

        if address.startswith(UPLOADED):
            async with self._shelf.held(workspace, address) as path:
                await asyncio.to_thread(_copy, path, write, self._limits.video_bytes_max)
        elif _is_data(address):
            write(await asyncio.to_thread(_spelled, address, self._uri_bytes_max))
        else:
            limits = self._limits
            await self._fetcher.fetch(workspace, address, limits.video_bytes_max, limits.video_s, take)
            await flush()
        await asyncio.to_thread(file.seek, 0)
        return digest.digest()

    async def _still(self, workspace: str, address: str, purse: Purse) -> bytes:
        limit = self._limits.image_bytes_max
        if _is_data(address):
            data = await asyncio.to_thread(_spelled, address, self._uri_bytes_max)
            purse.spend(len(data))
            return data
        if address.startswith(UPLOADED):
            async with self._shelf.held(workspace, address) as path:
                data = await asyncio.to_thread(_whole, path, limit)
            purse.spend(len(data))
            return data
        pieces = bytearray()

        async def take(piece: bytes) -> None:
            purse.spend(len(piece))
            pieces.extend(piece)

        await self._fetcher.fetch(workspace, address, limit, self._limits.whole_s, take)
        return bytes(pieces)


def nameless() -> BinaryIO:
    """A file that is gone when it is closed, and has no name before."""
    return tempfile.TemporaryFile()


def _is_data(address: str) -> bool:
    return address[: len(_DATA)].lower() == _DATA


def _spelled(address: str, bytes_max: int) -> bytes:
    """What a data URI spells.  Raises MediumRefused."""
    if len(address) > bytes_max:
        raise MediumRefused("long_uri", len(address), bytes_max)
    head, comma, body = address.partition(",")
    if not comma or len(head) > _HEAD_CHARS_MAX:
        raise MediumRefused("address")
    try:
        if not head.lower().endswith(";base64"):
            return unquote_to_bytes(body)
        if "%" in body:
            body = unquote_to_bytes(body).decode("ascii")
        body = "".join(body.split()).translate(_URL_SAFE)
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediumRefused("address") from error


_URL_SAFE = str.maketrans("-_", "+/")


def _whole(path: Path, bytes_max: int) -> bytes:
    size = path.stat().st_size
    if size > bytes_max:
        raise MediumRefused("large", size, bytes_max)
    return path.read_bytes()


def _copy(path: Path, write: _Write, bytes_max: int) -> None:
    size = path.stat().st_size
    if size > bytes_max:
        raise MediumRefused("large", size, bytes_max)
    with path.open("rb") as file:
        while piece := file.read(_WRITE_BYTES):
            write(piece)


class _Write(Protocol):
    def __call__(self, data: bytes, /) -> None: ...
