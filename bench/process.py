"""Server processes under measurement: started on one processor, asked for their memory and time."""

from __future__ import annotations

import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KEY = "sk-bench"
START_S_MAX = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESSORS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
"""Ours before anything was pinned: whoever pins itself to one starts servers that are to have another."""


@contextmanager
def server(
    command: Sequence[str],
    port: int,
    ready: str,
    processor: int | None = None,
    env: Mapping[str, str] | None = None,
    start_s_max: float = START_S_MAX,
) -> Iterator[int]:
    """Run a server until the block ends; yields its process id once `ready` (a path) answers 200.

    It sees no settings of the user's: its working folder is empty and `SEGUE_*` is gone.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    clean |= {"PYTHONPATH": str(REPOSITORY), "SEGUE_API_KEY": KEY, **(env or {})}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        process = subprocess.Popen(command, cwd=folder, env=clean, stdout=log, stderr=log)
        try:
            if processor is not None:
                pin(process.pid, processor)
            try:
                _wait(process, port, ready, start_s_max)
            except OSError:
                log.seek(0)
                sys.stderr.write(log.read().decode("utf-8", "replace"))
                raise
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def segue(port: int, model: str, *flags: str) -> list[str]:
    """The command line of the real server."""
    return [sys.executable, "-m", "segue", "serve", "--no-pull", "--port", str(port), "--model", model, *flags]


def free_port() -> int:
    """A port nobody listens on just now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin(pid: int, processor: int) -> None:
    """Keep a process on one processor, where the system can and there are several."""
    if processor in _PROCESSORS and len(_PROCESSORS) > 1:
        os.sched_setaffinity(pid, {processor})


def files_allowed(count: int) -> None:
    """Let this process and its children hold `count` open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def resident_kib(pid: int) -> int:
    """Resident memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise OSError(f"process {pid} has no memory")


def cpu_s(pid: int) -> float:
    """Processor time used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """The process's own children (Linux)."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in found.split()]


def _wait(process: subprocess.Popen[bytes], port: int, path: str, start_s_max: float) -> None:
    end = time.monotonic() + start_s_max
    while time.monotonic() < end:
        if process.poll() is not None:
            raise OSError(f"the server ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise OSError(f"the server was not ready after {start_s_max:g} s")
