"""Questions of small documents: what is found, how much, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.documents import Part
from segue.retrieval.find import find
from segue.retrieval.words import read
from tests.retrieval.shelf import VECTORS, Shelf, padded

CODE = '''def read_settings(path):
    """Reads the settings of a server."""
    with open(path) as file:
        return parse(file.read())


class RetryPolicy:
    max_attempts = 7
'''
BOTH = pytest.mark.parametrize("vectors", [None, VECTORS], ids=["words", "vectors"])


@BOTH
@pytest.mark.parametrize(
    ("hidden", "question"),
    [
        ("The access code of the harbour archive is 48213.", "What is the access code of the harbor archive?"),
        ("The access code of the harbour archive is 48213.", "code of the HARBOUR archive"),
        ("林晓燕的保险柜密码是九七三一五。", "林晓燕的保险柜密码是多少？"),
        ("林晓燕的保险柜密码是九七三一五。", "保險櫃的密碼是什麼"),
        ("服务器 gateway-7 的 IP 地址是 10.20.30.40。", "gateway-7 的 IP 是多少?"),
        ("The total for 2023 came to 1,234,567 euros.", "what came to 1234567?"),
        (CODE, "What is max_attempts of RetryPolicy?"),
        (CODE, "read_settings"),
        ("Café Zoë opens at noon.", "when does cafe zoe open"),
    ],
)
def test_the_answer_is_found(tmp_path: Path, vectors: object, hidden: str, question: str) -> None:
    shelf = Shelf(tmp_path, padded(hidden), vectors=VECTORS if vectors else None)
    answer = hidden.strip().splitlines()[-1] if "RetryPolicy?" in question else hidden.strip().splitlines()[0]
    assert answer in shelf.said(question, 600)


@pytest.mark.skipif(VECTORS is None, reason="without vectors")
@pytest.mark.parametrize(
    ("hidden", "question"),
    [
        ("Tobias Hale is allergic to peanuts.", "Which food makes Tobias Hale ill?"),
        ("The vessel sank near the coast during a storm.", "In which weather did the ship sink?"),
        ("他的老家在云南大理。", "他是哪里人，故乡在何处？"),
    ],
)
def test_other_words_for_it_are_found(tmp_path: Path, hidden: str, question: str) -> None:
    assert hidden in Shelf(tmp_path, padded(hidden), vectors=VECTORS).said(question, 800)


@BOTH
@pytest.mark.parametrize(
    ("hidden", "question", "statements"),
    [
        ("Tobias Hale was born in Izmir.", "What is the home town of Tobias Hale?", "Tobias Hale was born in Paris."),
        ("枫树剧院创办于1931年。", "How old is the Maple theatre?", "枫树剧院创办于1900年。 枫树剧院有很多年历史。"),
    ],
)
def test_what_is_worded_as_the_statements_are_comes_first(
    tmp_path: Path, vectors: object, hidden: str, question: str, statements: str
) -> None:
    others = [f"Tobias Hale painted the home of town clerk {i}." for i in range(20)]
    others += [f"The Maple theatre bought chair number {i}." for i in range(20)]
    shelf = Shelf(tmp_path, padded("\n\n".join([*others[:20], hidden, *others[20:]])))
    table = VECTORS if vectors else None
    found = find(shelf.indexes, shelf.texts, question, 600, (), table, statements)
    best = max(found, key=lambda each: each.score)
    assert hidden in shelf.text(best)
    again = find(shelf.indexes, shelf.texts, question, 600, (), table)
    assert hidden not in shelf.text(max(again, key=lambda each: each.score))


@pytest.mark.skipif(VECTORS is None, reason="without vectors")
def test_what_the_next_sentence_says_is_found_with_the_name(tmp_path: Path) -> None:
    near = [f"Ingrid Sato visited office number {i} on a rainy day." for i in range(30)]
    hidden = (
        "The next person in the register is Ingrid Sato, from the north.\nShe plays the violin in the town orchestra.\n"
    )
    shelf = Shelf(tmp_path, padded("\n\n".join([*near[:15], hidden, *near[15:]])), vectors=VECTORS)
    assert "plays the violin" in shelf.said("Which instrument does Ingrid Sato play?", 1500)


@BOTH
@pytest.mark.parametrize("question", ["", "   ", "\n", "?!。", "what is the", "是什么？", "\0", "的了吗", "a" * 50_000])
def test_questions_that_ask_nothing_do_no_harm(tmp_path: Path, vectors: object, question: str) -> None:
    shelf = Shelf(tmp_path, padded("x"), vectors=VECTORS if vectors else None)
    found = shelf.find(question)
    if not question.strip():
        assert found == ()


def test_no_documents_and_no_room(tmp_path: Path) -> None:
    assert find([], [], "anything?") == ()
    shelf = Shelf(tmp_path, padded("The answer is here."))
    assert shelf.find("answer", 0) == ()
    assert shelf.find("answer", -5) == ()


def test_little_room_is_kept_to(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, padded("这是关于" + "鲸鱼" * 100 + "的答案"))
    for room in (1, 2, 3, 4, 5, 10, 50, 200, 1000):
        shelf.find("鲸鱼", room)  # the shelf checks it
    assert shelf.said("鲸鱼", 10) == "这是关"


def test_a_text_that_is_not_the_indexed_one_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, padded("one"))
    with pytest.raises(ValueError, match="another text"):
        find(shelf.indexes, [b"short"], "one")


@BOTH
def test_every_document_has_its_share(tmp_path: Path, vectors: object) -> None:
    one = padded("The first paper reports an accuracy of 91 percent for the method.")
    many = "\n\n".join(f"Accuracy of the method in trial {i} was {i} percent." for i in range(200))
    shelf = Shelf(tmp_path, many, one, "Nothing to see in this short note.", vectors=VECTORS if vectors else None)
    found = shelf.find("What is the accuracy of the method in both papers?", 1500)
    assert {each.document for each in found} == {0, 1, 2}
    assert "91 percent" in shelf.said("Compare the accuracy of the method in the two papers", 1500)
    room = sum(each.end - each.start for each in found if each.document == 1)
    assert room >= 200  # of an even share of 300


def test_statistics_are_those_of_all_documents(tmp_path: Path) -> None:
    """`turbine` is rare in the first document and on every line of the second: what is rare in both decides."""
    first = padded("The turbine was painted by a carpenter.")
    second = "\n\n".join(f"Turbine number {i} was inspected by the usual crew of mechanics." for i in range(300))
    shelf = Shelf(tmp_path, first, second)
    best = max(shelf.find("turbine carpenter", 400), key=lambda each: each.score)
    assert "carpenter" in shelf.text(best)
    swapped = Shelf(tmp_path / "..", second, first)
    best = max(swapped.find("turbine carpenter", 400), key=lambda each: each.score)
    assert "carpenter" in swapped.text(best)


@BOTH
def test_a_follow_up_leans_on_what_was_asked_before(tmp_path: Path, vectors: object) -> None:
    text = padded("The lighthouse of Arvel was built in 1871 by Oda Lind.\n\n" + "\n\n".join(
        f"House {i} was built in {1700 + i} by somebody." for i in range(60)
    ))  # fmt: skip
    shelf = Shelf(tmp_path, text, vectors=VECTORS if vectors else None)
    before = ("Tell me about the lighthouse of Arvel",)
    assert "1871" in shelf.said("When was it built?", 300, before)
    zh = Shelf(tmp_path, padded("阿维尔灯塔的建造者是奥达。"), vectors=VECTORS if vectors else None)
    assert "奥达" in zh.said("它是谁建造的？", 300, ("介绍一下阿维尔灯塔",))


def test_labels_are_those_of_the_parts(tmp_path: Path) -> None:
    pages = [f"Page {i} is about subject number{i}abc and nothing else. " * 5 for i in range(20)]
    starts = [sum(len(page.encode()) for page in pages[:i]) for i in range(20)]
    shelf = Shelf(tmp_path)
    shelf.add("".join(pages), [Part(start, f"p. {i + 1}") for i, start in enumerate(starts)])
    found = shelf.find("number7abc", 2000)
    best = max(found, key=lambda each: each.score)
    assert best.label == "p. 8"
    for each in found:
        number = int(each.label[3:]) - 1
        assert starts[number] <= each.start
        assert each.end <= [*starts[1:], len(shelf.texts[0])][number]


@BOTH
def test_a_long_line_without_a_break(tmp_path: Path, vectors: object) -> None:
    filler = "大家在会议上谈论了天气和咖啡然后各自回家休息并且没有做任何记录"
    text = filler * 5_000 + "林晓燕的保险柜密码是九七三一五" + filler * 5_000
    shelf = Shelf(tmp_path, text, vectors=VECTORS if vectors else None)
    assert "九七三一五" in shelf.said("林晓燕的保险柜密码是多少", 1500)


def test_a_term_is_worth_its_rarity(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, padded("The meeting had an albatross in it."))
    best = max(shelf.find("meeting albatross", 300), key=lambda each: each.score)
    assert "albatross" in shelf.text(best)
    assert set(read(["albatross"]).hashes.tolist()) <= set(shelf.indexes[0].terms.tolist())


@given(
    st.lists(st.text(max_size=400), min_size=1, max_size=3),
    st.text(max_size=60),
    st.integers(1, 2000),
    st.lists(st.text(max_size=20), max_size=2),
)
@settings(deadline=None, max_examples=25)
def test_passages_keep_their_laws(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], question: str, room: int, history: list[str]
) -> None:
    shelf = Shelf(
        tmp_path_factory.mktemp("laws"), *(each.encode("utf-8", "replace").decode() for each in texts), vectors=VECTORS
    )
    assert shelf.find(question, room, history) == shelf.find(question, room, history)


@BOTH
def test_much_room_is_used_for_what_stands_around(tmp_path: Path, vectors: object) -> None:
    shelf = Shelf(tmp_path, padded("The albatross came on Sunday."), vectors=VECTORS if vectors else None)
    around = shelf.said("albatross", 20_000)
    assert len(around) > 300
    assert "第59天" in around
