"""Says that something about the files of this process has changed, to whoever waits for it.

Law: who looks, and only then waits with the ticket taken before looking, misses nothing.
"""

from __future__ import annotations

import asyncio


class News:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """What is set by the next `tell`."""
        return self._next

    def tell(self) -> None:
        """Something has changed."""
        told, self._next = self._next, asyncio.Event()
        told.set()


async def heard(ticket: asyncio.Event, within_s: float) -> bool:
    """Wait for news; False: there were none."""
    try:
        async with asyncio.timeout(within_s):
            await ticket.wait()
    except TimeoutError:
        return False
    return True
