"""`segue doctor`: looks at everything a server needs here, and says what to do where it is not so."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import importlib.metadata
import os
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

import segue
from segue.app import blobs_of, database_of, database_path, names_of
from segue.catalogue.read import Entry
from segue.catalogue.shelf import Shelf
from segue.cli.office import moment_told
from segue.cli.terminal import ConfigOption, Stop, out
from segue.config import Settings
from segue.config_read import load
from segue.engine.llama.library import PINNED
from segue.store.base import StoreUnusable
from segue.store.migrations import STEPS
from segue.tenancy.takeover import read_file

_ENGINE_LIBRARY = "xllamacpp"
# Beside the model file: key-value cache and working memory of the default settings, roughly.
_MEMORY_SPARE_BYTES = 1_500_000_000
_CLOCK_SPARE_S = 3600.0
_CLOCKS_APART_S = 2.0
_SECRET_CHARACTERS_MIN = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at, how it is, and what to do."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str


def doctor(
    config: ConfigOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the check of the model file's hash out.")] = False,
) -> None:
    """Check this machine and these settings; say what to do about what is wrong."""
    settings = load(file=config)
    console, colours = out(), {"ok": "green", "warn": "yellow", "fail": "red"}
    failed = False
    for finding in findings(settings, quick):
        failed = failed or finding.state == "fail"
        console.print(f"[{colours[finding.state]}]{finding.state:5}[/]{finding.what:10}", end="")
        console.print(finding.text, markup=False)
    if failed:
        raise Stop("something must be mended first, see above")


def findings(settings: Settings, quick: bool) -> Iterator[Finding]:
    """Every finding, in the order they matter."""
    entries = names_of(settings).entries
    yield from (_python(), _openmp(), _library())
    yield _disk(settings, entries)
    yield _memory(entries)
    for entry in entries:
        for file in entry.files:
            yield _model(file, Shelf(settings.models.dir), quick)
    yield _port(settings)
    yield from _store(settings)
    yield _key(settings)
    yield _clock(settings)


def _python() -> Finding:
    return Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _openmp() -> Finding:
    if not sys.platform.startswith("linux"):
        return Finding("openmp", "ok", "comes with the engine's library here")
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        todo = "Debian and Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp"
        return Finding("openmp", "fail", f"libgomp.so.1 is missing; {todo}")
    return Finding("openmp", "ok", "libgomp.so.1")


def _library() -> Finding:
    try:
        found = importlib.metadata.version(_ENGINE_LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        return Finding("library", "fail", f"{_ENGINE_LIBRARY} is not installed; install segue again")
    if found != PINNED:
        text = f"{_ENGINE_LIBRARY} {found}; {PINNED} is needed: pip install {_ENGINE_LIBRARY}=={PINNED}"
        return Finding("library", "fail", text)
    return Finding("library", "ok", f"{_ENGINE_LIBRARY} {found}")


def _disk(settings: Settings, entries: tuple[Entry, ...]) -> Finding:
    shelf = Shelf(settings.models.dir)
    missing = sum(file.bytes for entry in entries for file in entry.files if not shelf.present(file))
    folder = shelf.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free at {folder}, {missing / 1e9:.1f} GB to fetch"
    if free < missing:
        return Finding("disk", "fail", f"{text}; free some, or set SEGUE_MODELS_DIR")
    return Finding("disk", "ok", text)


def _memory(entries: tuple[Entry, ...]) -> Finding:
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    embedded = [entry for entry in entries if entry.engine == "llama"]
    need = sum(file.bytes for entry in embedded for file in entry.files) + _MEMORY_SPARE_BYTES * len(embedded)
    text = f"{have / 1e9:.1f} GB, about {need / 1e9:.1f} GB needed"
    if have < need:
        return Finding("memory", "warn", f"{text}; lower SEGUE_ENGINE_KV_TOKENS, or serve a smaller model")
    return Finding("memory", "ok", text)


def _model(entry: Entry, shelf: Shelf, quick: bool) -> Finding:
    if not entry.file:
        return Finding("model", "ok", f"{entry.name} needs no file")
    path = shelf.path(entry)
    if not shelf.present(entry):
        if path.exists():
            text = f"{path} is {path.stat().st_size:,} bytes, not {entry.bytes:,}"
            return Finding("model", "fail", f"{text}; segue models rm {entry.name}, then pull it again")
        if not (entry.hubs or entry.pieces):
            return Finding("model", "fail", f"{path} is not there; put the file there")
        return Finding("model", "warn", f"{entry.name} is not here yet; segue models pull {entry.name}")
    if quick or not entry.sha256:
        return Finding("model", "ok", f"{path}, hash not checked")
    if not shelf.intact(entry):
        todo = f"segue models rm {entry.name}, then pull it again"
        return Finding("model", "fail", f"{path} has another SHA-256 than the catalogue; {todo}")
    return Finding("model", "ok", f"{path}, hash right")


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        todo = "a server runs there already, or choose another with --port" if taken else "choose another --host"
        return Finding("port", "warn" if taken else "fail", f"{host}:{port}: {error.strerror or error}; {todo}")
    return Finding("port", "ok", f"{host}:{port} is free")


def _store(settings: Settings) -> Iterator[Finding]:
    try:
        database = database_of(settings)
        yield Finding("store", "ok", asyncio.run(database.look())) if settings.store.url else _rows(settings)
        if settings.files.enabled:
            yield Finding("files", "ok", blobs_of(settings, database).look())
    except StoreUnusable as error:
        yield Finding("store", "fail", str(error))


def _key(settings: Settings) -> Finding:
    if settings.auth.api_key:
        return Finding("key", "ok", "set by hand (auth.api_key)")
    if settings.auth.admin_key and len(settings.auth.admin_key) < _SECRET_CHARACTERS_MIN:
        return Finding("key", "warn", "auth.admin_key can be guessed; take one of `openssl rand -hex 24`")
    old = settings.auth.keys_file
    if old.exists():
        try:
            read_file(old)
        except StoreUnusable as error:
            return Finding("key", "fail", str(error))
        if _open_to_others(old):
            return Finding("key", "warn", f"{old} can be read by others; chmod 600 it")
        return Finding("key", "ok", f"those of {old} are taken into the store at the next start")
    if settings.store.url:
        return Finding("key", "ok", "those of the database; `segue key list`")
    try:
        found = _asked(settings, "SELECT count(*) FROM keys WHERE revoked_at IS NULL")
    except sqlite3.Error:  # `_rows` says what is wrong with it
        found = None
    if not found:
        return Finding("key", "ok", "none yet; the first start makes one and shows it")
    return Finding("key", "ok", f"{found} in the store; `segue key list`")


def _rows(settings: Settings) -> Finding:
    """Looked at, never made: what a doctor made would not be the server's."""
    path = database_path(settings)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("store", "fail", f"{folder} cannot be written to; set SEGUE_FILES_DIR, or chown it")
    if not path.exists():
        return Finding("store", "ok", f"{path} is made at the first start")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding("store", "fail", f"{path} cannot be written to; it belongs to another user: chown it")
    try:
        version = _asked(settings, "PRAGMA user_version") or 0
        damage = sqlite_damage(path)
    except sqlite3.Error as error:
        return Finding("store", "fail", f"{path} cannot be read: {error}")
    if damage:
        return Finding("store", "fail", f"{path} is damaged ({damage}); put a backup in its place")
    if version > len(STEPS):
        return Finding("store", "fail", f"{path} is from a later version of Segue; install that one again")
    if _open_to_others(path):
        return Finding("store", "warn", f"{path} can be read by others; chmod 600 it")
    return Finding("store", "ok", f"{path}, tables of version {version}")


