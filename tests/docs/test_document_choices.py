"""What docs/compatibility.md says was decided about conversations about documents is what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from segue.catalogue.read import names_served, read_catalogue
from segue.config import Documents
from segue.core.errors import (
    DocumentsMixed,
    Fault,
    FileProcessing,
    MessageTooLong,
    PromptTooLong,
    RolesInvalid,
)
from segue.core.generation import Reading
from segue.core.request import Request
from segue.policy import rules
from segue.prompt.reading import Limits
from segue.prompt.statements import Limits as StatementLimits
from segue.wire.citations import entries
from segue.wire.openai import read as openai
from tests.docs.test_tables import rows
from tests.prompt.shelves import FRUIT, Desk, asked
from tests.requests import said as answered
from tests.requests import user as asks
from tests.wire.reading import CALLER, LIMITS, USER, both

ROLE = {"role": "system", "content": "You are a reader."}
NAMES = names_served(read_catalogue(), "qwen2.5-coder-1.5b-instruct")


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def read(*messages: Any) -> Request:
    return openai.read({"model": "m", "messages": list(messages)}, "id", CALLER, LIMITS, 9, True)[0]


def named(*messages: Any) -> list[str | None]:
    """The files, in order; None for a text."""
    return [source.id for source in read(*messages).documents or ()]


async def reading(sent: Request, **settings: Any) -> Reading:
    job = await Desk(**settings).prepare(sent)
    assert job.reading is not None
    return job.reading


async def refused(sent: Request, fault: type[Fault], **settings: Any) -> None:
    assert type(await Desk(**settings).refused(sent)) is fault


async def which_names() -> None:
    for name in ("qwen-long", "qwen-long-latest", "qwen-long-2025-01-25", "qwen-long-2027-07-07"):
        assert NAMES.reads_documents(name)


async def any_other_name() -> None:
    assert not NAMES.reads_documents("qwen-plus")
    request, _ = both({}, [ROLE, system("fileid://a"), USER])
    assert (request.documents, len(request.messages)) == (None, 3)


async def files_first() -> None:
    assert named(system("fileid://a,fileid://b"), USER) == ["a", "b"]
    with pytest.raises(DocumentsMixed):
        rules.check(read(system("fileid://a"), ROLE, USER), Desk().engine.card)


async def speaks_of_files() -> None:
    assert named(system("Mind fileid://a."), USER) == []


async def files_and_words() -> None:
    with pytest.raises(DocumentsMixed):
        rules.check(read(ROLE, system("fileid://a is it"), USER), Desk().engine.card)


async def separators() -> None:
    for between in (",", ", ", " ", "\n", ";", "，", "、", " ,\n"):
        assert named(ROLE, system(f"fileid://a{between}fileid://b"), USER) == ["a", "b"]


async def named_again() -> None:
    assert named(ROLE, system("fileid://a"), system("fileid://b,fileid://a"), USER) == ["a", "b"]


async def empty() -> None:
    assert named(ROLE, system(""), system(" \n"), USER) == []


async def no_role() -> None:
    assert "system\nYou are a helpful assistant.\n\n" in await Desk().shown(asked(asks("x"), files=("a.txt",)))


async def appended() -> None:
    talk = (asks("x"), answered("y"), asks("z"))
    shown = await Desk().shown(asked(*talk, files=("a.txt", "b.txt")))
    assert shown.index("a.txt") < shown.index("b.txt") < shown.index("user\nx")


async def turns() -> None:
    for talk in ((asks("x"), asks("y")), (answered("x"), asks("y"))):
        await refused(asked(*talk), RolesInvalid)
        await Desk(strict=False, lenient=True).prepare(asked(*talk))


async def long_messages() -> None:
    assert Limits().message_tokens_max == 9000
    for talk in ((asks("x" * 9001),), (replace(asks("x" * 9001), role="system"), asks("y"))):
        await refused(asked(*talk), MessageTooLong, context=65_536)
        await Desk(context=65_536, strict=False, lenient=True).prepare(asked(*talk))
    await refused(asked(asks("x" * 9001), texts=("t",)), MessageTooLong, context=65_536, lenient=True)


async def long_texts() -> None:
    assert Limits().text_tokens_max == 1_000_000
    await refused(asked(asks("x"), texts=("a" * 600_000, "b" * 600_000)), MessageTooLong)


async def waits() -> None:
    desk = Desk()
    desk.library.faults = {"a.txt": FileProcessing("a.txt")}
    assert type(await desk.refused(asked(asks("x"), files=("a.txt",)))) is FileProcessing
    assert desk.library.asked[0][2] == 20


async def too_long() -> None:
    some = await reading(asked(asks("Fruit number 700 ?"), files=("long.txt", "other.txt")))
    assert (some.tier, {each.file for each in some.citations}) == ("retrieval", {"long.txt", "other.txt"})
    assert (await reading(asked(asks("What is it about?"), files=("long.txt",)))).tier == "digest"


async def other_words() -> None:
    sent = asked(asks("Plums ?"), files=("long.txt",))
    desk = Desk(statements=StatementLimits(40))
    job = await desk.prepare(sent)
    assert desk.finder.statements[0]
    assert job.prompt_tokens == (await Desk().prepare(sent)).prompt_tokens
    assert desk.finder.statements[0] not in await desk.shown(sent)


async def long_history() -> None:
    talk = [each for _ in range(40) for each in (asks("And this one?"), answered("Yes."))]
    await refused(asked(*talk, asks("x"), files=("a.txt",)), PromptTooLong, context=700)


async def answers_length() -> None:
    assert Documents().output_tokens_default == 2000
    for room, tokens in ((4000, 2000), (900, 900)):
        desk = Desk(context=30_000, output=room, output_tokens_default=2000)
        assert (await desk.prepare(asked(asks("x"), files=("a.txt",)))).prompt.output_tokens_max == tokens


async def bill() -> None:
    sent = asked(asks("Fruit number 700 ?"), files=("long.txt",))
    bare = await Desk().prepare(replace(sent, documents=()))
    assert (await Desk().prepare(sent)).prompt_tokens == bare.prompt_tokens + len(FRUIT)


async def prefix() -> None:
    assert (await Desk().shown(asked(asks("x"), files=("a.txt",), prefix="So "))).endswith("assistant\nSo ")


async def citations() -> None:
    some = await reading(asked(asks("Fruit number 700 ?"), files=("long.txt",)))
    first = entries(some.citations)[0]
    assert list(first) == ["index", "file_id", "name", "part", "start", "end", "text"]
    (whole,) = entries((await reading(asked(asks("x"), texts=("Ä",)))).citations)
    assert whole == {"index": 1, "file_id": None, "name": "", "part": "", "start": 0, "end": 2}


CHOICES: dict[str, Callable[[], Awaitable[None]]] = {
    "which names read documents": which_names,
    "`fileid://` with any other name": any_other_name,
    "a first system message that holds nothing but files": files_first,
    "a first system message that speaks of a file among other words": speaks_of_files,
    "a message that begins with a file and goes on with other words": files_and_words,
    "names of files apart by commas, blanks, line breaks or semicolons": separators,
    "a file that is named again": named_again,
    "an empty system message behind the first": empty,
    "files, and no role": no_role,
    "documents appended between turns": appended,
    "turns that do not alternate, or turns of tools": turns,
    "a user message or the role of more than 9000 tokens": long_messages,
    "texts of more than a million tokens together": long_texts,
    "a file that is still being parsed": waits,
    "documents longer than the model's context": too_long,
    "a question in other words than the documents', or in another language": other_words,
    "a history that does not fit the model's context": long_history,
    "`max_tokens` of a conversation about documents, where nothing is said": answers_length,
    "`prompt_tokens`, `input_tokens`": bill,
    "a prefix": prefix,
    "`segue_citations`": citations,
}


@pytest.mark.parametrize("case", CHOICES)
async def test_what_was_decided_is_what_happens(case: str) -> None:
    await CHOICES[case]()


def test_every_decision_is_checked() -> None:
    told = rows("docs/compatibility.md", "Conversations about documents: where the documents are silent")
    assert [case for case, _ in told] == list(CHOICES)
