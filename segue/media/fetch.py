"""Fetches what a caller names by a URL.

Laws: a name is resolved once for each step, every address is judged, and the connection is made to one of those that
were: what the name means a moment later is nothing to us; each redirection is a step of its own, judged anew; bytes,
steps and time are bounded; no cookie, key, proxy or unpacking; a URL is never logged.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from segue import __version__
from segue.core.errors import MediumRefused
from segue.media.guard import Guard
from segue.media.limits import FetchLimits
from segue.media.turns import Turns, share

Mirrors = Sequence[tuple[str, str]]
"""What URLs begin with, and what they are fetched from instead."""
Resolve = Callable[[str, int], Awaitable[list[str]]]
Take = Callable[[bytes], Awaitable[None]]

URL_CHARS_MAX = 8192
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 8190
_PORTS = {"http": 80, "https": 443}
_MOVED = frozenset({301, 302, 303, 307, 308})
_BARRED = frozenset({401, 403, 407})
_UNFIT = re.compile(r"[\x00-\x20\x7f\\]")
_UPWARDS = re.compile(r"(^|[/\\])\.\.?([/\\?#]|$)|^[/\\]|%")
"""Steps out of a folder, in a path that was unquoted once; what is quoted twice is not looked into."""
_HEADERS = {"user-agent": f"segue/{__version__}", "accept": "*/*", "accept-encoding": "identity"}


def mirror(text: str) -> tuple[str, str]:
    """`https://a.example/=http://b.example/c/`, as two beginnings of URLs.  Raises ValueError."""
    left, equals, right = text.strip().partition("=")
    for begin in (left, right):
        try:
            proper = _url(begin).path.endswith("/") and begin.endswith("/")
        except MediumRefused:
            proper = False
        if not equals or not proper:
            raise ValueError(f"no two beginnings of URLs, each with / at its end: {text!r}")
    return left, right


async def resolved(host: str, port: int) -> list[str]:
    """Every address of a name.  Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """`resolve` gives the addresses of a name, as the system does where nothing else is said."""

    def __init__(self, guard: Guard, limits: FetchLimits, resolve: Resolve = resolved, mirrors: Mirrors = ()) -> None:
        self._guard = guard
        self._mirrors = mirrors
        self._limits = limits
        self._resolve = resolve
        self._turns = Turns(limits.running_max, share(limits.running_max))
        self._secure: ssl.SSLContext | None = None

    async def fetch(self, workspace: str, address: str, bytes_max: int, whole_s: float, take: Take) -> None:
        """Give the bytes at an address to `take`, piece by piece, for a workspace.  Raises MediumRefused."""
        url = _url(address)
        try:
            async with self._turns.turn(workspace), asyncio.timeout(whole_s):
                for _ in range(self._limits.redirects_max + 1):
                    async with self._asked(url) as answer:
                        if answer.status in _MOVED:
                            url = _next(url, answer.headers.get("location", ""))
                            continue
                        await self._read(answer, bytes_max, take)
                        return
        except TimeoutError:
            raise MediumRefused("slow") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MediumRefused("lost") from error
        raise MediumRefused("lost")

    @asynccontextmanager
    async def _asked(self, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._mirrored(url)
        host, port = url.host or "", url.port or _PORTS[url.scheme]
        addresses = await self._resolve(host, port)
        if not self._guard.may(host, port, addresses):
            raise MediumRefused("lost")
        connector = aiohttp.TCPConnector(
            resolver=_Told(addresses), ssl=self._context(), use_dns_cache=False, force_close=True, limit=1
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers=_HEADERS,
                trust_env=False,
                auto_decompress=False,
                read_bufsize=_READ_BYTES,
                max_line_size=_LINE_BYTES_MAX,
                max_field_size=_LINE_BYTES_MAX,
            ) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            yield answer

    async def _read(self, answer: aiohttp.ClientResponse, bytes_max: int, take: Take) -> None:
        if answer.status in _BARRED:
            raise MediumRefused("barred")
        if answer.status != 200:
            raise MediumRefused("lost")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise MediumRefused("format")
        size = answer.content_length or 0
        if size > bytes_max:
            raise MediumRefused("large", size, bytes_max)
        size = 0
        while piece := await answer.content.readany():
            size += len(piece)
            if size > bytes_max:
                raise MediumRefused("large", size, bytes_max)
            await take(piece)

    def _mirrored(self, url: URL) -> URL:
        """Where it is fetched from.  Raises MediumRefused: nothing leads out of a mirror's folder."""
        text = str(url)
        for begin, instead in self._mirrors:
            if text.startswith(begin):
                rest = text.removeprefix(begin)
                if _UPWARDS.search(unquote(rest)):
                    raise MediumRefused("address")
                return _url(instead + rest)
        return url

    def _context(self) -> ssl.SSLContext:
        if self._secure is None:
            self._secure = ssl.create_default_context()
        return self._secure


class _Told(AbstractResolver):
    """Knows the addresses already."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses that were judged."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing open."""


def _url(text: str) -> URL:
    """Raises MediumRefused."""
    text = text.strip()
    if len(text) > URL_CHARS_MAX or _UNFIT.search(text):
        raise MediumRefused("address")
    try:
        url = URL(text, encoded=text.isascii())
        if url.scheme not in _PORTS or not url.host or url.user is not None or url.password is not None:
            raise MediumRefused("address")
        return url.with_fragment(None)
    except (ValueError, UnicodeError) as error:
        raise MediumRefused("address") from error


def _next(url: URL, location: str) -> URL:
    """Where a redirection leads.  Raises MediumRefused."""
    try:
        return _url(str(url.join(URL(location, encoded=location.isascii()))))
    except ValueError as error:
        raise MediumRefused("lost") from error
    except MediumRefused as error:
        raise MediumRefused("lost") from error
