"""Several processes that serve on one port over one engine: started, watched, told, ended.

    segue serve --workers N      holds the port, keeps the engines, watches N processes
      segue serve-member         serves, as `segue serve` does alone; asks the engine that all share
      segue.engine.llama.worker  the engine, one a model

Laws: the port is taken once, here, so that what knocks while a process is started again waits and is not refused; a
process that dies is started again, later each time when it cannot even start; what this process is told (to end, to
read its settings again) it tells the others, and it ends when they have; when it is killed itself, they notice, end
what they are saying and go, and the engines with the last of them.  It knows no request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from segue.catalogue.read import Entry
from segue.cli.terminal import FAILED, Stop
from segue.config import Settings
from segue.core.errors import EngineFailed
from segue.engine.llama.engine import LlamaEngine, environment
from segue.engine.llama.line import Start, door
from segue.engines import spec_of
from segue.numbers import KEEPER, Board, Numbers, Publishing
from segue.post import Post, door_of

log = logging.getLogger("segue")

_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0)
_GRACE_S = 10.0
"""How long beyond all that its settings allow a process may take to end."""
_AGAIN_S = 1.0
_READY = b"r"


class Orders(msgspec.Struct):
    """What a member is told at its start.  `greets`: it shows the banner, and makes the first key."""

    flags: dict[str, str | int | float | bool | None]
    config: str | None
    folder: str
    number: int
    greets: bool


class Member:
    """The member's side of its channel to whoever has started it."""

    def __init__(self, channel: int) -> None:
        self._channel = socket.socket(fileno=channel)
        self._orders: Orders | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._channel.close()

    def orders(self) -> Orders:
        """What it is to do."""
        if self._orders is None:
            with self._channel.makefile("rb") as lines:
                self._orders = msgspec.json.decode(lines.readline(), type=Orders)
        return self._orders

    def post(self) -> Post:
        """Where it stands."""
        return Post(Path(self.orders().folder), self.orders().number)

    def ready(self) -> None:
        """Say that it serves."""
        with contextlib.suppress(OSError):
            self._channel.send(_READY)

    async def watch(self) -> None:
        """End this process, in order, when whoever has started it is no more."""
        self._channel.setblocking(False)
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._channel, 1)
        log.error("whoever started this process is no more; it ends what runs, and goes")
        os.kill(os.getpid(), signal.SIGTERM)


