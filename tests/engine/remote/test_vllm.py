"""The contract every engine keeps, and exact continuation, over a real vLLM that runs without a GPU.

`make vllm` makes one; or VLLM_PYTHON names a Python that has it, and VLLM_MODEL the small model as it reads models.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from bench import peers
from bench.model import SMALL
from bench.process import free_port, server
from segue.core.generation import Decoding, Seam, Segment
from segue.engine.base import Engine
from segue.engine.remote.kinds import Reading, remote
from segue.engine.remote.spec import Bounds, RemoteSpec, Site
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine
from tests.engine.conformance import ask, data_of, ids_of, run
from tests.engine.remote.conformance import RemoteConformance, remembered
from tests.engine.router.replicas import Mortal

pytestmark = pytest.mark.slow

_START_S_MAX = 600.0
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "passive",
}
_FLAGS = {"--dtype": "float32", "--max-model-len": "1024", "--max-num-seqs": "8", "--block-size": "32"}


@pytest.fixture(scope="module")
def weights() -> Path:
    """The model's folder."""
    folder = Path(os.environ.get("VLLM_MODEL") or peers.weights(SMALL))
    if not (folder / "config.json").is_file():
        pytest.skip("the small model is not there as vLLM reads it: `make vllm`, or name its folder with VLLM_MODEL")
    return folder


@pytest.fixture(scope="module")
def upstream(weights: Path) -> Iterator[str]:
    """The address of a running vLLM."""
    interpreter = os.environ.get("VLLM_PYTHON") or peers.python("vllm")
    if interpreter is None:
        pytest.skip("no vLLM: `make vllm` makes one, or name a Python that has it with VLLM_PYTHON")
    port = free_port()
    words = [str(interpreter), "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights), "--port", str(port)]
    words += [word for pair in _FLAGS.items() for word in pair] + ["--enforce-eager", "--enable-prompt-tokens-details"]
    with server(words, port, "/health", env=_ENVIRONMENT, start_s_max=_START_S_MAX):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def spec(weights: Path) -> RemoteSpec:
    return RemoteSpec("small", "vllm", weights, context_tokens=2048, bounds=Bounds(looks_every_s=0.2))


class TestVllm(RemoteConformance):
    unread_max = 33  # it remembers whole blocks, and reads the last one again

    @pytest.fixture
    async def engine(self, upstream: str, spec: RemoteSpec) -> AsyncIterator[Engine]:
        made = remote(spec, Site(upstream), Reading(spec))
        await made.start()
        yield made
        await made.close()

    async def test_what_it_says_of_itself(self, engine: Engine) -> None:
        assert engine.card.context_tokens == 1024

    async def test_closing_frees_the_upstreams_place(self, engine: Engine, upstream: str) -> None:
        answer = engine.generate(await ask(engine, output_tokens_max=900))
        await anext(answer)
        await anext(answer)
        assert await _running(upstream) == 1
        await answer.aclose()
        async with asyncio.timeout(10):
            while True:
                if await _running(upstream) == 0:
                    return
                await asyncio.sleep(0.05)

    async def test_workspaces_share_nothing(self, engine: Engine) -> None:
        text = "What a very remarkably long day this has been for everybody here. " * 3
        await run(engine, await ask(engine, text, output_tokens_max=2, workspace="one"))
        assert remembered(*await run(engine, await ask(engine, text, output_tokens_max=2, workspace="two"))) == 0
        assert remembered(*await run(engine, await ask(engine, text, output_tokens_max=2, workspace="one"))) > 0

    async def test_a_resumed_answer_is_the_one_that_was_not_cut(self, engine: Engine) -> None:
        """Greedily, and where penalties count what was said before."""
        how = Decoding(temperature=0.0, presence_penalty=0.4, frequency_penalty=0.2)
        for decoding in (Decoding(temperature=0.0), how):
            prompt = await ask(engine, "Tell me about the sea.", output_tokens_max=24, decoding=decoding)
            whole = ids_of((await run(engine, prompt))[1])
            for cut in (1, 7, 16):
                ids = [*prompt.ids, *whole[:cut]]
                rest = await ask(
                    engine, ids=ids, answer_at=prompt.answer_at, output_tokens_max=24 - cut, decoding=decoding
                )
                assert whole[:cut] + ids_of((await run(engine, rest))[1]) == whole

    async def test_a_seed_says_the_same_again(self, engine: Engine) -> None:
        said = []
        for seed in (3, 3, 4):
            how = Decoding(temperature=1.2, top_p=0.95, top_k=40, seed=seed)
            said.append(data_of((await run(engine, await ask(engine, "Tell a story.", decoding=how)))[1]))
        assert said[0] == said[1] != said[2]

    async def test_behind_a_router(self, engine: Engine, upstream: str, spec: RemoteSpec) -> None:
        """An answer that begins inside a word goes on from one replica to the other."""

        mortals = {name: Mortal(remote(spec, Site(upstream), Reading(spec))) for name in ("a", "b")}

        def maker(name: str) -> Engine:
            return mortals[name]

        made = {name: partial(maker, name) for name in mortals}
        routed = RoutedEngine(made, {}, Policy(slow_start_s=0.0), Failover(looks_every_s=0.1))
        await routed.start()
        header = (await ask(engine, "What is the capital of France? Answer in one sentence.")).ids
        ids = [*header, *await engine.encode([Segment("The capital of Fran")])]
        prompt = await ask(engine, ids=ids, answer_at=len(header), seam=Seam(), output_tokens_max=16)
        _, calm = await run(engine, prompt)
        for mortal in mortals.values():
            mortal.deaths = [2]
        _, chunks = await run(routed, prompt)
        assert data_of(chunks) == data_of(calm)
        assert data_of(chunks).startswith(b"ce")
        assert (await routed.health()).failovers == 2
        await routed.close()


async def _running(upstream: str) -> int:
    """How many answers it is at."""
    async with aiohttp.ClientSession() as session, session.get(f"{upstream}/metrics") as response:
        lines = (await response.text()).splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{")))
