"""The embedded engine with pictures: what is read once, whose it is, who waits for it, and what a crash leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from segue.core import places
from segue.core.errors import EngineFailed, QueueFull
from segue.core.generation import Constraint, Decoding, Prompt, Seam, Segment
from segue.core.media import View
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.spec import LlamaSpec
from tests.engine.test_llama import Heard, hear
from tests.pictures import image, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREEDY = Decoding(temperature=0.0)
ABOUT = "The picture that you see here was taken last summer. "
TOKENS = 6


@pytest.fixture(scope="module")
def spec(tiny_vl: tuple[Path, Path]) -> LlamaSpec:
    return LlamaSpec(
        "tiny",
        tiny_vl[0],
        context_tokens=2048,
        kv_tokens=2048,
        slots=4,
        queue=8,
        threads=2,
        projector=tiny_vl[1],
        picture_tokens_max=128,
        pictures_bytes_max=600_000,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(spec: LlamaSpec) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(spec)
    await engine.start()
    yield engine
    await engine.close()


async def asked(engine: LlamaEngine, *parts: str | View, prefix: str = "", **more: object) -> Prompt:
    sight = engine.card.sight
    assert sight is not None
    ids: list[int] = []
    for part in parts:
        if isinstance(part, View):
            begin, end = await engine.encode([Segment("<|vision_start|>", True), Segment("<|vision_end|>", True)])
            ids += [begin, *places.ids(part, sight.patch), end]
        else:
            ids += await engine.encode([Segment(part)])
    behind = await engine.encode([Segment(prefix)]) if prefix else []
    views = tuple(part for part in parts if isinstance(part, View))
    made = Prompt("r", "tiny", "default", [*ids, *behind], len(ids), GREEDY, TOKENS, views=views)
    return replace(made, **more)  # type: ignore[arg-type]


async def answers(engine: LlamaEngine, prompts: Sequence[Prompt]) -> list[Heard]:
    return list(await asyncio.gather(*(hear(engine, each) for each in prompts)))


async def test_the_card_says_what_it_sees(engine: LlamaEngine) -> None:
    card = engine.card
    assert card.sight is not None
    assert (card.sight.patch, card.sight.pixels_min, card.sight.pixels_max) == (28, 4 * 784, 128 * 784)
    assert card.clock == "timed"
    assert "vision" in card.abilities


async def test_the_second_question_about_a_picture_pays_for_the_question(engine: LlamaEngine) -> None:
    seen = image(1, 168, 140)
    first = await asked(engine, ABOUT, seen, "What is it?")
    heard = await hear(engine, first)
    assert heard.cached == 0
    assert (await hear(engine, first)).cached == len(first.ids)
    second = await asked(engine, ABOUT, seen, "Who took it?")
    common = next(at for at, (one, two) in enumerate(zip(first.ids, second.ids, strict=False)) if one != two)
    assert common > 30 + 1
    again = await hear(engine, second)
    assert again.cached == common
    assert again.ids != heard.ids  # the question matters, too
    fresh = await hear(engine, replace(second, workspace="fresh"))
    assert fresh.ids == again.ids


async def test_another_workspace_is_not_told(engine: LlamaEngine) -> None:
    question = await asked(engine, image(2), "Whose is it?")
    mine = await hear(engine, question)
    other = await hear(engine, replace(question, workspace="other"))
    assert (mine.cached, other.cached) == (0, 0)
    assert other.ids == mine.ids


async def test_another_picture_is_another_prompt(engine: LlamaEngine) -> None:
    ones = [await asked(engine, ABOUT, image(seed, 84, 84), "What?", logprobs=0) for seed in (3, 4)]
    heard = [await hear(engine, each) for each in ones]
    text = len(await engine.encode([Segment(ABOUT)])) + 1
    assert heard[1].cached == text
    assert [each.logprob for each in heard[0].logprobs] != [each.logprob for each in heard[1].logprobs]


async def test_alone_and_in_company_the_same(engine: LlamaEngine) -> None:
    prompts = [
        await asked(engine, ABOUT, image(10, 112, 112), " One?", workspace="a"),
        await asked(engine, "No picture at all, but " + ABOUT * 4, workspace="b"),
        await asked(engine, image(11, 56, 140), " and ", image(12, 84, 56), " Two?", workspace="c"),
        await asked(engine, "A film: ", video(1, 5), " Three?", workspace="d"),
    ]
    together = await answers(engine, prompts)
    alone = [await hear(engine, replace(each, workspace="alone")) for each in prompts]
    assert [each.ids for each in together] == [each.ids for each in alone]


async def test_choices_share_the_picture(engine: LlamaEngine) -> None:
    how = Decoding(temperature=1.0, top_p=1.0, top_k=0, seed=7)
    question = await asked(engine, image(20, 112, 84), "Say anything.", choices=3, decoding=how)
    heard = await hear(engine, question)
    assert len({tuple(ids) for ids in heard.ids.values()}) == 3
    for choice in range(3):
        one = await hear(engine, replace(question, choices=1, first_choice=choice, workspace=f"w{choice}"))
        assert one.ids[0] == heard.ids[choice]


async def test_a_prefix_behind_a_picture_is_gone_on_with(engine: LlamaEngine) -> None:
    seam = Seam(seconds=60.0)
    question = await asked(engine, ABOUT, image(30, 112, 84), "What is it?\n", prefix="The pict", seam=seam)
    heard = await hear(engine, question)
    assert heard.finish == {0: "length"}
    again = await hear(engine, question)
    assert again.data == heard.data
    assert (await hear(engine, replace(question, workspace="fresh"))).data == heard.data


async def test_an_answer_is_gone_on_with_from_its_cells(engine: LlamaEngine) -> None:
    question = await asked(engine, ABOUT, image(31, 112, 84), "What is it?\n")
    heard = await hear(engine, replace(question, output_tokens_max=2 * TOKENS))
    said = heard.ids[0][:TOKENS]
    resumed = replace(question, ids=[*question.ids, *said], drawn_at=len(question.ids), workspace="default")
    rest = await hear(engine, resumed)
    assert rest.cached >= len(question.ids)
    assert rest.ids[0] == heard.ids[0][TOKENS:]


async def test_a_form_holds_behind_a_picture(engine: LlamaEngine) -> None:
    wanted = Constraint("start: /[ab]{4}/")
    heard = await hear(engine, await asked(engine, image(32), "a or b?", constraint=wanted))
    assert set(heard.data[0].decode()) <= set("ab")
    assert len(heard.data[0]) == 4


async def test_the_deterministic_lane_sees(engine: LlamaEngine) -> None:
    question = await asked(engine, ABOUT, image(33, 112, 84), "What is it?", deterministic=True)
    once, twice = await hear(engine, question), await hear(engine, question)
    assert (once.ids, once.cached) == (twice.ids, 0)


async def test_a_cancelled_question_leaves_nothing_waiting(engine: LlamaEngine) -> None:
    question = await asked(engine, image(40, 280, 280), "What is it?")
    asking = asyncio.create_task(hear(engine, question))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await hear(engine, await asked(engine, image(41), "And that?"))).finish == {0: "length"}
    async with asyncio.timeout(120):
        while (health := await engine.health()).running or health.waiting:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.02)
    assert engine._pictures_bytes == 0


async def test_pictures_under_way_have_a_bound(engine: LlamaEngine) -> None:
    large = [await asked(engine, image(50 + seed, 308, 308), "?", workspace=f"b{seed}") for seed in range(4)]
    heard = await asyncio.gather(*(hear(engine, each) for each in large), return_exceptions=True)
    refused = [each for each in heard if isinstance(each, QueueFull)]
    assert len(refused) == 2
    assert sum(isinstance(each, Heard) for each in heard) == 2


async def test_places_without_their_picture_are_refused(engine: LlamaEngine) -> None:
    question = await asked(engine, image(60), "What is it?")
    with pytest.raises(EngineFailed):
        await hear(engine, replace(question, views=(image(61, 280, 280),)))
    with pytest.raises(EngineFailed):
        await hear(engine, replace(question, views=()))
    wrong = replace(question.views[0].pictures[0], pixels=b"too few")
    with pytest.raises(EngineFailed):
        await hear(engine, replace(question, views=(View("image", (wrong,)),)))
    assert (await hear(engine, question)).finish == {0: "length"}


async def test_an_answer_about_a_picture_survives_a_crash(engine: LlamaEngine) -> None:
    question = await asked(engine, ABOUT, image(70, 112, 84), "What is it?", output_tokens_max=300)
    whole = await hear(engine, question)
    assert engine._line is not None
    process = engine._line.process
    assert process is not None
    stream = engine.generate(replace(question, workspace="again"))
    ids: list[int] = []
    async for item in stream:
        ids += getattr(item, "ids", ())
        if len(ids) == 3:
            os.kill(process.pid, signal.SIGKILL)
    assert ids == whole.ids[0]


async def test_a_projector_of_another_kind_is_refused_in_words(spec: LlamaSpec, tmp_path: Path) -> None:
    nothing = tmp_path / "mmproj.gguf"
    for path in (nothing, spec.path):
        engine = LlamaEngine(replace(spec, projector=path))
        with pytest.raises(EngineFailed, match=r"does not exist|is not a projector"):
            await engine.start()
