"""Many replicas of one model as one engine; an answer whose replica fails goes on at another.

An engine only continues ids, and a `Prompt` is complete: so what an answer has said so far, put behind its prompt, is
all that another replica needs.  Its penalties, its place in the constraint and in the noise follow from the ids and
from where the answer begins; stops are looked for above engines, where nothing has changed.  The caller sees a
pause.

Laws: those of `engine/base.py`.  No token is said twice and none is left out; a failure that every replica would
repeat is not passed around: only Broken and Busy go on elsewhere, and only so often.
"""

from __future__ import annotations

import asyncio
import logging
import time
from array import array
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from segue.core.errors import Broken, Busy, EngineFailed, EngineLost, Fault
from segue.core.generation import Chunk, Joined, ModelCard, Opened, Prompt, Segment
from segue.engine.base import Engine, Health
from segue.engine.merging import merged
from segue.engine.router.balance import Balance, Policy, Taken
from segue.engine.router.blocks import chain

log = logging.getLogger("segue.engine")

_FURTHER_TOKENS = 16
"""An answer that has come so far at a replica that was lost has made its way: the attempt is not counted."""
_UNCOUNTED_MAX = 64
"""But so many of them are enough: perhaps it is the answer that kills them."""


@dataclass(frozen=True, slots=True)
class Failover:
    """`attempts_max`: how many replicas an answer may be given to, one after the other, without coming further;
    `wait_s`: how long it waits for one that can answer; `looks_every_s`: how often replicas are asked how they are."""

    attempts_max: int = 4
    wait_s: float = 30.0
    looks_every_s: float = 0.5


@dataclass(slots=True)
class _Placed:
    """One replica: its engine, and what keeps it up."""

    engine: Engine
    keeper: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Choice:
    """What one choice has said so far."""

    ids: array[int] = field(default_factory=lambda: array("i"))
    joined: Joined | None = None
    ended: bool = False


@dataclass(slots=True)
class _Answer:
    """One prompt under way."""

    prompt: Prompt
    choices: list[_Choice]
    opened: bool = False
    attempts: int = 0
    uncounted: int = 0
    said: int = 0
    failed: set[str] = field(default_factory=set)
    waited: bool = False
    """For a replica, in vain."""

    def heard(self, chunk: Chunk) -> None:
        """A chunk is on its way to the caller."""
        choice = self.choices[chunk.choice]
        choice.joined = chunk.joined or choice.joined
        choice.ids.extend(chunk.ids)
        self.said += len(chunk.ids)
        choice.ended = chunk.finish is not None

    def failed_with(self, fault: Fault) -> None:
        """The attempt is over.  It counts, unless its replica was lost after the answer had come further."""
        further = self.said >= _FURTHER_TOKENS and isinstance(fault, EngineLost)
        if further and self.uncounted < _UNCOUNTED_MAX:
            self.uncounted += 1
            self.attempts = 0
        else:
            self.attempts += 1
        self.said = 0

    @property
    def begun(self) -> bool:
        """Has any choice said anything, or ended?"""
        return any(choice.ids or choice.joined or choice.ended for choice in self.choices)

    def rest(self, number: int) -> Prompt:
        """The prompt of what one choice has still to say."""
        prompt, choice = self.prompt, self.choices[number]
        ids, drawn_at = list(prompt.ids), prompt.drawn_at
        if choice.joined is not None:
            ids[len(ids) - choice.joined.back :] = choice.joined.path
        if choice.ids:
            drawn_at = len(ids) if drawn_at is None else min(drawn_at, len(ids))
        return replace(
            prompt,
            ids=[*ids, *choice.ids],
            drawn_at=drawn_at,
            choices=1,
            first_choice=prompt.first_choice + number,
            output_tokens_max=prompt.output_tokens_max - len(choice.ids),
            seam=None if choice.joined is not None or choice.ids else prompt.seam,
        )


