"""One upstream's HTTP, with a limit on everything it sends and on every wait for it.

Laws: its key goes to its own address only (no redirect is followed, no proxy is asked) and is never written down;
closing an answer closes its connection, by which an upstream knows that nobody waits any more; what fails before
or under an answer is EngineLost, what takes too long TimedOut, a refusal for want of room QueueFull.  Other
refusals are the kind's to read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from segue.core.errors import EngineFailed, EngineLost, QueueFull, TimedOut
from segue.engine.remote.spec import Bounds, Site

_KEPT_S = 4.0
"""How long an idle connection is kept: llama-server closes them after five seconds."""
_READ_BYTES = 1 << 16
_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError, OSError)
_JSON = {"content-type": "application/json", "accept-encoding": "identity"}


class UpstreamRefused(Exception):
    """The upstream answered with a status of 400 to 499."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Client:
    """Keeps connections to one upstream.  To be made and used in one event loop."""

    def __init__(self, site: Site, bounds: Bounds) -> None:
        self._url = site.url.rstrip("/")
        self._bounds = bounds
        headers = {**_JSON, **({"authorization": f"Bearer {site.key}"} if site.key else {})}
        if site.host:
            headers["host"] = site.host
        secure = ssl.create_default_context(cafile=site.ca) if site.url.startswith("https") else True
        self._server_hostname = site.host.partition(":")[0] or None if secure is not True else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, limit=0, keepalive_timeout=_KEPT_S, ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=bounds.connect_s),
            headers=headers,
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
        )

    async def get(self, path: str) -> bytes:
        """A whole answer, within the time of a look.  Raises UpstreamRefused and Faults."""
        return await self._whole("GET", path, None, self._bounds.look_s)

    async def post(self, path: str, body: bytes) -> bytes:
        """A whole answer, within the time to a first token.  Raises UpstreamRefused and Faults."""
        return await self._whole("POST", path, body, self._bounds.first_s)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """The data of each server-sent event.  Raises UpstreamRefused and Faults, EngineLost where it ends early."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._bounds.first_s
        async with self._asked("POST", path, body, self._bounds.first_s) as response:
            kept = b""
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        part = await response.content.readany()
                except TimeoutError:
                    raise TimedOut from None
                except _LOST as error:
                    raise EngineLost from error
                if not part:
                    return
                *lines, kept = (kept + part).split(b"\n")
                if len(kept) > self._bounds.line_bytes_max:
                    raise EngineFailed("an upstream's line is too long")
                for line in lines:
                    if line.startswith((b"data:", b"error:")):
                        yield line.partition(b":")[2].strip()
                        until = clock() + self._bounds.silence_s

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _whole(self, method: str, path: str, body: bytes | None, wait_s: float) -> bytes:
        async with self._asked(method, path, body, wait_s) as response:
            try:
                async with asyncio.timeout(wait_s):
                    return await self._read(response)
            except TimeoutError:
                raise TimedOut from None
            except _LOST as error:
                raise EngineLost from error

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: bytes | None, wait_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._answered(method, path, body, wait_s)
        try:
            if response.status >= 500:
                raise EngineLost
            if response.status == 429:
                raise QueueFull
            if response.status != 200:
                async with asyncio.timeout(self._bounds.look_s):
                    raise UpstreamRefused(response.status, await self._read(response))
            yield response
        except TimeoutError:
            raise TimedOut from None
        finally:
            response.close()

    async def _answered(self, method: str, path: str, body: bytes | None, wait_s: float) -> aiohttp.ClientResponse:
        """The head of an answer.  A kept connection may have been closed from the other side just now: asked again."""
        for again in (True, False):
            if self._session.closed:
                raise EngineLost
            try:
                async with asyncio.timeout(wait_s):
                    return await self._session.request(
                        method,
                        self._url + path,
                        data=body,
                        allow_redirects=False,
                        server_hostname=self._server_hostname,
                    )
            except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
                raise EngineLost from error  # it was not even reached
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not again:
                    raise EngineLost from error
            except TimeoutError:
                raise TimedOut from None
            except (*_LOST, aiohttp.ClientError) as error:
                raise EngineLost from error
        raise EngineLost

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await response.content.readany():
            size += len(part)
            if size > self._bounds.body_bytes_max:
                raise EngineFailed("an upstream's answer is too long")
            parts.append(part)
        return b"".join(parts)
