"""Counts that servers share, kept in every place that there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from segue.accounts import _POSTGRES_MOMENT
from segue.core.counting import HOLD_S, Ask, Counters, CountersLost
from segue.store.counters import StoredCounters
from segue.store.database import Database
from segue.store.postgres import PostgresDatabase
from tests.databases import MakeDatabase
from tests.store.redis_server import redis_at  # a fixture


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def test_rates_and_places_by_a_clock(database: Database) -> None:
    clock = Clock()
    counters = StoredCounters(database, clock=clock)
    rate, place = Ask("r", 10, 60.0, 1, 6), Ask("p", 3, 0.0, want=2)
    first, held = await counters.ask("one", [rate, place])
    assert (first.had, held.had) == (5, 2)
    second, held = await counters.ask("other", [rate, place])
    assert (second.had, held.had) == (3, 1)
    assert held.wait_s > 0
    clock.now += HOLD_S + 1
    again, held = await counters.ask("other", [Ask("r", 10, 60.0, 9, 9), place])
    assert (again.had, held.had) == (0, 2)
    assert 45 < again.wait_s < 52
    clock.now += 60
    assert (await counters.ask("one", [rate]))[0].had == 5


async def test_the_time_is_the_database_s_where_it_has_one(make_database: MakeDatabase) -> None:
    """Two servers whose clocks are days apart have one limit, and neither waits for the other's clock."""
    database = make_database()
    await database.open()
    if isinstance(database, PostgresDatabase):
        servers = [StoredCounters(database, "", Clock(at), _POSTGRES_MOMENT) for at in (9e5, 1e5)]
        ask = Ask("one", 4, 0.5, 2, 2)
        for _ in range(3):
            had = [(await each.ask("x", [ask]))[0] for each in (*servers, servers[0])]
            assert [grant.had for grant in had] == [2, 2, 0]
            await asyncio.sleep(had[-1].wait_s + 0.06)
    await database.close()


async def test_rows_that_nobody_asks_about_are_removed(database: Database) -> None:
    clock = Clock()
    counters = StoredCounters(database, clock=clock)
    await counters.ask("one", [Ask("old", 10, 60.0)])
    clock.now += 3000
    await counters.ask("one", [Ask("young", 10, 60.0)])
    clock.now += 1000
    await counters.ask("one", [Ask("new", 10, 60.0)])
    names = await database.read(lambda rows: rows.all("SELECT name FROM counters ORDER BY name"))
    assert names == [("new",), ("young",)]


async def test_a_database_that_is_closed_is_lost(database: Database) -> None:
    await database.close()
    with pytest.raises(CountersLost):
        await StoredCounters(database).ask("one", [Ask("a", 1, 1.0)])


@pytest.fixture(params=["store", "redis"])
async def shared(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Callable[[], Counters]]:
    """Makes one more of those that share."""
    made: list[Counters] = []
    if request.param == "redis":
        from redis.asyncio import Redis

        async with Redis.from_url(request.getfixturevalue("redis_at")) as redis:
            await redis.flushall()

    def more() -> Counters:
        if request.param == "store":
            made.append(StoredCounters(database))
        else:
            from segue.store.redis_counters import RedisCounters

            made.append(RedisCounters(request.getfixturevalue("redis_at")))
        return made[-1]

    yield more
    for each in made:
        await each.close()


async def test_what_one_has_another_has_not(shared: Callable[[], Counters]) -> None:
    one, other = shared(), shared()
    had = 0
    for _ in range(20):
        for counters in (one, other):
            had += (await counters.ask("x", [Ask("rate", 50, 60.0, 1, 30)]))[0].had
    assert had == 50
    refused = (await other.ask("x", [Ask("rate", 50, 60.0)]))[0]
    assert refused.had == 0
    assert 50 < refused.wait_s <= 60


async def test_asked_at_once_never_more_than_there_is(shared: Callable[[], Counters]) -> None:
    servers = [shared() for _ in range(4)]

    async def take(counters: Counters, holder: str) -> int:
        return sum([(await counters.ask(holder, [Ask("at once", 40, 60.0, 1, 3)]))[0].had for _ in range(10)])

    assert sum(await asyncio.gather(*(take(each, str(place)) for place, each in enumerate(servers)))) == 40


async def test_tokens_are_had_whole_and_counted_past_the_limit(shared: Callable[[], Counters]) -> None:
    counters = shared()
    assert (await counters.ask("x", [Ask("tokens", 1000, 60.0, 900, 900)]))[0].had == 900
    assert (await counters.ask("x", [Ask("tokens", 1000, 60.0, 200, 200)]))[0].had == 0
    assert (await counters.ask("x", [Ask("tokens", 1000, 60.0, 1, 0, add=5000)]))[0].had == 0
    assert (await counters.ask("x", [Ask("tokens", 1000, 60.0, 1, 1)]))[0].had == 0


async def test_a_short_window_moves_on(shared: Callable[[], Counters]) -> None:
    counters = shared()
    ask = Ask("short", 2, 0.5, 2, 2)
    assert (await counters.ask("x", [ask]))[0].had == 2
    refused = (await counters.ask("x", [ask]))[0]
    assert refused.had == 0
    await asyncio.sleep(refused.wait_s + 0.02)
    assert (await counters.ask("x", [ask]))[0].had == 2


async def test_what_one_gives_back_another_has(shared: Callable[[], Counters]) -> None:
    one, other = shared(), shared()
    grant = (await one.ask("x", [Ask("back", 10, 60.0, 9, 9)]))[0]
    assert (await other.ask("y", [Ask("back", 10, 60.0, 2, 2)]))[0].had == 0
    (await one.ask("x", [Ask("back", 10, 60.0, 1, 0, 0, ((grant.slot, 4), (grant.slot - 3, 99), (5, 99)))]))[0]
    assert (await other.ask("y", [Ask("back", 10, 60.0, 6, 6)]))[0].had == 0
    assert (await other.ask("y", [Ask("back", 10, 60.0, 5, 5)]))[0].had == 5
    assert (await one.ask("x", [Ask("back", 10, 60.0, 2, 2, 0, ((grant.slot, 2),))]))[0].had == 2


async def test_places_are_held_and_given_back(shared: Callable[[], Counters]) -> None:
    one, other = shared(), shared()

    async def hold(counters: Counters, holder: str, want: int) -> int:
        return (await counters.ask(holder, [Ask("places", 5, 0.0, want=want)]))[0].had

    assert await hold(one, "one", 3) == 3
    assert await hold(other, "other", 4) == 2
    assert await hold(one, "one", 5) == 3
    assert await hold(other, "other", 0) == 0
    assert await hold(one, "one", 5) == 5


async def test_many_questions_are_answered_in_their_order(shared: Callable[[], Counters]) -> None:
    counters = shared()
    asks = [Ask(f"n{number}", number + 1, 60.0, number + 1, number + 1) for number in range(30)]
    assert [grant.had for grant in await counters.ask("x", asks)] == list(range(1, 31))


async def test_a_redis_that_is_not_there_is_lost() -> None:
    redis_counters = pytest.importorskip("segue.store.redis_counters")
    counters = redis_counters.RedisCounters("redis://127.0.0.1:1/0")
    with pytest.raises(CountersLost):
        await counters.ask("x", [Ask("a", 1, 1.0)])
    with suppress(CountersLost):
        await counters.close()


__all__ = ["redis_at"]
