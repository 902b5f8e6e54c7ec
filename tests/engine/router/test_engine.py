"""Many replicas as one engine: the contract, and answers that go on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from segue.core.errors import EngineFailed, EngineLost, Fault, FormatInvalid, QueueFull, TimedOut
from segue.core.generation import Chunk, Decoding, Joined, Seam
from segue.engine.base import Engine
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine
from segue.engine.scripted import Say, Scripted, Verbatim
from tests.engine.conformance import EngineConformance, ask, data_of, ids_of, run
from tests.engine.router.replicas import Mortal

QUICK = Failover(attempts_max=4, wait_s=0.3, looks_every_s=0.01)
EAGER = Policy(slow_start_s=0.0, open_s=0.02, open_s_max=0.05, tokens_free=10**9)


def _itself(engine: Engine) -> Engine:
    return engine


async def routed(*replicas: Engine, how: Failover = QUICK) -> RoutedEngine:
    makers = {f"r{place}": partial(_itself, each) for place, each in enumerate(replicas)}
    engine = RoutedEngine(makers, {}, EAGER, how)
    await engine.start()
    await asyncio.sleep(0.03)
    return engine


class TestRouted(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        made = await routed(Mortal(), Mortal())
        yield made
        await made.close()


TEXT = "It was a bright cold day in April, and the clocks were striking thirteen."


async def test_an_answer_goes_on_where_it_was() -> None:
    first, second = Mortal(), Mortal()
    for mortal in (first, second):
        mortal.deaths = [7, 0, 3, 20]
    engine = await routed(first, second, how=replace(QUICK, attempts_max=10))
    opened, chunks = await run(engine, await ask(engine, TEXT, output_tokens_max=500))
    assert data_of(chunks) == TEXT.encode()
    assert opened.cached_tokens == 0
    assert (await engine.health()).failovers >= 3
    await engine.close()


@pytest.mark.parametrize("fault", [EngineLost, TimedOut, QueueFull, lambda: EngineFailed("strange")])
async def test_what_goes_on_elsewhere(fault: type[Fault]) -> None:
    engine = await routed(Mortal(fault=fault), Mortal(fault=fault))
    deaths = [5]
    for placed in engine._placed.values():
        placed.engine.deaths = deaths  # type: ignore[attr-defined]
    prompt = await ask(engine, TEXT, output_tokens_max=500)
    _, chunks = await run(engine, prompt)
    assert data_of(chunks) == TEXT.encode()
    await engine.close()


@pytest.mark.parametrize(
    ("tokens", "fault", "replicas"), [(15, EngineLost, 4), (16, EngineLost, 24), (16, TimedOut, 4)]
)
async def test_how_often(tokens: int, fault: type[Fault], replicas: int) -> None:
    """An answer that comes further each time is not given up; one that stays where it is, or is waited for, is."""
    mortal = Mortal(fault=fault)
    mortal.deaths = [tokens] * 100
    engine = await routed(mortal)
    text = TEXT * 5 + "x" * (16 * 24 - 5 * len(TEXT))  # as many tokens as 24 attempts say
    asked = run(engine, await ask(engine, text, output_tokens_max=500))
    if replicas == 24:
        assert data_of((await asked)[1]) == text.encode()
    else:
        with pytest.raises(fault):
            await asked
    assert len(mortal.prompts) == replicas
    await engine.close()


async def test_not_for_ever_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.engine.router.engine._UNCOUNTED_MAX", 3)
    mortal = Mortal()
    mortal.deaths = [16] * 100
    engine = await routed(mortal)
    with pytest.raises(EngineLost):
        await run(engine, await ask(engine, TEXT * 5, output_tokens_max=500))
    assert len(mortal.prompts) == 3 + 4
    await engine.close()


async def test_a_refusal_does_not() -> None:
    replicas = [Mortal(fault=lambda: FormatInvalid("no")) for _ in range(2)]
    engine = await routed(*replicas)
    for mortal in replicas:
        mortal.deaths = [0, 0, 0]
    with pytest.raises(FormatInvalid):
        await run(engine, await ask(engine, TEXT))
    assert sum(len(mortal.prompts) for mortal in replicas) == 1
    await engine.close()


async def test_attempts_have_an_end() -> None:
    replicas = [Mortal(), Mortal(), Mortal()]
    engine = await routed(*replicas)
    for mortal in replicas:
        mortal.deaths = [1] * 20
    with pytest.raises(EngineLost):
        await run(engine, await ask(engine, TEXT, output_tokens_max=500))
    assert sum(len(mortal.prompts) for mortal in replicas) == QUICK.attempts_max
    await engine.close()


async def test_a_full_queue_is_not_asked_again_and_again() -> None:
    replicas = [Mortal(fault=QueueFull), Mortal(fault=QueueFull)]
    engine = await routed(*replicas)
    for mortal in replicas:
        mortal.deaths = [0] * 20
    with pytest.raises(QueueFull):
        await run(engine, await ask(engine, TEXT))
    assert [len(mortal.prompts) for mortal in replicas] == [1, 1]
    await engine.close()


async def test_what_another_replica_is_given() -> None:
    first, second = Mortal(), Mortal()
    engine = await routed(first, second)
    first.deaths = second.deaths = [6]
    prompt = await ask(
        engine,
        TEXT,
        output_tokens_max=500,
        choices=2,
        first_choice=3,
        decoding=Decoding(temperature=0.0, presence_penalty=1.0, seed=9),
        logprobs=2,
    )
    _, chunks = await run(engine, prompt)
    assert data_of(chunks, 0) == data_of(chunks, 1) == TEXT.encode()
    later = [each for mortal in (first, second) for each in mortal.prompts if each is not prompt and each.choices == 1]
    assert sorted(each.first_choice for each in later) == [3, 4]
    for each in later:
        assert list(each.ids[: len(prompt.ids)]) == list(prompt.ids)
        assert bytes(each.ids[len(prompt.ids) :]) == TEXT.encode()[: len(each.ids) - len(prompt.ids)]
        assert (each.answer_at, each.drawn_at) == (prompt.answer_at, len(prompt.ids))
        assert each.output_tokens_max == 500 - (len(each.ids) - len(prompt.ids))
        assert (each.decoding, each.logprobs, each.constraint) == (prompt.decoding, 2, prompt.constraint)
    await engine.close()


async def test_one_choice_had_ended() -> None:
    """The other goes on alone."""
    chunks = (Chunk(0, (65,), b"A", finish="stop"), Chunk(1, (66,), b"B"), Chunk(1, (67,), b"C"))
    first = Mortal(Scripted(Verbatim(chunks)))
    first.deaths = [2]
    engine = await routed(first)
    second = Mortal(Scripted(Say("XY", size=1)))
    await second.start()
    prompt = await ask(engine, choices=2)
    engine._placed["r0"].engine = first

    async def turn() -> None:
        await first.asked.wait()
        engine._placed["r0"].engine = second

    said, _ = await asyncio.gather(run(engine, prompt), turn())
    assert (data_of(said[1], 0), data_of(said[1], 1)) == (b"A", b"BXY")
    await engine.close()


async def test_a_joined_prefix_stays_joined() -> None:
    joined = Joined(2, (70, 71, 72))
    script = Verbatim((Chunk(0, (65,), b"A", joined=joined), Chunk(0, (66,), b"B", finish="stop")))
    replicas = [Mortal(Scripted(script)), Mortal(Scripted(script))]
    engine = await routed(*replicas)
    replicas[0].deaths = replicas[1].deaths = [1]
    await run(engine, await ask(engine, seam=Seam(), ids=[1, 2, 3, 4], answer_at=1))
    (later,) = [each for mortal in replicas for each in mortal.prompts if each.seam is None]
    assert (list(later.ids), later.answer_at, later.drawn_at) == ([1, 2, 70, 71, 72, 65], 1, 5)
    await engine.close()


async def test_it_waits_for_the_only_replica_to_come_back() -> None:
    mortal = Mortal()
    engine = await routed(mortal)
    mortal.deaths = [9]

    async def fall() -> None:
        await mortal.asked.wait()
        mortal.down = True
        await asyncio.sleep(0.1)
        mortal.down = False

    (_, chunks), _ = await asyncio.gather(run(engine, await ask(engine, TEXT, output_tokens_max=500)), fall())
    assert data_of(chunks) == TEXT.encode()
    await engine.close()


async def test_none_comes_back() -> None:
    mortal = Mortal()
    engine = await routed(mortal)
    mortal.down = True
    await asyncio.sleep(0.03)
    assert not (await engine.health()).ready
    with pytest.raises(EngineLost):
        await run(engine, await ask(engine))
    await engine.close()


async def test_replicas_come_and_go() -> None:
    first, second = Mortal(), Mortal()
    engine = await routed(first)
    slow = engine.generate(await ask(engine, TEXT, output_tokens_max=500))
    await anext(slow)
    engine.renew({"r1": lambda: second}, {})
    await asyncio.sleep(0.05)
    _, chunks = await run(engine, await ask(engine, TEXT, output_tokens_max=500))
    assert (len(first.prompts), len(second.prompts)) == (1, 1)
    rest = [item async for item in slow]  # the one that goes ends what it began
    assert data_of([item for item in rest if isinstance(item, Chunk)]) == data_of(chunks) == TEXT.encode()
    await asyncio.sleep(0.05)
    assert list(engine._placed) == ["r1"]
    assert ids_of((await run(engine, await ask(engine, TEXT)))[1])
    await engine.close()


async def test_a_replica_may_come_back_before_it_has_gone() -> None:
    first, second = Mortal(), Mortal()
    engine = await routed(first, second)
    slow = engine.generate(await ask(engine, TEXT, output_tokens_max=500))
    await anext(slow)
    busy, makers = ("r0", {"r0": lambda: first, "r1": lambda: second})
    if not first.prompts:
        busy = "r1"
    others = {name: make for name, make in makers.items() if name != busy}
    for _ in range(3):  # told again and again, as names are looked up again and again
        engine.renew(others, {})
    assert {name: draining for name, _, draining, _, _ in engine.seen()}[busy]
    engine.renew(makers, {})
    assert sum(running for *_, running in engine.seen()) == 1
    assert data_of([item async for item in slow if isinstance(item, Chunk)]).endswith(TEXT.encode()[-10:])
    await asyncio.sleep(0.05)
    assert sorted(engine._placed) == ["r0", "r1"]
    assert not any(draining for _, _, draining, _, _ in engine.seen())
    engine.renew(others, {})
    await asyncio.sleep(0.05)
    assert sorted(engine._placed) == sorted(others)
    await engine.close()


async def test_a_replica_that_starts_late_is_no_reason_to_wait() -> None:
    class Late(Mortal):
        async def start(self) -> None:
            await asyncio.sleep(30)

    late, up = Late(), Mortal()
    async with asyncio.timeout(1):
        engine = await routed(late, up)
        await run(engine, await ask(engine))
    assert (await engine.health()).detail == "1 of 2 replicas"
    await engine.close()


async def test_a_prompt_goes_where_its_beginning_was_read() -> None:
    replicas = [Mortal() for _ in range(4)]
    engine = await routed(*replicas)
    for turn in range(4):
        for conversation in range(8):
            text = f"This is conversation {conversation}. " * 8 * (turn + 3)
            await run(engine, await ask(engine, text))
    for mortal in replicas:
        begun: dict[bytes, int] = {}
        for prompt in mortal.prompts:
            key = bytes(token for token in prompt.ids[:200] if token < 256)[:60]
            begun[key] = begun.get(key, 0) + 1
        assert all(count == 4 for count in begun.values())
    await engine.close()
