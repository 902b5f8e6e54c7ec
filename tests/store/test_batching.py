"""The rows of batches, in every database."""

from __future__ import annotations

from dataclasses import replace

from segue.core.batches import Batch, LineTrouble
from segue.store.batching import BatchStore, Line, Wish
from segue.store.database import Database

BATCH = Batch("b1", "w", "k", "/v1/x", "f1", "24h", 100, 200, metadata=(("ds_name", "n"), ("a", "b")))


async def test_a_line_is_answered_once(database: Database) -> None:
    store = BatchStore(database)
    assert await store.add(BATCH, 5)
    for data in (b"one", b"two"):
        await store.answer(BATCH, Line(1, False, data))
    await store.answer(BATCH, Line(2, True, b"bad"))
    assert await store.answered(BATCH) == {1, 2}
    assert await store.lines(BATCH, False, 0, 9) == [Line(1, False, b"one")]
    assert await store.lines(BATCH, True, 0, 9) == [Line(2, True, b"bad")]
    assert await store.lines(BATCH, True, 2, 9) == []
    found = await store.find("w", "b1")
    assert found == replace(BATCH, completed=1, failed=1)
    assert await store.find("v", "b1") is None
    await store.forget(BATCH)
    assert await store.answered(BATCH) == set()


async def test_a_batch_has_one_holder(database: Database) -> None:
    store = BatchStore(database)
    await store.add(BATCH, 5)
    held = await store.claim("me", 10.0, 20.0)
    assert held == BATCH
    assert await store.claim("you", 29.0, 20.0) is None
    assert await store.renew(BATCH, "you", 90.0) is None
    assert await store.renew(BATCH, "me", 50.0) == BATCH
    assert await store.claim("you", 49.0, 20.0) is None
    assert await store.claim("you", 51.0, 20.0) == BATCH
    assert await store.renew(BATCH, "me", 99.0) is None


async def test_what_is_over_stays_over(database: Database) -> None:
    store = BatchStore(database)
    await store.add(BATCH, 5)
    begun = await store.turn(BATCH, "in_progress", 110, total=3)
    assert begun == replace(BATCH, status="in_progress", in_progress_at=110, total=3)
    await store.turn(BATCH, "cancelling", 120)
    assert await store.turn(BATCH, "in_progress", 130) is None
    trouble = LineTrouble("c", "m", 3, "p")
    over = await store.turn(BATCH, "cancelled", 140, output_file="o", troubles=(trouble,))
    assert over is not None
    assert (over.status, over.cancelled_at, over.output_file, over.troubles) == ("cancelled", 140, "o", (trouble,))
    assert await store.turn(BATCH, "cancelling", 150) is None
    assert await store.claim("me", 10.0, 20.0) is None
    assert await store.find("w", "b1") == over


async def test_lists_and_bounds(database: Database) -> None:
    store = BatchStore(database)
    for number in range(3):
        made = replace(BATCH, id=f"b{number}", created_at=100 + number, input_file=f"f{number}")
        assert await store.add(made, 3)
    assert not await store.add(replace(BATCH, id="b9"), 3)
    assert await store.add(replace(BATCH, id="b9", workspace="v"), 3)

    async def ids(limit: int = 9, **wish: object) -> list[str]:
        found = await store.page("w", limit, Wish(**wish))  # type: ignore[arg-type]
        assert found is not None
        return [batch.id for batch in found[0]]

    assert await ids() == ["b2", "b1", "b0"]
    assert await ids(after="b1") == ["b0"]
    assert await ids(input_files=("f0", "f2")) == ["b2", "b0"]
    assert await ids(since=101, until=101) == ["b1"]
    assert await ids(named="n") == ["b2", "b1", "b0"]
    assert await ids(named="m") == []
    assert await ids(statuses=("failed",)) == []
    assert await store.page("w", 9, Wish(after="none")) is None
    page = await store.page("w", 2, Wish())
    assert page is not None
    assert page[1]
