"""The outcome does not depend on the chunks, and is what a naive reader of the whole answer finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.events import Choice, Ended, Event, Text
from segue.core.generation import Chunk, FinishReason, TokenLogprob
from segue.core.request import Stop
from segue.output.assembly import Assembly

Token = tuple[int, bytes]  # an id and its bytes


def chunks(
    tokens: Sequence[Token],
    cuts: Iterable[int] = (),
    finish: FinishReason | None = "length",
    choice: int = 0,
    logprobs: bool = False,
) -> list[Chunk]:
    """The tokens, cut into chunks at `cuts` (modulo the length)."""
    places = sorted({0, len(tokens), *(cut % (len(tokens) + 1) for cut in cuts)})
    made = []
    for begin, end in pairwise(places) if tokens else [(0, 0)]:
        some = tokens[begin:end]
        made.append(
            Chunk(
                choice,
                tuple(token for token, _ in some),
                b"".join(data for _, data in some),
                tuple(TokenLogprob(data, -float(place)) for place, (_, data) in enumerate(some, begin))
                if logprobs
                else (),
                finish if end == len(tokens) else None,
            )
        )
    return made


def play(assembly: Assembly, sent: Iterable[Chunk], vocabulary: dict[int, bytes]) -> list[Event]:
    events: list[Event] = []
    for chunk in sent:
        pieces = [vocabulary[token] for token in chunk.ids] if assembly.needs_pieces(chunk) else ()
        events.extend(assembly.feed(chunk, pieces))
    return events


def outcome(tokens: Sequence[Token], stop: Stop, cuts: Iterable[int] = (), logprobs: bool = False) -> Choice:
    """The folded choice."""
    return folded(Assembly(1, stop), chunks(tokens, cuts, logprobs=logprobs), dict(tokens))


def folded(assembly: Assembly, sent: Iterable[Chunk], vocabulary: dict[int, bytes]) -> Choice:
    """The folded choice; checks what holds for every stream."""
    events = play(assembly, sent, vocabulary)
    assert assembly.done
    assert isinstance(events[-1], Ended)
    assert all(isinstance(event, Text) for event in events[:-1])
    whole = Choice(reason=events[-1].reason)
    for event in events[:-1]:
        assert isinstance(event, Text)
        assert event.text or event is events[-2]  # empty only to carry the last tokens
        whole.text += event.text
        whole.tokens += event.tokens
        whole.logprobs.extend(event.logprobs)
    assert whole.tokens == assembly.output_tokens
    return whole


def naive(tokens: Sequence[Token], stop: Stop) -> tuple[str, int, str]:
    """Text, tokens and reason, by reading the answer anew after each token and each character."""
    for count in range(1, len(tokens) + 1):
        before = b"".join(data for _, data in tokens[: count - 1]).decode("utf-8", "ignore")
        text = b"".join(data for _, data in tokens[:count]).decode("utf-8", "ignore")
        ids = tuple(token for token, _ in tokens[:count])
        cuts = []
        for end in range(len(before) + 1, len(text) + 1):
            found = [end - len(s) for s in stop.strings if s and text[:end].endswith(s)]
            if found:
                cuts.append(min(found))
                break
        runs = [len(run) for run in stop.sequences if run and ids[-len(run) :] == run]
        if runs:
            head = b"".join(data for _, data in tokens[: count - max(runs)])
            cuts.append(len(head.decode("utf-8", "ignore")))
        if cuts:
            return text[: min(cuts)], count, "stop"
    return b"".join(data for _, data in tokens).decode("utf-8", "ignore"), len(tokens), "length"


PIECES = [b"a", b"b", b"ab", b"ba", b"aab", b"\n", b"\xe4\xbd", b"\xa0", b"\xf0", b"\x9f\x99\x82", b"\xff", b""]
TOKENS = st.lists(st.sampled_from(list(enumerate(PIECES))), max_size=12)
CUTS = st.lists(st.integers(0, 12), max_size=6)
STRINGS = st.lists(st.sampled_from(["a", "b", "ab", "aba", "aabb", "bb", "b\n", "你", "a你", "🙂", ""]), max_size=3)
RUNS = st.lists(st.lists(st.integers(0, len(PIECES) - 1), max_size=3).map(tuple), max_size=3)


@settings(max_examples=500)
@given(TOKENS, CUTS, STRINGS, RUNS, st.booleans())
def test_against_a_naive_reader(
    tokens: list[Token], cuts: list[int], strings: list[str], runs: list[tuple[int, ...]], logprobs: bool
) -> None:
    stop = Stop(tuple(strings), tuple(runs))
    got = outcome(tokens, stop, cuts, logprobs)
    assert (got.text, got.tokens, got.reason) == naive(tokens, stop)
    one_by_one = outcome(tokens, stop, range(20), logprobs)
    assert got == one_by_one
    if logprobs:
        assert [-lp.logprob for lp in got.logprobs] == list(range(len(got.logprobs)))  # none is lost in between
        if got.reason == "length":
            assert len(got.logprobs) == len(tokens)


@given(st.text(max_size=20), CUTS, st.booleans())
def test_bytes_in_any_cutting(text: str, cuts: list[int], logprobs: bool) -> None:
    tokens = [(byte, bytes([byte])) for byte in text.encode()]
    got = outcome(tokens, Stop(), cuts, logprobs)
    assert (got.text, got.tokens) == (text, len(tokens))
    assert len(got.logprobs) == (len(tokens) if logprobs else 0)


def feed(assembly: Assembly, *texts: str) -> list[Event]:
    return [event for text in texts for event in assembly.feed(Chunk(0, (7,), text.encode()))]


def test_the_common_case_passes_straight_through() -> None:
    assembly = Assembly(1, Stop())
    assert feed(assembly, "Hi", " you") == [Text(0, "Hi", 1), Text(0, " you", 1)]
    assert not assembly.done
    assert list(assembly.feed(Chunk(0, (), b"", finish="stop"))) == [Ended(0, "stop")]
    assert assembly.done
    assert assembly.output_tokens == 2


def test_an_unfinished_character_waits_with_its_tokens() -> None:
    assembly = Assembly(1, Stop())
    logprob = TokenLogprob(b"\xe4", -1.0)
    assert list(assembly.feed(Chunk(0, (1,), b"\xe4", (logprob,)))) == []
    assert list(assembly.feed(Chunk(0, (2,), b"\xbd"))) == []
    assert list(assembly.feed(Chunk(0, (3,), b"\xa0\xe5"))) == [Text(0, "你", 3, (logprob,))]
    assert list(assembly.feed(Chunk(0, (4,), b"\xa5\xbdx"))) == [Text(0, "好x", 1)]
    assert list(assembly.feed(Chunk(0, (5,), b"\xe5", finish="length"))) == [Text(0, "", 1), Ended(0, "length")]


def test_held_text_comes_when_it_is_no_stop() -> None:
    assembly = Assembly(1, Stop(("END",)))
    assert feed(assembly, "a E") == [Text(0, "a ", 1)]
    assert feed(assembly, "N") == []
    assert feed(assembly, "E") == [Text(0, "EN", 1)]
    assert feed(assembly, "ND", " more") == [Text(0, "", 2), Ended(0, "stop")]
    assert assembly.output_tokens == 4


def test_held_text_comes_at_the_end() -> None:
    assembly = Assembly(1, Stop(("\n\n",)))
    assert feed(assembly, "a\n") == [Text(0, "a", 1)]
    assert list(assembly.feed(Chunk(0, (), b"", finish="length"))) == [Text(0, "\n", 0), Ended(0, "length")]


def test_a_stop_over_many_chunks_and_inside_one() -> None:
    assembly = Assembly(1, Stop(("###",)))
    assert feed(assembly, "a#", "#", "b#", "##c") == [
        Text(0, "a", 1),
        Text(0, "##b", 2),
        Text(0, "", 1),
        Ended(0, "stop"),
    ]


def test_a_stop_run_takes_its_text_along() -> None:
    assembly = Assembly(1, Stop(sequences=((1, 2), (9,))))
    assert list(assembly.feed(Chunk(0, (5,), b"x"))) == [Text(0, "x", 1)]
    assert list(assembly.feed(Chunk(0, (1,), b"y"))) == []
    assert list(assembly.feed(Chunk(0, (1,), b"y"))) == [Text(0, "y", 1)]
    assert list(assembly.feed(Chunk(0, (2,), b"z"))) == [Text(0, "", 2), Ended(0, "stop")]


def test_bytes_without_a_token_belong_to_the_text() -> None:
    assembly = Assembly(1, Stop(("ce is",)))
    assert list(assembly.feed(Chunk(0, (), b"ce "))) == []
    assert list(assembly.feed(Chunk(0, (1,), b"is Paris"))) == [Text(0, "", 1), Ended(0, "stop")]


def test_a_token_that_began_in_the_prefix_has_fewer_bytes() -> None:
    assembly = Assembly(1, Stop(("!",)))
    chunk = Chunk(0, (1, 2), b"ce is!")
    assert assembly.needs_pieces(chunk)
    assert list(assembly.feed(chunk, [b" France", b" is!"])) == [Text(0, "ce is", 2), Ended(0, "stop")]


def test_tokens_behind_the_stop_lose_their_logprobs() -> None:
    tokens = [(1, b"ab"), (2, b"c\n"), (3, b"\n"), (4, b"d")]
    got = outcome(tokens, Stop(("\n\n",)), logprobs=True)
    assert (got.text, got.tokens, [lp.data for lp in got.logprobs]) == ("abc", 3, [b"ab", b"c\n"])


@pytest.mark.parametrize("stop", [Stop(), Stop(("never",)), Stop(sequences=((99,),))])
def test_choices_end_each_for_itself(stop: Stop) -> None:
    assembly = Assembly(2, stop)
    assert list(assembly.feed(Chunk(1, (1,), b"b", finish="stop"))) == [Text(1, "b", 1), Ended(1, "stop")]
    assert not assembly.done
    assert list(assembly.feed(Chunk(1, (1,), b"late"))) == []
    assert list(assembly.feed(Chunk(0, (1,), b"a"))) == [Text(0, "a", 1)]
    assert list(assembly.feed(Chunk(0, (), b"", finish="length"))) == [Ended(0, "length")]
    assert assembly.done
    assert assembly.output_tokens == 2
