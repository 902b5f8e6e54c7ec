"""What servers remember together: found by any, of one workspace, within bounds, gone at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from segue.store.base import StoreUnusable
from segue.store.database import Database, Rows
from segue.store.remembered import SLACK_ROWS, Bounds, Remembered, forget_remembered

BOUNDS = {"a": Bounds(100, 10_000, 60.0, 3), "b": Bounds(5000, 10**6, 600.0)}
Make = Callable[[], Awaitable[Remembered]]


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make(make_database: Callable[[], Database], clock: Clock) -> AsyncIterator[Make]:
    databases: list[Database] = []
    made: list[Remembered] = []

    async def server() -> Remembered:
        database = make_database()
        await database.open()
        databases.append(database)
        made.append(Remembered(database, BOUNDS, clock=clock))
        await made[-1].open()
        return made[-1]

    yield server
    for each in made:
        await each.close()
    for database in databases:
        await database.close()


async def test_what_one_has_put_the_other_finds(make: Make, clock: Clock) -> None:
    one, other = await make(), await make()
    one.put("a", "w", "x", b"first")
    one.put("a", "w", "x", b"second")
    one.put("a", "w", "y", b"third")
    await one.settled()
    assert await other.find("a", "w", ["x", "y"]) == [("y", b"third"), ("x", b"second"), ("x", b"first")]
    assert await other.find("a", "v", ["x"]) == [], "it is another workspace's"
    assert await other.find("b", "w", ["x"]) == [], "it is of another kind"
    one.put("b", "w", "x", b"1")
    one.put("b", "w", "x", b"2")
    await one.settled()
    assert await other.find("b", "w", ["x"]) == [("x", b"2")], "one of a name"
    for number in range(5):
        one.put("a", "w", "x", b"%d" % number)
    await one.settled()
    assert [data for _, data in await other.find("a", "w", ["x"])] == [b"4", b"3", b"2"], "the newest few of a name"
    assert await other.remove("a", "w", "x")
    assert not await one.remove("a", "w", "x")
    clock.now += 61
    assert await other.find("a", "w", ["y"]) == []
    assert await other.find("b", "w", ["x"]) == [("x", b"2")]


async def test_to_forget_a_thing_waits_for_no_queue(make: Make) -> None:
    one = await make()
    write = one._database.change

    async def busy(act: Callable[[Rows], object], within: str = "") -> object:
        one.put("b", "w", "more", b"x")  # as under load: before anything is written there is more
        return await write(act, within)

    one._database.change = busy  # type: ignore[method-assign, assignment]
    one.put("a", "w", "x", b"written")
    while not await one.find("a", "w", ["x"]):
        """Soon."""
    one.put("a", "w", "x", b"waits")
    one.put("a", "w", "y", b"stays")
    async with asyncio.timeout(5):
        assert await one.remove("a", "w", "x")
    one._database.change = write  # type: ignore[method-assign]
    await one.settled()
    assert await one.find("a", "w", ["x", "y"]) == [("y", b"stays")]
    one.put("a", "w", "z", b"only waits")
    assert await one.remove("a", "w", "z")
    assert not await one.remove("a", "w", "z")


async def test_bounds_hold_for_each_workspace(make: Make, clock: Clock) -> None:
    one = await make()
    for number in range(400):
        for workspace in ("w", "v"):
            one.put("a", workspace, f"n{number}", b"x" * 20)
    one.put("a", "w", "big", b"x" * 20_000)
    await one.settled()
    names = [f"n{number}" for number in range(400)] + ["big"]
    for workspace in ("w", "v"):
        found = [name for name, _ in await one.find("a", workspace, names)]
        assert 0 < len(found) <= 100 + SLACK_ROWS
        assert found == names[:400][::-1][: len(found)], "the oldest went first"
    for number in range(60):
        one.put("a", "u", f"n{number}", b"x" * 1000)
    await one.settled()
    assert sum(len(data) for _, data in await one.find("a", "u", names)) <= 10_000 + 500 + 1000
    await one._database.change(lambda rows: forget_remembered(rows, "w"))
    assert await one.find("a", "w", names) == []
    clock.now += 601
    one.put("b", "w", "last", b"x")
    await one.settled()
    left = await one._database.read(lambda rows: rows.one("SELECT count(*) FROM remembered"))
    assert left == (1,), "what is past its end is swept"


async def test_a_database_that_is_away_costs_memory_only(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await make()

    async def away(act: Callable[[Rows], object], within: str = "") -> object:
        raise StoreUnusable("away")

    monkeypatch.setattr("segue.store.remembered._AGAIN_S", 0.01)
    with monkeypatch.context() as lost:
        lost.setattr(one._database, "change", away)
        one.put("a", "w", "x", b"lost")
        await one.settled()
    one.put("a", "w", "x", b"kept")
    await one.settled()
    assert await one.find("a", "w", ["x"]) == [("x", b"kept")]
    assert "cannot be remembered" in caplog.text
