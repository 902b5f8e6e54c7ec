"""Builds the index of a text in a process of its own, which takes its memory along when it ends.

Law: the process is gone before `indexed` returns or raises, also when the caller leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from segue.core.documents import Part
from segue.files.artefacts import parts_to

_SAID_BYTES_MAX = 500
_NICE = 10


class IndexFailed(Exception):
    """The process ended with another status than 0; the message has the end of what it said."""


async def indexed(module: str, text: Path, parts: Sequence[Part], out: Path, wait_s: float) -> None:
    """Run `python -m MODULE TEXT OUT < PARTS`.  Raises IndexFailed, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, str(text), str(out)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    with contextlib.suppress(OSError):  # it is done in the background
        os.setpriority(os.PRIO_PROCESS, process.pid, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    try:
        async with asyncio.timeout(wait_s):
            _, said = await process.communicate(parts_to(parts))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise IndexFailed(f"status {process.returncode}: {said[-_SAID_BYTES_MAX:].decode('utf-8', 'replace')}")
