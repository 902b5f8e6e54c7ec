"""Counters of several processes: summed, never going back, shared engines once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from segue.core.usage import Entries
from segue.engine.base import Health
from segue.files.tally import Tally
from segue.metrics import text
from segue.numbers import KEEPER, Board, Numbers, Publishing
from segue.observe import Counters


def counted(finished: int, running: int = 0, files: bool = True) -> Numbers:
    made = Numbers(Counters(requests_finished=finished, seam_bound=finished / 4))
    for _ in range(finished):
        made.times.answer.add(0.3)
    if files:
        made.files = Tally(uploaded=finished)
        made.files.steps["parse"].add(0.2)
    made.engines = {
        "far": Health(True, running, failovers=finished),
        "near": Health(True, 9, steps=99, shared=True),
    }
    made.limited, made.entries = {"requests_per_minute": finished}, Entries(finished, 2, 1)
    return made


def test_sums(tmp_path: Path) -> None:
    first, second, keeper = (Board(tmp_path, name) for name in ("0", "1", KEEPER))
    second.publish(counted(5, 2))
    keeper.publish(Numbers(engines={"near": Health(True, 3, restarts=1, steps=40, shared=True)}))
    found = first.all(counted(2, 1))
    assert (found.counters.requests_finished, found.counters.seam_bound) == (7, 1.75)
    assert isinstance(found.counters.requests_finished, int)
    assert sum(found.times.answer.counts) == 7
    assert found.files is not None
    assert (found.files.uploaded, sum(found.files.steps["parse"].counts)) == (7, 2)
    assert (found.engines["far"].running, found.engines["far"].failovers) == (3, 7)
    assert found.limited == {"requests_per_minute": 7}
    assert found.entries == Entries(7, 4, 2)
    near = found.engines["near"]
    assert (near.running, near.steps, near.restarts) == (3, 40, 1), "once, by whoever keeps it"
    scraped = text(found.counters, found.times, found.engines, found.files).decode()
    assert "segue_requests_finished_total 7.0" in scraped


def test_who_takes_a_place_goes_on_counting(tmp_path: Path) -> None:
    board = Board(tmp_path, "0")
    board.publish(counted(5, 2))
    again = Board(tmp_path, "0")
    again.publish(counted(0))
    found = Board(tmp_path, "1").all(Numbers())
    assert found.counters.requests_finished == 5
    assert (found.engines["far"].running, found.engines["far"].failovers) == (0, 5), "nothing of it runs any more"
    assert found.entries == Entries(5, 2, 2), "what waits, waits in those that live"
    Board(tmp_path, "0").publish(counted(1, 1))
    assert Board(tmp_path, "1").all(Numbers()).counters.requests_finished == 6


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    for name, data in (("1", b""), ("2", b"\xc1"), ("3", b"\x80")):
        (tmp_path / f"{name}.numbers").write_bytes(data)
    assert Board(tmp_path, "0").all(counted(3)).counters.requests_finished == 3


async def test_the_last_is_written_down(tmp_path: Path) -> None:
    now = counted(1)

    async def count() -> Numbers:
        return now

    publishing = Publishing(Board(tmp_path, "0"), count)
    await publishing.open()
    now = counted(4)
    await asyncio.sleep(0)
    await publishing.close()
    await publishing.close()
    assert Board(tmp_path, "1").all(Numbers()).counters.requests_finished == 4
