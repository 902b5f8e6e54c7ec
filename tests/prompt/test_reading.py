"""What is read of documents: every refusal in its order, the three ways, the bill, and that nothing stays held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.documents import Passage, mark
from segue.core.errors import (
    DocumentsMixed,
    Fault,
    FileGone,
    FileProcessing,
    FilesTooMany,
    FileTroubled,
    FileUnknown,
    MessageTooLong,
    PromptTooLong,
    RolesInvalid,
    TokensTooMany,
)
from segue.core.events import Started, fold
from segue.core.generation import Citation
from segue.core.request import Message, Request, Source
from segue.prompt.reading import _best
from tests.prompt.shelves import FILES, FRUIT, LONG, Desk, asked, held
from tests.requests import CALLER, request, said, user

SYSTEM = Message("system", "You are a reader.")


async def test_whole_documents_come_first_and_in_order() -> None:
    desk = Desk()
    sent = asked(SYSTEM, user("Red?"), files=("a.txt", "b.txt"))
    shown = await desk.shown(sent)
    parts = ["You are a reader.", "a.txt", "Apples are red.\nPears are green.\n", "b.txt", "Plums are blue.", "Red?"]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    job = await desk.prepare(sent)
    assert job.reading is not None
    assert (job.reading.tier, job.reading.files) == ("whole", 2)
    assert job.reading.citations == (Citation("a.txt", "a.txt", "", 0, 33), Citation("b.txt", "b.txt", "", 0, 16))
    assert desk.library.asked[0] == ("space-1", ("a.txt", "b.txt"), 20.0)
    assert desk.library.open == 0


async def test_the_prompt_begins_alike_whatever_is_asked() -> None:
    desk = Desk()
    end = "Plums are blue.\n"
    one = await desk.shown(asked(SYSTEM, user("Red?"), files=("a.txt", "b.txt")))
    for talk in ((user("这是什么？"),), (user("Red?"), said("Apples."), user("And blue?"))):
        other = await desk.shown(asked(SYSTEM, *talk, files=("a.txt", "b.txt"), output_tokens_max=7))
        assert other[: other.index(end) + len(end)] == one[: one.index(end) + len(end)]


@pytest.mark.parametrize("context", [4096, 400])
async def test_the_bill_is_the_same_however_much_is_read(context: int) -> None:
    desk = Desk(context)
    talk = (SYSTEM, user("Red?"))
    plain = await desk.prepare(request(*talk))
    job = await desk.prepare(asked(*talk, files=("a.txt", "b.txt"), prefix="So"))
    assert job.prompt_tokens == plain.prompt_tokens + 33 + 16 + 2
    events = [event async for event in desk.pipeline.answer(job)]
    assert isinstance(events[0], Started)
    assert events[0].reading is job.reading
    whole = fold(events, 1)
    assert whole.prompt_tokens == job.prompt_tokens
    assert whole.cached_tokens <= whole.prompt_tokens


async def test_texts_are_documents_too() -> None:
    desk = Desk()
    job = await desk.prepare(asked(SYSTEM, user("Red?"), texts=("苹果是红的。", "Pears.")))
    assert job.reading is not None
    assert [each.file for each in job.reading.citations] == [None, None]
    assert job.reading.tokens == 18 + 6
    assert desk.library.asked == []
    shown = await desk.shown(asked(SYSTEM, user("Red?"), texts=("苹果是红的。", "Pears.")))
    assert "## 文档 1\n\n苹果是红的。\n\n## 文档 2\n\nPears.<|im_end|>" in shown


async def test_passages_of_what_does_not_fit() -> None:
    desk = Desk()
    sent = asked(user("First?"), said("Yes."), user("Fruit number 700 ?"), files=("long.txt", "a.txt"), prefix="It")
    job = await desk.prepare(sent)
    assert job.reading is not None
    assert (job.reading.tier, job.reading.files) == ("retrieval", 2)
    assert job.reading.citations
    assert len(job.prompt.ids) + 256 <= 4096
    shown = await desk.shown(sent)
    assert "[1] long.txt, p. 1\nFruit number 0" in shown
    assert shown.endswith("Fruit number 700 ?<|im_end|>\n<|im_start|>assistant\nIt")
    assert desk.finder.found[0][:2] == ("Fruit number 700 ?", ("First?",))
    for citation in job.reading.citations[:-1]:
        assert FRUIT.encode()[citation.start : citation.end].decode() == citation.text
    order = [(citation.file != "long.txt", citation.start) for citation in job.reading.citations]
    assert order == sorted(order)


async def test_an_answer_is_as_long_as_is_said_of_documents() -> None:
    desk = Desk(context=4096, output=256, output_tokens_default=100)
    for sent, tokens in (
        (asked(user("Red?"), files=("a.txt",)), 100),
        (asked(user("Red?")), 100),
        (asked(user("Red?"), files=("a.txt",), output_tokens_max=200), 200),
        (request(user("Red?")), 256),
    ):
        assert (await desk.prepare(sent)).prompt.output_tokens_max == tokens
    desk = Desk(context=4096, output=256, output_tokens_default=9000)
    assert (await desk.prepare(asked(user("Red?")))).prompt.output_tokens_max == 256


async def test_a_history_that_does_not_fit_is_refused() -> None:
    desk = Desk(context=400, output=64)
    talk = [each for number in range(30) for each in (user(f"Question {number}?"), said("An answer of some length."))]
    fault = await desk.refused(asked(*talk, user("Red?"), files=("a.txt",)))
    assert isinstance(fault, PromptTooLong)


async def test_the_engine_is_told_whose_text_it_reads() -> None:
    desk = Desk()
    files = [desk.library.files[name].file for name in ("a.txt", "b.txt", "long.txt")]
    marks = [mark(file.workspace, file.sha256) for file in files]
    for names, expected in ((("a.txt", "b.txt"), marks[:2]), (("long.txt",), marks[2:])):
        job = await desk.prepare(asked(user("Fruit number 7 ?"), files=names))
        assert job.prompt.documents == frozenset(expected)
    assert (await desk.prepare(asked(user("Red?"), texts=("Pears.",)))).prompt.documents == frozenset()


async def test_every_document_keeps_its_share_when_passages_must_go() -> None:
    desk = Desk(context=700, output=64, passages_tokens_max=4000)
    job = await desk.prepare(asked(user("Are fruit or nuts brown?"), files=("long.txt", "other.txt")))
    assert job.reading is not None
    assert {citation.file for citation in job.reading.citations} <= {"long.txt", "other.txt"}
    assert len(job.prompt.ids) + 64 <= 700


def test_the_best_passages_are_kept_and_one_of_each_document_the_best_first() -> None:
    scores = [(0, 0.5), (0, 0.9), (1, 0.1), (1, 0.2), (2, 0.8), (0, 0.7)]
    found = [(Passage(document, at, at + 1, "", score), str(at)) for at, (document, score) in enumerate(scores)]
    kept = {count: [text for _, text in _best(found, count)] for count in (1, 3, 4, 5, 9)}
    assert kept[1] == kept[3] == ["1", "4", "3"]
    assert kept[4] == ["1", "4", "5", "3"]
    assert kept[5] == ["1", "4", "5", "0", "3"]
    assert kept[9] == ["1", "4", "5", "0", "3", "2"]
    assert _best([], 3) == []


def test_passages_that_name_what_is_asked_for_come_before_others_and_in_place_of_them() -> None:
    scores = (0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6)

    def kept(naming: set[int], count: int, documents: int = 1) -> list[str]:
        found = [
            (Passage(at % documents, at, at + 1, "", score, (at, at + 1) if at in naming else None), str(at))
            for at, score in enumerate(scores)
        ]
        return [text for _, text in _best(found, count)]

    assert kept(set(), 4) == ["0", "2", "4", "6"]
    assert kept({1}, 1) == ["1"]
    assert kept({1}, 4) == ["0", "1"]
    assert kept({1}, 6) == ["0", "2", "4", "1"]
    assert kept({1, 3}, 8) == ["0", "2", "3", "1"]
    assert kept({1, 3, 5}, 8) == ["5", "3", "1"]
    assert kept({1, 3, 5}, 2) == ["5", "3"]
    assert kept({1, 3, 5}, 8, documents=2) == ["0", "5", "3", "1"], "each document's best one in any case"


async def test_a_document_that_nothing_is_found_in_is_shown_a_little() -> None:
    desk = Desk()
    job = await desk.prepare(asked(user("Fruit number 700 ?"), files=("long.txt", "other.txt")))
    assert job.reading is not None
    assert job.reading.tier == "retrieval"
    last = job.reading.citations[-1]
    assert (last.file, last.start) == ("other.txt", 0)
    assert {citation.file for citation in job.reading.citations[:-1]} == {"long.txt"}


async def test_a_question_about_everything() -> None:
    desk = Desk()
    job = await desk.prepare(asked(user("What is it about?"), files=("long.txt", "other.txt")))
    assert job.reading is not None
    assert job.reading.tier == "digest"
    assert [citation.file for citation in job.reading.citations] == ["long.txt", "other.txt"]
    assert desk.finder.found == []
    job = await desk.prepare(asked(user("Zebras"), files=("long.txt",)))
    assert job.reading is not None
    assert job.reading.tier == "digest"  # nothing was found


async def test_less_may_be_given_whole() -> None:
    desk = Desk(whole_tokens_max=40)
    for files, tier in ((("a.txt",), "whole"), (("a.txt", "b.txt"), "retrieval")):
        job = await desk.prepare(asked(user("Which are red?"), files=files))
        assert job.reading is not None
        assert job.reading.tier == tier


async def test_no_room_at_all() -> None:
    desk = Desk(context=256, output=64)
    job = await desk.prepare(asked(user("Fruit? " + "x" * 180), files=("long.txt",)))
    assert job.reading is not None
    assert job.reading.citations == ()
    assert type(await desk.refused(asked(user("x" * 300), files=("long.txt",)))) is PromptTooLong


LATE = (user("x"), said("y"))
MANY = tuple(f"f{number}" for number in range(100))
GONE, STILL, BLANK = FileGone("g"), FileProcessing("s"), FileTroubled("t", "blank")
LENGTHY = "x" * 9001


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (asked(user("x"), user("y")), RolesInvalid),
        (asked(said("x"), user("y")), RolesInvalid),
        (asked(user("x"), said("y"), said("z"), user("y")), RolesInvalid),
        (asked(user("x"), said("y"), Message("tool", "z")), RolesInvalid),
        (asked(user("x"), user("y"), files=("a.txt",), texts=("t",)), RolesInvalid),
        (asked(user("x"), files=("nobody's",), texts=("t",)), DocumentsMixed),
        (asked(user("x"), files=MANY, texts=("t",)), DocumentsMixed),
        (asked(user("x"), files=MANY), FilesTooMany),
        (asked(user("x"), files=("nobody's",)), FileUnknown),
        (asked(user("x"), files=("",)), FileUnknown),
        (asked(user(LENGTHY), files=("nobody's",)), FileUnknown),
        (asked(user("x"), files=("a.txt", "g")), FileGone),
        (asked(user("x"), files=("s",)), FileProcessing),
        (asked(user(LENGTHY), files=("t",)), FileTroubled),
        (asked(user(LENGTHY), files=("huge",)), MessageTooLong),
        (asked(user(LENGTHY)), MessageTooLong),
        (asked(Message("system", LENGTHY), user("x")), MessageTooLong),
        (asked(user("x"), texts=("x" * 600_000, "y" * 600_000)), MessageTooLong),
        (asked(user("x"), files=("huge",)), TokensTooMany),
    ],
)
async def test_refusals_and_their_order(sent: Request, fault: type[Fault]) -> None:
    desk = Desk(context=65_536)
    desk.library.faults = {"g": GONE, "s": STILL, "t": BLANK}
    desk.library.files = FILES | {"huge": held("huge", "x", 10_000_000)}
    assert type(await desk.refused(sent)) is fault


async def test_just_as_much_is_allowed() -> None:
    desk = Desk(context=65_536)
    desk.library.files = {each: held(each, "x", 1) for each in MANY} | {"big": held("big", "x", 9_999_900)}
    await desk.prepare(asked(user("x" * 9000), files=MANY[:99]))
    await desk.prepare(asked(user("x"), files=("big",)))
    assert type(await desk.refused(asked(user("x" * 150), files=("big",)))) is TokensTooMany


@pytest.mark.parametrize(
    ("sent", "strict"),
    [
        (asked(user("x"), user("y")), False),
        (asked(user("x" * 9001)), False),
        (asked(Message("system", "x" * 9001), user("x"), texts=("t",)), False),
        (asked(Message("system", "x" * 8999), user("y" * 8999), texts=("t",)), True),
    ],
)
async def test_the_profiles_differ(sent: Request, strict: bool) -> None:
    await Desk(context=65_536, strict=False, lenient=True).prepare(sent)
    desk = Desk(context=65_536)
    if strict:
        await desk.prepare(sent)
    else:
        await desk.refused(sent)


async def test_beside_a_document_a_long_message_is_refused_in_either_profile() -> None:
    desk = Desk(context=65_536, strict=False, lenient=True)
    assert type(await desk.refused(asked(user(LENGTHY), texts=("t",)))) is MessageTooLong


async def test_another_workspace_s_file_is_none() -> None:
    desk = Desk()
    sent = replace(asked(user("x"), files=("a.txt",)), caller=replace(CALLER, workspace="space-2"))
    assert type(await desk.refused(sent)) is FileUnknown


async def test_a_caller_who_leaves_lets_go_of_the_files() -> None:
    desk = Desk()
    desk.finder.gate = asyncio.Event()
    task = asyncio.create_task(desk.prepare(asked(user("Fruit?"), files=("long.txt",))))
    await desk.finder.asked.wait()
    assert desk.library.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.library.open == 0


async def test_a_text_is_counted_once_a_workspace() -> None:
    desk = Desk(context=65_536)
    counted: list[int] = []
    encode = desk.engine.encode

    async def watched(segments: list[object]) -> list[int]:
        ids = await encode(segments)  # type: ignore[arg-type]
        counted.append(len(ids))
        return ids

    desk.engine.encode = watched  # type: ignore[assignment, method-assign]
    for expected in (1, 0):
        counted.clear()
        await desk.prepare(asked(user("x"), texts=("y" * 20_000,)))
        assert counted.count(20_000) == expected
    await desk.prepare(replace(asked(user("x"), texts=("y" * 20_000,)), caller=replace(CALLER, workspace="space-2")))
    assert counted.count(20_000) == 1  # what another workspace sent is counted as if it were new


ids = st.sampled_from([*FILES, *LONG, "", "nobody's"])
contents = st.one_of(st.sampled_from(["Fruit number 3 ?", "What is it about?", "红？", ""]), st.text(max_size=40))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), contents), max_size=5),
    contents,
    st.lists(st.one_of(ids.map(Source), contents.map(lambda text: Source(text=text))), max_size=4),
    st.one_of(st.none(), contents),
    st.sampled_from([256, 600, 4096, 60_000]),
)
def test_every_request_is_answered_or_refused(
    before: list[tuple[str, str]], last: str, sources: list[Source], prefix: str | None, context: int
) -> None:
    messages = (*(Message(role, text) for role, text in before), Message("user", last))  # type: ignore[arg-type]
    sent = request(*messages, documents=tuple(dict.fromkeys(sources)), prefix=prefix)

    async def tried(make: Callable[[], Desk]) -> None:
        desk = make()
        try:
            job = await desk.prepare(sent)
        except Fault:
            return
        assert len(job.prompt.ids) < context
        assert (job.reading is None) == (not sources)
        assert [event async for event in desk.pipeline.answer(job)]

    asyncio.run(tried(lambda: Desk(context, strict=False, lenient=True)))
    asyncio.run(tried(lambda: Desk(context)))
