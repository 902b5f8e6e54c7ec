"""What a server stands on, opened in order and closed in reverse: the database before those who keep rows in it.

Laws: opening what is open does nothing, so that the command can open it before the app does and be told what is wrong;
what could not be opened is closed with the rest.  It knows nothing of what it opens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Part(Protocol):
    """Something that is opened and closed."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...


class Together:
    """`parts` in the order of their opening; `ready` is awaited when all of them are open."""

    def __init__(self, *parts: Part, ready: Callable[[], Awaitable[None]] | None = None) -> None:
        self._parts = parts
        self._ready = ready
        self._opened: list[Part] = []
        self._is_open = False

    async def open(self) -> None:
        """Open all of it, unless it is open."""
        if self._is_open:
            return
        self._is_open = True
        for part in self._parts:
            self._opened.append(part)
            await part.open()
        if self._ready is not None:
            await self._ready()

    async def close(self) -> None:
        """Close what was opened.  Safe to call twice, or without `open`."""
        while self._opened:
            await self._opened.pop().close()
        self._is_open = False
