"""Which system messages are documents, in every shape that clients send, the same from both protocols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.errors import Fault, LastRoleInvalid, MessagesInvalid, RolesInvalid
from segue.core.request import Message, Request, Source
from segue.wire.dashscope import read as dashscope
from segue.wire.openai import read as openai
from tests.wire.reading import CALLER, LIMITS, USER, both

ROLE = {"role": "system", "content": "You are a helpful assistant."}
ASKED = Message("user", "hi")


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def said(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def read(*messages: Any, **fields: Any) -> Request:
    """The request of a model that reads documents, the same from both protocols."""
    listed = list(messages)
    one, _ = openai.read({"model": "m", "messages": listed, **fields}, "id", CALLER, LIMITS, 9, True)
    body = {"model": "m", "input": {"messages": listed}, "parameters": fields}
    other, _ = dashscope.read(body, False, "id", CALLER, LIMITS, 9, True)
    assert replace(one, delivery=other.delivery) == other  # a protocol delivers in its own way
    return one


def files(*ids: str) -> tuple[Source, ...]:
    return tuple(Source(id) for id in ids)


def texts(*contents: str) -> tuple[Source, ...]:
    return tuple(Source(text=content) for content in contents)


@pytest.mark.parametrize(
    ("messages", "documents"),
    [
        ([ROLE, USER], ()),
        ([USER], ()),
        ([ROLE, system("fileid://a"), USER], files("a")),
        ([ROLE, system("fileid://a,fileid://b,fileid://c"), USER], files("a", "b", "c")),
        ([ROLE, system(" fileid://a , fileid://b,\nfileid://c "), USER], files("a", "b", "c")),
        ([ROLE, system("fileid://a，fileid://b"), USER], files("a", "b")),
        ([ROLE, system("fileid://a"), system("fileid://b"), USER], files("a", "b")),
        ([ROLE, system("fileid://a"), USER, said("x"), system("fileid://b"), USER], files("a", "b")),
        ([ROLE, system("fileid://b"), USER, said("x"), system("fileid://a,fileid://b"), USER], files("b", "a")),
        ([system("fileid://a,fileid://b"), USER], files("a", "b")),
        ([ROLE, system("fileid://"), USER], files("")),
        ([ROLE, system("A text."), USER], texts("A text.")),
        ([ROLE, system("A text."), system("Another."), USER], texts("A text.", "Another.")),
        ([ROLE, system("A text."), system("A text."), system(" \n"), USER], texts("A text.")),
        ([ROLE, system("See fileid://a"), USER], texts("See fileid://a")),
        ([ROLE, system("fileid://a"), system("A text."), USER], (*files("a"), *texts("A text."))),
        ([ROLE, system("fileid://a is it"), USER], (*files("a"), *texts("is", "it"))),
        ([system("fileid://a"), ROLE, USER], (*files("a"), *texts(ROLE["content"]))),
        ([ROLE, system("fileid://a"), USER, said("So") | {"partial": True}], files("a")),
    ],
)
def test_what_is_a_document(messages: list[Any], documents: tuple[Source, ...]) -> None:
    request = read(*messages)
    assert request.documents == documents
    kept = [message for message in messages if message["role"] != "system" or message == ROLE]
    if messages[0] == ROLE:
        assert request.prefix == ("So" if "partial" in messages[-1] else None)
        kept = kept[:-1] if "partial" in messages[-1] else kept
        assert [message.content for message in request.messages] == [message["content"] for message in kept]
    else:
        assert request.messages == (ASKED,)


def test_the_first_system_message_may_speak_of_files() -> None:
    request = read(system("Cite as fileid://x."), system("fileid://a"), USER)
    assert request.documents == files("a")
    assert request.messages[0].content == "Cite as fileid://x."


def test_text_parts_are_joined_first() -> None:
    parts = [{"type": "text", "text": "fileid://a,"}, {"type": "text", "text": "fileid://b"}]
    assert read(ROLE, {"role": "system", "content": parts}, USER).documents == files("a", "b")


def test_to_any_other_name_they_are_system_messages() -> None:
    one, other = both({}, [ROLE, system("fileid://a"), USER])
    assert one == other
    assert one.documents is None
    assert [message.content for message in one.messages] == [ROLE["content"], "fileid://a", "hi"]


def test_a_native_prompt_has_no_documents() -> None:
    body = {"model": "m", "input": {"prompt": "hi", "history": [{"user": "a", "bot": "b"}]}}
    assert dashscope.read(body, False, "id", CALLER, LIMITS, 9, True)[0].documents == ()
    assert dashscope.read(body, False, "id", CALLER, LIMITS, 9)[0].documents is None


@pytest.mark.parametrize(
    ("messages", "otherwise"),
    [
        ([ROLE, USER, system("fileid://a")], LastRoleInvalid),
        ([ROLE, USER, said("x")], LastRoleInvalid),
        ([ROLE, said("x") | {"partial": True}], MessagesInvalid),
    ],
)
def test_a_conversation_that_nobody_can_answer(messages: list[Any], otherwise: type[Fault]) -> None:
    with pytest.raises(RolesInvalid):
        read(*messages)
    with pytest.raises(otherwise):
        openai.read({"model": "m", "messages": messages}, "id", CALLER, LIMITS, 9)


def test_citations_are_asked_for() -> None:
    assert read(USER, segue_citations=True).citations
    assert not read(USER, segue_citations=None).citations
    assert not read(USER).citations


@given(st.lists(st.text(alphabet="fileid:/, a\n，", max_size=30), min_size=1, max_size=4))
def test_no_content_is_lost(contents: list[str]) -> None:
    request = read(*map(system, contents), USER)
    assert request.documents is not None
    shown = " ".join([*(each.text for each in request.documents), *(each.content for each in request.messages)])
    named = " ".join(each.id or "" for each in request.documents)
    for content in contents:
        words = content.replace("fileid://", " ").replace(",", " ").replace("，", " ").split()
        assert all(word in shown or word in named for word in words)
