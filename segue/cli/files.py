"""`segue file`: hand files to a running server, list, look at and delete them, as any client of its API does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column, Table

from segue.cli.terminal import KeyOption, Stop, err, out, say
from segue.config import URL_VARIABLE

if TYPE_CHECKING:
    from segue.cli.filing import Entry, Remote

_LOOK_S = 0.5

commands = typer.Typer(help="The files of a running server.", no_args_is_help=True)

UrlOption = Annotated[
    str, typer.Option("--url", envvar=URL_VARIABLE, help="The server.", show_default=True, show_envvar=True)
]
HERE = "http://127.0.0.1:8000"


@commands.command("add")
def add_files(
    files: Annotated[list[Path], typer.Argument(help="The files.", exists=True, dir_okay=False)],
    purpose: Annotated[str, typer.Option(help="file-extract, or batch.")] = "file-extract",
    wait: Annotated[bool, typer.Option(help="Wait until they have been read.")] = True,
    url: UrlOption = HERE,
    key: KeyOption = "",
) -> None:
    """Upload files.  Their ids go to standard output, in the order they were named."""
    with _files(url, key) as server, ExitStack() as stack:
        shown = stack.enter_context(bars())
        ids = []
        for path in files:
            ids.append(uploaded(server, path, purpose, shown))
            out().print(ids[-1], markup=False)
        troubled = 0
        if wait:
            for id, path in zip(ids, files, strict=True):
                entry = awaited(server, id, path.name, shown)
                if entry.status == "error":
                    say(f"{path.name}: {entry.trouble}")
                    troubled += 1
    if troubled:
        raise Stop(f"{troubled} of {len(ids)} files could not be read")


@commands.command("list")
def list_files(url: UrlOption = HERE, key: KeyOption = "") -> None:
    """Every file, newest first."""
    table = Table(Column("id", no_wrap=True), "bytes", "status", "created (UTC+8)", "name", box=None, pad_edge=False)
    with _files(url, key) as server:
        for entry in server.every():
            table.add_row(entry.file_id, f"{entry.size:,}", _state(entry), entry.gmt_create, entry.name)
    out().print(table)


@commands.command("show")
def show_file(id: Annotated[str, typer.Argument(help="Its id.")], url: UrlOption = HERE, key: KeyOption = "") -> None:
    """What is known of a file."""
    with _files(url, key) as server:
        entry = server.show(id)
    rows = {
        "id": entry.file_id,
        "name": entry.name,
        "bytes": f"{entry.size:,}",
        "purpose": entry.purpose,
        "status": _state(entry),
        "created (UTC+8)": entry.gmt_create,
        "md5 (base64)": entry.md5,
        "description": entry.description,
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    out().print(table)


@commands.command("rm")
def remove_files(
    ids: Annotated[list[str], typer.Argument(help="Their ids.")], url: UrlOption = HERE, key: KeyOption = ""
) -> None:
    """Delete files."""
    with _files(url, key) as server:
        for id in ids:
            server.remove(id)
            say(f"{id} deleted")


@contextmanager
def _files(url: str, key: str) -> Iterator[Remote]:
    from segue.cli.filing import remote  # here, since an HTTP client is slow to import

    with remote(url, key) as files:
        yield files


def _state(entry: Entry) -> str:
    if entry.status == "processing":
        return f"processing {entry.progress:.0%}"
    return f"error: {entry.trouble}" if entry.trouble else entry.status


@contextmanager
def bars() -> Iterator[Progress | None]:
    """Bars where there is a terminal."""
    if not err().is_terminal:
        yield None
        return
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, DownloadColumn(), console=err(), transient=True) as progress:
        yield progress


class _Told:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, bars: Progress, task: TaskID) -> None:
        self._file = file
        self._bars = bars
        self._task = task

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._bars.advance(self._task, len(data))
        return data

    def fileno(self) -> int:
        """Its descriptor: httpx asks it for the length."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Begin elsewhere: httpx does before it sends."""
        return self._file.seek(offset, whence)


def uploaded(server: Remote, path: Path, purpose: str, shown: Progress | None) -> str:
    """Upload a file; its id.  Raises Stop."""
    try:
        with path.open("rb") as file:
            sent: BinaryIO = file
            if shown is not None:
                task = shown.add_task("uploading", total=path.stat().st_size, name=path.name)
                sent = cast(BinaryIO, _Told(file, shown, task))
            id = server.add(path.name, sent, purpose)
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}") from error
    if shown is not None:
        shown.remove_task(task)
    return id


def awaited(server: Remote, id: str, name: str, shown: Progress | None) -> Entry:
    """The file, once it has been read or cannot be."""
    task = None if shown is None else shown.add_task("reading", total=1.0, name=name)
    while (entry := server.show(id)).status == "processing":
        if shown is not None and task is not None:
            shown.update(task, completed=entry.progress)
        time.sleep(_LOOK_S)
    if shown is not None and task is not None:
        shown.remove_task(task)
    return entry
