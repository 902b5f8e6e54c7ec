"""Questions to the shared counts, asked together.

Laws: one call at a time; what is asked meanwhile goes with the next one; a call that takes longer than `ASK_S`
counts as lost, and that the counts are lost is logged once, as is that they are back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

from segue.core.counting import Ask, Counters, CountersLost, Grant

log = logging.getLogger("segue")

ASK_S = 2.0
_TOGETHER_MAX = 256

_Asked = tuple[Ask, asyncio.Future[Grant]]


class Asker:
    """This server among those that share `counters`."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._holder = secrets.token_hex(8)
        self._asked: list[_Asked] = []
        self._calling: asyncio.Task[None] | None = None
        self._lost = False

    async def ask(self, ask: Ask) -> Grant:
        """The answer.  Raises CountersLost."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Grant] = loop.create_future()
        self._asked.append((ask, answer))
        if self._calling is None:
            self._calling = loop.create_task(self._call())
        return await answer

    async def close(self) -> None:
        """Ask nothing more."""
        if self._calling is not None:
            await asyncio.wait([self._calling])
        await self._counters.close()

    async def _call(self) -> None:
        try:
            while self._asked:
                together, self._asked = self._asked[:_TOGETHER_MAX], self._asked[_TOGETHER_MAX:]
                try:
                    async with asyncio.timeout(ASK_S):
                        grants = await self._counters.ask(self._holder, [ask for ask, _ in together])
                except (CountersLost, TimeoutError) as error:
                    self._note(error)
                    _fail(together)
                    continue
                except Exception:
                    log.exception("the counts that servers share have failed")
                    _fail(together)
                    continue
                self._note(None)
                for (_, answer), grant in zip(together, grants, strict=True):
                    if not answer.done():
                        answer.set_result(grant)
        finally:
            self._calling = None

    def _note(self, error: Exception | None) -> None:
        if error is not None and not self._lost:
            log.warning(
                "the counts that servers share cannot be asked; until then each keeps its limits alone: %r", error
            )
        elif error is None and self._lost:
            log.info("the counts that servers share can be asked again")
        self._lost = error is not None


def _fail(together: Sequence[_Asked]) -> None:
    for _, answer in together:
        if not answer.done():
            answer.set_exception(CountersLost())
