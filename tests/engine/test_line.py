"""The engine's side of its lines, without a process: lines that cannot be had, and closing meanwhile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from segue.engine.llama import frames
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.line import Line
from segue.engine.llama.spec import LlamaSpec

SPEC = LlamaSpec("m", Path("none"), close_timeout_s=0.1)
READY = frames.Ready("", 1, 1, "", "", 1, [])


class Lines:
    """A link whose every line is what the next of `opens` gives; `ends` are their other ends."""

    shared = True

    def __init__(self, own: bool, *opens: Callable[[], Awaitable[None]]) -> None:
        self.own = own
        self.ends: list[socket.socket] = []
        self._opens = iter(opens)

    async def open(self, spec: LlamaSpec) -> Line:
        await next(self._opens)()
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        return Line(*await asyncio.open_connection(sock=ours))


async def well() -> None:
    """There is one."""


async def badly() -> None:
    raise BlockingIOError(11, "no process is free")


async def late() -> None:
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("own", [True, False])
async def test_a_line_that_cannot_be_had_for_a_while_is_asked_for_again(own: bool) -> None:
    lines = Lines(own, well, badly, well)
    engine = LlamaEngine(SPEC, lines)
    engine._keeper = asyncio.create_task(engine._keep())
    async with asyncio.timeout(10):
        for life in (1, 2):
            while len(lines.ends) < life:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            lines.ends[-1].sendall(frames.frame(READY))
            await engine._ready.wait()
            if life == 1:
                lines.ends[-1].close()
                while engine._ready.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert "no process is free" in engine._failure
        await engine.close()
    lines.ends[-1].close()


@pytest.mark.parametrize("second", [well, late])
async def test_one_that_is_closed_between_two_lines_ends(second: Callable[[], Awaitable[None]]) -> None:
    lines = Lines(False, badly, second)
    engine = LlamaEngine(SPEC, lines)
    engine._keeper = asyncio.create_task(engine._keep())
    await asyncio.sleep(0.02 if second is well else 0.1)
    async with asyncio.timeout(5):
        await engine.close()
    for end in lines.ends:
        end.close()
