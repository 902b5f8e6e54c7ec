"""A server that was told to stop: it says so, answers what still comes, and ends what runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from segue.cli.connection import Connection, LeavingServer


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/slow` takes a second and a half, half of it after its head."""
    headers = [(b"content-length", b"4")]
    if scope["path"] == "/slow":
        await asyncio.sleep(0.7)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"do", "more_body": True})
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    await send({"type": "http.response.body", "body": b"ne"})


@asynccontextmanager
async def running(leave_s: float) -> AsyncIterator[tuple[LeavingServer, str, asyncio.Task[None], list[float]]]:
    told: list[float] = []
    config = uvicorn.Config(app, http=Connection, lifespan="off", log_config=None, timeout_graceful_shutdown=10)
    server = LeavingServer(config, leave_s, lambda: told.append(time.monotonic()))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        task = asyncio.create_task(server._serve([listening]))  # without the signals, which are the test's own
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield server, base, task, told
        server.should_exit = True
        await asyncio.wait_for(task, 10)


async def test_it_answers_until_others_have_noticed() -> None:
    async with running(0.6) as (server, base, task, told), httpx.AsyncClient(base_url=base, trust_env=False) as http:
        assert "connection" not in (await http.get("/")).headers
        slow = asyncio.create_task(http.get("/slow"))
        await asyncio.sleep(0.1)
        server.handle_exit(signal.SIGTERM, None)
        assert len(told) == 1, "it is told at once"
        await asyncio.sleep(0.2)
        for _ in range(3):
            answer = await http.get("/")
            assert (answer.text, answer.headers["connection"]) == ("done", "close")
        assert not task.done()
        answer = await slow
        assert (answer.text, answer.headers["connection"]) == ("done", "close"), "what runs is said to its end"
        await asyncio.wait_for(task, 5)
        with pytest.raises(httpx.ConnectError):
            await http.get("/")


async def test_a_second_signal_does_not_wait() -> None:
    async with running(60.0) as (server, _, task, _):
        server.handle_exit(signal.SIGTERM, None)
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(task, 5)


async def test_nobody_is_waited_for_where_nothing_is_said() -> None:
    async with running(0.0) as (server, base, task, _), httpx.AsyncClient(base_url=base, trust_env=False) as http:
        slow = asyncio.create_task(http.get("/slow"))
        await asyncio.sleep(0.1)
        server.handle_exit(signal.SIGTERM, None)
        assert (await slow).text == "done"
        await asyncio.wait_for(task, 5)


async def test_a_shared_port_is_let_go_of() -> None:
    """Whoever knocks when nobody takes connections any more is refused, and does not wait for one who is gone."""
    config = uvicorn.Config(app, http=Connection, lifespan="off", log_config=None)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = LeavingServer(config, 0.0, lambda: None, shared=listening)
    task = asyncio.create_task(server._serve([listening]))
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        assert (await http.get("/")).text == "done"
        slow = asyncio.create_task(http.get("/slow"))
        await asyncio.sleep(0.2)
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.sleep(0.4)
        with pytest.raises(httpx.ConnectError):
            await http.get("/")
        assert (await slow).text == "done"
    await asyncio.wait_for(task, 5)
