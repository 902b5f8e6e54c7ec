"""Words: which spellings meet, which pieces are found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.retrieval.words import read


def words(text: str) -> set[int]:
    return set(read([text]).hashes.tolist())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Harbour", "harbour"),
        ("café", "CAFE"),
        ("cafe\u0301", "café"),
        ("naïve", "naive"),
        ("ＡＢＣ１２", "abc12"),
        ("ﬁnal", "final"),
        ("1,234,567", "1234567"),
        ("保險櫃密碼", "保险柜密码"),
        ("soft\u00adhyphen", "softhyphen"),
        ("ÅNGSTRÖM", "angstrom"),
        ("МОСКВА", "москва"),
    ],
)
def test_spellings_that_are_one_word(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("call parse_config now", "parse_config"),
        ("call parse_config now", "config"),
        ("the serverPort2 field", "port"),
        ("the serverPort2 field", "serverport2"),
        ("HTTP2Server", "server"),
        ("order AB-1234 is late", "AB-1234"),
        ("order AB-1234 is late", "1234"),
        ("pi is 3.14159", "3.14159"),
        ("host 192.168.0.1", "192.168.0.1"),
        ("a@b.example", "example"),
        ("it cost 1,234 dollars", "1234"),
        ("管理员林晓燕每天检查", "晓燕"),
        ("北京仓库的保险柜", "保险"),
        ("東京タワーに行く", "タワ"),
        ("서울특별시에서", "서울"),
    ],
)
def test_a_question_meets_a_text(text: str, question: str) -> None:
    assert words(text) & words(question)


@pytest.mark.parametrize(("one", "other"), [("1,23", "123"), ("12,3456", "123456"), ("abc", "abd"), ("ab", "ba")])
def test_spellings_that_are_not(one: str, other: str) -> None:
    assert words(one) != words(other)


def test_a_word_is_on_its_line() -> None:
    found = read(["first line", "", "zweite Zeile", "第三行在这里"])
    at = {line: set(found.hashes[found.lines == line].tolist()) for line in range(4)}
    assert words("zweite") <= at[2]
    assert not at[1]
    assert words("第三") <= at[3]
    assert not words("first") & at[2]


def test_words_for_vectors_keep_their_accents() -> None:
    reading = read(["Café serverPort2 保險櫃"]).reading
    assert [reading.word(i) for i in range(len(reading.hashes))] == ["café", "serverport2", "保险柜"]


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=40), max_size=20))
@settings(deadline=None, max_examples=150)
def test_any_text_is_read_line_by_line_as_all_at_once(lines: list[str]) -> None:
    together = read(lines)
    for number, line in enumerate(lines):
        assert sorted(together.hashes[together.lines == number].tolist()) == sorted(read([line]).hashes.tolist())
