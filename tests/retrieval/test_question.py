"""Which questions are about documents as wholes, and which words of a question are looked for."""

from __future__ import annotations

import pytest

from segue.retrieval.question import understood, wants_structure, wants_whole
from segue.retrieval.words import read

WHOLE = [
    "這篇文章講了什麼?",
    "这篇文章讲了什么？",
    "总结一下",
    "请总结这份文件的主要内容",
    "概括全文",
    "这本书有几章？",
    "比较这两篇文章",
    "这份报告的主要观点是什么",
    "介绍一下这篇论文",
    "summarise",
    "Summarize this document.",
    "Please give me a summary",
    "what is this about",
    "What is this document about?",
    "What are the main points?",
    "compare these files",
    "compare the two papers",
    "how many chapters are there?",
    "tl;dr",
    "Give me an overview",
    "What does this file say?",
    "table of contents",
    "文章大意",
    "what's in this file?",
    "describe the document",
    "",
]
PLACE = [
    "What is the access code of the archive?",
    "林晓燕的保险柜密码是多少？",
    "Who wrote the report about water pumps?",
    "Summarise what the contract says about early termination of the lease",
    "How many times was Linus late in March?",
    "什么时候出生的",
    "What does the file say about pump pressure limits?",
    "合同第五条关于违约金的规定是什么",
    "2023年的营业收入是多少",
    "Which methods do the authors use for parsing?",
]


@pytest.mark.parametrize("question", WHOLE)
def test_about_the_whole(question: str) -> None:
    assert wants_whole(question)


@pytest.mark.parametrize("question", PLACE)
def test_about_a_place_in_it(question: str) -> None:
    assert not wants_whole(question)


def test_a_question_without_words_is_about_what_was_asked_before() -> None:
    assert not wants_whole("为什么呢？", ["林晓燕的保险柜密码是多少？"])
    assert wants_whole("And?", ["Summarise this file."])
    assert wants_whole("why?")


@pytest.mark.parametrize("question", ["How many chapters are there?", "这本书有几章？", "目录", "List the sections"])
def test_about_how_it_is_divided(question: str) -> None:
    assert wants_structure(question)
    assert not wants_structure("What is the access code?")


def terms(question: str, *history: str) -> set[int]:
    return set(understood(question, history).terms)


def words(text: str) -> set[int]:
    return set(read([text]).hashes.tolist())


def test_words_of_any_question_are_not_looked_for() -> None:
    assert terms("What is the access code of it, please?") == words("access code")
    assert not terms("这个是什么呢？")


def test_what_was_asked_before_weighs_less_and_is_not_always_asked() -> None:
    both = understood("When was it built?", ["Tell me about the lighthouse of Arvel"])
    weights = dict(zip(both.terms, both.weights, strict=True))
    built, lighthouse = next(iter(words("built"))), next(iter(words("lighthouse")))
    assert weights[built] > weights[lighthouse] > 0
    alone = "Which engineer painted the northern bridge over the Tamar river yesterday?"
    assert terms(alone, "Tell me about lighthouses") == terms(alone)


def test_names_weigh_more() -> None:
    found = understood("Where was the old doctor Tobias Hale born?")
    weights = dict(zip(found.terms, found.weights, strict=True))
    assert weights[next(iter(words("Hale")))] > weights[next(iter(words("doctor")))]


@pytest.mark.parametrize(
    "question", ["Compare both papers", "两篇文章的区别是什么", "How do they differ?", "分别是多少"]
)
def test_comparisons(question: str) -> None:
    assert understood(question).compares
    assert not understood("What is the access code?").compares


def test_statements_add_words_and_decide_nothing_else() -> None:
    asked = understood("Where is the lamp?")
    told = understood("Where is the lamp?", (), "Both lamps differ, they stand in the harbour.")
    assert set(asked.terms) < set(told.terms)
    assert set(read(["harbour"]).hashes.tolist()) <= set(told.terms)
    assert not told.compares
    assert told.text.startswith("Where is the lamp?")
    long = understood("lamp " * 2000, (), "harbour " * 2000)
    assert len(long.text) <= 1001
    assert "lamp" in long.text
    assert "harbour" in long.text


def test_names_and_numbers_that_statements_made_up_are_not_looked_for() -> None:
    statements = "Debian was started by Linus Torvalds in 1991. The founder of Debian is Linus Torvalds."
    asked = understood("Who started Debian, and when?", (), statements)
    assert "torvalds" not in asked.text.lower()
    assert "founder" in asked.text
    assert "1991" in asked.text  # that it is a number says something, which one it is does not
    assert not set(asked.terms) & set(understood("Torvalds 1991").terms)
    assert set(understood("Debian").terms) <= set(asked.terms)


def test_names_in_another_language_are_looked_for() -> None:
    asked = understood("红隼博物馆创办于哪一年？", (), "The Kestrel museum was founded in 1931.")
    assert set(understood("Kestrel").terms) <= set(asked.terms)
    assert not set(understood("1931").terms) & set(asked.terms)


def test_what_stands_around_a_made_up_name_is_looked_for() -> None:
    asked = understood("哪个登机口？", (), "旅客到齐以后，ZK航班在2023年从登机口起飞。")
    assert set(understood("航班").terms) <= set(asked.terms)
    assert set(understood("起飞").terms) <= set(asked.terms)
    assert not set(understood("2023").terms) & set(asked.terms)


def test_what_was_made_up_is_cut_out_as_a_word() -> None:
    asked = understood(
        "Which mail server is started?", (), "The server is exim4. Anton starts the server for An, daily."
    )
    assert not set(understood("exim").terms) & set(asked.terms)
    assert set(understood("anton").terms) <= set(asked.terms)
    kept = understood("邮件服务器为什么慢？", (), "The exim4 server is slow since 2023.")
    assert set(understood("exim4").terms) <= set(kept.terms)
    assert not set(understood("2023").terms) & set(kept.terms)
