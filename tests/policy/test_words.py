"""The list of words: what it finds, what it holds back, and what it cannot be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.policy.inspection import words
from segue.policy.inspection.words import PATTERN_CHARS, Entry, Finder, WordsInvalid, finder, read_words


def listed(*lines: str) -> Finder:
    return finder([words._entry(line, ("input", "output")) for line in lines], "output")


def read(folder: Path, text: str) -> tuple[Finder, Finder]:
    path = folder / "words.txt"
    path.write_text(text, encoding="utf-8")
    return read_words(path)


def test_a_list_with_everything_in_it(tmp_path: Path) -> None:
    asked, answered = read(
        tmp_path,
        "# of ours\n\n  Forbidden Fruit \n/\\b\\d{6}\\b/\n[input]\nonly asked\n[output]\n敏感词\n[both]\n🍎🍏\n",
    )
    for either in ("a forbidden  fruit".replace("  ", " "), "FORBIDDEN FRUIT", "no. 123456.", "x🍎🍏y"):
        assert asked.finds(either)
        assert answered.finds(either)
    assert asked.finds("Only asked")
    assert not answered.finds("Only asked")
    assert answered.finds("这是敏感词吗")
    assert not asked.finds("这是敏感词吗")
    assert not asked.finds("forbidden")
    assert not asked.finds("1234567")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/(/", "line 1: missing )"),
        ("ok\n/(?=x)y/", "line 2: invalid perl operator"),
        ("/(a)\\1/", "line 1: invalid escape"),
        ("/x*/", "line 1: the pattern finds the empty text"),
        ("/a{5000}/", "line 1: invalid repetition size"),
        ("w" * 300, "line 1: a word of more than 256"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(WordsInvalid) as told:
        read(tmp_path, text)
    assert why in str(told.value)


def test_a_list_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(WordsInvalid, match="cannot be read"):
        read_words(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(WordsInvalid, match="cannot be read"):
        read_words(tmp_path / "bytes")


def test_an_empty_list_finds_nothing(tmp_path: Path) -> None:
    asked, _ = read(tmp_path, "# nothing\n")
    assert not asked
    assert not asked.finds("anything")
    assert asked.hold("anything") == 0


def test_only_what_may_begin_a_word_is_held() -> None:
    found = listed("secret", "Sesame Street")
    for text, held in (("hello", 0), ("hellos", 1), ("the SECRE", 5), ("sesame stree", 12), ("secrets", 1), ("", 0)):
        assert found.hold(text) == held, text
    with_pattern = listed("secret", "/[0-9]{4}/")
    assert with_pattern.hold("hello") == 5
    assert with_pattern.hold("x" * 500) == PATTERN_CHARS
    assert listed("y" * 100, "/[0-9]{4}/").hold("x" + "y" * 90) == 90


@pytest.mark.parametrize("text", ["ſtar", "STAR", "sTaR", "ςtar"])
def test_letters_that_are_one_letter_in_any_case(text: str) -> None:
    found = listed("star", "σtar")
    assert found.finds(text)
    assert found.hold(text[:3]) == 3


def test_a_border_of_a_word_is_one_only_when_it_is_known() -> None:
    found = listed(r"/\bass\b/", "/x$/")
    assert not found.finds("an ass", ended=False)
    assert not found.finds("assembly")
    assert found.finds("an ass ", ended=False)
    assert found.finds("an ass")
    assert not found.finds("class ", begun=False)
    assert not found.finds("bass ", begun=False)
    assert not found.finds("x", ended=False)
    assert found.finds("x")


alphabet = st.text("abcſSsβ语 ", min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.lists(alphabet.filter(lambda word: word.strip()), min_size=1, max_size=4), st.text("abcſSsβ语 ", max_size=30))
def test_no_character_of_a_find_is_let_go_before_it_is_found(said: list[str], text: str) -> None:
    found = finder([Entry(word.strip(), False, ("output",)) for word in said], "output")
    gone = 0
    for end in range(1, len(text) + 1):
        so_far = text[:end]
        if found.finds(so_far):
            first = min(
                at for at in range(end) for word in said if _same(so_far[at : at + len(word.strip())], word.strip())
            )
            assert gone <= first
            return
        gone = max(gone, end - found.hold(so_far))


def _same(one: str, other: str) -> bool:
    return words._small(one) == words._small(other)


def test_no_pattern_takes_long() -> None:
    found = listed(r"/(a+)+$x/", r"/(a|aa)+b/", r"/(.*)(.*)(.*)(.*)z!/")
    begun = time.perf_counter()
    assert not found.finds("a" * 200_000)
    assert time.perf_counter() - begun < 2.0


def test_many_words_are_found_at_once(tmp_path: Path) -> None:
    asked, _ = read(tmp_path, "\n".join(f"word{number}x" for number in range(20_000)))
    assert asked.finds("this is WORD17777X!")
    begun = time.perf_counter()
    assert not asked.finds("a text like any other " * 5000)
    assert time.perf_counter() - begun < 1.0
