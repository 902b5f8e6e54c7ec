"""What a request leaves behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from segue.core.events import Ended, Event, Finished, Started, Text, Thought
from segue.core.generation import Decoding, Prompt
from segue.core.request import Request
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
