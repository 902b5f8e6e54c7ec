"""What was begun together is ended together, also when whoever asked for it has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def unbroken(does: Coroutine[None, None, T]) -> T:
    """What `does` comes to.  A cancellation waits until it is over."""
    task = asyncio.create_task(does)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is left to hear of it
        raise
