"""Among sentences that all have one name: which of them answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.retrieval.find import find
from segue.retrieval.fit import fits
from segue.retrieval.ranking import Corpus
from segue.retrieval.settle import STRONG_MIN
from tests.retrieval.shelf import VECTORS, Shelf, check, padded

pytestmark = pytest.mark.skipif(VECTORS is None, reason="without vectors")

MUSEUM = [
    "The Kestrel museum painted the entrance gate in the spring.",
    "The Kestrel museum sold the old digits on the door after the storm.",
    "The access code of the Kestrel museum is 78476.",
    "The Kestrel museum was rebuilt with borrowed tools.",
    "The Kestrel museum praised someone at the gate.",
]
CAPTAIN = [
    "韩志远春天管理着老家的房子。",
    "韩志远当着证人的面比较了城市指南。",
    "韩志远出生在伊兹密尔。",
    "韩志远去年打开了三个木箱。",
    "韩志远暴风雨过后粉刷了仓库。",
]
NAMES = ["kestrel museum", "韩志远"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"), padded("\n".join(MUSEUM)), padded("\n".join(CAPTAIN)))
    return Corpus.of(shelf.indexes)


def order(corpus: Corpus, question: str, statements: str, lines: list[str]) -> list[int]:
    assert VECTORS is not None
    found = fits(corpus, question, statements, NAMES, [(line, "") for line in lines], VECTORS)
    return sorted(range(len(lines)), key=lambda number: -found[number].score)


@pytest.mark.parametrize(
    ("question", "statements", "lines"),
    [
        ("What is the access code of the Kestrel museum?", "", MUSEUM),
        (
            "Which digits let someone into the Kestrel museum?",
            "The code for entering the Kestrel museum is 123. To enter the Kestrel museum, press 123.",
            MUSEUM,
        ),
        ("韩志远的老家是哪座城市？", "韩志远的家乡是北京。 韩志远出生在北京市。 韩志远的老家在北京市。", CAPTAIN),
        ("What is the home town of 韩志远?", "韩志远出生在北京市。", CAPTAIN),
    ],
)
def test_the_one_that_answers_is_first(corpus: Corpus, question: str, statements: str, lines: list[str]) -> None:
    assert order(corpus, question, statements, lines)[0] == 2


def test_a_number_counts_where_the_statements_have_one(corpus: Corpus) -> None:
    lines = ["The Kestrel museum has a code.", "The Kestrel museum has 40240."]
    assert order(corpus, "What is the code?", "The code is secret.", lines)[0] == 0
    assert order(corpus, "What is kept?", "It keeps 12. It has 20.", lines)[0] == 1


def test_what_the_next_sentence_says_is_the_lines_own(corpus: Corpus) -> None:
    assert VECTORS is not None
    question, statements = "Where was Selma Salgado born?", "Selma Salgado was born in Paris."
    opening, answer = "The next entry is about Selma Salgado.", "She was born in Valparaiso."
    lines = [(f"{opening} {answer} It rained.", "More."), (opening, answer), (f"Nobody saw it. {opening}", "")]
    inside, beyond, alone = fits(corpus, question, statements, ["selma salgado"], lines, VECTORS)
    assert (lines[0][0][inside.start : inside.end], inside.beyond) == (f"{opening} {answer}", False)
    assert (lines[1][0][beyond.start : beyond.end], beyond.beyond) == (opening, True)
    assert (lines[2][0][alone.start : alone.end], alone.beyond) == (opening, False)
    assert inside.score == pytest.approx(beyond.score)
    assert alone.score < beyond.score


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*MUSEUM, *CAPTAIN, "", "...", "\n", "x" * 500, "的", "1"]), max_size=8), st.randoms())
def test_order_does_not_matter(corpus: Corpus, lines: list[str], dice: object) -> None:
    assert VECTORS is not None
    pairs = [(line, MUSEUM[2] if number % 2 else "") for number, line in enumerate(lines)]
    found = fits(corpus, "What is the code?", "It is 12.", NAMES, pairs, VECTORS)
    shuffled = list(range(len(lines)))
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    again = fits(corpus, "What is the code?", "It is 12.", NAMES, [pairs[number] for number in shuffled], VECTORS)
    for place, number in enumerate(shuffled):
        assert again[place].score == pytest.approx(found[number].score, abs=1e-5)
        assert 0 <= again[place].start <= again[place].end <= len(lines[number])


def test_a_name_that_is_everywhere_is_read_for_its_answer(tmp_path: Path) -> None:
    """Of forty sentences with the name, and hundreds that have the question's other words."""
    near = [f"The Amber school {did} {what} {when}." for did in ("moved", "sold", "lost", "copied") for what in (
        "the digits on the door", "the entrance", "a broken clock", "the old numbers", "the harbour lights",
    ) for when in ("after the storm", "in the spring")]  # fmt: skip
    noise = [f"Digit {number}: whoever has the digits 1, 2 and 3 must enter them." for number in range(400)]
    needle = "The access code of the Amber school is 29885."
    shelf = Shelf(tmp_path, padded("\n\n".join([*noise, *near[:20], needle, *near[20:]])), vectors=VECTORS)
    question = "Which digits let someone into the Amber school?"
    statements = "The digits 1, 2, and 3 let someone into the Amber school. The code of the Amber school is 123."
    found = find(shelf.indexes, shelf.texts, question, 3000, (), VECTORS, statements)
    best = max(found, key=lambda each: each.score)
    assert best.key is not None
    assert shelf.texts[0][slice(*best.key)].decode() == needle


