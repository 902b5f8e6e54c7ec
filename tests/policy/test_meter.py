"""What a request leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from segue.core.errors import KeyInvalid
from segue.core.events import Ended, Event, Failed, Finished, Started, Text, Thought
from segue.core.generation import Decoding, Prompt
from segue.core.request import Caller, Request
from segue.core.usage import Record
from segue.policy.limiter import Limiter
from segue.policy.meter import Meter
from segue.policy.quota import Quotas
from tests.requests import request, user


@dataclass
class Job:
    prompt: Prompt
    prompt_tokens: int = 3
    served: str = "m"


class Thinker:
    """Stages that think before they say something."""

    async def prepare(self, request: Request) -> Job:
        return Job(Prompt(request.id, "m", request.caller.workspace, [1, 2, 3], 3, Decoding(), 9))

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        for event in (Started(3, 1), Thought(0, "hm", 4), Text(0, "x", 2), Ended(0, "stop"), Finished(3, 1, 6)):
            yield event


async def test_what_was_thought_is_counted_apart_and_within_the_output() -> None:
    left: list[Record] = []
    meter = Meter(Thinker(), lambda name: name, Limiter(), Quotas(), left.append)
    job = await meter.prepare(request(user("?")))
    assert [type(event) for event in [each async for each in meter.answer(job)]][1:3] == [Thought, Text]
    (record,) = left
    assert (record.input_tokens, record.cached_tokens, record.output_tokens, record.reasoning_tokens) == (3, 1, 6, 4)
    assert record.outcome == "stop"


class Slow(Thinker):
    """Stages that wait: before they have prepared, and before the second event."""

    def __init__(self, prepares: bool) -> None:
        self.prepares, self.ended = prepares, 0

    async def prepare(self, request: Request) -> Job:
        if self.prepares:
            await asyncio.sleep(60)
        return await super().prepare(request)

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        try:
            async for event in super().answer(job):
                yield event
                await asyncio.sleep(60)
        finally:
            self.ended += 1


def nobody(caller: Caller) -> bool:
    return False


async def test_whoever_is_revoked_is_prepared_no_further() -> None:
    left: list[Record] = []
    meter = Meter(Slow(True), lambda name: name, Limiter(), Quotas(), left.append, code=lambda fault: "revoked")
    task = asyncio.create_task(meter.prepare(request(user("?"))))
    await asyncio.sleep(0)
    meter.revoke(lambda caller: True)
    await asyncio.sleep(0)
    assert not task.done()
    meter.revoke(nobody)
    with pytest.raises(KeyInvalid):
        await task
    assert task.cancelling() == 0
    assert [record.outcome for record in left] == ["revoked"]


@pytest.mark.parametrize("when", ["waiting", "between", "before"])
async def test_whoever_is_revoked_is_answered_no_further(when: str) -> None:
    left: list[Record] = []
    stages = Slow(False)
    meter = Meter(stages, lambda name: name, Limiter(), Quotas(), left.append, code=lambda fault: "revoked")
    job = await meter.prepare(request(user("?")))

    async def answered() -> list[Event]:
        events = []
        async for event in meter.answer(job):
            events.append(event)
            if when == "between":
                meter.revoke(nobody)
        return events

    if when == "before":
        meter.revoke(nobody)
    task = asyncio.create_task(answered())
    await asyncio.sleep(0)
    if when == "waiting":
        meter.revoke(nobody)
    *_, last = events = await asyncio.wait_for(task, 1)
    assert isinstance(last, Failed)
    assert isinstance(last.fault, KeyInvalid)
    assert len(events) == (1 if when == "before" else 2)
    assert stages.ended == (0 if when == "before" else 1)
    assert [record.outcome for record in left] == ["revoked"]
    assert task.cancelling() == 0


async def test_a_cancellation_that_is_not_ours_goes_on() -> None:
    stages = Slow(False)
    meter = Meter(stages, lambda name: name, Limiter(), Quotas(), None)
    job = await meter.prepare(request(user("?")))

    async def answered() -> None:
        async for _ in meter.answer(job):
            pass

    for both in (False, True):
        task = asyncio.create_task(answered())
        await asyncio.sleep(0)
        if both:
            meter.revoke(nobody)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if not both:
            job = await meter.prepare(request(user("?")))
    assert stages.ended == 2


async def test_an_answer_that_has_ended_is_not_ended_again() -> None:
    meter = Meter(Thinker(), lambda name: name, Limiter(), Quotas(), None)
    job = await meter.prepare(request(user("?")))
    events = []
    async for event in meter.answer(job):
        if isinstance(event, Finished):
            meter.revoke(nobody)
        events.append(event)
    assert isinstance(events[-1], Finished)
