"""The digest: every document, its headings, its beginning and its end, in order and within the room."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.documents import Part
from segue.retrieval.digest import digest
from tests.retrieval.shelf import FILLER, VECTORS, Shelf, check

BOTH = pytest.mark.parametrize("vectors", [None, VECTORS], ids=["words", "vectors"])


def book(chapters: int) -> str:
    body = "\n\n".join(f"Chapter {n} The Story of Number {n}\n\n{''.join(FILLER) * 12}" for n in range(1, chapters + 1))
    return f"A Book of Numbers\n\n{body}\n\nThis is the last sentence of the whole book."


def told(shelf: Shelf, bytes_max: int, question: str = "") -> list[str]:
    found = digest(shelf.indexes, shelf.texts, question, bytes_max)
    check(found, shelf.texts, bytes_max)
    return [shelf.text(each) for each in found]


@BOTH
def test_headings_beginning_and_end(tmp_path: Path, vectors: object) -> None:
    shelf = Shelf(tmp_path, book(12), vectors=VECTORS if vectors else None)
    text = "\n".join(told(shelf, 3000))
    assert text.startswith("A Book of Numbers")
    assert text.endswith("This is the last sentence of the whole book.")
    assert all(f"Chapter {n} " in text for n in range(1, 13))


@BOTH
def test_a_question_about_chapters_has_them_all(tmp_path: Path, vectors: object) -> None:
    shelf = Shelf(tmp_path, book(60), vectors=VECTORS if vectors else None)
    text = "\n".join(told(shelf, 4000, "How many chapters are there?"))
    assert all(f"Chapter {n} " in text for n in range(1, 61))


def test_chinese_headings(tmp_path: Path) -> None:
    text = "\n\n".join(f"第{n}章 关于数字\n\n{FILLER[2] * 30}" for n in "一二三四五六七")
    shelf = Shelf(tmp_path, text)
    assert all(f"第{n}章" in "\n".join(told(shelf, 2000)) for n in "一二三四五六七")


@BOTH
def test_every_document_has_its_share(tmp_path: Path, vectors: object) -> None:
    shelf = Shelf(tmp_path, book(30), "A short note.", book(10), vectors=VECTORS if vectors else None)
    found = digest(shelf.indexes, shelf.texts, "", 3000)
    check(found, shelf.texts, 3000)
    sizes = [sum(each.end - each.start for each in found if each.document == number) for number in range(3)]
    assert sizes[1] == len("A short note.")
    assert all(1200 < size < 1700 for size in (sizes[0], sizes[2]))  # what the note does not need is theirs


def test_a_short_document_is_given_whole(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.add("First page here.\nSecond page there.", [Part(0, "p. 1"), Part(17, "p. 2")])
    found = digest(shelf.indexes, shelf.texts, "", 100)
    assert [(shelf.text(each), each.label) for each in found] == [
        ("First page here.", "p. 1"),
        ("Second page there.", "p. 2"),
    ]


def test_parts_with_names_are_part_of_the_outline(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    sheets = [f"income of branch {n}\n" + "1,2,3,4,5,6,7,8,9,10\n" * 200 for n in range(8)]
    starts = [sum(len(sheet) for sheet in sheets[:n]) for n in range(8)]
    shelf.add("".join(sheets), [Part(start, f"Sheet{n}") for n, start in enumerate(starts)])
    found = digest(shelf.indexes, shelf.texts, "", 1500)
    assert {each.label for each in found} == {f"Sheet{n}" for n in range(8)}
    assert all(f"branch {n}" in " ".join(told(shelf, 1500)) for n in range(8))


def test_central_sentences_come_from_all_over(tmp_path: Path) -> None:
    lines = [f"Sentence {i} tells about the winter in village number {i} of the valley." for i in range(3000)]
    shelf = Shelf(tmp_path, "\n\n".join(lines), vectors=VECTORS)
    places = [each.start / len(shelf.texts[0]) for each in digest(shelf.indexes, shelf.texts, "", 4000)]
    assert {int(place * 8) for place in places} == set(range(8))


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5, 10, 40, 150])
def test_little_room_is_kept_to(tmp_path: Path, room: int) -> None:
    shelf = Shelf(tmp_path, book(5), FILLER[2] * 50, "", "   ")
    told(shelf, room)


def test_a_text_that_is_not_the_indexed_one_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, book(2))
    with pytest.raises(ValueError, match="another text"):
        digest(shelf.indexes, [b"short"])


@given(st.lists(st.text(max_size=600), min_size=1, max_size=3), st.integers(0, 1500))
@settings(deadline=None, max_examples=25)
def test_digests_keep_their_laws(tmp_path_factory: pytest.TempPathFactory, texts: list[str], room: int) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("laws"), *(each.encode("utf-8", "replace").decode() for each in texts))
    assert told(shelf, room) == told(shelf, room)
