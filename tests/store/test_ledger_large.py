"""A ledger of a million requests, and limits under load: what a table of promises says, on every store."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from segue.core.counting import Counters
from segue.core.errors import Busy
from segue.core.request import Caller
from segue.core.tenancy import Limits
from segue.core.usage import By
from segue.policy.limiter import Limiter
from segue.store.counters import StoredCounters
from segue.store.database import Database, Rows
from segue.store.ledger import _COLUMNS, _MARKS, Ledger
from tests.databases import MakeDatabase
from tests.store.redis_server import redis_at  # a fixture

from .test_ledger import NOON

ROWS = 1_000_000
DAYS, KEYS, MODELS = 90, 50, 4


def _fill(rows: Rows) -> None:
    """Spread over 90 days, 50 keys of 10 workspaces and four models, with the sums that belong to them."""
    sql = f"INSERT INTO ledger ({_COLUMNS}) VALUES {_MARKS}"
    made = []
    for number in range(ROWS):
        day, key = number % DAYS, number // DAYS % KEYS
        at = NOON - day * 86400 + number % 40_000
        about = (f"{number:032x}", at, at // 3600, f"w{key % 10}", f"key-{key}", "native/generation", "qwen-plus")
        made.append((*about, f"m{number % MODELS}", 100, 10, 50, 0, 20, 900, "stop", 1000))
        if len(made) == 20_000:
            rows.many(sql, made)
            made = []
    rows.many(sql, made)
    rows.run(
        "INSERT INTO usage_days SELECT CASE WHEN hour / 24 < 0 THEN '' ELSE 'd' || (hour / 24) END, workspace, key_id,"
        " served, count(*), 0, sum(input_tokens), sum(cached_tokens), sum(output_tokens), 0, sum(cost_micros)"
        " FROM ledger GROUP BY hour / 24, workspace, key_id, served"
    )


@pytest.mark.slow
async def test_a_million_requests_are_summed_in_under_a_second(database: Database) -> None:
    await database.change(_fill, "ledger")
    ledger = Ledger(database)
    took: dict[str, float] = {}
    kinds: tuple[By, ...] = ("day", "key", "workspace", "model", "hour")
    for by in kinds:
        begun = time.perf_counter()
        lines = await ledger.summary(by)
        took[by] = time.perf_counter() - begun
        assert sum(line.requests for line in lines) == ROWS
    print({by: f"{seconds:.3f} s" for by, seconds in took.items()})
    assert took["day"] < 1.0


async def _crowd(limiters: list[Limiter], clients: int, seconds: float) -> list[float]:
    who = Caller("a", "w", limits=Limits(requests_per_second=50))
    let: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        while time.perf_counter() < end:
            with suppress(Busy):
                (await limiters[number % len(limiters)].enter(who, "m")).give_back()
                let.append(time.perf_counter())
            await asyncio.sleep(0.05)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return let


@pytest.mark.slow
@pytest.mark.parametrize("where", ["alone", "store", "redis"])
async def test_two_hundred_clients_get_fifty_a_second(
    where: str, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """On one server, and on two that share the database or Redis."""
    databases = [make_database() for _ in range(2)] if where == "store" else []
    limiters = [Limiter()] if where == "alone" else []
    for database in databases:
        await database.open()
        limiters.append(Limiter(counters=StoredCounters(database)))
    if where == "redis":
        from segue.store.redis_counters import RedisCounters

        made: list[Counters] = [RedisCounters(request.getfixturevalue("redis_at")) for _ in range(2)]
        limiters = [Limiter(counters=each) for each in made]
    let = await _crowd(limiters, 200, 11.5)
    begun = min(let)
    steady = [at for at in let if begun + 1 <= at < begun + 11]
    print(f"{where}: {len(steady) / 10:.1f} a second")
    for limiter in limiters:
        await limiter.close()
    for database in databases:
        await database.close()
    assert 490 <= len(steady) <= 510


__all__ = ["redis_at"]
