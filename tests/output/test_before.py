"""An answer behind a prefix: stops that begin there, bytes that are owed, and all of it in any chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segue.core.events import Choice, Ended, Event, Text
from segue.core.generation import Chunk, Joined, TokenLogprob
from segue.core.request import Stop
from segue.output.assembly import Assembly, Before
from tests.output.test_assembly import CUTS, RUNS, STRINGS, TOKENS, Token, chunks, folded

BORN_EARLY = 99
"""A token of which the first two bytes lie in the prefix."""


def outcome(
    tokens: Sequence[Token],
    stop: Stop,
    before: Before,
    cuts: Sequence[int] = (),
    logprobs: bool = False,
    joined: Joined | None = None,
) -> Choice:
    """The answer behind a prefix, folded."""
    sent = chunks(tokens, cuts, logprobs=logprobs)
    sent[0] = replace(sent[0], joined=joined)
    vocabulary = dict(tokens)
    if BORN_EARLY in vocabulary:
        vocabulary[BORN_EARLY] = b"zz" + vocabulary[BORN_EARLY]
    return folded(Assembly(1, stop, before), sent, vocabulary)


def naive(tokens: Sequence[Token], stop: Stop, before: Before, joined: Joined | None) -> tuple[str, int, str]:
    """Text, tokens and reason, by reading prefix and answer anew after each token and each character."""
    ids = list(before.ids)
    if joined is not None:
        ids = [*ids[: len(ids) - joined.back], *joined.path]

    def text(count: int) -> str:
        owed = before.pending + b"".join(data for _, data in tokens[:count])
        return before.text + owed.decode("utf-8", "ignore")

    head, known = len(before.text), len(before.text)
    for count in range(len(tokens) + 1):  # what is owed comes before any token
        now, cuts = text(count), []
        for end in range(known + 1, len(now) + 1):
            found = [end - len(s) for s in stop.strings if s and now[:end].endswith(s)]
            if found:
                cuts.append(min(found))
                break
        all_ids = (*ids, *(token for token, _ in tokens[:count]))
        runs = [len(run) for run in stop.sequences if run and count and all_ids[-len(run) :] == run]
        if runs:
            cuts.append(len(text(count - max(runs))) if max(runs) <= count else 0)
        if cuts:
            return now[head : max(head, min(cuts))], count, "stop"
        known = len(now)
    return text(len(tokens))[head:], len(tokens), "length"


BEFORE = st.builds(
    Before,
    st.text("ab\n你", max_size=4),
    st.lists(st.integers(0, 11), max_size=4).map(tuple),
    st.sampled_from([b"", b"", b"\xe4", b"\xe4\xbd", b"a", b"b\n", b"ab\xf0", "你好".encode()]),
)
JOINED = st.none() | st.builds(Joined, st.integers(0, 4), st.lists(st.integers(0, 11), max_size=3).map(tuple))


@settings(max_examples=1000)
@given(TOKENS, CUTS, STRINGS, RUNS, st.booleans(), BEFORE, JOINED, st.booleans())
@example([], [], ["a"], [], False, Before("", (), b"a"), None, False)
@example([(0, b"a")], [], [], [(0,)], False, Before("x", (), b"a"), None, False)
@example([(6, b"\xe4")], [], ["a"], [], False, Before("", (), b"a"), None, False)
@example([(6, b"\xe4"), (7, b"\xa0")], [1], ["a"], [], True, Before("a", (), b""), None, False)
def test_against_a_naive_reader(
    tokens: list[Token],
    cuts: list[int],
    strings: list[str],
    runs: list[tuple[int, ...]],
    logprobs: bool,
    before: Before,
    joined: Joined | None,
    early: bool,
) -> None:
    stop = Stop(tuple(strings), tuple(runs))
    if joined is not None:
        joined = replace(joined, back=min(joined.back, len(before.ids)))
        before = replace(before, pending=b"")  # either a seam was searched, or an answer is resumed
        if early and tokens and tokens[0][1]:
            tokens = [(BORN_EARLY, tokens[0][1]), *tokens[1:]]
    got = outcome(tokens, stop, before, cuts, logprobs, joined)
    assert (got.text, got.tokens, got.reason) == naive(tokens, stop, before, joined)
    assert got == outcome(tokens, stop, before, range(20), logprobs, joined), "one by one it is the same"
    if logprobs:
        assert [-lp.logprob for lp in got.logprobs] == list(range(len(got.logprobs)))
        if got.reason == "length":
            assert len(got.logprobs) == len(tokens)


# Two letters, so that stops overlap each other and themselves wherever they begin.
LETTERS = st.text("ab", max_size=5) | st.text("ab你🙂\n", max_size=8)
OVERLAPPING = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3) | STRINGS


@settings(max_examples=1000)
@given(LETTERS, LETTERS, OVERLAPPING, CUTS)
@example("xaa", "ac", ["aabb"], range(9))  # what is held begins further on in the prefix
@example("ab", "x", ["abc", "b"], ())  # a whole stop inside what is held of the prefix
def test_byte_by_byte_behind_a_prefix(prefix: str, text: str, strings: list[str], cuts: Sequence[int]) -> None:
    """The answer ends before the first stop that ends behind the prefix, wherever that begins."""
    tokens = [(byte, bytes([byte])) for byte in text.encode()]
    got = outcome(tokens, Stop(tuple(strings)), Before(prefix), cuts)
    whole = prefix + text
    ends = [
        (begin + len(s), begin)
        for s in strings
        if s
        for begin in range(len(whole))
        if whole.startswith(s, begin) and begin + len(s) > len(prefix)
    ]
    cut = min(ends)[1] if ends else len(whole)
    assert got.text == whole[len(prefix) : max(len(prefix), cut)]
    assert got.reason == ("stop" if ends else "length")


def feed(assembly: Assembly, *texts: str) -> list[Event]:
    return [event for text in texts for event in assembly.feed(Chunk(0, (7,), text.encode()))]


def test_a_stop_that_begins_in_the_prefix_ends_the_answer_before_its_first_character() -> None:
    assembly = Assembly(1, Stop(("\n\n",)), Before("line\n"))
    assert feed(assembly, "\n") == [Text(0, "", 1), Ended(0, "stop")]
    assembly = Assembly(1, Stop(("END",)), Before("the E"))
    assert feed(assembly, "N", "D") == [Text(0, "", 2), Ended(0, "stop")]


def test_what_was_held_back_for_it_comes_when_it_is_none() -> None:
    assembly = Assembly(1, Stop(("END",)), Before("the E"))
    assert feed(assembly, "N") == []
    assert feed(assembly, "E") == [Text(0, "N", 1)]  # of "ENE" the last may begin another
    assert feed(assembly, "x") == [Text(0, "Ex", 2)]
    assembly = Assembly(1, Stop(("END",)), Before("the E"))
    assert feed(assembly, "N") == []
    assert list(assembly.feed(Chunk(0, (), b"", finish="length"))) == [Text(0, "N", 1), Ended(0, "length")]


@pytest.mark.parametrize("prefix", ["a stop here", "stop", "the stop", "stop stop "])
def test_a_stop_inside_the_prefix_never_counts(prefix: str) -> None:
    assembly = Assembly(1, Stop(("stop",)), Before(prefix))
    assert feed(assembly, "more") == [Text(0, "more", 1)]
    assert feed(assembly, " stop") == [Text(0, " ", 1), Ended(0, "stop")]


def test_a_stop_that_ends_in_the_prefix_may_overlap_one_that_does_not() -> None:
    assembly = Assembly(1, Stop(("aa",)), Before("xaa"))
    assert feed(assembly, "a") == [Text(0, "", 1), Ended(0, "stop")]


def test_of_several_the_longest_beginning_is_kept_and_the_others_in_it() -> None:
    for said, text in (("d", ""), ("e", "")):
        assembly = Assembly(1, Stop(("abcd", "ce")), Before("abc"))
        assert feed(assembly, said) == [Text(0, text, 1), Ended(0, "stop")]
    assembly = Assembly(1, Stop(("abcd", "ce")), Before("abc"))
    assert feed(assembly, "x") == [Text(0, "x", 1)]


def test_token_runs_across_the_seam() -> None:
    run = Stop(sequences=((1, 2, 3),))
    assembly = Assembly(1, run, Before("xy", (9, 1)))
    assert list(assembly.feed(Chunk(0, (2,), b"b"))) == []
    assert list(assembly.feed(Chunk(0, (3,), b"c"))) == [Text(0, "", 2), Ended(0, "stop")]
    assembly = Assembly(1, run, Before("xy", (9, 1)))
    assert list(assembly.feed(Chunk(0, (2,), b"b"))) == []
    assert list(assembly.feed(Chunk(0, (4,), b"d"))) == [Text(0, "bd", 2)]
    # A run inside the prefix never counts; nor does one whose beginning a search has replaced.
    assembly = Assembly(1, run, Before("xyz", (1, 2, 3)))
    assert list(assembly.feed(Chunk(0, (4,), b"d"))) == [Text(0, "d", 1)]
    assembly = Assembly(1, run, Before("xy", (9, 1, 2)))
    assert list(assembly.feed(Chunk(0, (3,), b"c", joined=Joined(1, (5,))))) == [Text(0, "c", 1)]
    assembly = Assembly(1, run, Before("xy", (9, 5)))
    assert list(assembly.feed(Chunk(0, (3,), b"c", joined=Joined(1, (1, 2))))) == [
        Text(0, "", 1),
        Ended(0, "stop"),
    ]


def test_each_choice_has_its_own_seam() -> None:
    assembly = Assembly(2, Stop(sequences=((1, 2),)), Before("x", (5,)))
    assert list(assembly.feed(Chunk(0, (2,), b"a", joined=Joined(1, (1,))))) == [Text(0, "", 1), Ended(0, "stop")]
    assert list(assembly.feed(Chunk(1, (2,), b"a", joined=Joined(1, (4,))))) == [Text(1, "a", 1)]


@pytest.mark.parametrize("stop", [Stop(), Stop(("never",)), Stop(sequences=((77,),))])
def test_owed_bytes_come_first(stop: Stop) -> None:
    assembly = Assembly(2, stop, Before("x", (1,), b"\xe4"))
    assert list(assembly.feed(Chunk(0, (2,), b"\xbd\xa0!"))) == [Text(0, "你!", 1)]
    assert list(assembly.feed(Chunk(0, (2,), b"?"))) == [Text(0, "?", 1)]
    assert list(assembly.feed(Chunk(1, (2,), b"\xbd"))) == []
    assert list(assembly.feed(Chunk(1, (3,), b"\xa1"))) == [Text(1, "佡", 2)]
    assembly = Assembly(1, stop, Before("x", (1,), "好 ok\ud83d".encode("utf-8", "ignore")))
    assert list(assembly.feed(Chunk(0, (2,), b"."))) == [Text(0, "好 ok.", 1)]


@pytest.mark.parametrize("stop", [Stop(), Stop(("never",)), Stop(sequences=((77,),))])
@pytest.mark.parametrize(("owed", "text"), [(b"rest", "rest"), (b"r\xe4", "r"), (b"\xe4", "")])
def test_owed_bytes_come_also_when_nothing_follows(stop: Stop, owed: bytes, text: str) -> None:
    assembly = Assembly(1, stop, Before("x", (1,), owed))
    got = list(assembly.feed(Chunk(0, (), b"", finish="stop")))
    assert got == [*([Text(0, text, 0)] if text else []), Ended(0, "stop")]
    assert assembly.output_tokens == 0


def test_a_stop_in_what_is_owed_ends_the_answer_before_any_token() -> None:
    for data in (b"more", b"\xe4"):
        assembly = Assembly(1, Stop(("\n\n",)), Before("a\n", (1,), b"\nb"))
        assert list(assembly.feed(Chunk(0, (2,), data))) == [Ended(0, "stop")]
        assert assembly.output_tokens == 0
        assembly = Assembly(1, Stop(("\n\n",)), Before("a", (1,), b"b\n\nc"))
        assert list(assembly.feed(Chunk(0, (2,), data))) == [Text(0, "b", 0), Ended(0, "stop")]


def test_what_is_owed_belongs_to_no_token_that_follows() -> None:
    """So it stays when the first token is a stop of its own, and goes when the run began before it."""
    assembly = Assembly(1, Stop(sequences=((9,),)), Before("x", (1,), b"owed"))
    assert list(assembly.feed(Chunk(0, (9,), b"!"))) == [Text(0, "owed", 1), Ended(0, "stop")]
    assembly = Assembly(1, Stop(sequences=((1, 9),)), Before("x", (1,), b"owed"))
    assert list(assembly.feed(Chunk(0, (9,), b"!"))) == [Text(0, "", 1), Ended(0, "stop")]
    logprob = TokenLogprob(b"\n", -1.0)
    assembly = Assembly(1, Stop(("d\n",)), Before("x", (1,), b"owed"))
    assert list(assembly.feed(Chunk(0, (2,), b"\n", (logprob,)))) == [Text(0, "owe", 1), Ended(0, "stop")]


def test_a_token_that_began_in_the_prefix_keeps_its_logprob_where_the_stop_does_not_begin_before_it() -> None:
    logprob = TokenLogprob(b"ce", -1.0)
    assembly = Assembly(1, Stop(("e is",)), Before("Fran", (1,)))
    assert list(assembly.feed(Chunk(0, (2,), b"ce", (logprob,), joined=Joined(1, ())))) == [Text(0, "c", 1, (logprob,))]
    assembly = Assembly(1, Stop(("nce",)), Before("Fran", (1,)))
    assert list(assembly.feed(Chunk(0, (2,), b"ce", (logprob,), joined=Joined(1, ())))) == [
        Text(0, "", 1),
        Ended(0, "stop"),
    ]


def test_without_stops_a_prefix_costs_nothing() -> None:
    assembly = Assembly(1, Stop(), Before("long prefix", (1, 2, 3)))
    assert feed(assembly, "Hi", " you") == [Text(0, "Hi", 1), Text(0, " you", 1)]
