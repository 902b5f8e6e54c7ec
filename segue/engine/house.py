"""The served engines under one roof: started together, found by name, stopped together.

Laws: an engine that has not started is never handed out, so nobody meets a card that is not there
yet; a start that fails is remembered and told, never swallowed; closing stops starts under way.
Which names there are is `resolve`'s to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from segue.core.errors import EngineFailed, EngineLost, Fault
from segue.core.generation import ModelCard
from segue.engine.base import Engine, Health


class House:
    """`engines` by served name; `resolve` gives the served name behind any name, or raises ModelUnknown.
    `check` raises ValueError for a card that cannot be served."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        resolve: Callable[[str], str],
        startup_s: float,
        check: Callable[[ModelCard], None] = lambda card: None,
    ) -> None:
        self._engines = dict(engines)
        self._resolve = resolve
        self._startup_s = startup_s
        self._check = check
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._opened = asyncio.Event()

    @property
    def engines(self) -> Mapping[str, Engine]:
        """All of them, by served name, started or not."""
        return self._engines

    def find(self, name: str) -> Engine:
        """The engine that answers to `name`.  Raises ModelUnknown, or EngineLost while it is not up."""
        served = self._resolve(name)
        start = self._starts.get(served)
        if start is None or not start.done() or start.cancelled() or start.exception():
            raise EngineLost
        return self._engines[served]

    def card(self, name: str) -> ModelCard:
        """The card of the model that answers to `name`.  Raises as `find` does."""
        return self.find(name).card

    def open(self) -> None:
        """Begin to start every engine; returns at once."""
        for name, engine in self._engines.items():
            self._starts[name] = asyncio.create_task(self._start(name, engine), name=f"start {name}")
        self._opened.set()

    async def started(self) -> None:
        """Return when every engine answers; may be called before `open`.  Raises EngineFailed."""
        await self._opened.wait()
        try:
            await asyncio.gather(*self._starts.values())
        except Fault:
            raise
        except Exception as error:
            raise EngineFailed(f"{type(error).__name__}: {error}") from error

    async def ready(self) -> bool:
        """Whether every engine can answer now."""
        if not all(start.done() and not start.cancelled() and not start.exception() for start in self._starts.values()):
            return False
        states = [await engine.health() for engine in self._engines.values()]
        return bool(states) and all(state.ready for state in states)

    async def forget(self, documents: Collection[str]) -> None:
        """Let no engine keep anything of these documents."""
        for engine in self._engines.values():
            await engine.forget(documents)

    async def health(self) -> dict[str, Health]:
        """How every engine is, by served name."""
        return {name: await engine.health() for name, engine in self._engines.items()}

    async def close(self) -> None:
        """Stop every engine, and every start under way.  Safe to call twice."""
        for start in self._starts.values():
            start.cancel()
        await asyncio.gather(*self._starts.values(), return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self._engines.values()), return_exceptions=True)

    async def _start(self, name: str, engine: Engine) -> None:
        try:
            await asyncio.wait_for(engine.start(), self._startup_s)
        except TimeoutError as error:
            raise EngineFailed(f"{name} was not ready after {self._startup_s:g} s") from error
        try:
            self._check(engine.card)
        except ValueError as error:
            raise EngineFailed(f"{name} cannot be served: {error}") from error
