"""A small round-robin TCP balancer, as they stand before servers that can be exchanged.

It looks at `/readyz` again and again, gives a connection to the next server that says yes, and goes to another one only
where a connection cannot be made: what was sent to a server it never sends again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LOOK_S = 0.1
_CHUNK_BYTES = 65_536


@dataclass
class Balancer:
    """`servers` are base URLs; whoever comes or goes is put in or taken out while it runs."""

    servers: list[str] = field(default_factory=list)
    base: str = ""
    ready: set[str] = field(default_factory=set)
    turns: int = 0
    refused: int = 0
    _taken: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, up: threading.Event, over: asyncio.Event) -> None:
        listening = await asyncio.start_server(self._take, "127.0.0.1", 0)
        host, port = listening.sockets[0].getsockname()
        self.base = f"http://{host}:{port}"
        looking = asyncio.create_task(self._look())
        up.set()
        await over.wait()
        listening.close()
        for task in (looking, *self._taken):
            task.cancel()
        await asyncio.gather(looking, *self._taken, return_exceptions=True)
        await asyncio.sleep(0.05)  # until what was closed is closed

    async def _look(self) -> None:
        while True:
            for server in [*self.servers]:
                (self.ready.add if await self._says_yes(server) else self.ready.discard)(server)
            await asyncio.sleep(_LOOK_S)

    async def _says_yes(self, server: str) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(*_place(server))
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            for _ in range(200):
                ready = [server for server in self.servers if server in self.ready]
                if ready:
                    self.turns += 1
                    try:
                        far = await asyncio.open_connection(*_place(ready[self.turns % len(ready)]))
                    except OSError:
                        self.refused += 1
                    else:
                        await asyncio.gather(_copied(reader, far[1]), _copied(far[0], writer), return_exceptions=True)
                        break
                await asyncio.sleep(0.05)
        writer.close()


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            target.write(data)
            await target.drain()
    finally:
        target.close()


def _place(server: str) -> tuple[str, int]:
    parts = urlsplit(server)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def balanced(*servers: str) -> Iterator[Balancer]:
    """A balancer before these servers, in a thread of its own."""
    balancer, up, over = Balancer([*servers]), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await balancer.serve(up, over)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield balancer
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(10)
