"""Answers outlive their upstreams: real processes that are killed and come back while streams run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from segue.core.generation import Chunk
from segue.engine.base import Engine
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine
from tests.engine.conformance import ask, data_of, run
from tests.engine.remote.live import LlamaProcess, engine_of, running

TOPICS = ["the sea", "a king", "two dogs", "the moon", "an old house", "bread", "a long war", "music", "my uncle"]
POLICY = Policy(slow_start_s=0.0, open_s=0.1, open_s_max=0.5)
HOW = Failover(attempts_max=40, wait_s=60.0, looks_every_s=0.1)


@asynccontextmanager
async def replicas(model: Path, count: int, slots: int) -> AsyncIterator[tuple[RoutedEngine, list[LlamaProcess]]]:
    """That many upstream processes, as one engine."""
    processes = [LlamaProcess(model, slots=slots, context=512) for _ in range(count)]
    async with running(*processes):
        engines = {process.url: engine_of(model, process.url) for process in processes}

        def maker(url: str) -> Engine:
            return engines[url]

        engine = RoutedEngine({url: partial(maker, url) for url in engines}, {}, POLICY, HOW)
        try:
            await engine.start()
            yield engine, processes
        finally:
            await engine.close()


async def joined(engine: Engine, text: str, tokens: int, heard: list[float]) -> bytes:
    """All that is said, each chunk's time noted."""
    prompt = await ask(engine, text, output_tokens_max=tokens, deterministic=False)
    chunks: list[Chunk] = []
    async with aclosing(engine.generate(prompt)) as items:
        async for item in items:
            if isinstance(item, Chunk):
                chunks.append(item)
                heard.append(time.monotonic())
    assert chunks[-1].finish is not None
    assert sum(len(chunk.ids) for chunk in chunks) <= tokens
    return data_of(chunks)


async def killed_in_turn(processes: list[LlamaProcess], heard: list[float], chunks: int, pause_s: float) -> int:
    """Kill one process, then another, each when so many chunks more have come, or after a pause; start it again.
    Ends when cancelled."""
    kills = 0
    while True:
        process, until, begun = processes[kills % len(processes)], len(heard) + chunks, time.monotonic()
        while True:
            if len(heard) >= until or (pause_s and time.monotonic() - begun > pause_s):
                break
            await asyncio.sleep(0.01)
        process.kill()
        kills += 1
        KILLED.append(kills)
        await asyncio.to_thread(process.start)


KILLED: list[int] = []


async def outlived(model: Path, streams: int, count: int, tokens: int, chunks: int, pause_s: float = 0.0) -> int:
    """Each stream says what it says undisturbed.  How often processes were killed."""
    texts = [f"Tell me about {TOPICS[n % len(TOPICS)]}, part {n}." for n in range(streams)]
    async with replicas(model, count, slots=max(2, streams // count)) as (engine, processes):
        calm = await asyncio.gather(*(joined(engine, text, tokens, []) for text in texts))
        KILLED.clear()
        heard: list[float] = []
        killer = asyncio.create_task(killed_in_turn(processes, heard, chunks, pause_s))
        try:
            said = await asyncio.gather(*(joined(engine, text, tokens, heard) for text in texts))
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
        health = await engine.health()
    assert health.failovers > 0
    assert [each.decode("utf-8", "replace") for each in said] == [each.decode("utf-8", "replace") for each in calm]
    return len(KILLED)


async def test_ten_streams_outlive_their_upstreams(small_model: Path) -> None:
    assert await outlived(small_model, streams=10, count=2, tokens=12, chunks=25) >= 2


@pytest.mark.slow
async def test_a_hundred_streams_outlive_their_upstreams(small_model: Path) -> None:
    assert await outlived(small_model, streams=100, count=3, tokens=48, chunks=10**9, pause_s=5.0) >= 3


async def test_one_upstream_that_comes_back(small_model: Path) -> None:
    async with replicas(small_model, 1, slots=2) as (engine, (process,)):
        prompt = await ask(engine, "Tell me about the sea.", output_tokens_max=12)
        calm = data_of((await run(engine, prompt))[1])
        chunks: list[Chunk] = []
        async with aclosing(engine.generate(prompt)) as items:
            async for item in items:
                if isinstance(item, Chunk):
                    chunks.append(item)
                    if len(chunks) == 4:
                        process.kill()
                        starting = asyncio.create_task(asyncio.to_thread(process.start))
        await starting
        assert data_of(chunks) == calm