def _clock(settings: Settings) -> Finding:
    """A clock that stands before what has already happened ends keys at the wrong time, and so does one that is not
    that of the other servers: the database's tells."""
    now, installed = time.time(), Path(segue.__file__).stat().st_mtime
    ahead = acted = 0.0
    # What is wrong with the store itself, `_store` says.
    with contextlib.suppress(sqlite3.Error, StoreUnusable):
        if settings.store.url:
            ahead, acted = _clock_there(settings.store.url)
        else:
            acted = _asked(settings, "SELECT cast(coalesce(max(at), 0) AS INTEGER) FROM acts") or 0
    latest = max(installed, acted)
    if now < latest - _CLOCK_SPARE_S:
        text = f"it says {moment_told(now)} UTC, and {moment_told(latest)} has been; set it, or keys end at wrong times"
        return Finding("clock", "fail", text)
    if abs(ahead) > _CLOCKS_APART_S:
        text = f"{abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} the database's; have both keep it (NTP)"
        return Finding("clock", "warn", f"{text}: keys end, and records are dated, by each server's own")
    return Finding("clock", "ok", f"{moment_told(now)} UTC")


def _clock_there(url: str) -> tuple[float, float]:
    """See `PostgresDatabase.clock`.  Raises StoreUnusable."""
    try:
        from segue.store.postgres import PostgresDatabase
    except ImportError as error:
        raise StoreUnusable(str(error)) from error
    return asyncio.run(PostgresDatabase(url).clock())


def _asked(settings: Settings, sql: str) -> int | None:
    """What a question to the store gives, where there is one.  Raises sqlite3.Error."""
    path = database_path(settings)
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        row = connection.execute(sql).fetchone()
        return None if row is None else int(row[0])


def sqlite_damage(path: Path) -> str:
    """What SQLite finds wrong with its file; "" for nothing.  Raises sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if found == "ok" else found


def _open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
