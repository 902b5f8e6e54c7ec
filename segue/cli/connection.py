"""A client's connection, and how a server takes its leave of those who still ask.

Laws: what is asked before the server is gone is answered; while it leaves, every answer says `Connection: close`, so
that whoever asks more goes to another; a connection that asks nothing when the time is up is closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger("segue")

_CLOSE = (b"connection", b"close")
_PAUSE_S = 0.5
_TOGETHER_BYTES = 16 * 1024


class LeavingServer(uvicorn.Server):
    """uvicorn, which when told to stop still answers for `leave_s`, and then ends what runs.  A second signal does not
    wait.  `leaves` is called at the first.

    `shared` is a bound socket that other processes take connections from, too: then it is taken one in a turn of the
    event loop.  As many as there are, as uvicorn has it, would give a burst to whoever wakes first.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        leave_s: float,
        leaves: Callable[[], None],
        shared: socket.socket | None = None,
    ) -> None:
        super().__init__(config)
        self._leave_s, self._leaves, self._shared = leave_s, leaves, shared
        self._ends_at: float | None = None
        self._arriving: set[asyncio.Task[object]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup([] if self._shared is not None else sockets)
        if self._shared is not None:
            self._shared.setblocking(False)
            self._shared.listen(self.config.backlog)
            asyncio.get_running_loop().add_reader(self._shared, self._take, self._shared)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more, and end what runs."""
        if self._shared is not None:
            asyncio.get_running_loop().remove_reader(self._shared)
            self._shared.close()  # when all have, whoever knocks is refused, and can go elsewhere
            await asyncio.gather(*self._arriving, return_exceptions=True)
        await super().shutdown([] if self._shared is not None else sockets)

    def _take(self, shared: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            taken, _ = shared.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another was quicker, or it has left
            return
        except OSError as error:  # no descriptor is free, say
            log.error("a connection cannot be taken: %s", error)
            loop.remove_reader(shared)
            loop.call_later(_PAUSE_S, lambda: None if self.should_exit else loop.add_reader(shared, self._take, shared))
            return
        taken.setblocking(False)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(self._connection, taken))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[object]) -> None:
        self._arriving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a connection was lost before it began: %r", error)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = Connection(self.config, self.server_state, self.lifespan.state)
        return made

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
    """A connection that sends together what is written in one turn of the event loop.

    Each write is a system call and a packet of its own: a twentieth of a short answer's price for a head without its
    body, a fifth of a streamed piece's where several are there at once, as when an upstream is quicker than we are.
    An answer's end is sent at once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` before the next turn."""
        if not self._held:
            self._loop.call_soon(self.end)
        self._held.append(data)
        self._size += len(data)
        if self._size >= _TOGETHER_BYTES:
            self.end()

    def end(self) -> None:
        """Send what is held."""
        if held := self._held:
            self._held, self._size = [], 0
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

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
        transport.set_write_buffer_limits(_TOGETHER_BYTES)
        self._joined = _Joined(transport)
        super().connection_made(self._joined)

    def on_response_complete(self) -> None:
        self._joined.end()
        super().on_response_complete()
