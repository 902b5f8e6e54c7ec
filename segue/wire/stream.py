"""How an answer gets to its client: whole or as a stream, and how it ends when the client leaves.

Laws:
1. No status line leaves before the first piece of the answer is known, so a failure before the
   first token has its real HTTP status.  Only a stream that has waited `first_event_wait_s`, or
   `prepare_wait_s` while documents are read for it, begins without it, and then comments keep the
   line open every `heartbeat_s`.
2. Closing the event iterator is the cancellation.  A client that leaves, or does not read for
   `stalled_s`, closes it at once, wherever the answer is.
3. A piece costs one write and nothing else: no task, no timer, no lock.
It knows neither protocol: a `Writer` turns events into bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from segue.core.errors import Internal
from segue.core.events import Event, Failed, Finished, Started
from segue.wire.body import ClientGone, Receive, Send
from segue.wire.limits import Interruption, Limits, Patience
from segue.wire.reply import HeaderList, Reply, seam_header, send_reply


class Writer(Protocol):
    """Writes one answer in one protocol."""

    heartbeat: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    stream_headers: tuple[tuple[bytes, bytes], ...]

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        ...

    def whole(self, events: Sequence[Event]) -> bytes:
        """The answer in one piece.  Raises the Fault of a `Failed`."""
        ...


def presence(patience: Patience, receive: Receive) -> Interruption:
    """Interrupts the task that serves a request when its client leaves."""

    async def listen(left: Callable[[], None]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left()

    return Interruption(patience, lambda left: asyncio.create_task(listen(left)))


class Line:
    """The sending side of one stream, to a `client` that is given up when it does not read."""

    __slots__ = (
        "_beat",
        "_blocked",
        "_client",
        "_headers",
        "_heartbeat",
        "_last",
        "_limits",
        "_loop",
        "_send",
        "_start",
        "_timer",
        "started",
    )

    def __init__(self, send: Send, headers: HeaderList, heartbeat: bytes, limits: Limits, client: Interruption) -> None:
        self._send = send
        self._headers = headers
        self._start = {"type": "http.response.start", "status": 200, "headers": headers}
        self._heartbeat = heartbeat
        self._limits = limits
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._blocked = False
        self._beat: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.started = False

    def wait(self, wait_s: float) -> None:
        """From now on, begin by itself when nothing has been written for so long; a stream that has begun goes on as
        it is."""
        if not self.started:
            self.stop()
            self._timer = self._loop.call_later(wait_s, self._tick)

    def add_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Some headers more; without effect once the status line has left."""
        self._headers.extend(headers)

    async def write(self, data: bytes, more: bool = True) -> None:
        """Send a piece; the first brings the status line.  Raises ClientGone."""
        if self._beat is not None:  # a heartbeat under way may be bringing the status line
            beat, self._beat = self._beat, None
            await beat
        try:
            self._last = self._loop.time()
            self._blocked = True
            if not self.started:
                self.started = True
                await self._send(self._start)
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
            self._blocked = False
        except OSError:
            raise ClientGone from None

    def stop(self) -> None:
        """Send nothing more by itself.  Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _tick(self) -> None:
        limits = self._limits
        silence = self._loop.time() - self._last
        wait = limits.heartbeat_s
        if self._blocked or (self._beat is not None and not self._beat.done()):
            if silence >= limits.stalled_s:
                self._client.interrupt()
                return
        elif not self.started or silence >= limits.heartbeat_s:
            self._last = self._loop.time()
            self._beat = asyncio.create_task(self._comment())
        else:
            wait = limits.heartbeat_s - silence
        self._timer = self._loop.call_later(wait, self._tick)

    async def _comment(self) -> None:
        try:
            if not self.started:
                self.started = True
                await self._send(self._start)
            await self._send({"type": "http.response.body", "body": self._heartbeat, "more_body": True})
        except OSError:
            self._client.interrupt()


async def send_stream(events: AsyncGenerator[Event, None], writer: Writer, line: Line) -> None:
    """Write events as they come.  Raises the Fault of a `Failed` that came before the status line, ClientGone."""
    held = b""  # what `Started` writes goes out with the first piece, not before it
    try:
        async with aclosing(events):
            async for event in events:
                kind = type(event)
                if kind is Failed and not line.started:
                    assert isinstance(event, Failed)
                    raise event.fault
                frame = writer.frame(event)
                if kind is Finished or kind is Failed:
                    await line.write(held + frame, more=False)
                    return
                if kind is Started:
                    assert isinstance(event, Started)
                    held = frame
                    if event.seam is not None:
                        line.add_headers((seam_header(event.seam),))
                elif frame:
                    await line.write(held + frame if held else frame)
                    held = b""
        raise Internal  # the answer ended without an end
    finally:
        line.stop()


async def send_whole(
    events: AsyncGenerator[Event, None],
    writer: Writer,
    headers: tuple[tuple[bytes, bytes], ...],
    request_id: str,
    send: Send,
) -> None:
    """Collect events and write their fold.  Raises the Fault of a `Failed`, ClientGone."""
    async with aclosing(events):
        collected = [event async for event in events]
    body = writer.whole(collected)
    if isinstance(started := collected[0], Started) and started.seam is not None:
        headers = (*headers, seam_header(started.seam))
    try:
        await send_reply(Reply(200, body, writer.headers + headers), request_id, send)
    except OSError:
        raise ClientGone from None
