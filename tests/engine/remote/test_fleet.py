"""A model of the catalogue, from its files and addresses to an answer through the pipeline."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from segue.catalogue.read import names_served, read_catalogue
from segue.config import Models, Settings, Upstreams
from segue.core.errors import EngineFailed, TimedOut
from segue.core.events import Failed, Finished, Text
from segue.core.generation import Prompt, Seam
from segue.core.request import Format, Sampling
from segue.engine.remote.chat import TEMPLATE
from segue.engine.remote.fleet import Fleet
from segue.engine.remote.spec import Site
from segue.pipeline import Pipeline
from segue.upstreams import fleet_of
from tests.engine.conformance import ask, ids_of, run
from tests.engine.remote.fake import MARKS, MERGED, TEXT_TOKENS, Fake
from tests.engine.remote.test_tokenizer import LETTER, byte_level, token
from tests.requests import request, user


def files(folder: Path) -> None:
    """The toy model's, as a model's folder has them."""
    vocab = {LETTER[byte]: byte for byte in range(256)}
    vocab |= {"".join(LETTER[byte] for byte in piece): 256 + at for at, piece in enumerate(MERGED)}
    added = [token(TEXT_TOKENS + at, mark, True) for at, mark in enumerate(MARKS)]
    tree: dict[str, Any] = {**byte_level(), "added_tokens": added}
    tree["model"] = {"type": "BPE", "vocab": vocab, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    told = {"eos_token": MARKS[1], "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")


def settings_of(folder: Path, upstreams: str, **more: Any) -> Settings:
    files(folder)
    text = f"""
        [models.big]
        engine = "remote"
        tokenizer = "."
        context_tokens = 800
        output_tokens_max = 100
        output_tokens_default = 40
        {upstreams}
    """
    (folder / "own.toml").write_text(text, encoding="utf-8")
    about = Upstreams(**{"look_every_s": 0.05, "resolve_every_s": 1.0, "wait_s": 5.0, **more})
    return Settings(models=Models(catalogue=folder / "own.toml", default="big"), upstreams=about)


def fleet(settings: Settings) -> Fleet:
    (entry,) = names_served(read_catalogue(settings.models.catalogue), "big").entries
    return fleet_of(entry, settings)


@pytest.fixture
async def fakes() -> AsyncIterator[list[tuple[Fake, TestServer]]]:
    made = []
    for _ in range(2):
        fake = Fake()
        server = TestServer(fake.app())
        await server.start_server()
        made.append((fake, server))
    yield made
    for _, server in made:
        await server.close()


def listed(fakes: list[tuple[Fake, TestServer]]) -> str:
    return "\n".join(f'[[models.big.upstreams]]\nurl = "{server.make_url("")}"' for _, server in fakes)


async def test_an_answer_through_the_pipeline(tmp_path: Path, fakes: list[tuple[Fake, TestServer]]) -> None:
    engine = fleet(settings_of(tmp_path, listed(fakes)))
    await engine.start()
    assert engine.card.context_tokens == 800
    pipeline = Pipeline(lambda name: engine, seam=Seam())
    asked = request(user("Say JSON"), prefix='{"th', format=Format("regex", source=r'\{"the":[1-9][0-9]{0,2}\}'))
    for fault in ("", "drops", "an error"):
        for fake, _ in fakes:
            fake.trouble, fake.troubles = fault, 1
        job = await pipeline.prepare(replace(asked, sampling=Sampling(temperature=0.0)))
        events = [event async for event in pipeline.answer(job)]
        assert not any(isinstance(event, Failed) for event in events), events
        assert isinstance(events[-1], Finished)
        said = '{"th' + "".join(event.text for event in events if isinstance(event, Text))
        assert set(json.loads(said)) == {"the"}
    await engine.close()


@pytest.mark.parametrize("trouble", ["silent at first", "silent", "only comments", "hung"])
async def test_one_that_hangs(tmp_path: Path, fakes: list[tuple[Fake, TestServer]], trouble: str) -> None:
    """It keeps its connection and says nothing more: the answer goes on at the other."""
    hasty = {"first_token_s": 0.5, "silence_s": 0.5, "look_s": 0.3}
    engine = fleet(settings_of(tmp_path, listed(fakes), **hasty))
    await engine.start()
    prompt = await lasting(engine)
    calm = ids_of((await run(engine, prompt))[1])
    for fake, _ in fakes:
        fake.asked.clear()
    await run(engine, prompt)
    favourite, other = sorted((fake for fake, _ in fakes), key=lambda fake: -len(fake.asked))
    favourite.trouble = trouble
    async with asyncio.timeout(10):
        _, chunks = await run(engine, prompt)
        assert ids_of(chunks) == calm, "nothing twice, nothing left out"
        later = other.asked[-1][1]["prompt"]
        assert later == [*prompt.ids, *calm][: len(later)]
        assert (await engine.health()).failovers == 1
        if trouble == "hung":  # what does not answer a look either is not asked at all
            while True:
                if (await engine.health()).detail == "1 of 2 replicas":
                    break
                await asyncio.sleep(0.02)
            favourite.asked.clear()
            assert ids_of((await run(engine, prompt))[1]) == calm
            assert not favourite.asked
    await engine.close()


async def test_all_hang(tmp_path: Path, fakes: list[tuple[Fake, TestServer]]) -> None:
    """So many attempts, each so long: then it is over."""
    engine = fleet(settings_of(tmp_path, listed(fakes), first_token_s=0.3, silence_s=0.3, attempts_max=3))
    await engine.start()
    prompt = await lasting(engine)
    for fake, _ in fakes:
        fake.asked.clear()
        fake.trouble = "silent"
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await run(engine, prompt)
    assert sum(len(fake.asked) for fake, _ in fakes) == 3
    assert time.monotonic() - began < 3
    await engine.close()


async def lasting(engine: Fleet) -> Prompt:
    """A prompt whose answer has some tokens."""
    for number in range(50):
        prompt = await ask(engine, f"Go on {number}", output_tokens_max=30)
        if len(ids_of((await run(engine, prompt))[1])) >= 8:
            return prompt
    raise AssertionError("every answer is short")


async def test_addresses_behind_a_name(
    tmp_path: Path, fakes: list[tuple[Fake, TestServer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake, server), _ = fakes
    told = f'[[models.big.upstreams]]\nurl = "http://vllm.test:{server.port}"\naddresses = true'
    known: list[str] = ["127.0.0.1", "127.0.0.9"]

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if host != "vllm.test":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        if not known:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    engine = fleet(settings_of(tmp_path, told))
    await engine.start()
    assert ids_of((await run(engine, await ask(engine)))[1])
    assert {headers["Host"] for headers in fake.headers} == {f"vllm.test:{server.port}"}
    assert (await engine.health()).detail == "1 of 2 replicas"
    known.remove("127.0.0.9")
    await engine._resolve()
    await asyncio.sleep(0.1)
    assert (await engine.health()).detail == "1 of 1 replicas"
    known.clear()
    await engine._resolve()
    assert (await engine.health()).ready, "a name service that does not answer changes nothing"
    await engine.close()


async def test_files_that_are_not_there(tmp_path: Path, fakes: list[tuple[Fake, TestServer]]) -> None:
    engine = fleet(settings_of(tmp_path, listed(fakes)))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(EngineFailed, match=r"neither a tokenizer\.json"):
        await engine.start()
    await engine.close()


async def test_replicas_are_added_and_drained_while_it_runs(
    tmp_path: Path, fakes: list[tuple[Fake, TestServer]]
) -> None:
    (_, one), (_, two) = fakes
    engine = fleet(settings_of(tmp_path, listed(fakes[:1])))
    await engine.start()
    urls = [str(server.make_url("")) for server in (one, two)]

    async def until(*wanted: str) -> None:
        async with asyncio.timeout(2):
            while {each[0] for each in engine.seen() if each[3] and not each[2]} != {*wanted}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    await until(urls[0])
    engine.admit([Site(urls[1], weight=2.0)], (), {})
    await until(*urls)
    assert {url: weight for url, weight, *_ in engine.seen()} == {urls[0]: 1.0, urls[1]: 2.0}
    engine.admit([Site(urls[1])], [urls[0]], {urls[1]: 3.0})
    await until(urls[1])
    assert ids_of((await run(engine, await ask(engine, "x")))[1])
    assert [weight for _, weight, draining, *_ in engine.seen() if not draining] == [3.0]
    engine.admit([], (), {})
    await until(urls[0])
    assert not engine.found(urls[0])
    await engine.close()
