"""Reads one file in one process that is killed for it: the server's side.

Laws: no byte of a file is looked at in the server; a file can end its own process and nothing else; what the process
says is bounded in time and in bytes; the process is gone before `parse` returns, also when the caller leaves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import assert_never

from segue.caged.process import entry, killed, started
from segue.core.documents import Document, Part
from segue.files.parsing import frames
from segue.files.parsing.limits import ParseLimits, limits_to
from segue.files.parsing.unreadable import Unreadable

log = logging.getLogger("segue.files")

Progress = Callable[[int, int], None]

_START = entry("segue.files.parsing.child")
_EXTENSION_CHARS_MAX = 16
# Frames that carry no text, for a file of the largest number of pages and parts, and room to spare.
_OVERHEAD_BYTES = 64 << 20


class Parser:
    """Gives the text of files.  It has no state but for what it has warned of; any number may be read at a time."""

    def __init__(self, limits: ParseLimits | None = None) -> None:
        self._limits = limits or ParseLimits()
        self._warned = False

    async def parse(self, path: Path, name: str, progress: Progress | None = None) -> Document:
        """The text of the file at `path`, which its owner calls `name`.

        `progress` is told how many pages of how many are done.  Raises Unreadable.  An OSError is the server's own
        trouble: the file is not there, or no process can be started.
        """
        process = await self._start(path, name)
        hearing = _Hearing(self._limits, progress or _ignore)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._limits.wall_s) as clock:
                hearing.longer = lambda: clock.reschedule(_now() + self._limits.ocr_wall_s)
                await hearing.hear(process.stdout)
                status = await process.wait()
        except TimeoutError:
            raise Unreadable("timeout", "the wall clock") from None
        except (ValueError, asyncio.IncompleteReadError) as error:
            # Half a frame is what a killed process leaves; anything else is a process that is no longer ours.
            status = await killed(process)
            raise _died(status) from error
        finally:
            await killed(process)
        self._warn(hearing.open)
        return hearing.document(status)

    async def _start(self, path: Path, name: str) -> asyncio.subprocess.Process:
        extension = PurePath(name).suffix[1:].lower()[:_EXTENSION_CHARS_MAX]
        blob = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await started(_START, (limits_to(self._limits), extension), blob)
        finally:
            os.close(blob)

    def _warn(self, walls: list[str]) -> None:
        if walls and not self._warned:
            self._warned = True
            log.warning("files are read without %s, which this system does not allow", ", ".join(walls))


class _Hearing:
    """What the process has said so far."""

    def __init__(self, limits: ParseLimits, progress: Progress) -> None:
        self._limits = limits
        self._progress = progress
        self._pieces: list[str] = []
        self._parts: list[Part] = []
        self._at = self._heard = 0
        self._end: frames.Done | frames.Failed | None = None
        self.open: list[str] = []
        self.longer: Callable[[], None] = lambda: None

    async def hear(self, pipe: asyncio.StreamReader) -> None:
        """Until the process has closed the pipe.  Raises ValueError or IncompleteReadError when it says nonsense."""
        while True:
            try:
                head = await pipe.readexactly(frames.HEAD_BYTES)
            except asyncio.IncompleteReadError as ended:
                if ended.partial:
                    raise
                return
            body = await pipe.readexactly(frames.length(head))
            self._heard += len(body)
            if self._heard > self._limits.text_bytes_max + _OVERHEAD_BYTES:
                raise ValueError("more than it may say")
            self._take(frames.unpack(body))

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Text():
                self._pieces.append(frame.text)
                self._at += len(frame.text.encode())
            case frames.Part():
                self._part(frame.label)
            case frames.Progress():
                self._progress(frame.done, frame.total)
            case frames.Recognising():
                self.longer()
            case frames.Caged():
                self.open = frame.open
            case frames.Done() | frames.Failed():
                self._end = frame
            case _:
                assert_never(frame)

    def _part(self, label: str) -> None:
        """What stands before the first part with a name is a part without one."""
        if len(self._parts) >= self._limits.parts_max:
            raise ValueError("more parts than it may name")
        if not self._parts and self._at:
            self._parts.append(Part(0, ""))
        self._parts.append(Part(self._at, label))

    def document(self, status: int) -> Document:
        """What it all came to.  Raises Unreadable."""
        if isinstance(self._end, frames.Failed):
            raise Unreadable(self._end.trouble, self._end.detail)
        if self._end is None or status != 0:
            raise _died(status)
        return Document("".join(self._pieces), tuple(self._parts) or (Part(0, ""),), self._end.pages)


def _died(status: int) -> Unreadable:
    """How a process that said no last word ended.  SIGXCPU: its processor time was over."""
    if status == -signal.SIGXCPU:
        return Unreadable("timeout", "processor time")
    return Unreadable("parse", f"signal {-status}" if status < 0 else f"status {status}")


def _ignore(done: int, total: int) -> None:
    """Nobody wants to know."""


def _now() -> float:
    return asyncio.get_running_loop().time()
