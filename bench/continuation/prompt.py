"""The chat prompt under which texts are gone on with, and Segue's whole pipeline without HTTP."""

from __future__ import annotations

import itertools
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import pairwise

from segue.core.events import Ended, Failed, Finished, Started, Text
from segue.core.generation import ModelCard, Seam, SeamFound, Segment
from segue.core.request import Caller, Message, Request, Sampling
from segue.engine.base import Engine
from segue.engine.llama.context import Model
from segue.pipeline import Pipeline
from segue.prompt.answers import Answers
from segue.prompt.template import render

ASKED = "Continue the text."
"""What the user says where only the prefix matters."""
GREEDY = Sampling(temperature=0.0, repetition_penalty=1.0)
ANSWERS_MAX, ANSWERS_BYTES_MAX = 4096, 64 * 1024**2
_numbers = itertools.count()


@dataclass(slots=True)
class Said:
    """An answer.  `times` are when its pieces came, on the clock of `asked`."""

    asked: float
    text: str = ""
    reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    tokens: int = 0
    seam: SeamFound | None = None
    times: list[float] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        """Seconds to the first piece."""
        return self.times[0] - self.asked

    @property
    def steps_s(self) -> list[float]:
        """Seconds between pieces, where each is a token."""
        return [later - earlier for earlier, later in pairwise(self.times)]


def request(
    user: str,
    prefix: str | None = None,
    tokens: int | None = None,
    sampling: Sampling = GREEDY,
    workspace: str = "bench",
    deterministic: bool = False,
) -> Request:
    """One turn of a user's, perhaps with the beginning of its answer."""
    return Request(
        id="bench",
        caller=Caller("bench", workspace),
        model="bench",
        messages=(Message("user", user),),
        prefix=prefix,
        sampling=sampling,
        output_tokens_max=tokens,
        deterministic=deterministic,
    )


def pipeline(engine: Engine) -> Pipeline:
    """Segue as it is served by default, over one engine."""
    return Pipeline(lambda name: engine, seam=Seam(), answers=Answers(ANSWERS_MAX, ANSWERS_BYTES_MAX))


async def say(over: Pipeline, asked: Request, searched: bool = True) -> Said:
    """The whole answer, with or without a search for the seam.  Raises the Fault it ended with."""
    said = Said(time.perf_counter())
    job = await over.prepare(asked)
    if not searched:
        job = replace(job, prompt=replace(job.prompt, seam=None))
    async with aclosing(over.answer(job)) as events:
        async for event in events:
            match event:
                case Started():
                    said.prompt_tokens, said.cached_tokens = event.prompt_tokens, event.cached_tokens
                    said.seam = event.seam
                case Text():
                    said.text += event.text
                    said.times.append(time.perf_counter())
                case Ended():
                    said.reason = event.reason
                case Finished():
                    said.tokens = event.output_tokens
                case Failed():
                    raise event.fault
    return said


def fresh() -> str:
    """A workspace of its own, which shares no cache and no memory."""
    return f"bench {next(_numbers)}"


def header(model: Model) -> list[int]:
    """The tokens before a prefix, for a model in this process."""
    vocabulary = model.vocabulary
    card = ModelCard(
        name="bench",
        context_tokens=model.context_train,
        output_tokens_max=1,
        output_tokens_default=1,
        template=model.template(),
        bos_token=vocabulary.spelling(vocabulary.bos),
        eos_token=vocabulary.spelling(vocabulary.eos),
        control_tokens=tuple(vocabulary.control),
    )
    rendered: list[Segment] = render(card, request(ASKED))
    return vocabulary.encode([(segment.text, segment.control) for segment in rendered])
