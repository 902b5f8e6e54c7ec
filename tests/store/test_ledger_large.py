"""A ledger of a million requests, on every store."""

from __future__ import annotations

import time

import pytest

from segue.core.usage import By, Range
from segue.store.database import Database, Rows
from segue.store.ledger import _COLUMNS, _MARKS, Ledger
from segue.store.uses import Uses

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

    # A page with times, however it is asked for: the records that are read for it have their bound.
    asked, took = Uses(database), {}
    for range in (Range(), Range(workspace="w3"), Range(workspace="nobody"), Range(key="key-7")):
        begun = time.perf_counter()
        found = await asked.uses(("key", "model"), range, (), 1000)
        took[f"{range.workspace}{range.key}" or "all"] = time.perf_counter() - begun
        assert len(found) == {"": 200, "w3": 20, "nobody": 0, "key-7": 4}[range.workspace + range.key]
        assert any(use.total_ms.p95 == 900 for use in found) == bool(found)
    print({about: f"{seconds:.3f} s" for about, seconds in took.items()})
