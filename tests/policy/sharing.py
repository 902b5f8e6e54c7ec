"""Counts that servers share, in one process: what every implementation answers, and what a slow or lost one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from segue.core.counting import Ask, CountersLost, Grant, Window, granted, held


class Together:
    """Shared counts.  `delay_s` is how long each call takes; while `lost`, there is no answer."""

    def __init__(self, delay_s: float = 0.002, clock: Callable[[], float] = time.time) -> None:
        self.delay_s = delay_s
        self.lost = False
        self.calls: list[Sequence[Ask]] = []
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._places: dict[str, dict[str, tuple[int, float]]] = {}

    async def ask(self, holder: str, asks: Sequence[Ask]) -> Sequence[Grant]:
        self.calls.append(asks)
        await asyncio.sleep(self.delay_s)
        if self.lost:
            raise CountersLost
        return [self._answer(holder, ask) for ask in asks]

    async def close(self) -> None:
        pass

    def _answer(self, holder: str, ask: Ask) -> Grant:
        now = self._clock()
        if ask.window_s:
            return granted(self._windows.setdefault(ask.name, Window(ask.most, ask.window_s)), ask, now)
        self._places[ask.name], grant = held(self._places.get(ask.name, {}), holder, ask, now)
        return grant
