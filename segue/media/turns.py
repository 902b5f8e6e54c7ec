"""Who may have something at a time: so many in all, so many of one workspace.

Law: whoever waits for others of its own workspace stands in front of nobody else, so that one workspace cannot keep all
others waiting, however much it asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """`all_max` at a time, of one workspace `each_max`."""

    def __init__(self, all_max: int, each_max: int) -> None:
        self._all = asyncio.Semaphore(all_max)
        self._each_max = each_max
        self._each: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, workspace: str) -> AsyncGenerator[None, None]:
        """Wait for one, and have it as long as the context lasts."""
        own = self._each.get(workspace)
        if own is None:
            own = self._each[workspace] = asyncio.Semaphore(self._each_max)
        async with own, self._all:
            yield


def share(all_max: int) -> int:
    """What one workspace may have of so many: a quarter, and one at least."""
    return max(1, all_max // 4)
