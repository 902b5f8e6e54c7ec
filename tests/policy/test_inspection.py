"""What is asked and what is answered, inspected: nothing forbidden gets out, and nothing else changes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from segue.core.errors import Ban, InspectionFailed, InspectionLost
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
)
from segue.core.request import Inspection, Message, Plain, Request, Source, Tool, ToolCall
from segue.policy.inspection import inspector as inspectors
from segue.policy.inspection.callout import Callout, Piece
from segue.policy.inspection.inspector import Inspector, Sides, Words
from segue.policy.inspection.watch import Watch
from segue.policy.inspection.words import Finder, finder
from tests.requests import request as asked

from .test_words import listed

NONE = finder((), "output")


def answer(*pieces: str, choice: int = 0) -> list[Event]:
    return [Started(3, 0), *(Text(choice, piece, 1) for piece in pieces), Ended(choice, "stop"), Finished(3, 0, 9)]


async def over(watch: Watch, events: Sequence[Event]) -> tuple[list[Event], bool]:
    """What gets out, and whether the answer was closed before its end."""
    whole = False

    async def said() -> AsyncGenerator[Event, None]:
        nonlocal whole
        for event in events:
            yield event
        whole = True

    return [event async for event in checked(watch.over(said()))], not whole


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text | CallArguments))


def watching(found: Finder, prefix: str = "", judge: object = None) -> Watch:
    return Watch("id", "w", "m", prefix, found, judge)  # type: ignore[arg-type]


class Judge:
    """Is against texts that have `bad` in them, context included; notes what it was asked."""

    def __init__(self, bad: str = "bad", ban: Ban = "content") -> None:
        self.bad, self.ban = bad, ban
        self.asked: list[Piece] = []

    async def judge(self, piece: Piece) -> Ban | None:
        self.asked.append(piece)
        return self.ban if self.bad in piece.context + piece.text else None


async def test_what_is_clean_leaves_as_it_came() -> None:
    rng = random.Random(3)
    for found in (listed("secret", "/[0-9]{8}/"), listed("secret"), NONE):
        for _ in range(50):
            pieces = ["".join(rng.choices("secr 12", k=rng.randint(0, 4))) for _ in range(rng.randint(1, 60))]
            if found.finds("".join(pieces)):
                continue
            events = answer(*pieces)
            assert await over(watching(found), events) == (events, False)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("bad", ["Secret Plan", "1234-5678"])
async def test_nothing_of_a_find_gets_out_however_it_is_cut(bad: str, size: int) -> None:
    text = f"This is my {bad} for tomorrow, and more that nobody hears."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events, closed = await over(watching(listed("secret plan", "/[0-9]{4}-[0-9]{4}/")), answer(*pieces))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].fault, InspectionFailed)
    assert events[-1].fault.side == "output"
    assert "This is my ".startswith(text_of(events))
    assert closed, "the engine is told to stop"


async def test_a_word_that_only_began_is_let_go_when_it_turns_out_another() -> None:
    events, _ = await over(watching(listed("secret plan")), answer("my sec", "ret pla", "ce"))
    assert text_of(events) == "my secret place"
    events, _ = await over(watching(listed("secret plan")), answer("my sec", "ret pla"))
    assert text_of(events) == "my secret pla", "what is held leaves at the end"


async def test_the_prefix_counts_as_what_stood_before() -> None:
    events, _ = await over(watching(listed("secret plan"), "my secret "), answer("plan"))
    assert isinstance(events[-1], Failed)
    assert text_of(events) == ""
    events, _ = await over(watching(listed("secret plan"), "my secret "), answer("place"))
    assert text_of(events) == "place"


async def test_choices_are_apart_and_calls_are_read_too() -> None:
    found = listed("secret plan")
    both: list[Event] = [Started(3, 0), Text(0, "secret ", 1), Text(1, "plan", 1), Ended(0, "stop"), Ended(1, "stop")]
    events, _ = await over(watching(found), [*both, Finished(3, 0, 2)])
    assert isinstance(events[-1], Finished)
    called: list[Event] = [Started(3, 0), CallStarted(0, 0, "c", "f"), CallArguments(0, 0, '{"a":"secret', 1)]
    events, _ = await over(watching(found), [*called, CallArguments(0, 0, ' plan"}', 1), Ended(0, "tool_calls")])
    assert isinstance(events[-1], Failed)
    assert "secret" not in text_of(events)
    thought: list[Event] = [Started(3, 0), Thought(0, "the secret ", 1), Thought(0, "plan", 1), Text(0, "x", 1)]
    events, _ = await over(watching(found), [*thought, Ended(0, "stop"), Finished(3, 0, 3)])
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, Text) for event in events)
    parted: list[Event] = [Started(3, 0), Text(0, "secret ", 1), CallStarted(0, 0, "c", "f")]
    events, _ = await over(
        watching(found), [*parted, CallArguments(0, 0, "plan", 1), Ended(0, "tool_calls"), Finished(3, 0, 2)]
    )
    assert isinstance(events[-1], Finished)


async def test_a_find_that_is_long_ends_the_answer_though_its_beginning_is_out() -> None:
    events, _ = await over(watching(listed("/begin[a-z ]*end/")), answer("begin ", *["more "] * 100, "end", "."))
    assert isinstance(events[-1], Failed)
    assert text_of(events).startswith("begin")
    assert "end" not in text_of(events)


async def test_an_answer_that_fails_by_itself_fails_so() -> None:
    lost = Failed(InspectionLost())
    events, _ = await over(watching(listed("secret")), [Started(3, 0), Text(0, "se", 1), lost])
    assert events == [Started(3, 0), lost]


async def test_a_judge_hears_everything_before_anybody_else() -> None:
    judge = Judge()
    text = "a good text of some length, " * 30
    events, _ = await over(watching(NONE, judge=judge), answer(*text))
    assert text_of(events) == text
    assert "".join(piece.text for piece in judge.asked) == text
    assert [piece.final for piece in judge.asked[-2:]] == [False, True]
    assert len(judge.asked) < 8
    at = 450
    events, closed = await over(watching(NONE, judge=Judge("bad")), answer(*text[:at], *"b", *"ad", *text))
    assert isinstance(events[-1], Failed)
    assert text_of(events) in text[:at], "what was not judged is not heard"
    assert closed
    spread = Judge("of some")
    events, _ = await over(watching(NONE, judge=spread), answer(*("x" * 196 + "of some"), *text))
    assert isinstance(events[-1], Failed), "what spans two pieces is in the second with its context"


async def test_a_judge_names_the_rule() -> None:
    events, _ = await over(watching(NONE, judge=Judge(ban="custom")), answer("bad"))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].fault, InspectionFailed)
    assert events[-1].fault.ban == "custom"


TOOL = Tool("weather", "tells it", {"type": "object", "properties": {"place": {"description": "a hidden place"}}})
EVERYWHERE: list[Request] = [
    asked(messages=(Message("user", "a hidden place"),)),
    asked(messages=(Message("user", "x"), Message("assistant", "", reasoning="hidden"), Message("user", "y"))),
    asked(messages=(Message("assistant", "", tool_calls=(ToolCall("1", "f", '"hidden"'),)), Message("user", "y"))),
    asked(prefix="it is HIDDEN"),
    asked(documents=(Source(text="hidden"),)),
    asked(tools=(TOOL,)),
    asked(thought="it is hidden"),
    asked(plain=Plain("a hidden place")),
    asked(plain=Plain("x", "a hidden place")),
]


@pytest.mark.parametrize("request_", EVERYWHERE, ids=range(len(EVERYWHERE)))
async def test_every_text_that_reaches_the_model_is_read(request_: Request, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("hidden")
    with pytest.raises(InspectionFailed) as told:
        await Inspector(Words(path), None, Sides()).inspect(request_)
    assert told.value.side == "input"
    judge = Judge("idden", "faq") if "HIDDEN" not in (request_.prefix or "") else Judge("IDDEN", "faq")
    with pytest.raises(InspectionFailed) as told:
        await Inspector(None, judge, Sides()).inspect(request_)
    assert told.value.ban == "faq"


@pytest.mark.parametrize("when", ["always", "asked", "never"])
@pytest.mark.parametrize("wish", [Inspection(), Inspection(input=True), Inspection(output=True)])
async def test_each_side_is_inspected_when_it_is_to_be(when: str, wish: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("hidden")
    inspector = Inspector(Words(path), None, Sides(when, when))  # type: ignore[arg-type]
    hidden = replace(asked(messages=(Message("user", "hidden"),)), inspection=wish)
    if when == "always" or (when == "asked" and wish.input):
        with pytest.raises(InspectionFailed):
            await inspector.inspect(hidden)
    else:
        await inspector.inspect(hidden)
    watch = await inspector.inspect(replace(asked(), inspection=wish))
    assert (watch is not None) == (when == "always" or (when == "asked" and wish.output))


async def test_a_list_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, now = tmp_path / "words", [0.0]
    path.write_text("first")
    words = Words(path, lambda: now[0])

    async def finds(text: str) -> bool:
        now[0] += inspectors.LOOK_S
        words.fresh()
        if words._reading is not None:
            await words._reading
        return words.fresh()[0].finds(text)

    assert await finds("first")
    path.write_text("second!")
    assert await finds("second!")
    assert not await finds("first")
    path.write_text("/(/")
    assert await finds("second!"), "a broken list leaves the old one in force"
    assert "line 1: missing )" in caplog.text
    path.unlink()
    assert await finds("second!")
    path.write_text("third")
    assert await finds("third")


async def test_a_text_of_many_megabytes_does_not_hold_the_others_up(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("/(x+x+)+y/")
    inspector = Inspector(Words(path), None, Sides())
    task = asyncio.create_task(inspector.inspect(asked(messages=(Message("user", "x" * 3_000_000),))))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await task


def callout(
    reply: httpx.Response | Exception, closed: bool = True, wait_s: float = 1.0
) -> tuple[Callout, list[object]]:
    heard: list[object] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        heard.append((str(request.url), request.headers.get("authorization"), json.loads(request.content)))
        if isinstance(reply, TimeoutError):
            await asyncio.sleep(5)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return Callout("http://judge/look", "sk-judge", wait_s, closed, httpx.MockTransport(handle)), heard


PIECE = Piece("id-1", "w", "qwen-plus", "output", "text", "before", False)


async def test_the_callout_is_told_everything_and_believed() -> None:
    judge, heard = callout(httpx.Response(200, json={"flagged": True, "rule": "infringement"}))
    assert await judge.judge(PIECE) == "infringement"
    about = {"request_id": "id-1", "workspace": "w", "model": "qwen-plus", "side": "output"}
    assert heard == [
        ("http://judge/look", "Bearer sk-judge", {**about, "text": "text", "context": "before", "final": False})
    ]
    await judge.close()
    for said, ban in (
        ({"flagged": False}, None),
        ({"flagged": True}, "content"),
        ({"flagged": False, "more": 1}, None),
    ):
        judge, _ = callout(httpx.Response(200, json=said))
        assert await judge.judge(PIECE) == ban
        await judge.close()


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
        httpx.Response(200, content=b"no"),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"flagged": "yes"}),
        httpx.Response(200, json={"flagged": True, "rule": "other"}),
        httpx.Response(200, content=b" " * 100_000),
        httpx.ConnectError("refused"),
        TimeoutError(),
    ],
    ids=lambda reply: repr(reply)[:30],
)
async def test_what_cannot_be_judged_passes_or_not_as_was_set(
    reply: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    closed, _ = callout(reply, True, 0.2)
    for _ in range(2):
        with pytest.raises(InspectionLost):
            await closed.judge(PIECE)
    assert sum("cannot be inspected" in entry.message for entry in caplog.records) == 1
    assert "text" not in caplog.text.replace("contents", "")
    opened, _ = callout(reply, False, 0.2)
    assert await opened.judge(PIECE) is None
    await closed.close()
    await opened.close()


def shown(request: Request, content: str) -> Request:
    """With a document put into the conversation."""
    return replace(request, messages=(Message("system", content), *request.messages))


async def test_what_the_model_is_given_of_a_file_is_read_and_what_was_sent_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("hidden")
    sent = asked(messages=(Message("user", "what is in it?"),))
    inspector = Inspector(Words(path), None, Sides())
    await inspector.given(sent, shown(sent, "nothing"))
    with pytest.raises(InspectionFailed) as told:
        await inspector.given(sent, shown(sent, "it is hidden"))
    assert told.value.side == "input"
    await Inspector(Words(path), None, Sides("never")).given(sent, shown(sent, "it is hidden"))
    judge = Judge()
    await Inspector(None, judge, Sides()).given(sent, sent)
    assert not judge.asked


async def test_a_judge_is_asked_once_about_a_content_and_by_each_workspace(tmp_path: Path) -> None:
    judge, path = Judge(), tmp_path / "words"
    path.write_text("other")
    words = Words(path)
    inspector = Inspector(words, judge, Sides())
    mine = asked()
    theirs = replace(mine, caller=replace(mine.caller, workspace="theirs"))
    for request, times in ((mine, 1), (mine, 1), (theirs, 2), (theirs, 2)):
        await inspector.given(request, shown(request, "long"))
        assert len(judge.asked) == times
    for _ in range(2):
        with pytest.raises(InspectionFailed):
            await inspector.given(mine, shown(mine, "bad"))
    assert len(judge.asked) == 4, "what has not passed is not remembered"
    words.finders = (listed("long"), words.finders[1])
    with pytest.raises(InspectionFailed):
        await inspector.given(mine, shown(mine, "long"))
