"""Records behind the requests: none lost on a stop, none lost by a kill, none twice, whatever the database does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from segue.core.usage import Entries, Record, Scope, Spent
from segue.store import clerk as clerks
from segue.store import journal
from segue.store.clerk import Clerk
from segue.store.database import Database
from segue.store.journal import PATTERN, Segment
from segue.store.ledger import Entered, Ledger

from .test_ledger import NOON, record


class Moody(Ledger):
    """A ledger that can be out of order, and notes how large batches were."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.broken = False
        self.batches: list[int] = []

    async def enter(self, records: Sequence[Record], month: str = "", scopes: Sequence[Scope] = ()) -> Entered:
        if self.broken:
            raise OSError("no database")
        self.batches.append(len(records))
        return await super().enter(records, month, scopes)


class Watcher:
    """Watches one key."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Mapping[Scope, Spent]]] = []

    def watched(self) -> Sequence[Scope]:
        return [Scope("key", "key-1")]

    def stale(self) -> bool:
        return False

    def settled(self, entered: Sequence[Record], spent: Mapping[Scope, Spent]) -> None:
        self.told.append((len(entered), spent))


def files(folder: Path) -> list[int]:
    """How large the journal's files are."""
    return [path.stat().st_size for path in folder.glob(PATTERN)]


async def ids(ledger: Ledger) -> list[str]:
    return sorted(each.id for each in await ledger.records(limit=100_000))


async def test_a_stop_enters_everything(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    for number in range(50):
        clerk.enter(record(f"{number:02}"))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await clerk.close()
    assert await ids(ledger) == [f"{number:02}" for number in range(50)]
    assert not files(tmp_path), "nothing is left behind"


async def test_records_are_entered_behind_in_batches(database: Database, tmp_path: Path) -> None:
    ledger = Moody(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    for number in range(300):
        clerk.enter(record(str(number)))
        await asyncio.sleep(0.001)
    await asyncio.sleep(clerks.BEHIND_S * 2)
    assert clerk.behind == 0
    assert len(ledger.batches) < 20
    assert not sum(files(tmp_path)), "the journal has done its duty"
    await clerk.close()


async def test_while_the_database_is_away_records_wait(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clerks, "AGAIN_S", 0.05)
    monkeypatch.setattr(clerks, "QUEUE_MAX", 10)
    ledger = Moody(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    ledger.broken = True
    for number in range(40):
        clerk.enter(record(f"{number:02}"))
        await asyncio.sleep(0.01)
    assert clerk.behind <= 10, "memory has its bound; the rest is in the journal"
    assert clerk.entries == Entries(0, 40, 0)
    ledger.broken = False
    async with asyncio.timeout(20):
        while await ids(ledger) != [f"{number:02}" for number in range(40)]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [line.requests for line in await ledger.summary("day")] == [40]
    assert clerk.entries == Entries(40, 0, 0)
    assert sum("cannot be entered" in entry.message for entry in caplog.records) == 1
    await clerk.close()


async def test_what_cannot_be_entered_at_a_stop_is_entered_at_the_next_start(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Moody(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    clerk.enter(record("a"))
    ledger.broken = True
    await clerk.close()
    assert len(files(tmp_path)) == 1
    ledger.broken = False
    again = Clerk(ledger, tmp_path)
    with caplog.at_level(logging.WARNING):
        await again.open()
    assert await ids(ledger) == ["a"]
    assert "1 records of use: 1 were new, 0 unreadable" in caplog.text
    await again.close()


async def test_files_of_servers_that_live_are_left_alone(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    other = Segment(tmp_path)
    other.write([record("theirs")])
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    assert await ids(ledger) == []
    other.close(remove=False)
    await clerk.close()
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    assert await ids(ledger) == ["theirs"]
    await clerk.close()


async def test_a_line_that_was_cut_off_is_counted_and_the_others_are_read(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = Segment(tmp_path)
    segment.write([record("a"), record("b"), record("c")])
    segment.close(remove=False)
    data = segment.path.read_bytes()
    lines = data.split(b"\n")
    segment.path.write_bytes(b"\n".join([lines[0], lines[1][:-3] + b"xyz", b"", b"\xff\x00", lines[2][:-5]]))
    ledger = Ledger(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    assert await ids(ledger) == ["a"]
    assert "4 unreadable" in caplog.text
    assert clerk.entries == Entries(1, 0, 4)
    await clerk.close()


async def test_the_journal_does_not_grow_while_the_load_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ROTATE_BYTES", 2000)
    monkeypatch.setattr(clerks, "BEHIND_S", 0.02)
    clerk = Clerk(Ledger(database), tmp_path)
    await clerk.open()
    most = 0
    for number in range(600):
        clerk.enter(record(str(number)))
        await asyncio.sleep(0.001)
        most = max(most, sum(files(tmp_path)))
    assert most < 40_000
    await clerk.close()
    assert len(await ids(Ledger(database))) == 600


async def test_whoever_watches_is_told_with_each_batch(database: Database, tmp_path: Path) -> None:
    watcher = Watcher()
    clerk = Clerk(Ledger(database), tmp_path, watcher, clock=lambda: float(NOON))
    await clerk.open()
    clerk.enter(record("a"))
    await clerk.settle()
    assert watcher.told == [(1, {Scope("key", "key-1"): Spent(15, 100)})]
    await clerk.close()


async def test_a_folder_that_cannot_be_written_is_told_once_and_harms_nothing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    clerk = Clerk(Ledger(database), tmp_path / "file" / "below")
    await clerk.open()
    for number in range(3):
        clerk.enter(record(str(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await clerk.close()
    assert await ids(Ledger(database)) == ["0", "1", "2"]
    assert sum("cannot be put down" in entry.message for entry in caplog.records) == 1


async def test_old_records_are_removed_by_and_by(database: Database, tmp_path: Path) -> None:
    ledger = Ledger(database)
    await ledger.enter([record("old", at=NOON - 10 * 86400), record("new")])
    clerk = Clerk(ledger, tmp_path, kept_days=2, clock=lambda: float(NOON))
    await clerk.open()
    await asyncio.sleep(clerks.BEHIND_S * 2)
    await clerk.close()
    assert await ids(ledger) == ["new"]


KILLED = """
import asyncio, sys
from pathlib import Path
from segue.store.clerk import Clerk
from segue.store.ledger import Ledger
from segue.store.sqlite import SqliteDatabase
from tests.store.test_ledger import record

async def main(folder):
    database = SqliteDatabase(folder / "segue.sqlite")
    await database.open()
    clerk = Clerk(Ledger(database), folder)
    await clerk.open()
    for number in range(100_000):
        clerk.enter(record(str(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        print(number, flush=True)
        await asyncio.sleep(0.0005)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("after", [30, 700])
async def test_after_a_kill_no_record_is_lost_and_none_is_twice(after: int, tmp_path: Path) -> None:
    from segue.store.sqlite import SqliteDatabase

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = -1
    while said < after:
        said = int(await process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    whole = rest.rpartition(b"\n")[0].split()
    said = int(whole[-1]) if whole else said
    database = SqliteDatabase(tmp_path / "segue.sqlite")
    await database.open()
    ledger = Ledger(database)
    clerk = Clerk(ledger, tmp_path)
    await clerk.open()
    found = sorted(map(int, await ids(ledger)))
    assert found == list(range(len(found))), "no gap, nothing twice"
    assert said + 1 <= len(found) <= said + 2
    assert [line.requests for line in await ledger.summary("day")] == [len(found)]
    await clerk.close()
    await database.close()
