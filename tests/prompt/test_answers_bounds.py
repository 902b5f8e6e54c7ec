"""What is not remembered, and what goes first."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.generation import Chunk, Decoding, Prompt, TokenLogprob
from segue.prompt.answers import RECORD_BYTES, VERSIONS_MAX, Recorded, Recorder, place
from tests.prompt.test_answers import HEADER, HOW, OTHER, SAID, Token, found, record, table


def test_text_of_which_nobody_knows_the_tokens_is_not_kept() -> None:
    answers = table()
    prompt = Prompt("r", "model", "space", HEADER, len(HEADER), HOW, 100, choices=2)
    recorder = Recorder(answers, prompt, b"", None)
    recorder.saw(Chunk(0, (1,), b"a"))
    recorder.saw(Chunk(0, (), b"bc"))
    recorder.saw(Chunk(0, (2,), b"d"))
    recorder.saw(Chunk(1, (3,), b"x", (TokenLogprob(b"x", -1.0),)))
    recorder.keep()
    assert found(answers, "a") is None
    assert found(answers, "abcd") is None
    assert found(answers, "x") == ([3], b""), "the other choice is"


@pytest.mark.parametrize("aside", [1, 2, 3])
def test_when_it_is_written_down_does_not_matter(aside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, bit_by_bit = table(), table()
    record(at_once, SAID)
    monkeypatch.setattr("segue.prompt.answers._ASIDE_MAX", aside)
    record(bit_by_bit, SAID)
    assert bit_by_bit.held == at_once.held
    for text in ("The", "The cap"):
        assert found(bit_by_bit, text) == found(at_once, text)


def test_little_is_put_aside() -> None:
    for answers in (table(), table(0, 0)):
        recorder = Recorder(answers, Prompt("r", "model", "space", HEADER, len(HEADER), HOW, 100), b"", None)
        for _ in range(1000):
            recorder.saw(Chunk(0, (1,), b"a"))
        assert len(recorder._chunks) < 100


def test_an_answer_without_tokens_is_not_kept() -> None:
    answers = table()
    record(answers, [], prefix=[(1, b"a")])
    assert answers.held == (0, 0)


@pytest.mark.parametrize(("answers_max", "bytes_max"), [(0, 1000), (1000, 0), (0, 0)])
def test_nothing_is_kept_at_none(answers_max: int, bytes_max: int) -> None:
    answers = table(answers_max, bytes_max)
    assert not answers.on
    record(answers, SAID)
    assert (answers.held, found(answers, "The")) == ((0, 0), None)
    assert table().on


def test_one_that_is_too_large_drives_nothing_out() -> None:
    answers = table(bytes_max=2000)
    record(answers, SAID)
    held = answers.held
    record(answers, [(1, b"x" * 3000)])
    assert answers.held == held
    assert found(answers, "The") is not None


def test_the_least_recently_asked_for_go_first() -> None:
    answers = table(answers_max=3)
    places = [place("space", "model", (number,)) for number in range(4)]
    for number in range(3):
        record(answers, SAID, header=[number])
    assert found(answers, "The", where=places[0]) is not None
    record(answers, SAID, header=[3])
    assert [found(answers, "The", where=where) is not None for where in places] == [True, False, True, True]


def test_of_one_conversation_the_oldest_go_first() -> None:
    answers = table()
    for number in range(VERSIONS_MAX + 3):
        record(answers, [(number, b"%d:" % number), (99, b"x")])
    kept = [found(answers, f"{number}:x") is not None for number in range(VERSIONS_MAX + 3)]
    assert kept == [False] * 3 + [True] * VERSIONS_MAX
    assert answers.held[0] == VERSIONS_MAX


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 1), ({"how": OTHER}, 2), ({"first_choice": 1}, 2)],
)
def test_only_its_own_beginning_is_replaced(changes: dict[str, object], count: int) -> None:
    answers = table()
    record(answers, SAID[:2], **changes)  # type: ignore[arg-type]
    record(answers, SAID)
    assert answers.held[0] == count
    record(answers, SAID[:1])
    assert answers.held[0] == count + 1, "a shorter one drives no longer one out"
    assert found(answers, "The capital is") == ([1, 2, 3, 4], b"")


WORDS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([b"a", b"b", b"ab", b"\xe4", b"\xbd\xa0"])), max_size=4)
USES = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 3), WORDS, st.sampled_from([HOW, OTHER])),
        st.tuples(st.just("find"), st.integers(0, 3), WORDS, st.sampled_from([HOW, OTHER])),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(USES, st.integers(0, 6), st.sampled_from([0, 500, 1000, 1500, 4000]))
def test_the_bounds_hold_and_the_books_agree(
    uses: list[tuple[str, int, list[Token], Decoding]], answers_max: int, bytes_max: int
) -> None:
    answers = table(answers_max, bytes_max)
    for act, number, tokens, how in uses:
        where = place("space", "model", (number,))
        if act == "keep":
            record(answers, tokens, header=[number], how=how)
        else:
            text = b"".join(data for _, data in tokens)
            resumed = answers.find(where, text, how)
            if resumed is not None:
                assert text
                known = [each for each in answers._kept[where] if each.data.startswith(text)]
                assert any(each.ids[: len(resumed.ids)] == resumed.ids for each in known)
                assert resumed.ends[-1] == len(text) + len(resumed.pending)
        kept = [each for versions in answers._kept.values() for each in versions]
        assert answers.held == (len(kept), sum(each.cost for each in kept))
        assert len(kept) <= answers_max
        assert sum(each.cost for each in kept) <= bytes_max
        assert all(0 < len(versions) <= VERSIONS_MAX for versions in answers._kept.values())


def test_the_cost_of_a_record_is_what_it_holds() -> None:
    kept = Recorded(array("i", [1, 2]), b"abcde", 0, 0, 0, array("q", [3, 5]), HOW, 0)
    assert kept.cost == 5 + 2 * 4 + 2 * 8 + RECORD_BYTES