class RoutedEngine:
    """Keeps `segue.engine.base.Engine`.

    `replicas` make engines, not yet started, by name; `weights` is what each bears, 1 where nothing is said.
    """

    def __init__(
        self,
        replicas: Mapping[str, Callable[[], Engine]],
        weights: Mapping[str, float],
        policy: Policy | None = None,
        how: Failover | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._makers, self._weights = dict(replicas), dict(weights)
        self._balance, self._how, self._clock = Balance(policy or Policy()), how or Failover(), clock
        self._placed: dict[str, _Placed] = {}
        self._card: ModelCard | None = None
        self._speaker: Engine | None = None
        self._up = asyncio.Event()
        self._changed = asyncio.Event()
        self._running = self._waiting = self._failovers = 0
        self._closed = False
        self._failure = ""
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._gone: set[asyncio.Task[None] | None] = set()

    @property
    def card(self) -> ModelCard:
        """The served model.  Raises EngineFailed before `start`."""
        if self._card is None:
            raise EngineFailed(self._failure or "no replica has answered")
        return self._card

    async def start(self) -> None:
        """Return when one replica can answer.  The others follow when they can."""
        self.renew(self._makers, self._weights)
        await self.up()

    async def up(self) -> None:
        """Return when one replica can answer."""
        await self._up.wait()

    def renew(self, replicas: Mapping[str, Callable[[], Engine]], weights: Mapping[str, float]) -> None:
        """These are the replicas from now on.  One that is no longer among them gets nothing new, and goes when
        its answers have ended."""
        for name, make in replicas.items():
            self._balance.put(name, weights.get(name, 1.0))
            if (leaving := self._leaving.pop(name, None)) is not None:
                leaving.cancel()  # it is wanted again before it was gone
            if name not in self._placed:
                placed = self._placed[name] = _Placed(make())
                placed.keeper = asyncio.create_task(self._keep(name, placed.engine), name=f"replica {name}")
        for name in [name for name in self._placed if name not in replicas and name not in self._leaving]:
            self._balance.drain(name)
            self._leaving[name] = asyncio.create_task(self._retire(name))
        self._changed.set()

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of the segments; every replica has the same vocabulary."""
        return await self._any().encode(segments)

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token."""
        return await self._any().pieces(ids)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """Continue the prompt, at as many replicas in turn as it takes."""
        answer = _Answer(prompt, [_Choice() for _ in range(prompt.choices)])
        self._running += prompt.choices
        try:
            while True:
                fault: Fault
                try:
                    async with aclosing(self._attempt(answer)) as items:
                        async for item in items:
                            if not isinstance(item, Opened):
                                answer.heard(item)
                            elif answer.opened:
                                continue
                            else:
                                answer.opened = True
                            yield item
                    return
                except (Broken, Busy) as error:
                    fault = error
                answer.failed_with(fault)
                if self._closed or answer.waited or answer.attempts >= self._how.attempts_max:
                    raise fault
                if isinstance(fault, Busy) and not self._others(answer):
                    raise fault  # it would only be asked again by somebody who does not wait
                self._failovers += 1
                fields = {"request_id": prompt.request_id, "outcome": type(fault).__name__}
                log.warning("an answer goes on at another replica", extra=fields)
        finally:
            self._running -= prompt.choices

    async def forget(self, documents: Collection[str]) -> None:
        """Every replica does."""
        for placed in [*self._placed.values()]:
            await placed.engine.forget(documents)

    async def health(self) -> Health:
        """Ready while one replica can answer."""
        now = self._clock()
        up = sum(self._balance.open(name, now) for name in self._placed)
        detail = f"{up} of {len(self._placed)} replicas"
        ready = up > 0 and not self._closed
        return Health(ready, self._running, self._waiting, detail=detail, failovers=self._failovers)

    def seen(self) -> list[tuple[str, float, bool, bool, int]]:
        """Each replica: its name and weight, is it draining, may it be asked, how many answers run there."""
        states = self._balance.states(self._clock())
        return [(each.name, each.weight, each.draining, up, each.running) for each, up in states]

    async def close(self) -> None:
        """Close every replica."""
        self._closed = True
        self._changed.set()
        tasks = [placed.keeper for placed in self._placed.values() if placed.keeper is not None]
        tasks += [*self._leaving.values(), *filter(None, self._gone)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        engines = {
            id(each): each for each in [*(placed.engine for placed in self._placed.values()), self._speaker] if each
        }
        await asyncio.gather(*(engine.close() for engine in engines.values()), return_exceptions=True)

    # --- one answer ----------------------------------------------------------------------------

    def _attempt(self, answer: _Answer) -> AsyncGenerator[Opened | Chunk, None]:
        """What one replica says of an answer; several, where choices have come to differ.  Raises what they raise."""
        if not answer.begun:
            return self._at(answer, answer.prompt, None)
        left = [number for number, choice in enumerate(answer.choices) if not choice.ended]
        return merged([self._at(answer, answer.rest(number), number) for number in left])

    async def _at(self, answer: _Answer, prompt: Prompt, number: int | None) -> AsyncGenerator[Opened | Chunk, None]:
        """What a replica says to a prompt; of the choice `number` alone, where it is given."""
        taken = await self._chosen(answer, prompt)
        failed, said = False, 0
        try:
            async with aclosing(self._placed[taken.name].engine.generate(prompt)) as items:
                async for item in items:
                    if isinstance(item, Opened):
                        yield item
                        continue
                    said += len(item.ids)
                    yield item if number is None else replace(item, choice=number)
        except (Broken, Busy) as fault:
            failed = isinstance(fault, Broken)
            answer.failed.add(taken.name)
            raise
        finally:
            now = self._clock()
            self._balance.said(taken, said, now)
            self._balance.ended(taken, now, failed, prompt.choices)
            if failed and (placed := self._placed.get(taken.name)) is not None:
                self._balance.told(taken.name, (await placed.engine.health()).ready, now)
            self._changed.set()

    def _others(self, answer: _Answer) -> bool:
        """Is there a replica that has not failed this answer?"""
        now = self._clock()
        return any(self._balance.open(name, now) for name in self._placed if name not in answer.failed)

    async def _chosen(self, answer: _Answer, prompt: Prompt) -> Taken:
        """A replica for a prompt, waited for where none can answer.  Raises EngineLost."""
        hashes = chain(f"{prompt.workspace}\n{prompt.model}", prompt.ids)
        until = self._clock() + self._how.wait_s
        self._waiting += prompt.choices
        try:
            while not self._closed:
                now = self._clock()
                tokens = len(prompt.ids)
                # One that has just failed is asked again when there is no other.
                for exclude in (answer.failed, ()) if answer.failed else ((),):
                    if taken := self._balance.choose(hashes, tokens, now, exclude, prompt.choices):
                        return taken
                if now >= until:
                    answer.waited = True
                    break
                self._changed.clear()
                try:
                    async with asyncio.timeout(min(until - now, self._how.looks_every_s)):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting -= prompt.choices
        raise EngineLost

    # --- the replicas --------------------------------------------------------------------------

    def _any(self) -> Engine:
        if self._speaker is None or self._closed:
            raise EngineLost
        return self._speaker

    async def _keep(self, name: str, engine: Engine) -> None:
        """Start one replica, then look at it again and again."""
        while True:
            try:
                await engine.start()
                break
            except EngineFailed as error:
                self._failure = error.detail
                log.error("a replica cannot start: %s", error.detail)
                await asyncio.sleep(self._how.looks_every_s * 4)
        if self._card is None:
            self._card, self._speaker = engine.card, engine
        while True:
            state = await engine.health()
            self._balance.told(name, state.ready, self._clock())
            if state.ready:
                self._up.set()
            self._changed.set()
            await asyncio.sleep(self._how.looks_every_s)

    async def _retire(self, name: str) -> None:
        placed = self._placed[name]
        while True:
            if self._balance.idle(name):
                break
            await asyncio.sleep(self._how.looks_every_s)
        if placed.keeper is not None:
            placed.keeper.cancel()
        self._balance.remove(name)
        del self._placed[name]
        task = self._leaving.pop(name, None)
        self._gone.add(task)
        try:
            if placed.engine is not self._speaker:  # its vocabulary is still asked for
                await placed.engine.close()
        finally:
            self._gone.discard(task)
