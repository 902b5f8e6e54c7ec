"""Answers outlive their upstreams: real processes that are killed and come back while streams run.

A disturbed answer is the undisturbed one, byte for byte, wherever an upstream reads with the arithmetic it writes with.
llama.cpp's own server does so up to batches of 32 (`live.BATCH`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from segue.core.generation import Chunk, Prompt
from segue.engine.base import Engine
from segue.engine.remote.spec import Site
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine
from tests.engine.conformance import ask, data_of, ids_of, run
from tests.engine.remote.fake import toy_engine, upstream
from tests.engine.remote.live import FakeProcess, LlamaProcess, Process, engine_of, running

TOPICS = ["the sea", "a king", "two dogs", "the moon", "an old house", "bread", "a long war", "music", "my uncle"]
POLICY = Policy(slow_start_s=0.0, open_s=0.1, open_s_max=0.5)
HOW = Failover(wait_s=60.0, looks_every_s=0.1)
STUBBORN = replace(HOW, attempts_max=100)
"""Some are killed before they have said much."""


@asynccontextmanager
async def replicas(engines: Mapping[str, Engine], how: Failover = HOW) -> AsyncIterator[RoutedEngine]:
    """All of them as one, and up."""

    def maker(url: str) -> Engine:
        return engines[url]

    engine = RoutedEngine({url: partial(maker, url) for url in engines}, {}, POLICY, how)
    try:
        await engine.start()
        async with asyncio.timeout(60):
            while True:
                if (await engine.health()).detail == f"{len(engines)} of {len(engines)} replicas":
                    break
                await asyncio.sleep(0.02)
        yield engine
    finally:
        await engine.close()


@dataclass
class Killer:
    """Kills one process, then another, each when so many chunks more have come and a while has passed; starts it again
    after a pause."""

    processes: Sequence[Process]
    chunks: int
    every_s: float
    heard: int = 0
    kills: int = 0
    longest_s: float = 0.0
    _last: dict[int, float] = field(default_factory=dict)

    def note(self, stream: int) -> None:
        """A chunk of a stream has come."""
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self._last.get(stream, now))
        self._last[stream] = now
        self.heard += 1

    async def run(self) -> None:
        """Ends when cancelled, with all of them up."""
        starts: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                number, until = self.kills % len(self.processes), self.heard + self.chunks
                await asyncio.sleep(self.every_s)
                if number in starts:
                    await starts[number]
                while True:
                    if self.heard >= until:
                        break
                    await asyncio.sleep(0.01)
                self.processes[number].kill()
                self.kills += 1
                starts[number] = asyncio.create_task(asyncio.to_thread(self.processes[number].start))
        finally:
            await asyncio.gather(*starts.values(), return_exceptions=True)


async def asked(engine: Engine, streams: int, tokens: int) -> list[Prompt]:
    """So many prompts."""
    texts = [f"Tell me about {TOPICS[n % len(TOPICS)]}, part {n}." for n in range(streams)]
    return [await ask(engine, text, output_tokens_max=tokens, deterministic=False) for text in texts]


async def said(engine: Engine, prompt: Prompt, stream: int, killer: Killer | None) -> list[Chunk]:
    """All that comes."""
    chunks: list[Chunk] = []
    async with aclosing(engine.generate(prompt)) as items:
        async for item in items:
            if isinstance(item, Chunk):
                chunks.append(item)
                if killer is not None:
                    killer.note(stream)
    return chunks


async def disturbed(engine: RoutedEngine, prompts: Sequence[Prompt], killer: Killer) -> list[list[Chunk]]:
    """What all of them say at once while the killer is about."""
    killing = asyncio.create_task(killer.run())
    try:
        found = await asyncio.gather(*(said(engine, prompt, n, killer) for n, prompt in enumerate(prompts)))
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    for prompt, chunks in zip(prompts, found, strict=True):
        ended = "length" if len(ids_of(chunks)) == prompt.output_tokens_max else "stop"
        assert [chunk.finish for chunk in chunks] == [None] * (len(chunks) - 1) + [ended]
        assert b"".join(await engine.pieces(ids_of(chunks))) == data_of(chunks)
    assert (await engine.health()).failovers > 0
    return found


async def outlived(
    streams: int, tokens: int, pace_s: float, chunks: int, every_s: float, how: Failover = HOW
) -> Killer:
    """Over three processes of the fake: each stream says what it says undisturbed."""
    async with upstream("vllm", endless=True) as (calm, _):
        prompts = await asked(calm, streams, tokens)
        wanted = [ids_of(chunks) for _, chunks in await asyncio.gather(*(run(calm, prompt) for prompt in prompts))]
    assert len({tuple(ids) for ids in wanted}) == streams
    processes = [FakeProcess(pace_s) for _ in range(3)]
    async with running(*processes):
        engines = {process.url: toy_engine("vllm", Site(process.url)) for process in processes}
        async with replicas(engines, how) as engine:
            killer = Killer(processes, chunks, every_s)
            found = await disturbed(engine, prompts, killer)
    assert [ids_of(chunks) for chunks in found] == wanted, "a token twice, or one missing"
    return killer


@pytest.mark.slow
async def test_thirty_streams_outlive_their_upstreams() -> None:
    assert (await outlived(30, 120, 0.04, chunks=250, every_s=0.1, how=STUBBORN)).kills >= 2


@pytest.mark.slow
async def test_a_hundred_streams_outlive_their_upstreams() -> None:
    """One of three is killed every five seconds, for most of a minute."""
    killer = await outlived(100, 160, 0.25, chunks=0, every_s=5.0)
    print(f"\n100 streams, {killer.kills} kills, longest pause {killer.longest_s:.1f} s: 100 of 100, byte for byte")
    assert killer.kills >= 6


async def real(model: Path, streams: int, count: int, tokens: int, chunks: int, every_s: float) -> Killer:
    """Over llama.cpp's servers: each stream says what it says undisturbed."""
    processes = [LlamaProcess(model, slots=max(2, streams // count), context=512) for _ in range(count)]
    async with running(*processes):
        engines = {process.url: engine_of(model, process.url) for process in processes}
        async with replicas(engines, STUBBORN) as engine:
            prompts = await asked(engine, streams, tokens)
            calm = await asyncio.gather(*(said(engine, prompt, n, None) for n, prompt in enumerate(prompts)))
            killer = Killer(processes, chunks, every_s)
            found = await disturbed(engine, prompts, killer)
    assert [*map(ids_of, found)] == [*map(ids_of, calm)], "a token twice, one missing, or another"
    return killer


async def test_ten_streams_outlive_real_upstreams(small_model: Path) -> None:
    assert (await real(small_model, streams=10, count=2, tokens=12, chunks=25, every_s=0.0)).kills >= 2


@pytest.mark.slow
async def test_a_hundred_streams_outlive_real_upstreams(small_model: Path) -> None:
    killer = await real(small_model, streams=100, count=3, tokens=48, chunks=0, every_s=5.0)
    print(f"\n100 streams, {killer.kills} kills, longest pause {killer.longest_s:.1f} s: 100 of 100, byte for byte")
    assert killer.kills >= 3


async def test_one_upstream_that_comes_back(small_model: Path) -> None:
    process = LlamaProcess(small_model, slots=2, context=512)
    async with running(process), replicas({process.url: engine_of(small_model, process.url)}) as engine:
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
