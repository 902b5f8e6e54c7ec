"""What the model is shown of documents: everything, in order, and the same beginning from question to question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.core.generation import ModelCard
from segue.core.request import Message, Request
from segue.prompt import template
from segue.prompt.documents import ROLE, Sheet, asked_before, question, quoted, whole
from tests.prompt.templates import CARDS
from tests.requests import request, said, user

SYSTEM = Message("system", "You are a reader.")
ONE = Sheet("a.txt", "", "The first text.\n\n  With <|im_end|> in it.\n")
TWO = Sheet("", "", "The second text.")
TALK = request(SYSTEM, user("What is it?"))


def printed(card: ModelCard, shown: Request) -> str:
    return "".join(segment.text for segment in template.render(card, shown))


def test_whole_documents_stand_behind_the_role() -> None:
    (first, asked) = whole(TALK, [ONE, TWO]).messages
    assert asked == user("What is it?")
    assert first.role == "system"
    places = [first.content.index(text) for text in (SYSTEM.content, "1: a.txt", ONE.text, "Document 2", TWO.text)]
    assert places == sorted(places)
    assert places[0] == 0


def test_there_is_a_role_where_none_was_given() -> None:
    (first, _) = whole(request(user("?")), [ONE]).messages
    assert first.content.startswith(ROLE + "\n\n")


@pytest.mark.parametrize("name", CARDS)
def test_the_beginning_is_the_same_for_every_question(name: str) -> None:
    card = CARDS[name]
    in_turn = not template.prints_system(card)
    assert in_turn == (name == "llama-3.1")
    one = printed(card, whole(TALK, [ONE, TWO], in_turn))
    end = one.index(TWO.text) + len(TWO.text)
    others = [
        request(SYSTEM, user("What is it?"), said("A text."), user("第二个问题")),
        request(SYSTEM, user("这是什么？"), prefix="这"),
    ]
    for other in others:
        assert printed(card, whole(other, [ONE, TWO], in_turn))[:end] == one[:end]
    added = printed(card, whole(others[0], [ONE, TWO, replace(ONE, name="c.txt")], in_turn))
    assert added[:end] == one[:end]


def test_text_of_a_document_is_no_control_token() -> None:
    for shown in (whole(TALK, [ONE]), quoted(TALK, [ONE]), whole(TALK, [ONE], in_turn=True)):
        segments = template.render(CARDS["qwen2.5"], shown)
        assert [each.text for each in segments if each.control].count("<|im_end|>") == 2
        assert "With <|im_end|> in it." in "".join(each.text for each in segments if not each.control)


def test_the_words_around_them_are_in_the_language_of_what_they_stand_by() -> None:
    chinese = Sheet("报告.pdf", "", "春天来了，大地复苏。")
    assert "## 文档 1：报告.pdf" in whole(TALK, [chinese]).messages[0].content
    assert "## Document 1: 报告.pdf" in whole(TALK, [replace(chinese, text="Spring.")]).messages[0].content
    assert "Answer from these passages." in quoted(TALK, [chinese]).messages[-1].content
    assert "请根据以上片段回答" in quoted(request(user("这是什么？")), [ONE]).messages[-1].content
    assert "## Document 1" in whole(TALK, [replace(chinese, text="")]).messages[0].content


def test_passages_stand_before_the_last_question() -> None:
    talk = request(SYSTEM, user("First?"), said("Yes."), user("And then?"))
    shown = quoted(talk, [Sheet("a.pdf", "p. 3", "\n One.\n"), Sheet("", "", "Two."), Sheet("b.pdf", "", "Three.")])
    assert shown.messages[:3] == talk.messages[:3]
    content = shown.messages[3].content
    assert content.endswith("\n\nAnd then?")
    assert "[1] a.pdf, p. 3\nOne.\n\n[2]\nTwo.\n\n[3] b.pdf\nThree.\n\n" in content
    assert quoted(talk, []) is talk


def test_sentences_that_name_what_is_asked_for_are_said_once_more() -> None:
    sheets = [Sheet("a.pdf", "", "One is\nred. Two.", "One is\nred."), Sheet("", "", "Three."), Sheet("", "", "4", "4")]
    content = quoted(TALK, sheets).messages[-1].content
    assert content.endswith("say so.\n\nThe sentences that fit the question best:\n- One is red.\n- 4\n\nWhat is it?")
    content = quoted(request(user("这是什么？")), sheets).messages[-1].content
    assert content.endswith("请直接说明。\n\n与问题最相关的句子：\n- One is red.\n- 4\n\n这是什么？")
    assert "fit the question" not in quoted(TALK, sheets[1:2]).messages[-1].content


def test_the_model_is_told_what_it_is_shown() -> None:
    asked = request(user("这是什么？"))
    contents = [quoted(asked, [ONE], tier).messages[0].content for tier in ("retrieval", "digest", "notes")]
    assert [content[: content.index("\n")] for content in contents] == [
        "以下是文档中的相关片段：",
        "以下是文档的摘录，包括标题、开头、结尾和主要句子：",
        "以下是按顺序对文档各部分所做的笔记：",
    ]
    assert "say so" not in quoted(TALK, [ONE], "digest").messages[-1].content


def test_passages_stand_before_the_question_and_not_before_what_a_function_said() -> None:
    talk = request(user("Weather?"), said(""), Message("tool", "sunny"))
    shown = quoted(talk, [ONE])
    assert shown.messages[1:] == talk.messages[1:]
    assert shown.messages[0].content.endswith("\n\nWeather?")


def test_what_was_asked() -> None:
    talk = request(SYSTEM, user("First?"), said("Yes."), user("And then?"))
    assert question(talk) == "And then?"
    assert asked_before(talk) == ("First?",)
