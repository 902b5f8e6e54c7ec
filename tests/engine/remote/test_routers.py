"""Other people's routers as one upstream: sglang-router, in front of two servers.

`python -m bench.peers router` makes one; or ROUTER_PYTHON names a Python that has it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bench import peers
from bench.gateway import router
from bench.process import free_port, server
from segue.core.errors import EngineFailed
from segue.core.generation import Decoding, Seam
from segue.core.request import Format
from segue.engine.base import Engine
from segue.engine.remote.kinds import Reading, remote
from segue.engine.remote.spec import Bounds, RemoteSpec, Site
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine
from segue.prompt.constraint import constraint
from tests.engine.conformance import ask, data_of, ids_of, run
from tests.engine.remote.fake import Toy, toy_engine, upstream
from tests.engine.remote.live import FakeProcess, LlamaProcess, Process, running

pytestmark = pytest.mark.slow
POLICY, HOW = Policy(slow_start_s=0.0, open_s=0.1, open_s_max=0.5), Failover(attempts_max=30, looks_every_s=0.1)


@asynccontextmanager
async def routed(*processes: Process) -> AsyncIterator[Site]:
    """The address of a router in front of running processes."""
    interpreter = os.environ.get("ROUTER_PYTHON") or peers.python("router")
    if interpreter is None:
        pytest.skip("no sglang-router: `python -m bench.peers router` makes one, or name a Python with ROUTER_PYTHON")
    async with running(*processes):
        port = free_port()
        command = router(str(interpreter), port, [each.port for each in processes], "round_robin")
        made = server(command, port, "/health")
        await asyncio.to_thread(made.__enter__)
        try:
            yield Site(f"http://127.0.0.1:{port}")
        finally:
            await asyncio.to_thread(made.__exit__, None, None, None)


async def test_ids_through_a_router() -> None:
    """Answers, the seam, and a form over a prefix: as without it, though the router takes biases out."""
    wanted = constraint(Format("regex", source=r'\{"(a":"[a-f]{0,5}"|the":[0-9]{1,3})\}'))
    async with upstream("sglang") as (direct, _), routed(*(FakeProcess(0.0, endless=False) for _ in range(2))) as site:
        through = toy_engine("sglang", site)
        await through.start()
        header = (await ask(direct)).ids
        begun = await ask(direct, ids=[*header, *Toy().encode([('{"th', False)])], answer_at=len(header), seam=Seam())
        for prompt in (
            await ask(direct, output_tokens_max=30),
            await ask(direct, logprobs=2),
            await ask(direct, decoding=Decoding(temperature=1.0, seed=5, presence_penalty=0.5)),
            replace(begun, constraint=wanted, output_tokens_max=40),
            replace(begun, choices=2),
        ):
            opened, chunks = await run(through, prompt)
            expected, others = await run(direct, prompt)
            for choice in range(prompt.choices):
                assert ids_of(chunks, choice) == ids_of(others, choice)
            assert opened.seam == expected.seam
            assert [chunk.logprobs for chunk in chunks] == [chunk.logprobs for chunk in others]
        await through.close()


async def test_what_a_router_does_not_know() -> None:
    """vLLM's ids are not for it: it refuses them, and so do we, in words."""
    async with upstream("vllm") as (direct, _), routed(FakeProcess(0.0, endless=False)) as site:
        through = toy_engine("vllm", site)
        await through.start()
        with pytest.raises(EngineFailed, match="answered 422"):
            await run(through, await ask(direct))
        await through.close()


async def test_a_server_behind_a_router_dies() -> None:
    """The router drops its answers; they go on through the same address, at the other server."""
    processes = [FakeProcess(0.05) for _ in range(2)]
    async with upstream("sglang", endless=True) as (calm, _), routed(*processes) as site:
        prompts = [await ask(calm, f"Tell me about {n}.", output_tokens_max=60) for n in range(12)]
        wanted = [ids_of((await run(calm, prompt))[1]) for prompt in prompts]
        engine = RoutedEngine({site.url: partial(toy_engine, "sglang", site)}, {}, POLICY, HOW)
        await engine.start()

        async def kill() -> None:
            await asyncio.sleep(1.0)
            processes[0].kill()  # it may take the router a minute to find it again, so it does not come back

        said, _ = await asyncio.gather(asyncio.gather(*(run(engine, prompt) for prompt in prompts)), kill())
        assert [ids_of(chunks) for _, chunks in said] == wanted
        assert (await engine.health()).failovers > 0
        await engine.close()


async def test_chat_through_a_router(small_model: Path) -> None:
    """llama.cpp's own servers, which a router knows as chat upstreams only; a prefix is gone on with there."""
    spec = RemoteSpec("small", "chat", small_model, model="small", prefix="continue", bounds=Bounds(looks_every_s=0.2))
    async with routed(*(LlamaProcess(small_model, slots=2) for _ in range(2))) as site:
        engine: Engine = remote(spec, Site(f"{site.url}/v1"), Reading(spec))
        await engine.start()
        prompts = [await ask(engine, f"Count from {n} to ten, in digits.", output_tokens_max=16) for n in range(4)]
        for _, chunks in await asyncio.gather(*(run(engine, prompt) for prompt in prompts)):
            assert data_of(chunks)
            assert chunks[-1].finish in ("stop", "length")
        await engine.close()
