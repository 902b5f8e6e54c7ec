"""Threads that wait for a database, so that the event loop need not: each with a connection to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from typing import Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")


class Threads(Generic[C]):
    """`count` of them.  Open them first."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._threads = ThreadPoolExecutor(count, name)
        self._free = LifoQueue[C]()  # the one used last first: it has some of what is asked for at hand

    async def open(self, connect: Callable[[], C]) -> None:
        """Make the connections."""
        for _ in range(self._count):
            self._free.put(await asyncio.get_running_loop().run_in_executor(self._threads, connect))

    async def close(self, let_go: Callable[[C], None]) -> None:
        """Wait for what is under way.  Safe to call twice, or without `open`."""
        await asyncio.to_thread(self._threads.shutdown)
        while not self._free.empty():
            let_go(self._free.get_nowait())

    async def do(self, does: Callable[[C], T]) -> T:
        """What `does` comes to, with a connection of its own."""

        def done() -> T:
            connection = self._free.get_nowait()  # there are as many as threads
            try:
                return does(connection)
            finally:
                self._free.put(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, done)
