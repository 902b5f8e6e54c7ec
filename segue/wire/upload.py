"""The body of an upload, as it comes: fields kept, files passed on.

Laws: a file goes to whoever takes it in pieces of `PIECE_BYTES`, and never as a whole through here; sizes are counted
over the bytes that came, in whatever order the parts did; a body that is cut off, broken or too slow leaves nothing
behind; of one that is refused a bounded rest is read past, so that its sender hears why.  This file knows no protocol.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from segue.core.documents import Purpose
from segue.core.errors import BodyInvalid, TimedOut, TooLarge
from segue.wire.body import ClientGone, Receive
from segue.wire.desk import A, Taker, UploadLimits
from segue.wire.names import file_name, parameters

PIECE_BYTES = 1024**2

PURPOSES: Mapping[str, Purpose] = {"file-extract": "file-extract", "batch": "batch"}

_What = Literal["header", "part", "data", "end", "whole"]


@dataclass(slots=True)
class Arrived(Generic[A]):
    """A file that came: how its sender calls it, and whether it was larger than any file may be (then what came of it
    was thrown away)."""

    name: str
    arriving: A
    too_large: bool = False


@dataclass(slots=True)
class Upload(Generic[A]):
    """What came."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[Arrived[A]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        """The first value of a field."""
        return self.fields.get(name, [None])[0]


@asynccontextmanager
async def upload(
    receive: Receive, content_type: str, desk: Taker[A], limits: UploadLimits
) -> AsyncGenerator[Upload[A], None]:
    """The body, once all of it has come.  Its files are discarded at the end, kept or not.

    Raises BodyInvalid, TooLarge, TimedOut, ClientGone.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise BodyInvalid("not multipart/form-data with a boundary")
    body = _Body(receive, limits)
    came: Upload[A] = Upload()
    try:
        try:
            async with asyncio.timeout(limits.whole_s):
                await _Reader(boundary, desk, limits, came).read(body)
        except FormParserError as error:
            await body.drain()
            raise BodyInvalid(str(error)[:200]) from error
        except (BodyInvalid, TooLarge):
            await body.drain()
            raise
        except TimeoutError:
            raise TimedOut from None
        yield came
    finally:
        # Not awaited: whoever is cancelled here must leave nothing behind either, and a file is soon removed.
        for arrived in came.files:
            arrived.arriving.discard()


class _Body:
    """The pieces of a request's body."""

    def __init__(self, receive: Receive, limits: UploadLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._more = True

    async def piece(self) -> bytes | None:
        """The next piece; None: there is none.  Raises ClientGone, TimeoutError."""
        if not self._more:
            return None
        async with asyncio.timeout(self._limits.silence_s):
            message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._more = message.get("more_body", False)
        data: bytes = message.get("body", b"")
        return data

    async def drain(self) -> None:
        """Read past a bounded rest."""
        left = self._limits.drained_bytes_max
        try:
            async with asyncio.timeout(self._limits.silence_s):
                while left > 0 and (data := await self.piece()) is not None:
                    left -= len(data)
        except TimeoutError:
            return


class _Reader(Generic[A]):
    """Parts, from the events of the parser."""

    def __init__(self, boundary: bytes, desk: Taker[A], limits: UploadLimits, came: Upload[A]) -> None:
        self._desk = desk
        self._limits = limits
        self._came = came
        self._events: deque[tuple[_What, bytes]] = deque()
        self._parser = self._parsing(boundary)
        self._whole = False
        # The part at hand.
        self._name = ""
        self._file: Arrived[A] | None = None
        self._text: bytearray | None = None
        self._pending = bytearray()
        self._parts = 0

    def _parsing(self, boundary: bytes) -> MultipartParser:
        heard = self._events.append
        header, value = bytearray(), bytearray()
        disposition = bytearray()

        def more(of: bytearray) -> Callable[[bytes, int, int], None]:
            def add(data: bytes, start: int, end: int) -> None:
                of.extend(data[start:end])

            return add

        def header_end() -> None:
            if header.lower() == b"content-disposition":
                disposition[:] = value
            header.clear()
            value.clear()

        def headers_end() -> None:
            heard(("part", bytes(disposition)))
            disposition.clear()

        return MultipartParser(
            boundary,
            {
                "on_header_field": more(header),
                "on_header_value": more(value),
                "on_header_end": header_end,
                "on_headers_finished": headers_end,
                "on_part_data": lambda data, start, end: heard(("data", data[start:end])),
                "on_part_end": lambda: heard(("end", b"")),
                "on_end": lambda: heard(("whole", b"")),
            },
            max_header_size=self._limits.header_bytes_max,
        )

    async def read(self, body: _Body) -> None:
        """All of it.  Raises what `upload` does, and FormParserError."""
        while (piece := await body.piece()) is not None:
            if self._whole:
                continue  # an epilogue, which nobody reads
            self._parser.write(piece)
            while self._events:
                await self._take(*self._events.popleft())
        if not self._whole:
            raise BodyInvalid("it ends before its last boundary")

    async def _take(self, what: _What, data: bytes) -> None:
        match what:
            case "part":
                await self._begin(parameters(data))
            case "data":
                await self._data(data)
            case "end":
                await self._end()
            case _:
                self._whole = True

    async def _begin(self, given: dict[bytes, bytes]) -> None:
        self._parts += 1
        if self._parts > self._limits.fields_max:
            raise BodyInvalid("too many parts")
        self._name = given.get(b"name", b"").decode("utf-8", "replace")
        name = file_name(given)
        if name is None:
            self._text = bytearray()
            return
        if len(self._came.files) >= self._limits.files_max:
            raise BodyInvalid("too many files")
        self._file = Arrived(name, await self._desk.begin())
        self._came.files.append(self._file)

    async def _data(self, data: bytes) -> None:
        if self._text is not None:
            if len(self._text) + len(data) > self._limits.field_bytes_max:
                raise BodyInvalid("a field is too long")
            self._text += data
        elif self._file is not None and not self._file.too_large:
            self._pending += data
            size = self._file.arriving.size + len(self._pending)
            if size > self._desk.bytes_max(self._file.name, self._purpose()):
                self._file.too_large = True
                self._pending.clear()
                if self._limits.files_max == 1:
                    raise TooLarge("file", self._desk.bytes_max(self._file.name, self._purpose()))
            elif len(self._pending) >= PIECE_BYTES:
                await self._write(self._file.arriving)

    async def _end(self) -> None:
        if self._text is not None:
            value = self._text.decode("utf-8", "replace")
            self._came.fields.setdefault(self._name, []).append(value)
        elif self._file is not None and self._pending:
            await self._write(self._file.arriving)
        self._text = self._file = None

    async def _write(self, arriving: A) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        await _surely(asyncio.to_thread(arriving.write, data))

    def _purpose(self) -> Purpose | None:
        """As far as it is known: it may come behind the file."""
        return PURPOSES.get((self._came.first("purpose") or "").strip())


async def _surely(written: Awaitable[None]) -> None:
    """A cancellation waits for what is being written: no thread of ours writes on to a file that is discarded."""
    task = asyncio.ensure_future(written)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is left to hear of it
        raise