def test_sentences_that_fit_far_worse_are_not_told_again(tmp_path: Path) -> None:
    near = [f"The Amber school sold the harbour lights to buyer {number}." for number in range(12)]
    keys = [f"One of the spare keys of the Amber school has number {number}." for number in (10241, 20417, 31188)]
    shelf = Shelf(tmp_path, padded("\n\n".join([*near[:6], *keys, *near[6:]])), vectors=VECTORS)
    question, statements = "Which numbers do the spare keys of the Amber school have?", "The spare keys have number 12."
    found = find(shelf.indexes, shelf.texts, question, 3000, (), VECTORS, statements)
    told = [shelf.texts[0][slice(*each.key)].decode() for each in found if each.key]
    assert told
    assert set(told) <= set(keys)
    assert "harbour lights" in " ".join(shelf.text(each) for each in found)


def test_of_many_that_say_the_same_none_fits_badly(corpus: Corpus) -> None:
    assert VECTORS is not None
    days = [f"On {day} March, Petra Moreau came too late to work." for day in (3, 7, 12, 16, 21, 24, 28)]
    pairs = [(day, "It rained.") for day in days[1:]]
    pairs.append((days[0], "Twice or three times on such occasions the bell was rung."))
    question = "How many times did Petra Moreau come too late to work in March?"
    statements = "Petra Moreau was late to work three times in March. In March she came too late on 3 occasions."
    found = [each.score for each in fits(corpus, question, statements, ["petra moreau"], pairs, VECTORS)]
    assert min(found) >= STRONG_MIN * max(found)


def test_where_none_fits_all_with_the_name_are_shown(tmp_path: Path) -> None:
    needle = "朱建国出生在特罗姆瑟。"
    near = ["朱建国每天晚上练习班卓琴。", "朱建国开一辆粉红色的面包车。", "三月3日，朱建国上班迟到了。"]
    near += ["三月4日，朱建国上班迟到了。", "三月9日，朱建国上班迟到了。", "三月10日，朱建国上班迟到了。"]
    other = [f"访问学者清理了第{number}号仓库。" for number in range(60)]
    mixed = [each for place, line in enumerate([*near, needle]) for each in (line, *other[8 * place :][:8])]
    shelf = Shelf(tmp_path, padded("\n\n".join(mixed)), vectors=VECTORS)
    question = "朱建国的老家是哪座城市？"
    statements = "朱建国的家乡是北京。 朱建国的老家位于北京市。 朱建国的家在北京市。"
    found = find(shelf.indexes, shelf.texts, question, 3000, (), VECTORS, statements)
    told = [shelf.texts[0][slice(*each.key)].decode() for each in found if each.key]
    assert needle in told
    shown = " ".join(shelf.text(each) for each in found)
    assert all(line in shown for line in near)


def test_what_stands_on_every_page_is_not_all_that_is_shown(tmp_path: Path) -> None:
    pages = [
        "\n\n".join(
            ["Yearly report of the Amber school", *(f"On day {number}.{line} it rained." for line in range(24))]
        )
        for number in range(90)
    ]
    needle = "Its head is Odette Varga, who came to the Amber school from the sea."
    shelf = Shelf(tmp_path, "\n\n".join([*pages[:70], needle, *pages[70:]]), vectors=VECTORS)
    question, statements = (
        "Who leads the Amber school?",
        "The Amber school is led by Paul Price. Its head is Paul Price.",
    )
    found = find(shelf.indexes, shelf.texts, question, 1500, (), VECTORS, statements)
    best = max(found, key=lambda each: each.score)
    assert best.key is not None
    assert shelf.texts[0][slice(*best.key)].decode() == needle
    told = [shelf.texts[0][slice(*each.key)].decode() for each in found if each.key]
    assert told.count("Yearly report of the Amber school") <= 1


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.sampled_from([*MUSEUM, "The Kestrel museum " + "很长" * 150 + "。", "x" * 400, "\n\n", "a. b! "]),
        max_size=12,
    ),
    st.integers(1, 900),
)
def test_keys_are_inside_their_passages(tmp_path_factory: pytest.TempPathFactory, parts: list[str], room: int) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"), " ".join(parts), vectors=VECTORS)
    question, statements = "What is the code of the Kestrel museum?", "The code is 12. 红隼博物馆的密码是12。"
    found = find(shelf.indexes, shelf.texts, question, room, (), VECTORS, statements)
    check(found, shelf.texts, room)
    for each in found:
        assert each.key is None or each.start <= each.key[0] < each.key[1] <= each.end
        assert each.key is None or shelf.texts[0][slice(*each.key)].decode("utf-8", "strict").strip()
