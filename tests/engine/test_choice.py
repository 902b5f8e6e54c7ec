"""When an answer begins with a call: by what the model says, not by luck."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from segue.core.callforms import same
from segue.core.events import Event, Finished, Started, fold
from segue.core.generation import (
    Alternative,
    Chunk,
    Constraint,
    Decoding,
    Opened,
    Prompt,
    TokenLogprob,
)
from segue.core.request import Request, Tool, ToolChoice
from segue.engine.choice import Decision, decided
from segue.engine.scripted import Echo, Scripted, scripted_card
from segue.pipeline import Pipeline
from segue.prompt.answers import Answers
from tests.prompt.templates import QWEN25
from tests.requests import request, user

Tokens = Sequence[tuple[str, dict[str, float]]]
"""What is drawn, and how likely what was."""
HEAD: Tokens = [('<tool_call>\n{"name": "', {'<tool_call>\n{"name": "': 1.0})]
CALLS: Tokens = [("```", {"```": 0.6, "{": 0.2, ' {"': 0.1, "Hi": 0.1})]
PERHAPS: Tokens = [("Hi", {"Hi": 0.7, "```": 0.3})]
SURELY_CALLS: Tokens = [("{", {"{": 0.99, "Hi": 0.01})]
TALKS: Tokens = [("Hi", {"Hi": 0.97, "```": 0.03})]
SURE: Tokens = [*HEAD, ("get_", {"get_": 0.99, "x": 0.01}), ("time", {"time": 0.6, "date": 0.4}), ('",', {'",': 1.0})]
FAIRLY: Tokens = [*HEAD, ("get_", {"get_": 0.92, "x": 0.08}), ("time", {"time": 1.0}), ('",', {'",': 1.0})]
SPLIT: Tokens = [*HEAD, ("get_", {"get_": 1.0}), ("time", {"time": 0.5, "noise": 0.5}), ('",', {'",': 1.0})]
SAYS: Tokens = [("It is", {}), (" noon.", {})]
MADE_UP: Tokens = [*HEAD, ("greet", {"greet": 0.9, "get_": 0.1}), ('"', {'"': 1.0})]
NAMES = ("get_time", "get_date")
PROBE, CALL, TEXT = Constraint("probe"), Constraint("call"), Constraint("text")


class Model(Scripted):
    """Says the first tokens where nothing is demanded, the others where a call is begun for it; `said` is what it says
    where it is not asked for chances."""

    def __init__(self, first: Tokens, named: Tokens, cached: int = 0, said: Tokens = ()) -> None:
        card = replace(
            scripted_card(), template=QWEN25, abilities=frozenset({"partial", "json", "score"}), unambiguous=True
        )
        super().__init__(Echo(), card)
        self.first, self.named, self.cached, self.said = first, named, cached, said
        self.asked: list[Prompt] = []

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        self.asked.append(prompt)
        yield Opened(self.cached if len(self.asked) == 1 else len(prompt.ids))
        tokens = list(self.first if prompt.constraint is None else self.named)
        if prompt.logprobs is None and self.said:
            tokens = list(self.said)
        for place, (text, likely) in enumerate(tokens):
            if prompt.logprobs is None:
                yield Chunk(0, (7,), text.encode(), (), "stop" if place == len(tokens) - 1 else None)
                continue
            top = tuple(Alternative(other.encode(), math.log(share)) for other, share in likely.items())
            logprob = TokenLogprob(text.encode(), math.log(likely[text]), top)
            yield Chunk(0, (7,), text.encode(), (logprob,), "stop" if place == len(tokens) - 1 else None)


PROMPT = Prompt("r", "m", "w", [1, 2, 3], 3, Decoding(temperature=0.9, seed=7), 100, deterministic=True)


@pytest.mark.parametrize(
    ("first", "named", "calls"),
    [
        (CALLS, SURE, True),
        (SURELY_CALLS, FAIRLY, True),
        (CALLS, FAIRLY, False),
        (PERHAPS, SURE, False),
        (CALLS, SPLIT, False),
        (CALLS, MADE_UP, False),
        (TALKS, SURE, False),
        (CALLS, HEAD, False),
    ],
)
async def test_both_together_must_be_likely(first: Tokens, named: Tokens, calls: bool) -> None:
    model = Model(first, named, cached=2)
    got = await decided(model, PROMPT, Decision(NAMES, PROBE, CALL, TEXT))
    assert got.prompt == replace(PROMPT, constraint=CALL if calls else TEXT)
    assert got.cached_tokens == 2
    assert [asked.constraint for asked in model.asked] == [None, PROBE][: 1 if first is TALKS else 2]
    assert {asked.decoding.temperature for asked in model.asked} == {0.0}
    assert all(asked.deterministic and asked.ids == PROMPT.ids for asked in model.asked)


MADE: Tokens = [*SURE[:-1], ('", "arguments": {"zone": 1, "at": "x"}}\n</tool_call>', {})]


@pytest.mark.parametrize(
    ("answered", "calls"),
    [
        ([same("get_time", '{ "at":"x","zone":1}')], False),
        ([same("get_date", '{"at": "x", "zone": 1}')], True),
        ([same("get_time", '{"at": "y", "zone": 1}'), same("get_time", "")], True),
        ([], True),
    ],
)
async def test_what_has_its_result_is_not_called_again(answered: list[str], calls: bool) -> None:
    model = Model(CALLS, SURE, said=MADE)
    got = await decided(model, PROMPT, Decision(NAMES, PROBE, CALL, TEXT, answered))
    assert got.prompt.constraint == (CALL if calls else TEXT)
    assert [asked.constraint for asked in model.asked] == [None, PROBE, *[CALL][: len(answered)]]


async def test_a_call_without_an_end_is_no_call_that_was_made() -> None:
    model = Model(CALLS, SURE, said=MADE[:-1])
    got = await decided(model, PROMPT, Decision(NAMES, PROBE, CALL, TEXT, [same("get_time", "")]))
    assert got.prompt.constraint == CALL


async def answer(model: Model, sent: Request) -> list[Event]:
    await model.start()
    pipeline = Pipeline(lambda name: model)
    return [event async for event in pipeline.answer(await pipeline.prepare(sent))]


ASKED = request(user("?"), tools=(Tool("get_time", "", {}), Tool("get_date", "", {})))


async def test_the_choice_is_made_before_the_answer() -> None:
    called: Tokens = [*SURE[:-1], ('", "arguments": {}}\n</tool_call>', {'", "arguments": {}}\n</tool_call>': 1.0})]
    model = Model(CALLS, called, cached=1)
    got = await answer(model, ASKED)
    assert [(call.name, call.arguments) for call in fold(got, 1).choices[0].tool_calls] == [("get_time", "{}")]
    assert isinstance(got[0], Started)
    assert got[0].cached_tokens == 1, "what the questions left behind is not told as remembered"
    assert isinstance(got[-1], Finished)
    assert got[-1].output_tokens == len(called), "the questions are not counted"
    assert len(model.asked) == 3


@pytest.mark.parametrize(("first", "shown"), [(CALLS, False), (TALKS, True)])
async def test_a_model_that_is_held_off_a_call_does_not_see_the_functions(first: Tokens, shown: bool) -> None:
    """And its text is resumed from the prompt that it was said to."""
    model = Model(first, MADE_UP, said=SAYS)
    await model.start()
    pipeline = Pipeline(lambda name: model, answers=Answers(8, 10_000))

    async def asked(sent: Request) -> Prompt:
        async for _ in pipeline.answer(await pipeline.prepare(sent)):
            pass
        return model.asked[-1]

    said = await asked(ASKED)
    assert (b"get_time" in bytes(each for each in said.ids if each < 256)) is shown
    resumed = await asked(replace(ASKED, prefix="".join(text for text, _ in SAYS)))
    assert list(resumed.ids[: resumed.answer_at]) == list(said.ids)
    assert resumed.ids[resumed.answer_at :] == [7] * len(SAYS)
    assert b"get_time" in bytes(each for each in (await asked(replace(ASKED, prefix="x"))).ids if each < 256)


@pytest.mark.parametrize(
    "sent",
    [
        replace(ASKED, prefix="Well"),
        replace(ASKED, tool_choice=ToolChoice("required")),
        replace(ASKED, tool_choice=ToolChoice("none")),
        replace(ASKED, tools=()),
    ],
)
async def test_nothing_is_asked_where_there_is_no_choice(sent: Request) -> None:
    model = Model(TALKS, TALKS)
    await answer(model, sent)
    assert len(model.asked) == 1
