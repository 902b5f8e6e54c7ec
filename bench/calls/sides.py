"""The two servers that are asked: Segue as it is served by default, and llama.cpp's own beside it.

Both run the same file with the same threads and the model's own repetition penalty, greedily, with their own chat
template and their own reading of calls; each keeps its prompt cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from bench.calls.cases import Case
from bench.calls.judge import Outcome
from bench.client import Answer, ask, post
from bench.model import ModelFile
from bench.peer import Peer
from bench.process import KEY, free_port, segue, server

SIDES = ("segue", "peer")
ANSWER_S_MAX = 300.0
CONTEXT = 4096
_ERROR_CHARACTERS_MAX = 500


class Side(Protocol):
    """One of the servers."""

    async def send(self, body: dict[str, object]) -> Answer:
        """The answer to a chat completion's body, or a refusal.  Raises OSError, EOFError."""
        ...


class _Segue:
    def __init__(self, port: int) -> None:
        self._port = port

    async def send(self, body: dict[str, object]) -> Answer:
        path = "/compatible-mode/v1/chat/completions"
        return await ask(self._port, post(path, body, [f"Authorization: Bearer {KEY}"]))


class _Peer:
    def __init__(self, peer: Peer, model: ModelFile) -> None:
        self._peer = peer
        self._more: dict[str, object] = {"repeat_penalty": model.decoding.repetition_penalty, "min_p": 0.0}

    async def send(self, body: dict[str, object]) -> Answer:
        return await self._peer.send("/v1/chat/completions", body | self._more)


@asynccontextmanager
async def started(model: ModelFile, names: Sequence[str]) -> AsyncIterator[dict[str, Side]]:
    """The servers of these names, until the block ends."""
    sides: dict[str, Side] = {}
    async with AsyncExitStack() as stack:
        if "segue" in names:
            port = free_port()
            folder = {"SEGUE_MODELS_DIR": str(model.path.parent)}
            stack.enter_context(server(segue(port, model.name), port, "/readyz", env=folder))
            sides["segue"] = _Segue(port)
        if "peer" in names:
            peer = stack.enter_context(Peer(model.path, os.cpu_count() or 1, 1, CONTEXT))
            sides["peer"] = _Peer(peer, model)
        yield sides


async def outcome(side: Side, case: Case, model: ModelFile) -> Outcome:
    """What a server answers to a case, whatever becomes of it."""
    begun = time.perf_counter()
    try:
        answer = await asyncio.wait_for(side.send(case.body(model.name)), ANSWER_S_MAX)
        return _read(answer, time.perf_counter() - begun)
    except Exception as error:  # it is an outcome
        return Outcome(0, error=repr(error)[:_ERROR_CHARACTERS_MAX], seconds=time.perf_counter() - begun)


def _read(answer: Answer, seconds: float) -> Outcome:
    if answer.status != 200:
        told = answer.body().decode("utf-8", "replace")[:_ERROR_CHARACTERS_MAX]
        return Outcome(answer.status, error=told, seconds=seconds)
    body = json.loads(answer.body())
    (choice,) = body["choices"]
    message = choice["message"]
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
    return Outcome(
        status=200,
        text=message.get("content") or "",
        calls=calls,
        finish=choice["finish_reason"],
        seconds=seconds,
        output_tokens=body["usage"]["completion_tokens"],
    )
