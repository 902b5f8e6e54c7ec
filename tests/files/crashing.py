"""Processes that work on an archive and are killed: one at any moment, one at a certain change of what is on the disk.

What it has been promised, it writes down: a line for each file that was taken in, and for each that was deleted.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from segue.core.documents import Document, Part
from segue.core.errors import FileAbsent
from segue.files.desk import Arriving
from segue.store.database import Rows
from segue.store.sqlite import SqliteDatabase
from tests.files.archives import Reader, opened, paced, settled, swept, uploaded

P = ParamSpec("P")
T = TypeVar("T")

CONTENTS = [f"content number {number}\n".encode() * (1 + number * 40) for number in range(12)]


class Sleepy(Reader):
    """Takes its time with every step, so that a kill may come in any of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    async def _nap(self) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.002, 0.02)))

    async def parse(self, path: Path, name: str, progress: Callable[[int, int], None]) -> Document:
        await self._nap()
        return await super().parse(path, name, progress)

    async def count(self, path: Path) -> int:
        await self._nap()
        return await super().count(path)

    async def index(self, text: Path, parts: Sequence[Part], out: Path) -> None:
        await super().index(text, parts, out)
        await self._nap()


def work(root: str, notes: str, seed: int) -> None:
    """Upload, read, ask and delete, for ever."""
    asyncio.run(_work(Path(root), notes, random.Random(seed)))


def step(root: str, notes: str, at: int) -> None:
    """Upload a file, have it read, delete it; killed at change number `at`, if it comes to that."""
    changes = 0

    def burn() -> None:
        nonlocal changes
        changes += 1
        if changes == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def fused(does: Callable[P, T]) -> Callable[P, T]:
        def done(*arguments: P.args, **named: P.kwargs) -> T:
            burn()
            result = does(*arguments, **named)
            burn()
            return result

        return done

    async def changed(self: SqliteDatabase, act: Callable[[Rows], T], within: str = "") -> T:
        burn()
        result = await unfused(self, act, within)
        burn()
        return result

    unfused = SqliteDatabase.change
    SqliteDatabase.change = changed  # type: ignore[method-assign]
    Path.replace = fused(Path.replace)  # type: ignore[method-assign]
    Path.unlink = fused(Path.unlink)  # type: ignore[method-assign]
    Arriving.write = fused(Arriving.write)  # type: ignore[method-assign]
    asyncio.run(_step(Path(root), notes))


async def _step(root: Path, notes: str) -> None:
    note = _notes(notes)
    async with opened(root, bounds=paced(beat_s=5.0, look_s=5.0)) as archive:
        note("ready")
        file = await uploaded(archive.desk, CONTENTS[5], "5.txt")
        note(f"kept {file.id} 5")
        await settled(archive, file)
        note(f"removing {file.id}")
        await archive.desk.remove("w", file.id)
        note(f"removed {file.id}")
        await swept(root)


def _notes(path: str) -> Callable[[str], int]:
    promised = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return lambda line: os.write(promised, line.encode() + b"\n")


async def _work(root: Path, notes: str, chance: random.Random) -> None:
    note = _notes(notes)
    async with opened(root, Sleepy(chance.randrange(1000)), paced(at_a_time=3)) as archive:

        async def caller() -> None:
            while True:
                number = chance.randrange(len(CONTENTS))
                file = await uploaded(archive.desk, CONTENTS[number], f"{number}.txt")
                note(f"kept {file.id} {number}")
                await asyncio.sleep(chance.choice((0.0, 0.005)))
                files, _ = await archive.desk.numbered("w", 0, 100)
                if files and (len(files) > 30 or chance.random() < 0.4):
                    victim = chance.choice(files)
                    note(f"removing {victim.id}")
                    with suppress(FileAbsent):
                        await archive.desk.remove("w", victim.id)
                        note(f"removed {victim.id}")

        note("ready")
        await asyncio.gather(*(caller() for _ in range(3)))
