"""Replicas that die when they are told to, over scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

from segue.core.errors import EngineLost, Fault
from segue.core.generation import Chunk, ModelCard, Opened, Prompt, Segment
from segue.engine.base import Engine, Health
from segue.engine.scripted import Echo, Scripted


class Mortal:
    """An engine around another.  `deaths`: after so many chunks an answer fails, one entry an answer; none: never."""

    def __init__(self, inner: Engine | None = None, fault: Callable[[], Fault] = EngineLost) -> None:
        self.inner = inner or Scripted(Echo(size=1), waiting_max=1000)
        self.fault = fault
        self.deaths: list[int] = []
        self.down = False
        self.prompts: list[Prompt] = []
        self.asked = asyncio.Event()
        self.started = self.closed = False

    @property
    def card(self) -> ModelCard:
        return self.inner.card

    async def start(self) -> None:
        await self.inner.start()
        self.started = True

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        return await self.inner.encode(segments)

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return await self.inner.pieces(ids)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        self.prompts.append(prompt)
        self.asked.set()
        if self.down:
            raise self.fault()
        left = self.deaths.pop(0) if self.deaths else -1
        async with aclosing(self.inner.generate(prompt)) as items:
            async for item in items:
                if isinstance(item, Chunk):
                    if left == 0:
                        raise self.fault()
                    left -= 1
                await asyncio.sleep(0)
                yield item

    async def forget(self, documents: Collection[str]) -> None: ...

    async def health(self) -> Health:
        state = await self.inner.health()
        return Health(state.ready and not self.down, state.running)

    async def close(self) -> None:
        self.closed = True
        await self.inner.close()
