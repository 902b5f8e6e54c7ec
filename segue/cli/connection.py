"""A client's connection, and how a server takes its leave of those who still ask.

Laws: what is asked before the server is gone is answered; while it leaves, every answer says `Connection: close`, so
that whoever asks more goes to another; a connection that asks nothing when the time is up is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CLOSE = (b"connection", b"close")


class LeavingServer(uvicorn.Server):
    """uvicorn, which when told to stop still answers for `leave_s`, and then ends what runs.  A second signal does not
    wait.  `leaves` is called at the first."""

    def __init__(self, config: uvicorn.Config, leave_s: float, leaves: Callable[[], None]) -> None:
        super().__init__(config)
        self._leave_s, self._leaves = leave_s, leaves
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        if self._ends_at is not None or not self._leave_s:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._ends_at = time.monotonic() + self._leave_s
        self._leaves()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; True ends it."""
        if self._ends_at is not None:
            if _CLOSE not in self.config.encoded_headers:
                self._say_goodbye()
            self.should_exit = self.should_exit or time.monotonic() >= self._ends_at
        return await super().on_tick(counter)

    def _say_goodbye(self) -> None:
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self.server_state.connections:
            if isinstance(connection, HttpToolsProtocol) and (cycle := connection.cycle) is not None:
                cycle.keep_alive = cycle.keep_alive and cycle.response_started  # or it has been promised to stay


class _Joined(asyncio.Transport):
    """A connection that sends the head of an answer together with the beginning of its body.

    uvicorn writes the two one after the other, and each write is a system call and a packet of its own, a
    twentieth of a short answer's price.  Here a head waits for the write behind it, which is made at once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, or hold it when it is a head; `100 Continue` is none, for its sender waits for the client."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        elif data[:9] == b"HTTP/1.1 " and data[9:12] != b"100":
            self._head = bytes(data)
        else:
            self._transport.write(data)

    def end(self) -> None:
        """Nothing follows: send a head that was all there is."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.end()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP, over joined writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._joined = _Joined(transport)
        super().connection_made(self._joined)

    def on_response_complete(self) -> None:
        self._joined.end()
        super().on_response_complete()
