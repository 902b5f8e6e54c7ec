"""One upstream's HTTP, with a limit on everything it sends and on every wait for it.

Laws: its key goes to its own address only (no redirect is followed, no proxy is asked) and is never written down;
closing an answer closes its connection, by which an upstream knows that nobody waits any more; what fails before
or under an answer is EngineLost, what takes too long TimedOut, a refusal for want of room QueueFull.  Other
refusals are the kind's to read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from typing import NoReturn
from urllib.parse import quote, urlsplit

from segue.core.errors import EngineFailed, EngineLost, QueueFull
from segue.engine.remote.http import Connection
from segue.engine.remote.spec import Bounds, Site

_KEPT_S = 4.0
"""How long an idle connection is kept: llama-server closes them after five seconds."""
_KEPT_MAX = 256
_PATH = "/%~!$&'()*+,;=:@"


class UpstreamRefused(Exception):
    """The upstream answered with a status of 400 to 499."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Client:
    """Keeps connections to one upstream.  To be made and used in one event loop.  Raises EngineFailed for a key that
    cannot be sent."""

    def __init__(self, site: Site, bounds: Bounds) -> None:
        if not all("!" <= character <= "~" for character in site.key):
            raise EngineFailed("the upstream's key has characters that cannot be sent")
        parts = urlsplit(site.url)
        secure = parts.scheme == "https"
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._host, self._port = parts.hostname or "", parts.port or (443 if secure else 80)
        self._path = quote(parts.path.rstrip("/"), safe=_PATH)
        self._ssl = ssl.create_default_context(cafile=site.ca) if secure else None
        self._server_hostname = (site.host.partition(":")[0] or self._host) if secure else None
        lines = [f"host: {site.host or parts.netloc}", "content-type: application/json", "accept-encoding: identity"]
        if site.key:
            lines.append(f"authorization: Bearer {site.key}")
        self._lines = "\r\n".join(lines)
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._busy: set[Connection] = set()
        self._closed = False

    async def get(self, path: str) -> bytes:
        """A whole answer, within the time of a look.  Raises UpstreamRefused and Faults."""
        return await self._whole("GET", path, b"", self._bounds.look_s)

    async def post(self, path: str, body: bytes) -> bytes:
        """A whole answer, within the time to a first token.  Raises UpstreamRefused and Faults."""
        return await self._whole("POST", path, body, self._bounds.first_s)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[tuple[list[bytes], bool], None]:
        """The data of server-sent events, those together that came together, and whether they are the last.  Raises
        UpstreamRefused and Faults, EngineLost where they end early."""
        clock, bounds = self._loop.time, self._bounds
        until = clock() + bounds.first_s
        connection = await self._answered("POST", path, body, until)
        try:
            if connection.status != 200:
                await self._refuse(connection)
            kept = b""
            while part := await connection.more(until):
                *lines, kept = (kept + part).split(b"\n")
                if len(kept) > bounds.line_bytes_max:
                    raise EngineFailed("an upstream's line is too long")
                told = [line.partition(b":")[2].strip() for line in lines if line.startswith((b"data:", b"error:"))]
                del part, lines  # whoever is slow to take what was told may wait long
                if told:
                    yield told, connection.reusable
                    until = clock() + bounds.silence_s
        finally:
            self._back(connection)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            self._drop(connection)
        await asyncio.sleep(0)  # they are told so in the loop's next turn

    async def _whole(self, method: str, path: str, body: bytes, wait_s: float) -> bytes:
        until = self._loop.time() + wait_s
        connection = await self._answered(method, path, body, until)
        try:
            if connection.status != 200:
                await self._refuse(connection)
            return await self._read(connection, until)
        finally:
            self._back(connection)

    async def _refuse(self, connection: Connection) -> NoReturn:
        """Say why there is no answer.  Raises UpstreamRefused and Faults."""
        if connection.status >= 500:
            raise EngineLost
        if connection.status == 429:
            raise QueueFull
        body = await self._read(connection, self._loop.time() + self._bounds.look_s)
        raise UpstreamRefused(connection.status, body)

    def _back(self, connection: Connection) -> None:
        """Keep a connection for another answer, or close it."""
        self._busy.discard(connection)
        if connection.reusable and not self._closed and len(self._idle) < _KEPT_MAX:
            self._idle[connection] = self._loop.call_later(_KEPT_S, self._drop, connection)
        else:
            connection.close()

    async def _answered(self, method: str, path: str, body: bytes, until: float) -> Connection:
        """A connection that has the head of an answer.  A kept one may have been closed from the other side just now:
        asked again over a new one."""
        told = f"{method} {self._path}{path} HTTP/1.1\r\n{self._lines}\r\ncontent-length: {len(body)}\r\n\r\n"
        request = told.encode("ascii") + body
        while True:
            if self._closed:
                raise EngineLost
            kept = self._taken()
            connection = kept or await self._opened(until)
            self._busy.add(connection)
            try:
                connection.ask(request)
                await connection.head(until)
            except BaseException as error:
                self._busy.discard(connection)
                connection.close()
                if kept is not None and isinstance(error, EngineLost) and not connection.heard:
                    continue
                raise
            return connection

    def _taken(self) -> Connection | None:
        """A connection that was kept, the last one first."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if not connection.lost:
                return connection
        return None

    async def _opened(self, until: float) -> Connection:
        """A new connection.  Raises EngineLost where it cannot be reached."""
        loop = self._loop
        try:
            async with asyncio.timeout_at(min(until, loop.time() + self._bounds.connect_s)):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop),
                    self._host,
                    self._port,
                    ssl=self._ssl,
                    server_hostname=self._server_hostname,
                )
        except (OSError, TimeoutError, UnicodeError) as error:  # it was not even reached
            raise EngineLost from error
        return connection

    def _drop(self, connection: Connection) -> None:
        if (timer := self._idle.pop(connection, None)) is not None:
            timer.cancel()
        connection.close()

    async def _read(self, connection: Connection, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await connection.more(until):
            size += len(part)
            if size > self._bounds.body_bytes_max:
                raise EngineFailed("an upstream's answer is too long")
            parts.append(part)
        return b"".join(parts)
