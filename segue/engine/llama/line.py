"""How a server gets to its engine process: it starts one of its own, or goes to one that several share.

Laws: the engine is its starter's child, and ends when nobody is left who has a line to it; a shared engine's door lies
in a folder that is nobody else's, and who is behind it must be a process of the same user; a process that is to be
killed is the very one that was spoken to, whatever number it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segue.engine.llama.parents import ours
from segue.engine.llama.spec import LlamaSpec, spec_to

DOOR_WAITING_MAX = 128


@dataclass(slots=True)
class Line:
    """A line to a process that may still be loading its model."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    process: Process | None = None
    """The process, where it is a child of this one."""
    _descriptor: int = -1

    def met(self, process: int) -> None:
        """It is ready, and this is its number."""
        if self.process is None and self._descriptor < 0 and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._descriptor = os.pidfd_open(process)

    def kill(self) -> None:
        """End the process, whatever it does; whoever started it starts another."""
        with contextlib.suppress(ProcessLookupError):
            if self.process is not None:
                self.process.kill()
            elif self._descriptor >= 0 and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def over(self) -> None:
        """Close it; return when a child has ended."""
        self.writer.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self.process is not None:
            await self.process.wait()


class Link(Protocol):
    """A way to an engine.  `own`: whoever goes it starts the process; `shared`: others go there too."""

    own: bool
    shared: bool

    async def open(self, spec: LlamaSpec) -> Line:
        """A line to the process of this spec.  Raises OSError."""
        ...


class Start:
    """Starts the process; with a `door`, for others too."""

    own = True

    def __init__(self, environment: Callable[[], dict[str, str]], door: socket.socket | None = None) -> None:
        self._environment, self._door = environment, door
        self.shared = door is not None

    async def open(self, spec: LlamaSpec) -> Line:
        """See `Link`."""
        ours_, theirs = socket.socketpair()
        descriptors = [theirs.fileno(), *([] if self._door is None else [self._door.fileno()])]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "segue.engine.llama.worker",
                *map(str, descriptors),
                pass_fds=descriptors,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                env=self._environment(),
            )
        except BaseException:
            ours_.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours_)
        assert process.stdin is not None
        process.stdin.write(spec_to(spec))
        process.stdin.close()
        return Line(reader, writer, process)


class Join:
    """Goes to the process behind the door at `path`."""

    own = False
    shared = True

    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self, spec: LlamaSpec) -> Line:
        """See `Link`."""
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.setblocking(False)
            await asyncio.get_running_loop().sock_connect(channel, str(self._path))
            if not ours(channel):
                raise PermissionError(f"{self._path} is somebody else's")
        except BaseException:
            channel.close()
            raise
        return Line(*await asyncio.open_connection(sock=channel))


def door(path: Path) -> socket.socket:
    """A door for `Start`, in a folder that is nobody else's.  Raises OSError."""
    if path.parent.stat().st_mode & 0o077:
        raise PermissionError(f"others can come into {path.parent}")
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(str(path))
        made.listen(DOOR_WAITING_MAX)
    except BaseException:
        made.close()
        raise
    return made
