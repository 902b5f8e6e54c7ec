"""The scripted engine keeps the contract, and says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from segue.core.errors import EngineFailed, EngineLost, Fault, QueueFull
from segue.core.generation import Chunk, Opened
from segue.engine.base import Engine
from segue.engine.scripted import Drone, Echo, Failure, Say, Script, Scripted, Verbatim, scripted_card
from tests.engine.conformance import EngineConformance, ask, data_of, freed, ids_of, run


class TestEcho(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        made = Scripted(Echo())
        await made.start()
        yield made
        await made.close()


class TestSay(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        made = Scripted(Say("春天 spring\n", size=1))
        await made.start()
        yield made
        await made.close()


async def started(script: Script, **settings: object) -> Scripted:
    made = Scripted(script, **settings)  # type: ignore[arg-type]
    await made.start()
    return made


@pytest.mark.parametrize("text", ["Hi", "", "two\nlines <|im_end|>", "你好"])
async def test_echo(text: str) -> None:
    engine = await started(Echo(3))
    _, chunks = await run(engine, await ask(engine, text, output_tokens_max=100))
    assert data_of(chunks) == text.encode()
    assert chunks[-1].finish == "stop"
    assert all(len(chunk.ids) <= 3 for chunk in chunks)


async def test_echo_goes_on_from_a_prefix() -> None:
    engine = await started(Echo())
    prompt = await ask(engine, "Hello there")
    _, chunks = await run(engine, replace(prompt, ids=[*prompt.ids, *b"Hello"]))
    assert data_of(chunks) == b" there"


async def test_say_and_drone() -> None:
    engine = await started(Say("abcdef", size=4))
    prompt = await ask(engine)
    opened, chunks = await run(engine, prompt)
    assert opened == Opened(cached_tokens=0)
    assert [(chunk.data, chunk.finish) for chunk in chunks] == [(b"abcd", None), (b"ef", "stop")]
    engine = await started(Drone(3, size=2))
    _, chunks = await run(engine, prompt)
    assert [(chunk.data, chunk.finish) for chunk in chunks] == [(b"aa", None), (b"aa", None), (b"aa", "stop")]


@pytest.mark.parametrize(("limit", "reason"), [(5, "length"), (6, "stop"), (7, "stop"), (1, "length")])
async def test_limit(limit: int, reason: str) -> None:
    engine = await started(Say("abcdef", size=4))
    _, chunks = await run(engine, await ask(engine, output_tokens_max=limit))
    assert data_of(chunks) == b"abcdef"[:limit]
    assert chunks[-1].finish == reason


async def test_verbatim() -> None:
    said = (Chunk(0, (1, 2), b"x"), Chunk(0, (), b"", finish="stop"))
    engine = await started(Verbatim(said))
    _, chunks = await run(engine, await ask(engine, choices=1))
    assert tuple(chunks) == said
    assert ids_of(chunks) == [1, 2]


@pytest.mark.parametrize("fault", [EngineLost, lambda: EngineFailed("told so")])
async def test_failure(fault: type[EngineLost]) -> None:
    engine = await started(Drone(5), failure=Failure(2, fault))
    answer = engine.generate(await ask(engine))
    said = [await anext(answer) for _ in range(3)]
    assert isinstance(said[0], Opened)
    with pytest.raises(Fault):
        await anext(answer)
    assert (await engine.health()).running == 0


async def test_places_and_queue() -> None:
    engine = await started(Drone(1000), running_max=2, waiting_max=1)
    prompt = await ask(engine, output_tokens_max=1000)
    first, second = engine.generate(replace(prompt, choices=2)), engine.generate(prompt)
    await anext(first)
    waiting = asyncio.create_task(anext(second))
    await asyncio.sleep(0)
    health = await engine.health()
    assert (health.running, health.waiting) == (2, 1)
    with pytest.raises(QueueFull):
        await anext(engine.generate(prompt))
    await first.aclose()
    assert isinstance(await waiting, Opened)
    assert (await engine.health()).running == 1
    await second.aclose()
    await freed(engine)


async def test_who_leaves_the_queue_takes_no_place() -> None:
    engine = await started(Drone(1000), running_max=1, waiting_max=2)
    prompt = await ask(engine, output_tokens_max=1000)
    first = engine.generate(prompt)
    await anext(first)
    waiting = [asyncio.create_task(anext(engine.generate(prompt))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert (await engine.health()).waiting == 1
    await first.aclose()  # the place goes to the second, who is cancelled before he can take it
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await freed(engine)


async def test_closing_the_engine_ends_who_runs_and_who_waits() -> None:
    engine = await started(Drone(1000), running_max=1, waiting_max=1)
    prompt = await ask(engine, output_tokens_max=1000)
    running, waiting = engine.generate(prompt), engine.generate(prompt)
    await anext(running)
    queued = asyncio.create_task(anext(waiting))
    await asyncio.sleep(0)
    await engine.close()
    for end in (queued, anext(running)):
        with pytest.raises(EngineLost):
            await end


async def test_delay() -> None:
    engine = await started(Drone(3), delay_s=0.02)
    prompt = await ask(engine)
    began = asyncio.get_running_loop().time()
    await run(engine, prompt)
    assert asyncio.get_running_loop().time() - began >= 0.05


async def test_a_long_answer_lets_others_in() -> None:
    engine = await started(Drone(100_000))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await run(engine, await ask(engine, output_tokens_max=8192))
    task.cancel()
    assert turns > 50


def test_card() -> None:
    card = scripted_card("demo", context_tokens=64, output_tokens=32)
    assert (card.name, card.context_tokens, card.output_tokens_max) == ("demo", 64, 32)
    assert Scripted(Echo(), card).card is card
