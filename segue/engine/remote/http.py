"""One connection of HTTP/1.1, from our side: a request, and its answer as it comes.

    ask(bytes) -> head() -> more(), more(), ... b"" -> again, where `reusable`

Of a stream of small pieces nearly all costs are here, so a piece costs one append, and no timer is set for it: the
one timer of a wait looks when it fires whether its time has moved.

Laws: what is not yet taken is bounded, the other side waits; so is a head.  What comes unasked, or is no HTTP, ends
the connection.  Knows no JSON, no upstream and no key.
"""

from __future__ import annotations

import asyncio
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from segue.core.errors import EngineLost, TimedOut

HEAD_BYTES_MAX = 64 * 1024
HELD_BYTES_MAX = 8 * 1024
"""More than this is not kept for whoever takes it later; a read may have brought as much again."""
READ_BYTES = 8 * 1024
_LENGTHS = (b"content-length", b"transfer-encoding")


class Connection(asyncio.BufferedProtocol):
    """One answer at a time.  `status` is 0 before its head has come; `heard`: something has; `lost`: it is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._parts: list[bytes] = []
        self._held_bytes = self._head_bytes = 0
        self._owed = self._paused = self._told_length = self._aside = self._keeps = False
        self.status = 0
        self.heard = self.ended = self.lost = False

    # --- what is asked -----------------------------------------------------------------------

    def ask(self, request: bytes) -> None:
        """Send a request.  The answer before must have ended."""
        self._owed, self._told_length, self._keeps = True, False, False
        self._head_bytes = self.status = 0
        self.heard = self.ended = False
        if self._transport is not None:
            self._transport.write(request)

    async def head(self, until: float) -> int:
        """The answer's status, in the loop's time.  Raises EngineLost, TimedOut."""
        while not self.status:
            await self._wait(until)
        return self.status

    async def more(self, until: float) -> bytes:
        """What has come of the answer's body; nothing at its end.  Raises EngineLost, TimedOut."""
        parts = self._parts
        while not parts:
            if self.ended:
                return b""
            await self._wait(until)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._held_bytes = 0
        if self._paused and self._transport is not None and not self.lost:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def reusable(self) -> bool:
        """May there be another answer?"""
        return self.ended and self._keeps and not self.lost and not self._parts

    def close(self) -> None:
        """At once; whoever waits hears EngineLost."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # --- waiting -----------------------------------------------------------------------------

    async def _wait(self, until: float) -> None:
        """Until something has come."""
        if self.lost:
            raise EngineLost
        timer = self._timer
        if timer is None or until < timer.when():
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(until, self._late)
        self._until = until
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _late(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._late)
        elif not self._waiter.done():
            self._waiter.set_exception(TimedOut())

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- what comes: asyncio.BufferedProtocol --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Some bytes."""
        if not self._owed or self.ended:
            self.close()
            return
        self.heard = True
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade):
            self.close()
            return
        if not self.status:
            self._head_bytes += nbytes
            if self._head_bytes > HEAD_BYTES_MAX:
                self.close()
                return
        if self._held_bytes > HELD_BYTES_MAX and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        waiter = self._waiter
        if waiter is not None and (self._parts or self.status) and not waiter.done():
            waiter.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Called once.  A body without a length ends so."""
        if self.status and not self.ended and not self._told_length and error is None and not self.lost:
            self.ended = True
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    # --- what is read: httptools ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer to one request ends the connection, when the first has been taken."""
        if self.ended:
            self._keeps = False
            self.lost = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head."""
        if name.lower() in _LENGTHS:
            self._told_length = True

    def on_headers_complete(self) -> None:
        """The head; one of 100 to 199 is a word aside."""
        status = self._parser.get_status_code()
        self._aside = status < 200
        if not self._aside and not self.ended:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.ended:
            self._parts.append(data)
            self._held_bytes += len(data)

    def on_message_complete(self) -> None:
        """The end."""
        if self._aside:
            self._aside = False
        elif not self.lost:
            self.ended = True
            self._keeps = self._parser.should_keep_alive()
