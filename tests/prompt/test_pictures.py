"""Pictures in the prompt, over the template that Qwen2.5-VL ships and a real vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from segue.core import places
from segue.core.errors import MessagesInvalid, NotSupported
from segue.core.generation import ModelCard, Segment
from segue.core.media import Medium, Placed, Sight, View
from segue.core.request import Caller, Message, Request
from segue.engine.llama.vocabulary import Vocabulary
from segue.policy import rules
from segue.prompt import template
from segue.prompt.documents import Sheet, quoted
from segue.prompt.pictures import Shown
from tests.pictures import image, video
from tests.prompt.templates import CARDS, card
from tests.prompt.vocabularies import load

TEMPLATE = (Path(__file__).parent / "real" / "qwen2.5-vl.jinja").read_text()
SIGHT = Sight(28, 4 * 784, 1280 * 784, 8192, 80)
ONE, TWO, FILM = Medium("image", ("a",)), Medium("image", ("b",)), Medium("video", ("c",))
SEEN: dict[Medium, View] = {ONE: image(1), TWO: image(2, 84, 28), FILM: video(3, 5)}


@pytest.fixture(scope="module")
def words(default_model: Path) -> Vocabulary:
    return load(default_model)


@pytest.fixture(scope="module")
def seeing(words: Vocabulary) -> ModelCard:
    return replace(card("vl", TEMPLATE, tuple(words.control)), sight=SIGHT)


def conversation(*messages: Message) -> Request:
    return Request("r", Caller("k", "w"), "vl", messages)


async def ids(card: ModelCard, words: Vocabulary, request: Request) -> tuple[list[int], tuple[View, ...]]:
    async def encode(segments: Sequence[Segment]) -> list[int]:
        return words.encode([(segment.text, segment.control) for segment in segments])

    shown = Shown(card, SEEN)
    return await shown.ids(encode, template.render(card, request), request), shown.views(request)


def spelled(words: Vocabulary, prompt: Sequence[int]) -> str:
    """The text, with a dot for each place."""
    return "".join("." if token < 0 else words.piece(token).decode() for token in prompt)


async def test_pictures_stand_where_they_were_named(seeing: ModelCard, words: Vocabulary) -> None:
    message = Message("user", "One: and two: .", media=(Placed(4, ONE), Placed(14, TWO)))
    prompt, views = await ids(seeing, words, conversation(Message("system", "Look."), message))
    around = "<|vision_start|>{}<|vision_end|>"
    assert spelled(words, prompt) == (
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n"
        f"One:{around.format('.' * 6)} and two: {around.format('.' * 3)}.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert views == (SEEN[ONE], SEEN[TWO])
    starts = places.runs(prompt, views, 28)
    assert prompt[starts[0] : starts[0] + 6] == places.ids(SEEN[ONE], 28)
    assert Shown(seeing, SEEN).tokens(views) == (6 + 3 + 4, 0)


async def test_a_video_is_its_frames_in_twos(seeing: ModelCard, words: Vocabulary) -> None:
    prompt, views = await ids(seeing, words, conversation(Message("user", "?", media=(Placed(0, FILM),))))
    assert f"<|vision_start|>{'.' * 3 * 4}<|vision_end|>?" in spelled(words, prompt)
    assert Shown(seeing, SEEN).tokens(views) == (0, 12 + 2)


async def test_a_model_that_is_told_the_time_reads_it(seeing: ModelCard, words: Vocabulary) -> None:
    told = replace(seeing, clock="told")
    media = (Placed(0, FILM), Placed(1, ONE))
    prompt, views = await ids(told, words, conversation(Message("user", "a", media=media)))
    pair = "<|vision_start|>....<|vision_end|>"
    shown = f"<0.2 seconds>{pair}<1.2 seconds>{pair}<2.0 seconds>{pair}a<|vision_start|>......<|vision_end|>"
    assert shown in spelled(words, prompt)
    assert [len(view.pictures) for view in views] == [2, 2, 2, 1]
    assert places.runs(prompt, views, 28)
    assert Shown(told, SEEN).tokens(views) == (6 + 2, 3 * (4 + 2))


async def test_caller_text_never_becomes_a_place(seeing: ModelCard, words: Vocabulary) -> None:
    text = "<|vision_start|><|image_pad|><|vision_end|><|video_pad|>"
    plain, _ = await ids(seeing, words, conversation(Message("user", text)))
    assert all(token >= 0 for token in plain)
    message = Message("user", text, media=(Placed(0, ONE), Placed(20, TWO), Placed(len(text), FILM)))
    prompt, views = await ids(seeing, words, conversation(message))
    assert len(places.runs(prompt, views, 28)) == 3
    around = spelled(words, prompt).replace("<|vision_start|>......<|vision_end|>", "", 1)
    around = around.replace("<|vision_start|>...<|vision_end|>", "", 1)
    around = around.replace(f"<|vision_start|>{'.' * 12}<|vision_end|>", "", 1)
    assert text in around
    control = words.encode([(name, True) for name in ("<|image_pad|>", "<|video_pad|>")])
    assert not set(control) & set(prompt)


async def test_a_template_that_shows_none_is_refused_in_words(words: Vocabulary) -> None:
    blind = replace(CARDS["qwen2.5"], sight=SIGHT)
    assert not template.shows_pictures(blind)
    with pytest.raises(ValueError, match="shows no pictures"):
        template.check(blind)
    leaving_out = replace(card("vl", TEMPLATE.replace("<|video_pad|>", ""), tuple(words.control)), sight=SIGHT)
    assert not template.shows_pictures(leaving_out)
    with pytest.raises(MessagesInvalid):
        await ids(leaving_out, words, conversation(Message("user", "?", media=(Placed(0, FILM),))))


def test_the_template_that_the_model_ships_shows_them(seeing: ModelCard) -> None:
    template.check(seeing)
    assert template.shows_pictures(seeing)


def test_a_model_without_eyes_is_shown_nothing(seeing: ModelCard) -> None:
    request = conversation(Message("user", "?", media=(Placed(0, ONE),)))
    rules.check(request, seeing)
    with pytest.raises(NotSupported) as refused:
        rules.check(request, replace(seeing, sight=None))
    assert refused.value.feature == "media"


def test_passages_move_pictures_along() -> None:
    request = conversation(Message("user", "What is this?", media=(Placed(13, ONE),)))
    turn = quoted(request, [Sheet("d", "", "A passage.")]).messages[0]
    assert turn.content.endswith("What is this?")
    assert turn.media == (Placed(len(turn.content), ONE),)
