"""One engine process that several servers share: whose answers are whose, who dies when, who is let in."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from segue.core.errors import EngineLost, QueueFull
from segue.engine.llama import frames
from segue.engine.llama.engine import LlamaEngine, environment
from segue.engine.llama.line import Join, Start, door
from segue.engine.llama.parents import UNREAD_BYTES_MAX, Parent, Parents
from segue.engine.llama.spec import LlamaSpec
from tests.engine.test_llama import STORY, hear, prompt

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS, QUEUE = 4, 4


@dataclass
class Shared:
    """The one that keeps the process, two that go to it, and its door."""

    keeper: LlamaEngine
    a: LlamaEngine
    b: LlamaEngine
    path: Path
    spec: LlamaSpec

    @property
    def pid(self) -> int:
        line = self.keeper._line
        assert line is not None
        assert line.process is not None
        return line.process.pid


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    folder = tmp_path_factory.mktemp("s")
    folder.chmod(0o700)
    spec = LlamaSpec("small", small_model, context_tokens=2048, kv_tokens=4096, slots=SLOTS, queue=QUEUE)
    with door(folder / "e") as way:
        made = Shared(
            LlamaEngine(spec, Start(environment, way)),
            LlamaEngine(spec, Join(folder / "e")),
            LlamaEngine(spec, Join(folder / "e")),
            folder / "e",
            spec,
        )
        await asyncio.gather(*(engine.start() for engine in (made.b, made.a, made.keeper)))
        yield made
        for engine in (made.a, made.b, made.keeper):
            await engine.close()


async def test_each_hears_its_own_answers(shared: Shared) -> None:
    alone = await hear(shared.a, await prompt(shared.a, STORY + "Her name was", 8))
    prompts = [await prompt(each, f"{n}. {STORY}", 8) for n in range(2) for each in (shared.a, shared.b)]
    heard = await asyncio.gather(*(hear(shared.a if n % 2 else shared.b, each) for n, each in enumerate(prompts)))
    for first, second in zip(heard[::2], heard[1::2], strict=True):
        assert first.ids == second.ids
        assert first.finish
    same = await hear(shared.b, await prompt(shared.b, STORY + "Her name was", 8))
    assert same.ids == alone.ids
    assert same.cached > 10, "what one has asked is remembered for the other"
    assert (await shared.keeper.health()).shared
    assert (await shared.a.health()).shared


async def test_places_are_counted_together(shared: Shared) -> None:
    long = [await prompt(shared.a, f"{n}. {STORY}", 1500) for n in range(SLOTS + QUEUE)]
    tasks = [asyncio.create_task(hear(shared.a, each)) for each in long]
    await asyncio.sleep(0.2)
    with pytest.raises(QueueFull):
        await hear(shared.b, await prompt(shared.b, STORY, 2))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    heard = None
    async with asyncio.timeout(60):
        while heard is None:  # the engine hears one after the other leave, with the steps under way
            with suppress(QueueFull):
                heard = await hear(shared.b, await prompt(shared.b, STORY, 2))
            await asyncio.sleep(0.05)
    assert heard.finish


async def test_who_leaves_frees_its_answers(shared: Shared) -> None:
    third = LlamaEngine(shared.spec, Join(shared.path))
    await third.start()
    tasks = [asyncio.create_task(hear(third, await prompt(third, f"{n}. {STORY}", 1500))) for n in range(SLOTS + 2)]
    await asyncio.sleep(0.3)
    assert third._line is not None
    third._closing = True  # as a process that is killed: its end closes, and nobody comes again
    third._line.writer.transport.abort()
    async with asyncio.timeout(60):
        assert (await hear(shared.a, await prompt(shared.a, STORY, 3))).finish, "there is a place again"
        while (await shared.keeper.health()).running:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await third.close()
    for task in tasks:
        with pytest.raises(EngineLost):
            await task


async def test_all_answers_go_on_when_it_dies(shared: Shared) -> None:
    prompts = [(each, await prompt(each, f"{n} {STORY}", 24)) for n in range(2) for each in (shared.a, shared.b)]
    undisturbed = await asyncio.gather(*(hear(*each) for each in prompts))
    tasks = [asyncio.create_task(hear(*each)) for each in prompts]
    await asyncio.sleep(0.15)
    os.kill(shared.pid, 9)
    async with asyncio.timeout(60):
        heard = await asyncio.gather(*tasks)
    assert [each.ids for each in heard] == [each.ids for each in undisturbed]


@pytest.mark.slow
async def test_one_that_goes_to_it_can_end_it_when_it_is_stuck(shared: Shared) -> None:
    pid = shared.pid
    assert shared.a._line is not None
    shared.a._line.kill()
    async with asyncio.timeout(60):
        while shared.keeper._line is None or shared.pid == pid or not shared.keeper._ready.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert (await hear(shared.a, await prompt(shared.a, STORY, 3))).finish


async def test_nobody_else_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as sender, door(tmp_path / "e") as way:
        sender.connect(str(tmp_path / "e"))
        first, other = socket.socketpair()
        parents = Parents(first, way, lambda: None)
        monkeypatch.setattr("segue.engine.llama.parents.os.geteuid", lambda: 12345)  # as if we were somebody else
        parents.open(frames.Ready("", 1, 1, "", "", 1, []), lambda message: None, lambda parent: None)
        sender.settimeout(10)
        assert sender.recv(1) == b"", "put out, and told nothing"
        with pytest.raises(PermissionError):
            await Join(tmp_path / "e").open(LlamaSpec("small", tmp_path))
        other.close()


async def test_a_door_is_not_put_where_others_can_come(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    with pytest.raises(PermissionError):
        door(tmp_path / "e")


async def test_who_does_not_read_holds_nobody_up_and_is_put_out() -> None:
    ours, theirs = socket.socketpair()
    parent = Parent(0, ours)
    message = frames.Pieced(1, [b"x" * 2**20])
    for _ in range(UNREAD_BYTES_MAX // 2**20 - 1):
        parent.send(message)
    theirs.settimeout(5)
    assert theirs.recv(1), "until then it may still read"
    for _ in range(3):
        parent.send(message)
    while theirs.recv(2**20):
        pass
    parent.leave()
    theirs.close()


async def test_who_says_what_cannot_be_done_is_put_out(caplog: pytest.LogCaptureFixture) -> None:
    def hear(message: frames.ToEngine) -> None:
        raise RuntimeError

    ours, theirs = socket.socketpair()
    over = threading.Event()
    parents = Parents(ours, None, over.set)
    parents.open(frames.Ready("", 1, 1, "", "", 1, []), hear, lambda number: None)
    theirs.sendall(frames.frame(frames.Forget([])))
    assert await asyncio.to_thread(over.wait, 5)
    assert "could not be done" in caplog.text
    theirs.close()
