"""What every database must do, whatever tables are in it."""

from __future__ import annotations

import asyncio
import time

import pytest

from segue.store.database import Database, Rows
from segue.store.migrations import in_postgres
from segue.store.postgres import PostgresDatabase
from tests.databases import MakeDatabase


@pytest.fixture(autouse=True)
async def table(database: Database) -> None:
    made = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, size REAL, data BLOB)"
    said = in_postgres(made) if isinstance(database, PostgresDatabase) else made
    await database.change(lambda rows: rows.run(said))


def put(rows: Rows, id: int, name: str = "x") -> int:
    return rows.run("INSERT INTO things (id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", id, name)


def total(rows: Rows) -> int:
    row = rows.one("SELECT count(*) FROM things")
    assert row is not None
    return int(row[0])


async def test_values_come_back_as_they_were(database: Database) -> None:
    values = (2**62, "né'\"%?; 中文\U0001f600", 1.5e300, bytes(range(256)))
    await database.change(lambda rows: rows.run("INSERT INTO things VALUES (?, ?, ?, ?)", *values))
    await database.change(lambda rows: rows.run("INSERT INTO things VALUES (?, ?, ?, ?)", 1, None, None, None))
    assert await database.read(lambda rows: rows.all("SELECT * FROM things ORDER BY id DESC")) == [
        values,
        (1, None, None, None),
    ]
    found = await database.read(lambda rows: rows.one("SELECT id FROM things WHERE name = ?", values[1]))
    assert found == (2**62,)
    assert await database.read(lambda rows: rows.one("SELECT id FROM things WHERE name = ?", "nobody")) is None
    sums = await database.read(lambda rows: rows.one("SELECT sum(id), coalesce(sum(id), 0), sum(size) FROM things"))
    assert sums == (2**62 + 1, 2**62 + 1, 1.5e300)
    assert [type(value) for value in sums] == [int, int, float]


async def test_what_a_change_says(database: Database) -> None:
    again = "INSERT INTO things (id) VALUES (?) ON CONFLICT (id)"

    def act(rows: Rows) -> list[object]:
        rows.many("INSERT INTO things (id, name) VALUES (?, ?)", [(id, f"{id % 3}") for id in range(9)])
        return [
            put(rows, 3),
            put(rows, 10),
            rows.run("UPDATE things SET name = ? WHERE name = ?", "one", "1"),
            rows.one("DELETE FROM things WHERE id = ? RETURNING id, name", 4),
            rows.one(f"{again} DO UPDATE SET name = 'was' RETURNING name", 5),
            rows.all("SELECT id FROM things WHERE name = ? ORDER BY id", "one"),
            rows.run("DELETE FROM things WHERE id > ?", 100),
        ]

    assert await database.change(act) == [0, 1, 3, (4, "one"), ("was",), [(1,), (7,)], 0]


async def test_text_sorts_by_its_bytes(database: Database) -> None:
    names = ["b", "B", "a", "Z", "é", "_", "10", "9", "中"]
    await database.change(lambda rows: [put(rows, id, name) for id, name in enumerate(names)])
    found = await database.read(lambda rows: rows.all("SELECT name FROM things ORDER BY name"))
    assert [row[0] for row in found] == sorted(names)


async def test_an_act_that_fails_changes_nothing(database: Database) -> None:
    def act(rows: Rows) -> None:
        put(rows, 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.change(act)
    assert await database.read(total) == 0
    with pytest.raises(Exception, match="things"):
        await database.change(lambda rows: [rows.run("INSERT INTO things (id) VALUES (1)") for _ in range(2)])
    assert await database.read(total) == 0
    assert await database.change(lambda rows: put(rows, 1)) == 1


async def test_reading_changes_nothing(database: Database) -> None:
    with pytest.raises(Exception, match=r"read.?only"):
        await database.read(lambda rows: put(rows, 1))
    assert await database.read(total) == 0


async def test_a_read_sees_one_moment(database: Database, make_database: MakeDatabase) -> None:
    other = make_database()
    await other.open()
    loop = asyncio.get_running_loop()

    def act(rows: Rows) -> tuple[int, int]:
        before = total(rows)
        asyncio.run_coroutine_threadsafe(other.change(lambda rows: put(rows, 1)), loop).result(30.0)
        return before, total(rows)

    assert await database.read(act) == (0, 0)
    assert await database.read(total) == 1
    await other.close()


@pytest.mark.parametrize("within", ["", "counter"])
async def test_no_change_is_lost(within: str, database: Database, make_database: MakeDatabase) -> None:
    """Read and write, from several servers at once."""
    await database.change(lambda rows: put(rows, 1, "0"))

    def act(rows: Rows) -> None:
        row = rows.one("SELECT name FROM things WHERE id = 1")
        assert row is not None
        rows.run("UPDATE things SET name = ? WHERE id = 1", str(int(row[0]) + 1))

    others = [make_database() for _ in range(2)]
    await asyncio.gather(*(other.open() for other in others))
    await asyncio.gather(*(each.change(act, within) for each in (database, *others) for _ in range(20)))
    assert await database.read(lambda rows: rows.one("SELECT name FROM things")) == ("60",)
    for other in others:
        await other.close()


async def test_what_names_no_part_runs_alone(database: Database) -> None:
    """Whatever order a database runs them in: a change that names no part never runs beside one that names one."""
    running: list[str] = []
    together: set[tuple[str, ...]] = set()

    def act(name: str) -> None:
        running.append(name)
        together.add(tuple(sorted(running)))
        time.sleep(0.01)
        running.remove(name)

    names = ["", "a", "b", "", "a", "b", "c"] * 3
    await asyncio.gather(*(database.change(lambda rows, name=name: act(name), name) for name in names))  # type: ignore[misc]
    assert all(len(names) == 1 or "" not in names for names in together)
    assert all(len(set(names)) == len(names) for names in together)


async def test_alone(database: Database, make_database: MakeDatabase) -> None:
    """Of all servers, one is in a part, or one in all of them."""
    other, inside = make_database(), []

    async def waits(within: str) -> bool:
        try:
            async with asyncio.timeout(0.2), other.alone(within):
                return False
        except TimeoutError:
            return True

    async with database.alone("a"):
        assert await waits("a")
        assert await waits("")
        assert await database.change(total) == 0, "it is no transaction"
    async with database.alone():
        assert await waits("a")

    async def act(each: Database, within: str) -> None:
        async with each.alone(within):
            inside.append(within)
            assert inside == [within] or (within and len(set(inside)) == len(inside) and "" not in inside)
            await asyncio.sleep(0.01)
            inside.remove(within)

    await asyncio.gather(*(act(each, within) for each in (database, other) for within in ("", "a", "b", "a", "")))
    await other.close()


async def test_it_is_closed_twice_and_opened_by_nobody(make_database: MakeDatabase) -> None:
    fresh = make_database()
    await fresh.close()
    other = make_database()
    await other.open()
    await other.close()
    await other.close()
