"""Pictures all the way: a conversation with some, through the template, the embedded engine and back, with a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from segue.core.errors import NotSupported, PromptTooLong
from segue.core.events import Event, Finished, Started, checked, fold
from segue.core.generation import Seam
from segue.core.media import Medium, Placed, Sight, View
from segue.core.request import Message, Request, Sampling, Tool
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.spec import LlamaSpec
from segue.pipeline import Pipeline
from segue.prompt.answers import Answers
from tests.pictures import image, video
from tests.requests import request

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREEDY = Sampling(temperature=0.0)
PICTURE, OTHER, FILM = Medium("image", ("1",)), Medium("image", ("2",)), Medium("video", ("3",))
LARGE = Medium("image", ("4",))


@dataclass
class Shelf:
    """Shows what lies there."""

    views: dict[Medium, View]
    asked: list[tuple[str, tuple[Medium, ...]]] = field(default_factory=list)

    async def see(self, workspace: str, media: Sequence[Medium], sight: Sight) -> tuple[View, ...]:
        assert sight.patch == 28
        self.asked.append((workspace, tuple(media)))
        return tuple(self.views[medium] for medium in media)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tiny_vl: tuple[Path, Path]) -> AsyncIterator[LlamaEngine]:
    spec = LlamaSpec("tiny", tiny_vl[0], 1024, 512, 16, kv_tokens=1024, slots=4, threads=2, projector=tiny_vl[1])
    made = LlamaEngine(spec)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf({PICTURE: image(1, 112, 84), OTHER: image(2), FILM: video(3, 4), LARGE: image(4, 1008, 980)})


@pytest.fixture
def pipeline(engine: LlamaEngine, shelf: Shelf) -> Pipeline:
    seam = Seam(seconds=60.0)
    return Pipeline(lambda model: engine, seam=seam, answers=Answers(100, 10**6), viewer=shelf)


def about(text: str, *media: Placed, **fields: object) -> Request:
    sent = request(Message("user", text, media=media), model="tiny", sampling=GREEDY, output_tokens_max=12)
    return replace(sent, **fields)  # type: ignore[arg-type]


async def heard(pipeline: Pipeline, sent: Request) -> tuple[Started, list[Event]]:
    async with aclosing(pipeline.answer(await pipeline.prepare(sent))) as stream:
        got = [event async for event in checked(stream)]
    assert isinstance(got[-1], Finished), got
    assert isinstance(got[0], Started)
    return got[0], got


async def test_what_pictures_cost_is_told(pipeline: Pipeline, shelf: Shelf) -> None:
    media = Placed(0, PICTURE), Placed(4, OTHER), Placed(4, FILM), Placed(9, PICTURE)
    started, got = await heard(pipeline, about("Now what?", *media))
    assert (started.image_tokens, started.video_tokens) == (2 * (12 + 2) + (6 + 2), 2 * 4 + 2)
    assert started.prompt_tokens > started.image_tokens + started.video_tokens
    whole = fold(got, 1)
    assert (whole.image_tokens, whole.video_tokens) == (started.image_tokens, started.video_tokens)
    assert shelf.asked == [("space-1", (PICTURE, OTHER, FILM))]  # what was named twice is fetched once


async def test_the_second_question_pays_for_the_question_alone(pipeline: Pipeline) -> None:
    first, _ = await heard(pipeline, about("What is it, and where?", Placed(0, OTHER)))
    second, _ = await heard(pipeline, about("Who is it, and when?", Placed(0, OTHER)))
    assert second.cached_tokens >= first.cached_tokens + first.image_tokens - 1  # the mark before it was known
    assert second.prompt_tokens - second.cached_tokens < 20
    elsewhere = about("Who is it, and when?", Placed(0, OTHER))
    third, _ = await heard(pipeline, replace(elsewhere, caller=replace(elsewhere.caller, workspace="elsewhere")))
    assert third.cached_tokens == 0


async def test_a_prefix_behind_a_picture(pipeline: Pipeline) -> None:
    """What was said is gone on with exactly; any other prefix is joined by the search."""
    question = about("Describe it.", Placed(0, PICTURE), output_tokens_max=24)
    _, got = await heard(pipeline, question)
    said = fold(got, 1).choices[0].text
    begun = said[: len(said) // 2]
    started, got = await heard(pipeline, replace(question, prefix=begun))
    assert started.seam is not None
    assert started.seam.mode == "resumed"
    assert (begun + fold(got, 1).choices[0].text).startswith(said)
    assert started.cached_tokens > started.image_tokens
    searched, _ = await heard(pipeline, replace(question, prefix="The pict"))
    assert searched.seam is not None
    assert searched.seam.mode == "exact"
    # The same words about another picture are no beginning of that answer.
    other, _ = await heard(pipeline, about("Describe it.", Placed(0, OTHER), prefix=begun))
    assert other.seam is not None
    assert other.seam.mode == "exact"


class Dressed:
    """An engine under another template."""

    def __init__(self, engine: LlamaEngine, template: str) -> None:
        self._engine, self.card = engine, replace(engine.card, template=template)

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


async def test_a_conversation_with_pictures_and_functions(engine: LlamaEngine, shelf: Shelf) -> None:
    """Under a template that has both, that of Qwen3.5: whether a call begins is asked of the model, pictures shown."""
    dressed = Dressed(engine, (Path(__file__).parent / "prompt" / "real" / "qwen3.5.jinja").read_text())
    pipeline = Pipeline(lambda model: dressed, viewer=shelf)  # type: ignore[arg-type,return-value]
    turns = (
        Message("user", "What is this?", media=(Placed(13, PICTURE),)),
        Message("assistant", "A cat."),
        Message("user", "And this?", media=(Placed(0, OTHER),)),
    )
    tools = (Tool("look_closer", "Look closer.", {"type": "object", "properties": {}}),)
    sent = replace(about(""), messages=turns, tools=tools, thinking=False)
    job = await pipeline.prepare(sent)
    assert job.decision is not None
    started, _ = await heard(pipeline, sent)
    assert started.image_tokens == 12 + 2 + 6 + 2


async def test_what_does_not_fit_is_refused_with_its_length(pipeline: Pipeline) -> None:
    with pytest.raises(PromptTooLong) as refused:
        await pipeline.prepare(about("Too large?", Placed(0, LARGE)))
    assert refused.value.tokens > 36 * 35


async def test_nobody_who_fetches_is_nobody_who_sees(engine: LlamaEngine, shelf: Shelf) -> None:
    blind = Pipeline(lambda model: engine)
    with pytest.raises(NotSupported):
        await blind.prepare(about("?", Placed(0, PICTURE)))
    assert not shelf.asked
