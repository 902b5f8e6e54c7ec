"""A real PostgreSQL server for the tests: Debian's package, in a folder of its own, on a free port.

It refuses to run as root, so then it runs as the user `postgres` that the package makes.  It does not wait for the
disk: a server that is killed loses nothing by that, only a machine that is.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

_START_S = 60.0
_INSTALL_S = 120.0
_USER = "postgres"
_numbers = count()


class Unavailable(Exception):
    """There is no server to be had here.  The message says why."""


class Server:
    """A server that can be stopped, killed and started again."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make its data folder."""
        options = ["-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(_as_user([str(self._programs / "initdb"), *options]), check=True, capture_output=True)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        settings = ["-F", "-p", str(self._port), "-h", "127.0.0.1", "-k", "", "-c", "max_connections=200"]
        words = [str(self._programs / "postgres"), "-D", str(self._data), *settings]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(_as_user(words), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(self._log.read_text(errors="replace")[-2000:]) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it at once, but in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a machine would: every process of it, in the middle of whatever it does."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, how)
            process.wait(_START_S)

    def url(self, name: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/{name}"

    def database(self) -> str:
        """The URL of a new, empty one."""
        name = f"test{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextmanager
def served() -> Iterator[Server]:
    """A server that runs.  Raises Unavailable."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="segue-postgres-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(folder, _USER)
    server = Server(programs, folder, free_port())
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where initdb and postgres are; installed first where that can be done."""
    for attempt in range(2):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
        named = shutil.which("initdb")
        if found or named:
            return found[-1].parent if found else Path(named or "").resolve().parent
        if attempt or os.getuid() or shutil.which("apt-get") is None:
            raise Unavailable("PostgreSQL is not installed; on Debian and Ubuntu: apt-get install postgresql")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        words = ["apt-get", "install", "-y", "-qq", "postgresql"]
        try:
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, timeout=_INSTALL_S, env=environment)
            subprocess.run(words, check=True, capture_output=True, timeout=_INSTALL_S, env=environment)
        except (subprocess.SubprocessError, OSError) as error:
            raise Unavailable(f"PostgreSQL cannot be installed: {error}") from error
    raise AssertionError


def _version(path: Path) -> float:
    return float(path.parts[-3])


def _as_user(words: Sequence[str]) -> list[str]:
    return (
        ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups", *words] if os.getuid() == 0 else [*words]
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
