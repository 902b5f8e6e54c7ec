"""The whole path over the scripted engine: order, faults, cancellation, and that a stream is the whole answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import NoReturn

import pytest

from segue.core import events
from segue.core.errors import (
    EngineFailed,
    EngineLost,
    Fault,
    Internal,
    ModelUnknown,
    NotSupported,
    OutOfRange,
    PartialWithThinking,
    PromptTooLong,
    QueueFull,
)
from segue.core.events import (
    CallArguments,
    CallStarted,
    Ended,
    Event,
    Failed,
    Finished,
    Started,
    Text,
    Thought,
    checked,
    fold,
)
from segue.core.generation import Chunk, Opened, Prompt
from segue.core.request import Format, Request, Sampling, Stop, ToolCall
from segue.engine.base import Engine
from segue.engine.scripted import Drone, Echo, Failure, Say, Script, Scripted, Verbatim, scripted_card
from segue.pipeline import Pipeline
from tests.requests import request, user

HI = request(user("Hi"))


async def started(script: Script, **settings: object) -> Scripted:
    made = Scripted(script, **settings)  # type: ignore[arg-type]
    await made.start()
    return made


def serving(engine: Engine) -> Pipeline:
    def find(model: str) -> Engine:
        if model != engine.card.name:
            raise ModelUnknown(model)
        return engine

    return Pipeline(find)


async def answer(engine: Engine, sent: Request) -> list[Event]:
    pipeline = serving(engine)
    async with aclosing(pipeline.answer(await pipeline.prepare(sent))) as stream:
        return [event async for event in checked(stream)]


async def test_an_answer() -> None:
    got = await answer(await started(Say("Hello", size=3)), HI)
    prompt_tokens = len("user\nHi\nassistant\n") + 3
    assert got == [
        Started(prompt_tokens, 0),
        Text(0, "Hel", 3),
        Text(0, "lo", 2),
        Ended(0, "stop"),
        Finished(prompt_tokens, 0, 5),
    ]


async def test_a_prefix_is_input_and_not_output() -> None:
    engine = await started(Echo())
    for prefix in ("", "Hel", "<|im_end|>", "你"):
        got = fold(await answer(engine, request(user("Hello"), prefix=prefix)), 1)
        assert got.choices[0].text == ("lo" if prefix == "Hel" else "Hello")
        bare = fold(await answer(engine, request(user("Hello"))), 1)
        assert got.prompt_tokens == bare.prompt_tokens + len(prefix.encode())
        assert got.output_tokens == got.choices[0].tokens == len(got.choices[0].text)


async def test_the_prompt_that_the_engine_is_given() -> None:
    engine = await started(Echo())
    sent = replace(
        request(user("Hello"), prefix="He"),
        sampling=Sampling(top_k=500, temperature=0.0),
        output_tokens_max=7,
        choices=2,
        logprobs=True,
        top_logprobs=3,
        deterministic=True,
    )
    job = await serving(engine).prepare(sent)
    assert bytes(job.prompt.ids[job.prompt.answer_at :]) == b"He"
    assert job.prompt.decoding == replace(engine.card.decoding, top_k=0, temperature=0.0)
    assert (job.prompt.output_tokens_max, job.prompt.choices, job.prompt.logprobs) == (7, 2, 3)
    assert (job.prompt.deterministic, job.prompt.workspace, job.served) == (True, "space-1", "scripted")
    assert (await serving(engine).prepare(HI)).prompt.logprobs is None


@pytest.mark.parametrize("stop", [Stop(), Stop(strings=("o w",)), Stop(sequences=((119, 111),))])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_whole_and_stream_are_one(stop: Stop, size: int) -> None:
    engine = await started(Say("hello 你好 wo🙂", size=size))
    got = await answer(engine, replace(HI, stop=stop, choices=3, logprobs=True))
    whole = fold(got, 3)
    text = "hello 你好 " if stop.sequences else "hello 你好 wo🙂"
    assert [choice.text for choice in whole.choices] == [text] * 3
    assert [choice.reason for choice in whole.choices] == ["stop"] * 3
    finished = got[-1]
    assert isinstance(finished, Finished)
    assert finished.output_tokens == whole.output_tokens == sum(choice.tokens for choice in whole.choices)
    assert "".join(event.text for event in got if isinstance(event, Text) and event.choice == 1) == text


async def test_length() -> None:
    whole = fold(await answer(await started(Drone(100)), replace(HI, output_tokens_max=9)), 1)
    assert (whole.choices[0].text, whole.choices[0].reason, whole.output_tokens) == ("a" * 9, "length", 9)


async def test_failure_in_the_middle_comes_last() -> None:
    got = await answer(await started(Drone(10), failure=Failure(2)), HI)
    assert got[:-1] == [Started(len("user\nHi\nassistant\n") + 3, 0), Text(0, "a", 1), Text(0, "a", 1)]
    assert isinstance(got[-1], Failed)
    assert isinstance(got[-1].fault, EngineLost)


async def test_no_room_is_the_first_event() -> None:
    engine = await started(Drone(10), running_max=1)
    busy = serving(engine)
    async with aclosing(busy.answer(await busy.prepare(HI))) as stream:
        await anext(stream)
        (only,) = await answer(engine, HI)
    assert isinstance(only, Failed)
    assert isinstance(only.fault, QueueFull)
    assert len(await answer(engine, HI)) == 13


async def test_closing_the_events_closes_the_engine_s_iterator() -> None:
    engine = await started(Drone(10_000))
    pipeline = serving(engine)
    for taken in (1, 2, 5):
        stream = pipeline.answer(await pipeline.prepare(HI))
        for _ in range(taken):
            await anext(stream)
        assert (await engine.health()).running == 1
        await stream.aclose()
        assert (await engine.health()).running == 0


async def test_cancelling_frees_the_place() -> None:
    engine = await started(Drone(10_000), delay_s=0.01)
    task = asyncio.create_task(answer(engine, HI))
    await asyncio.sleep(0.005)  # before the first chunk
    assert (await engine.health()).running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.health()).running == 0


async def test_a_stop_ends_the_engine_s_work() -> None:
    engine = await started(Drone(5000))
    whole = fold(await answer(engine, replace(HI, stop=Stop(("aaa",)))), 1)
    assert (whole.choices[0].text, whole.output_tokens) == ("", 3)
    assert (await engine.health()).running == 0


async def test_a_silent_end_is_a_failure() -> None:
    got = await answer(await started(Verbatim((Chunk(0, (1,), b"x"),))), HI)
    assert isinstance(got[-1], Failed)
    assert isinstance(got[-1].fault, EngineFailed)


async def test_a_mistake_of_ours_is_a_failure_too(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Scripted):
        async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
            yield Opened(0)
            raise ZeroDivisionError

    engine = Wrong(Echo())
    with caplog.at_level(logging.ERROR):
        got = await answer(engine, HI)
    assert isinstance(got[-1], Failed)
    assert isinstance(got[-1].fault, Internal)
    assert "answer failed" in caplog.text


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (replace(HI, model="other"), ModelUnknown),
        (replace(HI, prefix="x", thinking=True), PartialWithThinking),
        (replace(HI, format=Format("json_object")), NotSupported),
        (replace(HI, output_tokens_max=51), OutOfRange),
        (request(user("x" * 100)), PromptTooLong),
        (request(user("x"), prefix="x" * 100), PromptTooLong),
    ],
)
async def test_refused_before_the_answer(sent: Request, fault: type[Fault]) -> None:
    engine = await started(Echo(), card=scripted_card(context_tokens=100, output_tokens=50))
    with pytest.raises(fault):
        await serving(engine).prepare(sent)


async def test_order_is_watched() -> None:
    async def stream(*sent: Event) -> AsyncGenerator[Event, None]:
        for event in sent:
            yield event

    early = [Started(1, 0), CallArguments(0, 0, "{}", 1)]
    for wrong in ([Text(0, "a", 1)], [Started(1, 0)], [Started(1, 0), Finished(1, 0, 0)], early):
        with pytest.raises(AssertionError):
            [event async for event in checked(stream(*wrong))]
    assert set(events.ORDER) == {None, Started, Thought, Text, CallStarted, CallArguments, Ended, Finished, Failed}


async def test_calls_are_folded_too() -> None:
    sent: list[Event] = [
        Started(1, 0),
        Text(0, "Wait.", 2),
        CallStarted(0, 0, "call_a", "f"),
        CallArguments(0, 0, '{"x"', 5),
        CallArguments(0, 0, ": 1}", 2),
        CallStarted(0, 1, "call_b", "g"),
        CallArguments(0, 1, "{}", 3),
        Ended(0, "tool_calls"),
        Finished(1, 0, 12),
    ]

    async def stream() -> AsyncGenerator[Event, None]:
        for event in sent:
            yield event

    (choice,) = fold([event async for event in checked(stream())], 1).choices
    assert (choice.text, choice.tokens, choice.reason) == ("Wait.", 12, "tool_calls")
    assert choice.tool_calls == [ToolCall("call_a", "f", '{"x": 1}'), ToolCall("call_b", "g", "{}")]


async def test_fold_raises_the_fault() -> None:
    def broken() -> NoReturn:
        fold([Started(1, 0), Failed(EngineLost())], 1)
        raise AssertionError

    with pytest.raises(EngineLost):
        broken()
