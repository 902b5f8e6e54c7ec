"""The composition root's part for batches: who answers them, over which door, at what pace.

Law: nothing here decides; it passes settings to where they are kept and functions to where they are called.
"""

from __future__ import annotations

import time

from segue.batches.clerk import Answered, Clerk, Habits
from segue.batches.lines import LineLimits
from segue.catalogue.read import Names
from segue.config import Files
from segue.core.batches import Batch
from segue.core.errors import ModelUnknown
from segue.engine.house import House
from segue.files.archive import Archive
from segue.pipeline import Job
from segue.store.batching import BatchStore
from segue.wire.http import Door
from segue.wire.openai import batches


def clerk_of(files: Files, house: House, names: Names, door: Door[Job], store: BatchStore, archive: Archive) -> Clerk:
    """Who answers batches, not yet at work."""

    async def ask(batch: Batch, body: bytes) -> Answered:
        return Answered(*await batches.answered(door, batch, body))

    async def busy() -> int:
        return sum(each.running + each.waiting for each in (await house.health()).values())

    def known(name: str) -> bool:
        try:
            return bool(names.resolve(name))
        except ModelUnknown:
            return False

    habits = Habits(
        at_a_time=files.batch_running_max,
        lease_s=files.batch_lease_s,
        open_max=files.batch_open_max,
        lines=LineLimits(files.batch_lines_max, files.batch_line_bytes_max),
    )
    return Clerk(store, archive.desk, ask, busy, known, habits, time.time)
