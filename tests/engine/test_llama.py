"""The embedded engine with a real model: what is remembered, shared, cancelled, killed and repeated."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from segue.core.errors import EngineFailed, EngineLost, QueueFull
from segue.core.generation import Decoding, Opened, Prompt, Segment, TokenLogprob
from segue.engine.llama import frames
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.spec import LlamaSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREEDY = Decoding(temperature=0.0)
STORY = "Once upon a time, in a village by the sea, there lived a girl who could talk to the birds. "


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(small_model: Path) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(LlamaSpec("small", small_model, context_tokens=4096, kv_tokens=4096, slots=8, queue=8))
    await engine.start()
    yield engine
    await engine.close()


@dataclass
class Heard:
    """What came of a prompt."""

    cached: int = -1
    ids: dict[int, list[int]] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


async def prompt(engine: LlamaEngine, text: str, tokens: int = 24, **more: object) -> Prompt:
    ids = await engine.encode([Segment(text)])
    how = more.pop("decoding", GREEDY)
    assert isinstance(how, Decoding)
    made = Prompt("r", "small", "default", ids, len(ids), how, tokens)
    return replace(made, **more)  # type: ignore[arg-type]


async def hear(engine: LlamaEngine, asked: Prompt) -> Heard:
    heard = Heard()
    async for item in engine.generate(asked):
        heard.times.append(time.monotonic())
        if isinstance(item, Opened):
            assert heard.cached == -1
            heard.cached = item.cached_tokens
            continue
        heard.ids.setdefault(item.choice, []).extend(item.ids)
        heard.data[item.choice] = heard.data.get(item.choice, b"") + item.data
        heard.logprobs.extend(item.logprobs)
        if item.finish:
            assert item.choice not in heard.finish
            heard.finish[item.choice] = item.finish
    assert len(heard.finish) == asked.choices
    return heard


async def idle(engine: LlamaEngine) -> None:
    """Wait until nothing runs: a cancelled strand leaves with the step under way."""
    async with asyncio.timeout(10):
        while engine._strands:  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0.01)


async def test_text_and_ids_agree(engine: LlamaEngine) -> None:
    heard = await hear(engine, await prompt(engine, STORY))
    assert b"".join(await engine.pieces(heard.ids[0])) == heard.data[0]
    assert len(heard.ids[0]) == 24
    assert heard.finish == {0: "length"}


async def test_encoding_keeps_every_byte_and_trusts_no_spelling(engine: LlamaEngine) -> None:
    text = " tail <|im_end|> of\n\n\tit 春天 \U0001f600 <|im_start|>system\n"
    ids = await engine.encode([Segment(text)])
    assert b"".join(await engine.pieces(ids)).decode() == text
    controls = await engine.encode([Segment("<|im_end|>", control=True), Segment("<|im_start|>", control=True)])
    assert len(controls) == 2
    assert not set(controls) & set(ids)


async def test_short_texts_do_not_wait_for_long_ones(engine: LlamaEngine) -> None:
    long = asyncio.create_task(engine.encode([Segment("a" * 2_000_000)]))
    await asyncio.sleep(0.05)
    assert len(await engine.encode([Segment("short")])) >= 1
    assert not long.done()
    assert len(await long) > 100_000


async def test_a_longer_prompt_pays_for_what_is_new(engine: LlamaEngine) -> None:
    first = await prompt(engine, STORY * 5)
    heard = await hear(engine, first)
    again = await hear(engine, first)
    assert again.cached == len(first.ids)
    ids = [*first.ids, *heard.ids[0], *(await engine.encode([Segment(" And then?")]))]
    longer = replace(first, ids=ids, answer_at=len(ids))
    # All but the answer's last token, which was said and never read.
    assert (await hear(engine, longer)).cached == len(first.ids) + len(heard.ids[0]) - 1


async def test_another_workspace_is_not_told(engine: LlamaEngine) -> None:
    asked = await prompt(engine, "Nobody else asked this before: 1729.")
    await hear(engine, asked)
    assert (await hear(engine, replace(asked, workspace="other"))).cached == 0
    assert (await hear(engine, asked)).cached == len(asked.ids)


async def test_same_seed_same_text_and_other_seeds_differ(engine: LlamaEngine) -> None:
    asked = await prompt(engine, STORY, deterministic=True, decoding=Decoding(temperature=1.0, top_k=0, top_p=1.0))
    one, two = await hear(engine, asked), await hear(engine, asked)
    assert one.data == two.data
    other = await hear(engine, replace(asked, decoding=replace(asked.decoding, seed=99)))
    assert other.data != one.data


async def test_choices_are_independent_draws_over_one_reading(engine: LlamaEngine) -> None:
    how = Decoding(temperature=1.0, top_k=0, top_p=1.0)
    asked = await prompt(engine, STORY * 3, choices=4, decoding=how)
    heard = await hear(engine, asked)
    assert sorted(heard.data) == [0, 1, 2, 3]
    assert len(set(heard.data.values())) == 4


async def test_penalties_and_position_count_the_prefix(engine: LlamaEngine) -> None:
    """An answer taken up in the middle goes on as it would have: noise and penalties go by position."""
    how = Decoding(temperature=0.9, top_p=0.95, top_k=50, repetition_penalty=1.2, seed=5)
    asked = await prompt(engine, STORY, tokens=40, decoding=how)
    whole = await hear(engine, asked)
    ids = whole.ids[0]
    half = replace(asked, ids=[*asked.ids, *ids[:15]], output_tokens_max=len(ids) - 15)
    assert (await hear(engine, half)).ids[0] == ids[15:]


async def test_logprobs_are_the_models_own(engine: LlamaEngine) -> None:
    asked = await prompt(engine, STORY, tokens=6, logprobs=3)
    heard = await hear(engine, asked)
    assert len(heard.logprobs) == 6
    for told in heard.logprobs:
        assert told.logprob <= 0
        assert len(told.top) == 3
        assert told.top[0].data == told.data, "greedy takes the most probable"
        assert [a.logprob for a in told.top] == sorted((a.logprob for a in told.top), reverse=True)


async def test_asked_again_the_same_comes_word_for_word(engine: LlamaEngine) -> None:
    """Whether the prompt is read anew, or remembered in part or whole."""
    texts = [f"{number} {STORY * 2}" for number in range(6)]
    asked = [await prompt(engine, text, tokens=30, decoding=Decoding(seed=3)) for text in texts]
    first = [(await hear(engine, one)).data for one in asked]
    assert [(await hear(engine, one)).data for one in asked] == first


async def test_neighbours_do_not_change_a_deterministic_answer(engine: LlamaEngine) -> None:
    asked = await prompt(engine, STORY, deterministic=True)
    alone = await hear(engine, asked)
    neighbours = [await prompt(engine, f"{i} {STORY}", tokens=60) for i in range(5)]
    together = await asyncio.gather(hear(engine, asked), *(hear(engine, other) for other in neighbours))
    assert together[0].data == alone.data


async def test_a_long_prompt_does_not_stop_a_running_answer(engine: LlamaEngine) -> None:
    talker = asyncio.create_task(hear(engine, await prompt(engine, STORY, tokens=150)))
    await asyncio.sleep(0.2)
    before = time.monotonic()
    long = await hear(engine, await prompt(engine, STORY * 40, tokens=1))
    read = long.times[0] - before
    during = [t for t in (await talker).times if before < t < before + read]
    assert len(during) >= 3, f"{len(during)} tokens while a prompt of {len(STORY * 40)} letters was read"


async def test_closing_the_iterator_frees_the_slot(engine: LlamaEngine) -> None:
    asked = await prompt(engine, STORY, tokens=2000)
    async with aclosing(engine.generate(asked)) as items:
        async for item in items:
            if not isinstance(item, Opened):
                break
    assert not engine._strands
    await hear(engine, await prompt(engine, "The end.", tokens=2))
    assert (await engine.health()).running <= 1


async def test_past_the_queue_it_says_so_at_once(engine: LlamaEngine) -> None:
    asked = await prompt(engine, STORY, tokens=400)
    tasks = [asyncio.create_task(hear(engine, asked)) for _ in range(16)]
    await asyncio.sleep(0.05)
    started = time.monotonic()
    with pytest.raises(QueueFull):
        await hear(engine, asked)
    assert time.monotonic() - started < 1.0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await idle(engine)


async def test_a_prompt_that_cannot_fit_is_refused_by_name(engine: LlamaEngine) -> None:
    with pytest.raises(EngineFailed):
        await hear(engine, await prompt(engine, STORY * 300))


async def test_a_token_costs_a_step(engine: LlamaEngine) -> None:
    asked, before = await prompt(engine, STORY + "Of steps: ", tokens=30), (await engine.health()).steps
    said = len((await hear(engine, asked)).ids[0])
    steps = (await engine.health()).steps - before
    assert said - 1 <= steps <= said + 4, "the prompt is read in one or a few, which give the first token, too"


async def test_steps_are_counted_over_all_lives_of_the_process(tmp_path: Path) -> None:
    engine = LlamaEngine(LlamaSpec("small", tmp_path / "absent.gguf"))
    for batches in (2, 0, 1):
        engine._hear(frames.Step([], 1, 0, batches))
    assert (await engine.health()).steps == 3


async def test_killed_in_the_middle_every_answer_goes_on(small_model: Path) -> None:
    engine = LlamaEngine(LlamaSpec("small", small_model, context_tokens=2048, kv_tokens=4096))
    await engine.start()
    try:
        asked = [await prompt(engine, f"{i}. {STORY}", tokens=60) for i in range(8)]
        tasks = [asyncio.create_task(hear(engine, one)) for one in asked]
        await asyncio.sleep(0.3)
        _kill(engine)
        async with asyncio.timeout(60):
            heard = await asyncio.gather(*tasks)
        for one in heard:
            assert one.finish[0] == "stop" or len(one.ids[0]) == 60, "no token twice, none missing"
            assert b"".join(await engine.pieces(one.ids[0])) == one.data[0]
        health = await engine.health()
        assert health.restarts == 1
        assert 1 <= health.failovers <= len(asked), "each answer that was under way, once"
        assert (await hear(engine, asked[0])).finish
    finally:
        await engine.close()


async def test_a_request_under_two_dying_processes_fails_clearly(small_model: Path) -> None:
    engine = LlamaEngine(LlamaSpec("small", small_model, context_tokens=2048, kv_tokens=2048))
    await engine.start()
    try:
        task = asyncio.create_task(hear(engine, await prompt(engine, STORY, tokens=1500)))
        for _ in range(2):
            await asyncio.sleep(0.3)
            async with asyncio.timeout(30):
                await engine._until_ready()
            _kill(engine)
        with pytest.raises(EngineLost):
            async with asyncio.timeout(30):
                await task
        assert (await hear(engine, await prompt(engine, "It goes on:", tokens=2))).finish
    finally:
        await engine.close()


async def test_a_document_is_not_read_again_after_a_restart(small_model: Path, tmp_path: Path) -> None:
    spec = LlamaSpec(
        "small", small_model, context_tokens=4096, kv_tokens=4096, snapshots=tmp_path, snapshots_bytes_max=10**9
    )

    async def asked(question: str, workspace: str = "default", lasting: bool = True) -> Heard:
        engine = LlamaEngine(spec)
        await engine.start()
        try:
            return await hear(
                engine, await prompt(engine, STORY * 30 + question, 8, workspace=workspace, lasting=lasting)
            )
        finally:
            await engine.close()

    first = await asked("Her name was")
    assert first.cached == 0
    assert len(os.listdir(tmp_path)) == 1
    again = await asked("Her name was")
    assert again.cached > 600
    assert again.ids == first.ids
    second = await asked("One day a storm")
    assert second.cached > 600
    assert second.ids == (await asked("One day a storm", lasting=False)).ids
    assert (await asked("Her name was", "other")).cached == 0


async def test_nothing_is_kept_of_a_document_that_is_forgotten(small_model: Path, tmp_path: Path) -> None:
    spec = LlamaSpec(
        "small", small_model, context_tokens=4096, kv_tokens=4096, snapshots=tmp_path, snapshots_bytes_max=10**9
    )
    engine = LlamaEngine(spec)
    await engine.forget(["a1" * 16])
    await engine.start()

    async def asked(question: str, document: str) -> int:
        sent = await prompt(engine, STORY * 30 + question, 2, lasting=True, documents=frozenset({document}))
        return (await hear(engine, sent)).cached

    try:
        assert await asked("Her name was", "a1" * 16) == 0
        await engine.forget(["a1" * 16])
        assert await asked("One day a storm", "a1" * 16) == 0
        assert await asked("Her name was", "b2" * 16) == 0, "nothing of the other is remembered for a while"
    finally:
        await engine.close()
    assert len(os.listdir(tmp_path)) == 1
    await LlamaEngine(spec).forget(["b2" * 16])
    assert os.listdir(tmp_path) == []


async def test_a_file_that_is_no_model_fails_at_start(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"GGUF and then nothing")
    engine = LlamaEngine(LlamaSpec("broken", path))
    with pytest.raises(EngineFailed, match="not a model"):
        await engine.start()
    with pytest.raises(EngineFailed, match="does not exist"):
        await LlamaEngine(LlamaSpec("absent", tmp_path / "absent.gguf")).start()


async def test_closing_ends_the_process(small_model: Path) -> None:
    engine = LlamaEngine(LlamaSpec("small", small_model, context_tokens=2048, kv_tokens=2048))
    await engine.start()
    assert engine._line is not None
    assert engine._line.process is not None
    pid = engine._line.process.pid
    task = asyncio.create_task(hear(engine, await prompt(engine, STORY, tokens=1500)))
    await asyncio.sleep(0.1)
    await engine.close()
    await engine.close()
    with pytest.raises(EngineLost):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _kill(engine: LlamaEngine) -> None:
    assert engine._line is not None
    assert engine._line.process is not None
    os.kill(engine._line.process.pid, signal.SIGKILL)
