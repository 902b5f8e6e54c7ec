"""Starts the process that shuts itself in the cage, and sees to it that it ends: the server's side.

Laws: it is given one open file and arguments, and nothing of the server's environment; it is the first to wait where
the machine is busy; once `killed` returns it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import segue

_ROOT = str(Path(segue.__file__).resolve().parent.parent)
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",  # each arena of a thread takes 64 MiB of the address space that is limited
    "OMP_WAIT_POLICY": "passive",
}
_NICE = 10
_DRAIN_BYTES = 1 << 20


def entry(module: str) -> str:
    """What the process runs: `main` of a module of ours.  -I keeps the environment's and the user's Python paths out,
    so the place of this package is an argument."""
    return f"import sys; sys.path.append(sys.argv[1]); from {module} import main; sys.exit(main(sys.argv[2:]))"


async def started(code: str, arguments: tuple[str, ...], file: int, nice: int = _NICE) -> asyncio.subprocess.Process:
    """A process whose standard input is the open `file`.  Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-B", "-c", code, _ROOT, *arguments),
        stdin=file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
    )
    with contextlib.suppress(OSError):  # answers come first; it may have ended, or be nicer already
        os.setpriority(os.PRIO_PROCESS, process.pid, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    return process


async def killed(process: asyncio.subprocess.Process) -> int:
    """Its status, when it is surely gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.stdout is not None
    while await process.stdout.read(_DRAIN_BYTES):
        """asyncio takes no process for ended whose pipe is full, and reads no further while nobody does."""
    return await process.wait()
