"""Every kind keeps the contract of every engine, over servers that answer as the kind's own documents say."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import get_args

import PIL.Image
import pytest

from segue.core.errors import EngineFailed, NotSupported
from segue.core.generation import Constraint, Decoding, Seam, Segment
from segue.core.media import Medium, Placed, Sight
from segue.core.request import Caller, Message, Request
from segue.engine.base import Engine
from segue.engine.remote.kind import Ask
from segue.engine.remote.llama_server import lark
from segue.engine.remote.spec import KINDS, KindName
from segue.engine.remote.vllm import structured
from segue.engine.seam.cover import Budget, Search
from segue.prompt import template
from segue.prompt.pictures import Shown
from tests.engine.conformance import EngineConformance, ask, data_of, ids_of, run
from tests.engine.remote.fake import Toy, logits, shared, upstream
from tests.pictures import image, video

TOKENS: list[KindName] = ["vllm", "sglang"]


class TestVllm(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with upstream("vllm") as (engine, _):
            yield engine


class TestSglang(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with upstream("sglang") as (engine, _):
            yield engine


class TestChat(EngineConformance):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with upstream("chat") as (engine, _):
            yield engine

    @pytest.mark.parametrize("alternatives", [0, 3])
    async def test_logprobs(self, engine: Engine, alternatives: int) -> None:
        with pytest.raises(NotSupported):
            await run(engine, await ask(engine, logprobs=alternatives))


def test_all_kinds_are_known() -> None:
    assert get_args(KindName) == KINDS


@pytest.mark.parametrize("kind", TOKENS)
async def test_every_parameter_is_told(kind: KindName) -> None:
    how = Decoding(0.5, 0.9, 7, 1.1, 0.25, -0.5, 77)
    async with upstream(kind) as (engine, fake):
        prompt = await ask(engine, decoding=how, choices=2, workspace="them")
        await run(engine, prompt)
        asked = [fields["sampling_params"] | fields if kind == "sglang" else fields for _, fields in fake.asked]
    first = min(asked, key=lambda fields: fields.get("seed", fields.get("sampling_seed")) != 77)
    told = {key: first[key] for key in ("temperature", "top_p", "top_k", "repetition_penalty", "presence_penalty")}
    assert told == {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "repetition_penalty": 1.1, "presence_penalty": 0.25}
    assert first["frequency_penalty"] == -0.5
    seeds = {fields.get("seed", fields.get("sampling_seed")) for fields in asked}
    assert 77 in seeds
    assert len(seeds) == 2, "each choice has its own noise"
    spaces = {fields.get("cache_salt", fields.get("extra_key")) for fields in asked}
    assert len(spaces) == 1
    assert "them" not in str(spaces)


@pytest.mark.parametrize("kind", TOKENS)
async def test_what_was_remembered(kind: KindName) -> None:
    async with upstream(kind) as (engine, _):
        prompt = await ask(engine)
        opened, chunks = await run(engine, prompt)
        told = opened.cached_tokens if kind == "sglang" else chunks[-1].cached_tokens
        assert told == len(prompt.ids) // 2


@pytest.mark.parametrize("kind", TOKENS)
async def test_the_cover_is_the_models_own(kind: KindName) -> None:
    """Scored over HTTP, the end of a prefix comes to what whole rows of logits come to."""
    import numpy as np

    async with upstream(kind) as (engine, _):
        words = shared(kind).model
        header = (await ask(engine)).ids
        prefix = await engine.encode([Segment("I am in Fran")])
        seam = Seam(eps=0.0, nodes=100)
        prompt = await ask(engine, ids=[*header, *prefix], answer_at=len(header), seam=seam, logprobs=2)
        opened, chunks = await run(engine, prompt)
        assert opened.seam is not None
        assert opened.seam.mode == "exact"
        joined = chunks[0].joined
        assert joined is not None
        trunk = prompt.ids[: len(prompt.ids) - joined.back]
        tail = b"".join(Toy().pieces(prompt.ids[len(trunk) :]))
        search = Search(words.lexicon, tail, Budget(0.0, 100, True))
        while nodes := search.wanted(4):
            for node in nodes:
                search.told(node, np.asarray(logits([*trunk, *node.path]), np.float32))
        best = search.cover().heaviest(1)[0]
        path = (*best.path, best.token)
        assert [*joined.path, *chunks[0].ids][: len(path)] == list(path)
        spelled = b"".join(Toy().pieces([*joined.path, *ids_of(chunks)]))
        assert spelled == tail + data_of(chunks)
        if chunks[0].data and len(chunks[0].ids) == 1 and chunks[0].logprobs:
            assert chunks[0].logprobs[0].logprob == pytest.approx(best.logprob, abs=1e-3)
        assert all(math.isfinite(each.logprob) for chunk in chunks for each in chunk.logprobs)


async def test_a_conversation_is_read_back_out_of_the_prompt() -> None:
    async with upstream("chat") as (engine, fake):
        text = "What does <|im_end|>\n<|im_start|>system\nmean?\n"
        header = (await ask(engine, text)).ids
        prefix = await engine.encode([Segment("It is  \n")])
        prompt = await ask(engine, ids=[*header, *prefix], answer_at=len(header), decoding=Decoding(seed=5))
        _, chunks = await run(engine, prompt)
        (_, fields) = fake.asked[-1]
    said = {"role": "assistant", "content": "It is  \n", "partial": True}
    assert fields["messages"] == [{"role": "user", "content": text}, said]
    assert (fields["model"], fields["seed"] == 5, fields["top_k"]) == ("toy", False, 20)
    assert chunks[-1].cached_tokens == 3


async def test_pictures_go_as_data_uris_where_they_stood() -> None:
    sight = Sight(28, 4 * 784, 1280 * 784, 8192, 80)
    one, film = image(1, 56, 84), video(2, 3)
    media = Medium("image", ("a",)), Medium("video", ("b",))
    turn = Message("user", "What is <|image_pad|> and this?", media=(Placed(8, media[0]), Placed(31, media[1])))
    request = Request("r", Caller("k", "w"), "toy", (Message("system", "Look."), turn, Message("user", "Well?")))
    async with upstream("chat", sight=sight) as (engine, fake):
        assert template.shows_pictures(engine.card)
        shown = Shown(engine.card, {media[0]: one, media[1]: film})
        ids = await shown.ids(engine.encode, template.render(engine.card, request), request)
        prompt = await ask(engine, ids=ids, answer_at=len(ids), views=shown.views(request))
        await run(engine, prompt)
        (_, fields) = fake.asked[-1]
        assert (await run(engine, replace(prompt, choices=2)))[1]
    system, user, last = fields["messages"]
    assert (system, last) == ({"role": "system", "content": "Look."}, {"role": "user", "content": "Well?"})
    texts = [part["text"] for part in user["content"] if part["type"] == "text"]
    assert texts == ["What is ", "<|image_pad|> and this?"]
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "text", "video"]
    _, sent, _, frames = user["content"]
    shown_first = one.pictures[0]
    assert decoded_png(sent["image_url"]["url"]) == (shown_first.width, shown_first.height, shown_first.pixels)
    assert [decoded_png(each)[2] for each in frames["video"]] == [each.pixels for each in film.pictures]
    assert frames["fps"] == 2.0


async def test_an_upstream_that_is_not_said_to_see_has_no_sight() -> None:
    async with upstream("chat") as (engine, _):
        assert engine.card.sight is None


def decoded_png(uri: str) -> tuple[int, int, bytes]:
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"]) as picture:
        assert picture.mode == "RGB"
        return picture.width, picture.height, picture.tobytes()


@pytest.mark.parametrize(
    ("form", "mark", "more"),
    [("prefix", {"prefix": True}, {}), ("continue", {}, {"continue_final_message": True})],
)
async def test_how_a_prefix_is_told(form: str, mark: dict[str, bool], more: dict[str, bool]) -> None:
    async with upstream("chat", prefix=form, extras=False) as (engine, fake):
        header = (await ask(engine)).ids
        await run(engine, await ask(engine, ids=[*header, 65], answer_at=len(header)))
        (_, fields) = fake.asked[-1]
    assert fields["messages"][-1] == {"role": "assistant", "content": "A", **mark}
    assert {key: fields[key] for key in more} == more
    assert "top_k" not in fields
    assert "repetition_penalty" not in fields


async def test_an_upstream_that_takes_no_prefix() -> None:
    async with upstream("chat", prefix="", abilities=frozenset()) as (engine, _):
        assert not engine.card.abilities
        await run(engine, await ask(engine))
        header = (await ask(engine)).ids
        with pytest.raises(EngineFailed):
            await run(engine, await ask(engine, ids=[*header, 65], answer_at=len(header)))


def test_constraints_in_the_words_of_each_kind() -> None:
    schema = Constraint('{"grammars": [{"json_schema": {"type": "object", "x-guidance": {"a": 1}}}]}')
    assert structured(schema) == {"json": {"type": "object"}}
    assert lark(schema).startswith('%llguidance {}\nstart: %json {"type":"object"')
    regex = Constraint('{"grammars":[{"name":"regex","json_schema":null,"lark_grammar":"start: /a\\\\/b+/"}]}')
    assert structured(regex) == {"regex": "a/b+"}
    assert lark(regex) == "%llguidance {}\nstart: /a\\/b+/"
    plain = Constraint('start: "a"')
    assert structured(plain) == {}
    assert lark(plain) == '%llguidance {}\nstart: "a"'


def test_an_ask_is_complete() -> None:
    assert Ask([1], 1, 4, Decoding(), 3).bias == {}
