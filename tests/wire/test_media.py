"""Pictures and videos in a request: what all protocols read of them, and how usage and content are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segue.core import errors
from segue.core.errors import EndpointWrong, Fault, FieldMissing, FieldWrong, MediumRefused, NotSupported, OutOfRange
from segue.core.events import CallArguments, CallStarted, Ended, Event, Finished, Started, Text, Thought
from segue.core.media import Medium, Placed
from segue.core.request import Message, Request
from segue.wire.anthropic import read as anthropic
from segue.wire.dashscope import read as dashscope
from segue.wire.dashscope import write as native_write
from segue.wire.fields import IGNORED_MAX
from segue.wire.openai import write as compat_write
from segue.wire.openai.read import Form
from segue.wire.responses import read as responses
from tests.wire.reading import CALLER, LIMITS, compat

URL, OTHER = "https://a.example/x.png", "https://a.example/y.png"


def parted(content: Any, **parameters: Any) -> Request:
    """What the multimodal endpoint reads."""
    body = {"model": "m", "input": {"messages": [{"role": "user", "content": content}]}, "parameters": parameters}
    return dashscope.read(body, False, "id", CALLER, LIMITS, 2048, parts=True)[0]


def chat(content: Any, **fields: Any) -> Request:
    return compat({"model": "m", "messages": [{"role": "user", "content": content}], **fields})[0]


def image(url: str = URL, **said: Any) -> Medium:
    return Medium("image", (url,), **said)


def video(*sources: str, **said: Any) -> Medium:
    return Medium("video", sources, **said)


LISTED = [URL, OTHER, URL, OTHER]

# A part, and what it is in both protocols.
PARTS: list[tuple[dict[str, Any], Medium]] = [
    ({"type": "image_url", "image_url": URL}, image()),
    ({"type": "image_url", "image_url": {"url": URL}}, image()),
    ({"type": "image_url", "image_url": {"url": URL}, "max_pixels": 4000}, image(pixels_max=4000)),
    (
        {"type": "image_url", "image_url": {"url": URL, "min_pixels": 3, "max_pixels": 9}},
        image(pixels_min=3, pixels_max=9),
    ),
    ({"type": "image", "image": "fileid://file-fe-1"}, image("fileid://file-fe-1")),
    ({"image": "oss://a/b/c.png", "max_pixels": 10}, image("oss://a/b/c.png", pixels_max=10)),
    ({"image_url": {"url": "data:image/png;base64,AAAA"}}, image("data:image/png;base64,AAAA")),
    ({"type": "video_url", "video_url": {"url": URL}, "fps": 0.5}, video(URL, fps=0.5)),
    ({"type": "video_url", "video_url": {"url": URL, "max_frames": 8}}, video(URL, frames_max=8)),
    ({"type": "video", "video": LISTED}, video(*LISTED, frames=True)),
    ({"video": LISTED, "fps": 2, "total_pixels": 99}, video(*LISTED, frames=True, fps=2.0, total_pixels_max=99)),
    ({"video": URL, "fps": 10}, video(URL, fps=10.0)),
]


@pytest.mark.parametrize(("part", "medium"), PARTS, ids=range(len(PARTS)))
def test_every_form_of_a_picture_is_the_same_in_both_protocols(part: dict[str, Any], medium: Medium) -> None:
    content = [part, {"text": "What?"}]
    for request in (chat(content), parted(content)):
        assert request.messages == (Message("user", "What?", media=(Placed(0, medium),)),)
        assert request.ignored == ()


def test_pictures_keep_their_places_between_texts() -> None:
    content = [
        {"type": "text", "text": "A: "},
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "text", "text": "B — "},
        {"type": "image_url", "image_url": {"url": OTHER}},
    ]
    expected = Message("user", "A: B — ", media=(Placed(3, image()), Placed(7, image(OTHER))))
    assert chat(content).messages == (expected,)


def test_a_prefix_stands_behind_pictures() -> None:
    listed = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}, {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "It is"}], "partial": True},
    ]
    request, _ = compat({"model": "m", "messages": listed})
    assert request.prefix == "It is"
    assert request.messages == (Message("user", "?", media=(Placed(0, image()),)),)
    body = {"model": "m", "input": {"messages": [{"role": "user", "content": [{"image": URL}]}, listed[1]]}}
    request, form = dashscope.read(body, True, "id", CALLER, LIMITS, 2048, parts=True)
    assert (request.prefix, form.message, form.parts) == ("It is", True, True)


@pytest.mark.parametrize("read", [chat, parted])
def test_a_wish_for_all_pixels_holds_for_every_picture(read: Any) -> None:
    request = read([{"image": URL}, {"image": OTHER}, {"text": "?"}], vl_high_resolution_images=True)
    assert [placed.medium.high_resolution for placed in request.messages[0].media] == [True, True]


def test_what_is_not_known_beside_a_picture_is_listed() -> None:
    content = [{"type": "image_url", "image_url": {"url": URL, "detail": "high"}, "colour": 1}, {"text": "?"}]
    assert chat(content).ignored == ("messages.0.content.0.image_url.detail", "messages.0.content.0.colour")
    assert parted([{"image": URL, "colour": 1}]).ignored == ("input.messages.0.content.0.colour",)
    many = [{"image": URL, f"x{place}": 1} for place in range(IGNORED_MAX * 3)]
    assert len(parted(many).ignored) == IGNORED_MAX


REFUSED: list[tuple[Any, type[Fault], dict[str, Any]]] = [
    ([{"type": "image_url"}], FieldMissing, {"field": "messages.0.content.0.image_url"}),
    ([{"type": "image_url", "image_url": {}}], FieldMissing, {"field": "messages.0.content.0.image_url.url"}),
    ([{"type": "image_url", "image_url": 1}], FieldWrong, {"field": "messages.0.content.0.image_url"}),
    ([{"type": "image_url", "image_url": {"url": 1}}], FieldWrong, {"field": "messages.0.content.0.image_url.url"}),
    ([{"type": "image_url", "image_url": [URL]}], FieldWrong, {"field": "messages.0.content.0.image_url"}),
    ([{"video": [URL, 1]}], FieldWrong, {"field": "messages.0.content.0.video"}),
    ([{"video": []}], MediumRefused, {"why": "address"}),
    ([{"image": ""}], MediumRefused, {"why": "address"}),
    ([{"image": "a\0b"}], MediumRefused, {"why": "address"}),
    ([{"image": URL, "max_pixels": 0}], OutOfRange, {"field": "max_pixels"}),
    ([{"image": URL, "max_pixels": 1.5}], FieldWrong, {"field": "messages.0.content.0.max_pixels"}),
    ([{"image": URL, "min_pixels": 9, "max_pixels": 8}], OutOfRange, {"field": "min_pixels", "high": 8}),
    ([{"video": URL, "fps": 0.05}], OutOfRange, {"field": "fps"}),
    ([{"video": URL, "fps": 11}], OutOfRange, {"field": "fps"}),
    ([{"video": URL, "max_frames": 0}], OutOfRange, {"field": "max_frames"}),
    ([{"type": "input_audio", "input_audio": {}}], NotSupported, {"feature": "media"}),
    ([{"audio": URL}], NotSupported, {"feature": "media"}),
    ([{"type": "file", "file": {}}], NotSupported, {"feature": "media"}),
]


@pytest.mark.parametrize(("content", "kind", "facts"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_picture_is_refused_alike(content: Any, kind: type[Fault], facts: dict[str, Any]) -> None:
    with pytest.raises(kind) as first:
        chat(content)
    with pytest.raises(kind) as second:
        parted(content)
    assert facts.items() <= vars(first.value).items()
    theirs = {name: getattr(second.value, name) for name in facts}
    assert {name: str(value).removeprefix("input.") for name, value in theirs.items()} == {
        name: str(value) for name, value in facts.items()
    }


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_only_users_show_pictures(role: str) -> None:
    said = {"role": role, "content": [{"type": "image_url", "image_url": {"url": URL}}]}
    with pytest.raises(NotSupported):
        compat({"model": "m", "messages": [{"role": "user", "content": "a"}, said, {"role": "user", "content": "b"}]})


def test_pictures_at_the_endpoint_of_texts_are_refused() -> None:
    body = {"model": "m", "input": {"messages": [{"role": "user", "content": [{"image": URL}, {"text": "?"}]}]}}
    with pytest.raises(EndpointWrong):
        dashscope.read(body, False, "id", CALLER, LIMITS, 2048)


SOURCES: list[tuple[dict[str, Any], str]] = [
    ({"type": "base64", "media_type": "image/png", "data": "AAAA"}, "data:image/png;base64,AAAA"),
    ({"type": "url", "url": URL}, URL),
    ({"type": "file", "file_id": "file-fe-1"}, "fileid://file-fe-1"),
]


@pytest.mark.parametrize(("source", "address"), SOURCES)
def test_images_of_the_anthropic_protocol(source: dict[str, Any], address: str) -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image", "source": source}, {"type": "text", "text": "b"}]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    request = anthropic.read(body, "id", CALLER, LIMITS, 2048)
    assert request.messages == (Message("user", "ab", media=(Placed(1, image(address)),)),)


def test_images_of_the_responses_protocol() -> None:
    content = [
        {"type": "input_image", "image_url": URL, "detail": "auto"},
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "file_id": "file-fe-1", "detail": "high"},
    ]
    body = {"model": "m", "input": [{"role": "user", "content": content}]}
    request, _ = responses.read(body, "id", CALLER, LIMITS, 2048)
    seen = (Placed(0, image()), Placed(1, image("fileid://file-fe-1", high_resolution=True)))
    assert request.messages == (Message("user", "a", media=seen),)
    with pytest.raises(FieldMissing):
        responses.read(
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "id",
            CALLER,
            LIMITS,
            2048,
        )


# --- what is written ---

SEEN: tuple[Event, ...] = (
    Started(50, 3, image_tokens=40),
    Text(0, "A ca", 2),
    Text(0, "fé", 1),
    Ended(0, "stop"),
    Finished(50, 3, 3),
)
DETAILS = {"cached_tokens": 3, "image_tokens": 40, "text_tokens": 10}
HEAD = "id:%d\nevent:result\n:HTTP_STATUS/200\ndata:"
USAGE = (
    '"usage":{"total_tokens":%d,"input_tokens":50,"output_tokens":%d,"prompt_tokens_details":{"cached_tokens":3},'
    '"image_tokens":40,"input_tokens_details":{"image_tokens":40,"text_tokens":10},'
    '"output_tokens_details":{"text_tokens":%d}},"request_id":"id"}\n\n'
)


def framed(number: int, content: str, reason: str, tokens: int) -> str:
    choice = f'{{"message":{{"content":{content},"role":"assistant"}},"index":0,"finish_reason":"{reason}"}}'
    said = USAGE % (50 + tokens, tokens, tokens)
    return HEAD % number + '{"output":{"choices":[' + choice + "]}," + said


def native_writer(incremental: bool | None, stream: bool = True) -> native_write.Writer:
    return native_write.Writer(Request("id", CALLER, "m", ()), dashscope.Form(stream, True, incremental, True))


def test_frames_of_the_multimodal_endpoint_in_increments() -> None:
    writer = native_writer(True)
    assert b"".join(map(writer.frame, SEEN)).decode() == (
        framed(1, '[{"text":"A ca"}]', "null", 2) + framed(2, '[{"text":"fé"}]', "null", 3) + framed(3, "[]", "stop", 3)
    )


@pytest.mark.parametrize("incremental", [False, None])
def test_frames_of_the_multimodal_endpoint_that_repeat(incremental: bool | None) -> None:
    writer = native_writer(incremental)
    assert b"".join(map(writer.frame, SEEN)).decode() == (
        framed(1, '[{"text":"A ca"}]', "null", 2)
        + framed(2, '[{"text":"A café"}]', "null", 3)
        + framed(3, '[{"text":"A café"}]', "stop", 3)
    )


def test_a_whole_answer_of_the_multimodal_endpoint() -> None:
    assert json.loads(native_writer(None, False).whole(SEEN)) == {
        "output": {
            "choices": [
                {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": [{"text": "A café"}]}}
            ]
        },
        "usage": {
            "total_tokens": 53,
            "input_tokens": 50,
            "output_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 3},
            "image_tokens": 40,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
            "output_tokens_details": {"text_tokens": 3},
        },
        "request_id": "id",
    }


def test_a_thought_and_a_call_at_the_multimodal_endpoint() -> None:
    events: tuple[Event, ...] = (
        Started(9, 0, thinks=True, video_tokens=4),
        Thought(0, "hm", 2),
        CallStarted(0, 0, "call_1", "f"),
        CallArguments(0, 0, "{}", 1),
        Ended(0, "tool_calls"),
        Finished(9, 0, 3, 2),
    )
    writer = native_writer(True)
    frames = [json.loads(frame.split(b"data:")[1]) for event in events if (frame := writer.frame(event))]
    messages = [frame["output"]["choices"][0]["message"] for frame in frames]
    assert [message["content"] for message in messages] == [[], [], [], []]
    assert messages[0]["reasoning_content"] == "hm"
    assert frames[-1]["usage"]["video_tokens"] == 4
    assert frames[-1]["usage"]["output_tokens_details"] == {"text_tokens": 1, "reasoning_tokens": 2}
    whole = json.loads(native_writer(None, False).whole(events))
    assert whole["usage"]["output_tokens_details"] == {"text_tokens": 1, "reasoning_tokens": 2}
    assert whole["output"]["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"


def test_usage_of_the_compatible_endpoint_tells_of_pictures_only_where_there_are_some() -> None:
    request = Request("id", CALLER, "m", ())
    writer = compat_write.Writer(request, Form(True, True), 5)
    chunks = b"".join(map(writer.frame, SEEN)).decode().split("\n\n")
    usage = json.loads(chunks[-3].removeprefix("data: "))["usage"]
    assert usage["prompt_tokens_details"] == DETAILS
    assert usage["completion_tokens_details"] == {"text_tokens": 3}
    assert json.loads(compat_write.Writer(request, Form(False, False), 5).whole(SEEN))["usage"] == usage
    plain = (Started(50, 3), *SEEN[1:])
    told = json.loads(compat_write.Writer(request, Form(False, False), 5).whole(plain))["usage"]
    assert told["prompt_tokens_details"] == {"cached_tokens": 3}
    assert "completion_tokens_details" not in told


def test_the_endpoint_that_is_not_for_a_model_has_the_documented_sentence() -> None:
    said = native_write.error(errors.EndpointWrong(), "id")
    assert (said.status, json.loads(said.body)) == (
        400,
        {"code": "InvalidParameter", "message": "url error, please check url！", "request_id": "id"},
    )