class Crew:
    """The processes that serve.  `listening` is bound; `flags` and `config` are what the command was given."""

    def __init__(
        self,
        settings: Settings,
        entries: Sequence[Entry],
        listening: socket.socket,
        flags: Mapping[str, object],
        config: Path | None,
    ) -> None:
        self._settings, self._entries, self._listening = settings, entries, listening
        self._flags = msgspec.convert(
            msgspec.to_builtins(flags, enc_hook=str), dict[str, str | int | float | bool | None]
        )
        self._config = None if config is None else str(config.absolute())
        self._processes: dict[int, Process] = {}
        self._ending = asyncio.Event()
        self._serving: set[int] = set()  # the places whose process is ready
        self._begun: set[int] = set()  # where one ever was

    async def run(self) -> None:
        """Until a signal ends it.  Raises EngineFailed where an engine cannot start, Stop where a process cannot: that
        one has said why."""
        folder = Path(tempfile.mkdtemp(prefix="segue-"))  # nobody else's
        self._take_signals()
        doors: list[socket.socket] = []
        engines: dict[str, LlamaEngine] = {}
        try:
            for entry in self._entries:
                if entry.engine == "llama":
                    doors.append(door(door_of(folder, entry.name)))
                    engines[entry.name] = LlamaEngine(spec_of(entry, self._settings), Start(environment, doors[-1]))
            await self._work(folder, engines)
        finally:
            await asyncio.gather(*(engine.close() for engine in engines.values()))
            for each in doors:
                each.close()
            shutil.rmtree(folder, ignore_errors=True)

    async def _work(self, folder: Path, engines: Mapping[str, LlamaEngine]) -> None:
        async def now() -> Numbers:
            return Numbers(engines={name: await engine.health() for name, engine in engines.items()})

        publishing = Publishing(Board(folder, KEEPER), now)
        await publishing.open()
        starts = [asyncio.create_task(engine.start()) for engine in engines.values()]
        places = [
            asyncio.create_task(self._keep(Post(folder, number))) for number in range(self._settings.server.workers)
        ]
        failure: EngineFailed | Stop | None = None
        try:
            waiting: set[asyncio.Task[None]] = {*starts, *places}
            while waiting - set(starts):
                over, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in over:
                    error = task.exception()
                    if isinstance(error, EngineFailed | Stop):
                        failure = failure or error
                    elif error is not None:
                        raise error
                    if error is not None:
                        self._end(signal.SIGTERM)
        finally:
            self._end(signal.SIGTERM)
            await asyncio.gather(*places, return_exceptions=True)
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await publishing.close()
        if failure is not None:
            raise failure

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._end, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGHUP, self._tell_serving, signal.SIGHUP)

    def _end(self, how: signal.Signals) -> None:
        if not self._ending.is_set():
            # As long as it is held here, who knocks waits, also when nobody takes connections any more.
            asyncio.get_running_loop().call_later(self._settings.server.leave_s, self._listening.close)
        self._ending.set()
        for process in self._processes.values():
            _send(process, how)

    def _tell_serving(self, what: signal.Signals) -> None:
        """One that is not ready would end at it; and it has just read its settings."""
        for number in self._serving:
            _send(self._processes[number], what)

    async def _keep(self, post: Post) -> None:
        """One place: a process, and another when it has died.  Raises Stop when the very first cannot start."""
        pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1]))
        greets = post.number == 0
        while not self._ending.is_set():
            try:
                status, was_ready = await self._life(post, greets)
            except OSError as error:  # no descriptor or no memory is free, say; those that serve go on
                if post.number not in self._begun:
                    raise
                log.error("process %d cannot be started: %s", post.number, error)
                status, was_ready = FAILED, False
            if self._ending.is_set():
                return
            if post.number not in self._begun:
                raise Stop(
                    f"process {post.number} ended with status {status} before it was ready", abs(status) or FAILED
                )
            greets = False
            log.error("process %d ended with status %d; another takes its place", post.number, status)
            pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1])) if was_ready else pauses
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), next(pauses))

    async def _life(self, post: Post, greets: bool) -> tuple[int, bool]:
        """One process from its start to its end: its status, and whether it was ready."""
        ours, theirs = socket.socketpair()
        with ours:
            try:
                descriptors = (theirs.fileno(), self._listening.fileno())
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "segue",
                    "serve-member",
                    *map(str, descriptors),
                    pass_fds=descriptors,
                    stdin=asyncio.subprocess.DEVNULL,
                )
            finally:
                theirs.close()
            self._processes[post.number] = process
            if self._ending.is_set():  # it was told to end while this one was being started
                process.send_signal(signal.SIGTERM)
            orders = Orders(self._flags, self._config, str(post.folder), post.number, greets)
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                await loop.sock_sendall(ours, msgspec.json.encode(orders) + b"\n")
            try:
                was_ready = await self._heard(ours)
                if was_ready:
                    self._begun.add(post.number)
                    self._serving.add(post.number)
                return await self._over(process, was_ready), was_ready
            finally:
                self._serving.discard(post.number)
                del self._processes[post.number]

    async def _heard(self, channel: socket.socket) -> bool:
        """Return when a process is ready, or has ended before, or all are to end."""
        reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(channel, 1))
        await self._until(reading)
        try:
            return reading.done() and reading.result() == _READY
        except OSError:
            return False
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _over(self, process: Process, serves: bool) -> int:
        """Its exit status.  One that does not end when it is told to is killed; one that did not serve yet may not have
        heard it, and is told again."""
        server = self._settings.server
        waiting = asyncio.create_task(process.wait())
        await self._until(waiting)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + server.leave_s + server.drain_s + _GRACE_S
        while not (await asyncio.wait({waiting}, timeout=_AGAIN_S))[0]:
            if loop.time() >= ends_at:
                log.error("a process does not end; killing it")
                _send(process, signal.SIGKILL)
            elif not serves:
                _send(process, signal.SIGTERM)
        return waiting.result()

    async def _until(self, done: asyncio.Future[Any]) -> None:
        """Return when it is done, or all are to end."""
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({done, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()


def _send(process: Process, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(what)
