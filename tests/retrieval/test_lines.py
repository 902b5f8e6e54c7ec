"""Lines: no gap, no character cut, never too long, and where a reader would end them."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.retrieval.lines import LINE_BYTES_MAX, cut, sentences

CHARACTERS = st.one_of(
    st.sampled_from(list(" \t\r\n\f.!?。！？；…，、,;\"'”）ab的了A1\0\u200b😀\u0301")),
    st.characters(exclude_categories=["Cs"]),
)


def lines(text: str) -> list[str]:
    data, start, found = text.encode(), 0, []
    for end in cut(data, 0, len(data)):
        found.append(data[start:end].decode("utf-8", "strict"))
        start = end
    return found


@given(st.text(CHARACTERS, max_size=2000), st.integers(1, 40))
@settings(deadline=None, max_examples=150)
def test_lines_follow_each_other_and_end_between_characters(text: str, times: int) -> None:
    data = (text * times).encode()
    ends = list(cut(data, 0, len(data)))
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in pairwise([0, *ends]):
        assert 0 < end - start <= LINE_BYTES_MAX
        data[start:end].decode("utf-8", "strict")


def test_sentences_are_lines_and_short_ones_share_one() -> None:
    text = "The first sentence is about an old harbour. A ship came in! Was there a sailor on board of it at all?"
    assert [line.strip() for line in lines(text)] == [
        "The first sentence is about an old harbour.",
        "A ship came in! Was there a sailor on board of it at all?",
    ]


def test_chinese_without_breaks_is_cut_at_sentences() -> None:
    text = "第一句话讲的是一个很大很大的港口。第二句话讲的是停在那里的一条船！第三句话讲的难道是一位老水手吗？" * 50
    found = lines(text)
    assert len(found) == 150
    assert all(line[-1] in "。！？" for line in found)


def test_a_wrapped_sentence_goes_on_past_the_break() -> None:
    text = (
        "This paragraph was wrapped at a width of some seventy characters, so\n"
        "that the sentence goes on in the second row of it, and ends there.\n"
    )
    assert lines(text) == [text]
    rows = "name: first row of a list that is rather long and ends\nName: second row of a list that is rather long\n"
    assert len(lines(rows)) == 2


def test_short_rows_share_a_line_until_a_blank_one() -> None:
    assert lines("a: 1\nb: 2\n\nc: 3\n") == ["a: 1\nb: 2\n\n", "c: 3\n"]


@pytest.mark.parametrize(
    ("piece", "size"),
    [
        ("a", 10_000_000),
        ("密", 10_000_000),
        *((each, 400_000) for each in ("😀", "\0", " ", "\n", ".", ".)", ". ", "\n ")),
    ],
)
def test_a_text_without_breaks_takes_no_more_than_its_length(piece: str, size: int) -> None:
    data = (piece * (size // len(piece.encode()))).encode()
    begun = time.process_time()
    ends = list(cut(data, 0, len(data)))
    assert time.process_time() - begun < 10  # what grows with the square would take minutes
    assert ends[-1] == len(data)
    assert max(end - start for start, end in pairwise([0, *ends])) <= LINE_BYTES_MAX


@given(st.text(st.sampled_from("ab .!?。？\n"), max_size=40))
def test_sentences_are_where_they_say(text: str) -> None:
    found = list(sentences(text))
    assert all(text.startswith(each, start) and each == each.strip() and each for start, each in found)
    assert "".join("".join(each for _, each in found).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two is 3.5 m. Three", ["One.", "Two is 3.5 m.", "Three"]),
        ("一。二！三", ["一。", "二！", "三"]),
        ("The code of the Kestrel\nmuseum is 1.", ["The code of the Kestrel\nmuseum is 1."]),
        ("def one():\n    return 1\nA heading\n\nand text", ["def one():", "return 1", "A heading", "and text"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    assert [each for _, each in sentences(text)] == found
