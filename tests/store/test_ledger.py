"""The ledger in every database: once each, sums that are the records' own, and what a month has used."""

from __future__ import annotations

import calendar
import random
from dataclasses import replace

import pytest

from segue.core.usage import By, Range, Record, Scope, Spent
from segue.store.database import Database, Rows
from segue.store.ledger import Ledger

NOON = calendar.timegm((2026, 11, 20, 12, 30, 0, 0, 0, 0))
DAY_S = 86400


def record(id: str, **more: object) -> Record:
    plain = Record(id, NOON, "w", "key-1", "native/generation", "qwen-plus", "m", 10, 4, 5, 0, 12, 30, "stop", 100)
    return replace(plain, **more)  # type: ignore[arg-type]


async def test_a_record_is_entered_once_however_often_it_is_brought(database: Database) -> None:
    ledger = Ledger(database)
    assert (await ledger.enter([record("a"), record("b")])).new == 2
    assert (await ledger.enter([record("b"), record("c"), record("c")])).new == 1
    assert [line.requests for line in await ledger.summary("day")] == [3]
    assert sorted(each.id for each in await ledger.records()) == ["a", "b", "c"]


async def test_a_record_comes_back_as_it_was(database: Database) -> None:
    ledger = Ledger(database)
    odd = record("x", at=NOON + 0.25, first_ms=None, model="模型 'x'; --", outcome="Throttling.RateQuota", served="")
    await ledger.enter([odd])
    assert await ledger.records() == [odd]
    await ledger.enter([record("y", model="m" * 100_000 + "\0")])
    assert len((await ledger.records())[0].model) <= 128 or len((await ledger.records())[1].model) <= 128


async def test_sums_by_everything_and_of_a_part(database: Database) -> None:
    ledger = Ledger(database)
    await ledger.enter(
        [
            record("a"),
            record("b", at=NOON + DAY_S, workspace="v", key="key-2", outcome="InternalError", cost_micros=0),
            record("c", at=NOON + DAY_S, served="n", outcome="left"),
            record("d", at=NOON + 3600, served="", outcome="Throttling.RateQuota", input_tokens=0, output_tokens=0),
        ]
    )

    async def found(by: By, range: Range = Range()) -> list[tuple[str, int, int]]:  # noqa: B008
        return [(line.of, line.requests, line.failed) for line in await ledger.summary(by, range)]

    assert await found("day") == [("2026-11-20", 2, 1), ("2026-11-21", 2, 1)]
    assert await found("hour") == [
        ("2026-11-20T12:00Z", 1, 0),
        ("2026-11-20T13:00Z", 1, 1),
        ("2026-11-21T12:00Z", 2, 1),
    ]
    assert await found("workspace") == [("v", 1, 1), ("w", 3, 1)]
    assert await found("key") == [("key-1", 3, 1), ("key-2", 1, 1)]
    assert await found("model") == [("", 1, 1), ("m", 2, 1), ("n", 1, 0)]
    assert await found("day", Range(since="2026-11-21")) == [("2026-11-21", 2, 1)]
    assert await found("hour", Range(until="2026-11-20")) == [("2026-11-20T12:00Z", 1, 0), ("2026-11-20T13:00Z", 1, 1)]
    assert await found("day", Range(workspace="v")) == [("2026-11-21", 1, 1)]
    assert await found("hour", Range(key="key-2", since="2026-11-21", until="2026-11-21")) == [
        ("2026-11-21T12:00Z", 1, 1)
    ]
    line = (await ledger.summary("model", Range(workspace="w")))[1]
    assert (line.input_tokens, line.cached_tokens, line.output_tokens, line.cost_micros) == (10, 4, 5, 100)


async def test_the_days_are_what_the_records_say(database: Database) -> None:
    ledger, rng = Ledger(database), random.Random(7)
    made = [
        record(
            f"r{rng.randrange(700)}",
            at=NOON + rng.randrange(3 * DAY_S),
            workspace=rng.choice("abc"),
            key=rng.choice("xyz"),
            served=rng.choice(["", "m"]),
            input_tokens=rng.randrange(1000),
            outcome=rng.choice(["stop", "left", "Throttling"]),
        )
        for _ in range(900)
    ]
    for at in range(0, len(made), 130):
        await ledger.enter(made[at : at + 150])

    def sums(rows: Rows) -> list[tuple[object, ...]]:
        failed = "sum(CASE WHEN outcome IN ('stop', 'left') THEN 0 ELSE 1 END)"
        return rows.all(
            f"SELECT hour / 24, workspace, key_id, served, count(*), {failed}, sum(input_tokens) FROM ledger"
            " GROUP BY hour / 24, workspace, key_id, served ORDER BY 1, 2, 3, 4"
        )

    def days(rows: Rows) -> list[tuple[object, ...]]:
        return rows.all(
            "SELECT day, workspace, key_id, served, requests, failed, input_tokens FROM usage_days ORDER BY 1, 2, 3, 4"
        )

    by_records, by_days = await database.read(sums), await database.read(days)
    assert [row[1:] for row in by_records] == [row[1:] for row in by_days]
    assert len(await ledger.records(limit=10_000)) == len({each.id for each in made})


async def test_what_a_month_has_used(database: Database) -> None:
    ledger = Ledger(database)
    mine, ours, other = Scope("key", "key-1"), Scope("workspace", "w"), Scope("key", "key-9")
    await ledger.enter([record("a"), record("old", at=NOON - 30 * DAY_S), record("b", key="key-2")])
    entered = await ledger.enter([record("c")], "2026-11", [mine, ours, other])
    assert entered.spent == {mine: Spent(30, 200), ours: Spent(45, 300), other: Spent(0, 0)}
    assert (await ledger.enter([], "2026-10", [ours])).spent == {ours: Spent(15, 100)}


async def test_old_records_go_and_their_days_stay(database: Database) -> None:
    ledger = Ledger(database)
    await ledger.enter([record(f"r{day}", at=NOON + day * DAY_S) for day in range(5)])
    while await ledger.purge(NOON + 3 * DAY_S):
        pass
    assert [each.id for each in await ledger.records()] == ["r4", "r3"]
    assert len(await ledger.summary("day")) == 5
    assert await Ledger(database).purge(0) == 0


@pytest.mark.parametrize("id", ["'; DROP TABLE ledger; --", "%s", "?", "🔑"])
async def test_what_callers_choose_is_only_ever_a_value(database: Database, id: str) -> None:
    ledger = Ledger(database)
    await ledger.enter([record(id, workspace=id, key=id, model=id, served=id)])
    assert [line.of for line in await ledger.summary("key", Range(workspace=id, key=id))] == [id]
