"""What was used, by several things at once: sums of the days, times of the records, on every database."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from segue.core import usage
from segue.core.usage import ANSWERED, Range, Record, Side, Spread, Use
from segue.store import uses
from segue.store.database import Database
from segue.store.ledger import Ledger, day_of
from segue.store.uses import Uses

from .test_ledger import DAY_S, NOON, record

EVERY: tuple[Side, ...] = ("day", "key", "workspace", "model")


def made(count: int, rng: random.Random) -> list[Record]:
    return [
        record(
            f"r{number}",
            at=NOON + rng.randrange(3 * DAY_S),
            workspace=rng.choice("vw"),
            key=rng.choice("xyz"),
            served=rng.choice(["", "m", "模型"]),
            input_tokens=rng.randrange(1000),
            output_tokens=rng.randrange(4),
            first_ms=rng.choice([None, rng.randrange(100)]),
            total_ms=rng.randrange(80, 1000),
            outcome=rng.choice(["stop", "length", "tool_calls", "left", "Throttling"]),
        )
        for number in range(count)
    ]


def rank(times: Sequence[float], of: int) -> float | None:
    """The nearest rank, as it is defined."""
    return sorted(times)[math.ceil(len(times) * of / 100) - 1] if times else None


def spread(times: Sequence[float]) -> Spread:
    return Spread(rank(times, 50), rank(times, 95))


def close(one: Spread, other: Spread) -> bool:
    return all(a == b or (a and b and math.isclose(a, b)) for a, b in ((one.p50, other.p50), (one.p95, other.p95)))


def named(each: Record, by: Sequence[Side]) -> tuple[str, ...]:
    sides = {"day": day_of(each.at), "key": each.key, "workspace": each.workspace, "model": each.served}
    return tuple(sides[side] for side in by)


@pytest.mark.parametrize("by", [("day",), ("model",), ("key", "day"), EVERY], ids="-".join)
async def test_the_rows_are_what_the_records_say(by: tuple[Side, ...], database: Database) -> None:
    records = made(400, random.Random(5))
    await Ledger(database).enter(records)
    range = Range(since="2026-11-20", until="2026-11-22", workspace="w")
    found = list(await Uses(database).uses(by, range, (), 1000))
    groups: dict[tuple[str, ...], list[Record]] = {}
    for each in records:
        if each.workspace == "w" and day_of(each.at) <= "2026-11-22":
            groups.setdefault(named(each, by), []).append(each)
    assert [use.of for use in found] == sorted(groups, key=lambda of: [name.encode() for name in of])
    for use in found:
        group = groups[use.of]
        assert (use.requests, use.input_tokens) == (len(group), sum(each.input_tokens for each in group))
        assert use.failed == sum(each.outcome == "Throttling" for each in group)
        ended = [each for each in group if each.outcome in ANSWERED]
        assert close(use.first_ms, spread([each.first_ms for each in ended if each.first_ms is not None]))
        assert close(use.total_ms, spread([each.total_ms for each in ended]))
        paces = [
            (each.output_tokens - 1) * 1000 / (each.total_ms - each.first_ms)
            for each in ended
            if each.first_ms is not None and each.output_tokens > 1 and each.total_ms > each.first_ms
        ]
        assert close(use.tokens_per_s, spread(paces))


async def test_pages_are_the_whole_cut_up(database: Database) -> None:
    await Ledger(database).enter(made(300, random.Random(6)))
    asked = Uses(database)
    whole = list(await asked.uses(EVERY, Range(), (), 1000))
    pages: list[Use] = []
    after: tuple[str, ...] = ()
    while page := await asked.uses(EVERY, Range(), after, 7):
        pages += page
        after = page[-1].of
    assert len(whole) > 30
    assert pages == whole


async def test_times_are_of_the_latest_answers(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "TIMED_MAX", 10)
    old = [record(f"o{number}", first_ms=5, total_ms=10) for number in range(30)]
    new = [record(f"n{number}", at=NOON + DAY_S, first_ms=50, total_ms=100) for number in range(10)]
    await Ledger(database).enter(old + new)
    (one,) = await Uses(database).uses(("workspace",), Range(), (), 5)
    assert (one.requests, one.first_ms, one.total_ms) == (40, Spread(50, 50), Spread(100, 100))
    assert usage.TIMED_MAX > 10


async def test_sums_are_there_when_the_records_are_gone(database: Database) -> None:
    ledger = Ledger(database)
    await ledger.enter([record("a")])
    await ledger.purge(NOON + DAY_S)
    (one,) = await Uses(database).uses(("day", "key"), Range(), (), 5)
    assert (one.of, one.requests, one.first_ms) == (("2026-11-20", "key-1"), 1, Spread())
    assert not await Uses(database).uses(("day",), Range(since="2027-01-01"), (), 5)
