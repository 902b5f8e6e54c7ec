"""Bounds of time: a wait ends when it must, whoever ends it, and one that is short costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from segue.wire.limits import PATIENCE_S, Interruption, Limits, Patience

from .fakes import COMPAT, Client, House

BODY = {"model": "qwen-plus", "messages": [{"role": "user", "content": "hi"}]}


async def test_a_body_that_comes_late_but_in_time() -> None:
    client = Client(House(limits=Limits(body_wait_s=1)).app(), COMPAT, BODY)
    receive = client._receive

    async def late() -> Any:
        await asyncio.sleep(PATIENCE_S * 3)
        return await receive()

    await asyncio.wait_for(client._app(client.scope, late, client._send), 1)
    assert client.status == 200


async def test_cancellation_from_the_server_goes_through_in_the_body_too() -> None:
    client = Client(House().app(), COMPAT)
    client._chunks.clear()
    task = client.start()
    await asyncio.sleep(PATIENCE_S * 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_patience_runs_out_once_and_only_for_those_who_still_wait() -> None:
    patience = Patience()
    begun: list[int] = []

    def waiting(number: int) -> Interruption:
        def watch(late: Callable[[], None]) -> asyncio.TimerHandle:
            begun.append(number)
            return asyncio.get_running_loop().call_later(0, late)

        return Interruption(patience, watch)

    with waiting(0):
        pass
    for number in (1, 2):  # the second time the timer is made anew
        with waiting(number) as wait, waiting(9):
            pass
        assert not wait.interrupted
        with waiting(number) as wait:
            await asyncio.sleep(1)
        assert wait.interrupted
    assert begun == [1, 2]
