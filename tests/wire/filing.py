"""The routes for files over a real archive, and uploads as various clients write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.routing import Router

from segue.files.archive import Archive, Bounds
from segue.wire.dashscope import files as dashscope
from segue.wire.desk import UploadLimits
from segue.wire.http import Door, fallback
from segue.wire.openai import files as openai
from tests.files.archives import BOUNDS, Reader, opened
from tests.wire.fakes import ID, Client, House, Job

COMPAT = "/compatible-mode/v1/files"
NATIVE = "/api/v1/files"
BOUNDARY = "----boundary"
LIMITS = UploadLimits(field_bytes_max=1000, drained_bytes_max=100_000, silence_s=0.3, whole_s=5.0)


@dataclass
class Filing:
    """`root` is where the archive lies."""

    app: Router
    archive: Archive
    root: Path
    reader: Reader

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await Client(self.app, path, body, named, method).run()

    async def upload(self, path: str, *parts: Part, **headers: str) -> Client:
        return await self.ask("POST", path, multipart(*parts), content_type=form(), **headers)

    async def added(self, data: bytes = b"hello", name: str = "a.txt", purpose: str = "file-extract") -> dict[str, Any]:
        said = await self.upload(COMPAT, Part("file", data, name), Part("purpose", purpose.encode()))
        assert said.status == 200, said.body
        found: dict[str, Any] = said.json
        return found


@dataclass(frozen=True)
class Part:
    """A part of a form; a file where it has a name.  `disposition` stands for the whole header."""

    field: str
    data: bytes
    name: str | None = None
    disposition: bytes | None = None
    headers: Sequence[bytes] = (b"Content-Type: application/octet-stream",)

    def written(self) -> bytes:
        line = self.disposition
        if line is None:
            line = b'form-data; name="%b"' % self.field.encode()
            if self.name is not None:
                line += b'; filename="%b"' % self.name.replace('"', "%22").encode()
        return b"\r\n".join([b"Content-Disposition: " + line, *self.headers, b"", self.data])


def form(boundary: str = BOUNDARY) -> str:
    return f"multipart/form-data; boundary={boundary}"


def multipart(*parts: Part, boundary: str = BOUNDARY) -> bytes:
    line = b"--" + boundary.encode()
    return b"".join(line + b"\r\n" + part.written() + b"\r\n" for part in parts) + line + b"--\r\n"


class Leaving(Client):
    """Sends its pieces, and then it is gone."""

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            return {"type": "http.request", "body": self._chunks.pop(0), "more_body": True}
        return {"type": "http.disconnect"}


class Silent(Client):
    """Sends its pieces, and then nothing."""

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            return {"type": "http.request", "body": self._chunks.pop(0), "more_body": True}
        await self._left.wait()
        return {"type": "http.disconnect"}


def door_of(house: House) -> Door[Job]:
    return Door(
        prepare=house.prepare,
        answer=house.answer,
        authenticate=house.authenticate,
        names=list,
        card_of=house.card_of,
        encode=house.encode,
        clock=lambda: 1_764_500_000.9,
        new_id=lambda: ID,
        limits=house.limits,
    )


@asynccontextmanager
async def filing(root: Path, bounds: Bounds = BOUNDS, limits: UploadLimits = LIMITS) -> AsyncIterator[Filing]:
    house, reader = House(), Reader()
    async with opened(root, reader, bounds) as archive:
        door = door_of(house)
        routes = [*openai.routes(door, archive.desk, limits), *dashscope.routes(door, archive.desk, limits)]
        yield Filing(Router(routes, default=fallback(door), redirect_slashes=False), archive, root, reader)
