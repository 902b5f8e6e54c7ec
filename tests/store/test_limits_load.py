"""Two hundred clients against a limit, in real time: on one server, and on two that share PostgreSQL, SQLite or Redis.

A busy machine makes clients and answers late, which no limit can give back; so what is let through is judged by the
times that were measured: how late the clock's own ticks came, and how long the shared counts took.  What servers do in
whatever order, `tests/policy/test_sharing.py` shows without a clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from segue.accounts import _POSTGRES_FIRST, _POSTGRES_MOMENT
from segue.core.counting import SLOTS, Ask, Counters, Grant
from segue.core.errors import Busy
from segue.core.request import Caller
from segue.core.tenancy import Limits
from segue.policy.asking import ASK_S
from segue.policy.limiter import Limiter
from segue.store.counters import StoredCounters
from segue.store.postgres import PostgresDatabase
from tests.databases import MakeDatabase
from tests.store.redis_server import redis_at  # a fixture

MOST, CLIENTS, LASTS_S = 50, 200, 11.5
SLOT_S = 1.0 / SLOTS
TICK_S = 0.005


@dataclass
class Timed:
    """Shared counts, and how long they took."""

    counters: Counters
    took: list[float] = field(default_factory=list)

    async def ask(self, holder: str, asks: Sequence[Ask]) -> Sequence[Grant]:
        begun = time.perf_counter()
        try:
            return await self.counters.ask(holder, asks)
        finally:
            self.took.append(time.perf_counter() - begun)

    async def close(self) -> None:
        await self.counters.close()


@dataclass
class Crowd:
    """When whom was let through, and how late each second's latest tick was."""

    let: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    async def run(self, limiters: Sequence[Limiter]) -> None:
        end = time.perf_counter() + LASTS_S
        await asyncio.gather(self._tick(end), *(self._client(limiters[n % len(limiters)], end) for n in range(CLIENTS)))

    async def _client(self, limiter: Limiter, end: float) -> None:
        who = Caller("a", "w", limits=Limits(requests_per_second=MOST))
        while time.perf_counter() < end:
            with suppress(Busy):
                (await limiter.enter(who, "m")).give_back()
                self.let.append(time.perf_counter())
            await asyncio.sleep(0.05)

    async def _tick(self, end: float) -> None:
        second, latest = time.perf_counter() + 1, 0.0
        while (now := time.perf_counter()) < end:
            if now >= second:
                self.late.append(latest)
                second, latest = second + 1, 0.0
            await asyncio.sleep(TICK_S)
            latest = max(latest, time.perf_counter() - now - TICK_S)

    def rate(self) -> float:
        """How many a second; see `Scene.rate`."""
        begun, ended = self.let[0] + 1, self.let[0] + LASTS_S - 0.3
        return sum(max(0.0, min(1.0, at - begun, ended - at)) for at in self.let) / (ended - begun - 1)

    def most_within(self, stretch_s: float) -> int:
        """The most that were let through in any stretch so long."""
        return max(sum(at <= each < at + stretch_s for each in self.let) for at in self.let)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["alone", "store", "redis"])
async def test_two_hundred_clients_get_fifty_a_second(
    where: str, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """On one server, and on two that share the database or Redis."""
    databases = [make_database() for _ in range(2)] if where == "store" else []
    shared: list[Timed] = []
    for database in databases:
        await database.open()
        there = isinstance(database, PostgresDatabase)
        counters = StoredCounters(database, *((_POSTGRES_FIRST, time.time, _POSTGRES_MOMENT) if there else ()))
        shared.append(Timed(counters))
    if where == "redis":
        from segue.store.redis_counters import RedisCounters

        shared = [Timed(RedisCounters(request.getfixturevalue("redis_at"))) for _ in range(2)]
    limiters = [Limiter(counters=each) for each in shared] or [Limiter()]
    for limiter in limiters:
        limiter.open()
    crowd = Crowd()
    await crowd.run(limiters)
    for limiter in limiters:
        await limiter.close()
    for database in databases:
        await database.close()
    took = [each for timed in shared for each in timed.took] or [0.0]
    late = sum(crowd.late) / len(crowd.late) + sum(took) / len(took)
    latest = max(took) + max(crowd.late)  # until whoever waits for an answer has it
    within = max(0.0, 1.0 - SLOT_S - (max(2 * SLOT_S, latest + SLOT_S) if shared else 0.0))
    most = crowd.most_within(within)
    print(
        f"{where}: {crowd.rate():.1f} a second; {most} at most in {within:.2f} s;"
        f" {late * 1000:.0f} ms late on average, answers {latest * 1000:.0f} ms at most"
    )
    if max(took) > ASK_S:
        pytest.skip("the machine is so busy that the counts were lost")
    assert most <= MOST
    assert crowd.rate() <= 1.02 * MOST
    # Whoever comes late by less than half a slot misses nothing; who comes later makes each window as much longer.
    assert crowd.rate() >= 0.98 * MOST / (1 + max(0.0, late - SLOT_S / 2))


__all__ = ["redis_at"]
