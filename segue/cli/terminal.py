"""What a person at a terminal sees: two consoles, expected failures, a bar while a file comes.

Laws: what is asked for goes to standard output, everything about it to standard error; colour and
moving bars only where there is a terminal; an expected failure is a sentence and an exit status,
never a trace.
"""

from __future__ import annotations

import os
import sys
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
from segue.config import URL_VARIABLE, Settings

_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: segue.toml, where there is one.")
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar=URL_VARIABLE, help="Ask this server, e.g. http://127.0.0.1:8000.", show_envvar=True),
]
KeyOption = Annotated[
    str, typer.Option("--key", envvar="DASHSCOPE_API_KEY", help="A key of the server's.", show_envvar=True)
]


class Stop(Exception):
    """End the command: `message` for standard error, `status` for the shell."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def plain() -> bool:
    """Does the user want neither colour nor bold?  https://no-color.org, and terminals that can do neither."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def out() -> Console:
    """For what was asked for."""
    return Console(highlight=False, soft_wrap=True, color_system=None if plain() else "auto")


def err() -> Console:
    """For everything about it."""
    return Console(stderr=True, highlight=False, soft_wrap=True, color_system=None if plain() else "auto")


def write(text: str, dim: bool = False) -> None:
    """To standard output as UTF-8, whatever the locale says, and at once.  To the letter, but that a terminal is not
    given what would steer it: a model, or a document that it has read, may say anything."""
    if sys.stdout.isatty():
        text = harmless(text)
        text = f"\x1b[2m{text}\x1b[0m" if dim and not plain() else text
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def harmless(text: str) -> str:
    """The text with pictures of its control characters, but for tab and newline."""
    return text.translate(_PICTURES)


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
