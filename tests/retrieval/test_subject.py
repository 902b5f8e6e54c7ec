"""What a question is about: which sentences name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.retrieval.ranking import Corpus
from segue.retrieval.subject import Subject
from tests.retrieval.shelf import VECTORS, Shelf, padded

ENGLISH = [
    "The access code of the Kestrel museum is 78476.",
    "The access code of the Kestrel station is 98871.",
    "The access code of the Granite museum is 40240.",
    "Felix Voss was born in Tromso.",
    "Felix Dunne was born in Izmir.",
    "The museum delivered the access code by mistake.",
    "An answer is given within ten days. The old lamp was repaired in the year of the storm.",
]
CHINESE = [
    "黄铜观测站的门禁密码是91913。",
    "黄铜仓库的门禁密码是59362。",
    "猎鹰观测站的门禁密码是93083。",
    "韩志远出生在伊兹密尔。",
    "韩志強出生在里斯本。",
    "港务局在同一栋楼里描述了城市指南，因为合同有这样的要求。",
    "委员会去年搬走了门上的数字。",
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"), "\n".join(ENGLISH * 3), "\n".join(CHINESE * 3), vectors=VECTORS)


def naming(shelf: Shelf, question: str, texts: list[str]) -> list[int]:
    found = Subject(Corpus.of(shelf.indexes), question).named(texts)
    return [number for number, each in enumerate(found) if each]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What is the access code of the Kestrel museum?", [0]),
        ("Which digits let someone into the Kestrel museum?", [0]),
        ("KESTREL MUSEUM: which digits?", [0]),
        ("Where was Felix Voss born?", [3]),
        ("Where were Felix Voss and Felix Dunne born?", [3, 4]),
        ("What is kept in Kestrel?", [0, 1]),
        ("Who is Felix?", [3, 4]),
        ("Does the Kestrel museum know Felix Voss?", [0, 3]),
        ("Was Felix Voss born in Tromso or in Izmir?", [3]),
        ("What has number 78476?", [0]),
        ("Are there 10 of them?", []),
        ("Who is Feli?", []),
        ("What was repaired?", []),
        ("How is an answer given?", []),
        ("?", []),
        ("", []),
    ],
)
def test_in_english(shelf: Shelf, question: str, found: list[int]) -> None:
    assert naming(shelf, question, ENGLISH) == found


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("黄铜观测站的门禁密码是多少？", [0]),
        ("要进入黄铜观测站，需要输入哪几位数字？", [0]),
        ("韩志远的老家是哪座城市？", [3]),
        ("韓志遠出生在哪里？", [3]),
        ("韩志强出生在哪里？", [4]),
        ("是什么？", []),
        ("为什么？", []),
    ],
)
def test_in_chinese(shelf: Shelf, question: str, found: list[int]) -> None:
    assert naming(shelf, question, CHINESE) == found


def test_texts_that_are_none(shelf: Shelf) -> None:
    subject = Subject(Corpus.of(shelf.indexes), "Where was Felix Voss born?")
    assert subject.named([]) == []
    assert subject.named(["", "Felix  Voss", "Felix\nVoss"]) == [False, True, True]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Which digits let someone into the Kestrel museum?", "kestrel museum"),
        ("Was Felix Voss born in Tromso or in Izmir?", "felix voss"),
        ("要进入黄铜观测站，需要输入哪几位数字？", "黄铜观测站"),
        ("What was repaired?", ""),
    ],
)
def test_the_name_that_says_most(shelf: Shelf, question: str, name: str) -> None:
    subject = Subject(Corpus.of(shelf.indexes), question)
    assert subject.names([*ENGLISH, *CHINESE]) == ([name] if name else [])
    assert subject.names([]) == []


def test_statements_name_it_in_another_language(shelf: Shelf) -> None:
    corpus = Corpus.of(shelf.indexes)
    statements = "黄铜观测站的密码是1234。 The code of the Granite museum is 12."
    subject = Subject(corpus, "What is the access code of the Brass observatory?", statements)
    assert [each for each, told in zip(CHINESE, subject.named(CHINESE), strict=True) if told] == CHINESE[:1]
    assert subject.names([*ENGLISH, *CHINESE]) == ["黄铜观测站"]
    assert not any(Subject(corpus, "黄铜观测站在哪里？", "黄铜观测站在北边。").named(ENGLISH))


def test_the_questions_own_name_goes_before_one_that_statements_made_up(shelf: Shelf) -> None:
    corpus = Corpus.of(shelf.indexes)
    statements = "黄铜观测站的密码是1234。 The code of the Granite museum is 12."
    assert Subject(corpus, "黄铜观测站的密码是多少？", statements).names([*ENGLISH, *CHINESE]) == ["黄铜观测站"]
    told = Subject(corpus, "黄铜观测站的密码是多少？", statements).named([*ENGLISH, *CHINESE])
    assert told.index(True) == len(ENGLISH)
    assert sum(told) == 1


def test_what_all_of_a_text_is_about_names_no_line_of_it(tmp_path: Path) -> None:
    lines = [f"Day {number} in Halden: it rained on the harbour." for number in range(40)]
    other = [f"Day {number} in the mountains: the road was closed." for number in range(60)]
    once = "The lamp of the Kestrel museum was lit."
    shelf = Shelf(tmp_path, "\n".join([*lines, *other, once]), vectors=VECTORS)
    corpus = Corpus.of(shelf.indexes)
    assert Subject(corpus, "Who lives in Halden?").names(lines) == []
    assert Subject(corpus, "Which lamp was lit in the Kestrel museum of Halden?").names([*lines, once]) == [
        "kestrel museum"
    ]


def test_a_word_of_a_dictionary_is_no_name(tmp_path: Path) -> None:
    text = ["你需要属于dialout组才能使用调制解调器。", "目录的用途列表。", "系统调用的列表。", "根目录里有日志。"]
    shelf = Shelf(tmp_path, padded("\n".join(text)), vectors=VECTORS)
    corpus = Corpus.of(shelf.indexes)
    assert Subject(corpus, "dialout 组的用途是什么？").names(text) == []
    assert Subject(corpus, "系统调用的列表在哪里？").names(text) != []


@pytest.mark.parametrize("text", ["乘坐ZK-309的旅客在C17登机。", "ZK-309", "航班 ZK-309 从C17起飞。"])
def test_letters_between_chinese_ones_are_words(tmp_path: Path, text: str) -> None:
    shelf = Shelf(tmp_path, padded(text), vectors=VECTORS)
    subject = Subject(Corpus.of(shelf.indexes), "乘坐ZK-309的人在哪里上飞机？")
    assert subject.named([text, "乘坐ZKA-3091的旅客。"]) == [True, False]


def test_passages_say_which_of_their_sentences_name_it(tmp_path: Path) -> None:
    needle = "The access code of the Kestrel museum is 78476."
    shelf = Shelf(
        tmp_path,
        padded("The access code of the Kestrel station is 98871."),
        padded("The Kestrel museum is old.")
        + f"\n{needle}\n\n"
        + padded("The access code of the Granite museum is 40240."),
        vectors=VECTORS,
    )
    found = shelf.find("What is the access code of the Kestrel museum?", 2000)
    keys = [(each.document, shelf.texts[each.document][slice(*each.key)].decode()) for each in found if each.key]
    assert (1, needle) in keys
    assert all("Kestrel museum" in key for _, key in keys)
    assert any(each.key is None for each in found)
    assert all(each.start <= each.key[0] < each.key[1] <= each.end for each in found if each.key)


@pytest.mark.skipif(VECTORS is None, reason="without vectors")
def test_a_sentence_that_goes_on_in_the_next_is_named_with_it(tmp_path: Path) -> None:
    opening, needle = "The next entry in the records is about Selma Salgado.", "She was born in Valparaiso, by the sea."
    shelf = Shelf(tmp_path, padded(f"{opening} {needle}"), vectors=VECTORS)
    found = shelf.find("Where was Selma Salgado born?", 2000)
    keys = [shelf.texts[0][slice(*each.key)].decode() for each in found if each.key]
    assert keys == [f"{opening} {needle}"]
