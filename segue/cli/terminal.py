"""What a person at a terminal sees: two consoles, expected failures, a bar while a file comes.

Laws: what is asked for goes to standard output, everything about it to standard error; colour and
moving bars only where there is a terminal; an expected failure is a sentence and an exit status,
never a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from segue.catalogue.pull import CHECKING, Patience, Step, Tell, pull
from segue.catalogue.read import Entry
from segue.catalogue.shelf import Shelf
from segue.config import Settings

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: segue.toml, where there is one.")
]


class Stop(Exception):
    """End the command: `message` for standard error, `status` for the shell."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def out() -> Console:
    """For what was asked for."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """For everything about it."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """A line on standard error, as it is."""
    err().print(message, markup=False)


def patience(settings: Settings) -> Patience:
    """How long a fetch may wait for what."""
    models = settings.models
    return Patience(models.connect_s, models.read_s, models.piece_s, models.lock_s)


def fetched(entries: Sequence[Entry], settings: Settings) -> None:
    """Fetch what is missing of `entries`, with a bar.  Raises PullFailed."""
    shelf = Shelf(settings.models.dir)
    for entry in (file for each in entries for file in each.files):
        if shelf.present(entry):
            continue
        with _bar(entry) as tell:
            pull(entry, shelf, patience(settings), tell)
        say(f"{entry.name} is now at {shelf.path(entry)}")


@contextmanager
def _bar(entry: Entry) -> Iterator[Tell]:
    console = err()
    if not console.is_terminal:
        yield _spoken(entry)
        return
    columns = (
        TextColumn("{task.fields[model]}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=entry.bytes, model=entry.name)

        def tell(step: Step) -> None:
            progress.update(task, completed=step.done, description=step.doing)

        yield tell


def _spoken(entry: Entry) -> Tell:
    """Without a terminal: a line a source and a tenth of the file, not a moving bar."""
    said: set[tuple[str, int]] = set()

    def tell(step: Step) -> None:
        tenth = step.done * 10 // max(step.total, 1)
        what = (step.doing.split()[0], 0 if step.doing == CHECKING else tenth)
        if what not in said:
            said.add(what)
            say(f"{entry.name}: {tenth * 10} % ({step.doing})")

    return tell
