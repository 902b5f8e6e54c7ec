"""A remote engine keeps the contract of every engine, over llama.cpp's own server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from segue.core.errors import PromptTooLong
from segue.core.generation import Seam, Segment
from segue.engine.base import Engine
from tests.engine.conformance import ask, data_of, ids_of, run
from tests.engine.remote.conformance import RemoteConformance
from tests.engine.remote.live import LlamaProcess, engine_of, running


@pytest.fixture(scope="module")
def upstream(small_model: Path) -> Iterator[LlamaProcess]:
    process = LlamaProcess(small_model)
    try:
        process.start()
        yield process
    finally:
        process.kill()


class TestLlamaServer(RemoteConformance):
    @pytest.fixture
    async def engine(self, small_model: Path, upstream: LlamaProcess) -> AsyncIterator[Engine]:
        made = engine_of(small_model, upstream.url)
        await made.start()
        yield made
        await made.close()

    async def test_tokens_inside_a_character_are_told(self, engine: Engine) -> None:
        """The server tells of the last one of each character only."""
        text = "🦄🧙🦄🧙🦄🧙"
        header = (await ask(engine, f"Repeat: {text}")).ids
        prefix = await engine.encode([Segment(text)])
        for logprobs in (None, 1):
            prompt = await ask(
                engine, ids=[*header, *prefix], answer_at=len(header), output_tokens_max=7, logprobs=logprobs
            )
            _, chunks = await run(engine, prompt)
            ids = ids_of(chunks)
            assert any(len(chunk.ids) > 1 for chunk in chunks)
            assert b"".join(await engine.pieces(ids)) == data_of(chunks)
            assert len(ids) <= 7
            assert logprobs is None or [len(chunk.logprobs) for chunk in chunks] == [len(chunk.ids) for chunk in chunks]

    async def test_a_prompt_that_does_not_fit(self, engine: Engine) -> None:
        with pytest.raises(PromptTooLong):
            await run(engine, await ask(engine, ids=[19556] * 3000, answer_at=3000))

    async def test_closing_frees_the_upstreams_place(self, engine: Engine, upstream: LlamaProcess) -> None:
        answer = engine.generate(await ask(engine, output_tokens_max=400))
        await anext(answer)
        await answer.aclose()
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{upstream.url}/slots") as response:
                    if not any(slot["is_processing"] for slot in await response.json()):
                        return
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_the_default_model_over_its_own_server(default_model: Path) -> None:
    """As `docs/continuation.md` has it for the embedded engine."""
    cases = [
        ("What is the capital of France?", "The capital of Fran", b"ce"),
        ("Continue.", "Spring has come, the earth ", b"is"),
        ("Write Fibonacci in Python.", "def fib(n):\n    if n <= 1:\n        ret", b"urn n"),
        ("Write Fibonacci in Python.", "def fib(n):\n    if n <= 1:\n        return n\n    else:\n", b"        return"),
    ]
    process = LlamaProcess(default_model, slots=2)
    async with running(process):
        engine = engine_of(default_model, process.url, first_s=300.0)
        await engine.start()
        for asked, prefix, begins in cases:
            header = (await ask(engine, asked)).ids
            ids = [*header, *await engine.encode([Segment(prefix)])]
            prompt = await ask(engine, ids=ids, answer_at=len(header), seam=Seam(seconds=600.0), output_tokens_max=6)
            opened, chunks = await run(engine, prompt)
            assert opened.seam is not None
            assert opened.seam.bound < 0.05
            assert data_of(chunks).startswith(begins), (prefix, data_of(chunks))
        await engine.close()
