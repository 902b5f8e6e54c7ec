"""What was said comes back as the tokens it was said in, to its own conversation only, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.generation import Chunk, Decoding, Joined, Prompt
from segue.prompt.answers import Answers, Recorder, Resumed, place

HOW = Decoding()
OTHER = Decoding(temperature=1.5)
HEADER = (900, 901)
HERE = place("space", "model", HEADER)
Token = tuple[int, bytes]


def record(
    answers: Answers,
    *choices: Sequence[Token],
    prefix: Sequence[Token] = (),
    header: Sequence[int] = HEADER,
    how: Decoding = HOW,
    resumed: Resumed | None = None,
    first_choice: int = 0,
    joined: Joined | None = None,
    together: int = 1,
) -> None:
    """An answer whose choices came in chunks of `together` tokens, behind a prefix."""
    ids = [token for token, _ in prefix]
    prompt = Prompt("r", "model", "space", [*header, *ids], len(header), how, 100, first_choice=first_choice)
    recorder = Recorder(answers, prompt, b"".join(data for _, data in prefix), resumed)
    for number, tokens in enumerate(choices):
        for at in range(0, len(tokens), together):
            some = tokens[at : at + together]
            data = b"".join(data for _, data in some)
            first = joined if not at else None
            recorder.saw(Chunk(number, tuple(token for token, _ in some), data, joined=first))
        recorder.saw(Chunk(number, (), b"", finish="stop"))
    recorder.keep()


def table(answers_max: int = 100, bytes_max: int = 1_000_000) -> Answers:
    return Answers(answers_max, bytes_max)


def found(
    answers: Answers, prefix: bytes | str, how: Decoding = HOW, where: bytes = HERE
) -> tuple[list[int], bytes] | None:
    """The ids that stand for a prefix, and what they say beyond it."""
    data = prefix.encode() if isinstance(prefix, str) else prefix
    resumed = answers.find(where, data, how)
    return None if resumed is None else (resumed.ids.tolist(), resumed.pending)


SAID: Sequence[Token] = [(1, b"The"), (2, b" cap"), (3, b"ital"), (4, b" is")]


def test_the_whole_answer_and_its_token_boundaries() -> None:
    answers = table()
    record(answers, SAID)
    for how in (HOW, OTHER):
        assert found(answers, "The capital is", how) == ([1, 2, 3, 4], b"")
        assert found(answers, "The capital", how) == ([1, 2, 3], b"")
        assert found(answers, "The", how) == ([1], b"")
    for stranger in ("", "the", "The capital is not", "The capitol", "X"):
        assert found(answers, stranger) is None


def test_a_cut_inside_a_token_needs_the_very_same_decoding() -> None:
    """The rest of the token was drawn with it; with another the model is asked anew."""
    answers = table()
    record(answers, SAID)
    assert found(answers, "The ca") == ([1, 2], b"p")
    assert found(answers, "Th") == ([1], b"e")
    assert found(answers, "The capital i") == ([1, 2, 3, 4], b"s")
    for other in (OTHER, replace(HOW, seed=9), replace(HOW, top_k=3)):
        assert found(answers, "The ca", other) is None
        assert found(answers, "The cap", other) == ([1, 2], b"")


def test_a_cut_inside_a_character_owes_its_rest() -> None:
    """A text cannot be cut there, but a token can: its first byte is the last of the token before."""
    answers = table()
    record(answers, [(1, b"a\xe4"), (2, b"\xbd\xa0b"), (3, b"c")])
    for how in (HOW, OTHER):
        assert found(answers, "a", how) == ([1], b"\xe4")
    assert found(answers, "a你") == ([1, 2], b"b")
    assert found(answers, "a你", OTHER) is None
    assert found(answers, "a你b", OTHER) == ([1, 2], b"")


def test_an_answer_that_ended_inside_a_character_stands_with_all_its_tokens() -> None:
    """The caller never saw the last bytes."""
    answers = table()
    record(answers, [(1, b"a"), (2, b"\xe4"), (3, b"\xbd")])
    for how in (HOW, OTHER):
        assert found(answers, "a", how) == ([1, 2, 3], b"\xe4\xbd")
    assert found(answers, "a你") is None


def test_tokens_that_came_together_stand_together() -> None:
    """Of a chunk of several tokens only the end of the last is known."""
    answers = table()
    record(answers, [*SAID, (5, b"!")], together=2)
    assert found(answers, "The cap") == ([1, 2], b"")
    assert found(answers, "The") == ([1, 2], b" cap")
    assert found(answers, "The", OTHER) is None
    assert found(answers, "The capital is") == ([1, 2, 3, 4], b"")
    assert found(answers, "The capital is!") == ([1, 2, 3, 4, 5], b"")


def test_a_token_without_bytes_goes_with_what_is_before_it() -> None:
    answers = table()
    record(answers, [(1, b"a"), (9, b""), (2, b"b"), (9, b"")])
    assert found(answers, "a") == ([1, 9], b"")
    assert found(answers, "ab") == ([1, 9, 2, 9], b"")


def test_what_was_never_whole_characters_is_not_lost_either() -> None:
    answers = table()
    record(answers, [(1, b"a"), (2, b"\xff"), (3, b"b")])
    assert found(answers, "ab") == ([1, 2, 3], b"")


def test_each_choice_is_remembered_under_its_number() -> None:
    answers = table()
    record(answers, SAID, [(1, b"The"), (7, b" city")], [(8, b"Paris")], first_choice=1)
    for text, ids, choice in (("The capital", [1, 2, 3], 1), ("The city", [1, 7], 2), ("Paris", [8], 3)):
        resumed = answers.find(HERE, text.encode(), HOW)
        assert resumed is not None
        assert (resumed.ids.tolist(), resumed.choice) == (ids, choice)
    assert answers.held[0] == 3


def test_of_several_the_one_with_the_same_decoding_and_the_whole_text_is_resumed() -> None:
    answers = table()
    record(answers, [(1, b"ab"), (2, b"cd")], how=OTHER)
    record(answers, [(3, b"abc"), (4, b"d")])
    record(answers, [(5, b"a"), (6, b"bcd"), (7, b"more")])
    assert found(answers, "abcd") == ([3, 4], b"")  # it said no more than what is sent back
    assert found(answers, "abcd", OTHER) == ([1, 2], b"")
    assert found(answers, "abc") == ([3], b"")
    assert found(answers, "ab", OTHER) == ([1], b"")
    assert found(answers, "ab") == ([5, 6], b"cd")  # the same decoding first, though its token is cut


@pytest.mark.parametrize(
    "where",
    [
        place("other", "model", HEADER),
        place("space", "another", HEADER),
        place("space", "model", (900, 902)),
        place("space", "model", (*HEADER, 1)),
        place("spacemodel", "", HEADER),
        place("spac", "emodel", HEADER),
    ],
)
def test_another_place_finds_nothing(where: bytes) -> None:
    answers = table()
    record(answers, SAID)
    assert where != HERE
    assert found(answers, "The", where=where) is None
    assert place("space", "model", list(HEADER)) == HERE


# --- behind a prefix ----------------------------------------------------------------------------------


def test_a_prefix_is_part_of_the_text_and_only_what_was_said_is_resumed() -> None:
    answers = table()
    record(answers, [(3, b"ital"), (4, b" is")], prefix=[(1, b"The"), (2, b" cap")])
    assert found(answers, "The capital") == ([1, 2, 3], b"")
    assert found(answers, "The capit") == ([1, 2, 3], b"al")
    assert found(answers, "The cap") is None, "of the prefix itself nothing was said"
    assert found(answers, "The") is None
    resumed = answers.find(HERE, b"The capital", HOW)
    assert resumed is not None
    assert (resumed.prefix_bytes, resumed.drawn_at, resumed.said_at) == (7, 2, 2)
    assert resumed.ends.tolist() == [11]


def test_what_a_seam_made_of_the_prefix_is_what_is_resumed() -> None:
    """The last two ids of the prefix became others, and the first token said began inside it."""
    answers = table()
    prefix = [(1, b"The"), (2, b" c"), (3, b"ap")]
    record(answers, [(8, b"ital"), (9, b" is")], prefix=prefix, joined=Joined(2, (2,)))
    resumed = answers.find(HERE, b"The capital", OTHER)
    assert resumed is not None
    assert resumed.ids.tolist() == [1, 2, 8]
    assert (resumed.drawn_at, resumed.said_at, resumed.prefix_bytes, resumed.pending) == (2, 2, 7, b"")
    assert found(answers, "The capi") == ([1, 2, 8], b"tal")
    assert found(answers, "The capital is") == ([1, 2, 8, 9], b"")


@pytest.mark.parametrize(
    ("joined", "ids", "drawn_at"),
    [
        (Joined(2, (2, 3)), [1, 2, 3, 9], 3),  # as it was encoded: nothing was drawn yet
        (Joined(2, (2, 7)), [1, 2, 7, 9], 2),
        (Joined(2, (7,)), [1, 7, 9], 1),
        (Joined(2, ()), [1, 9], 1),
        (Joined(1, (4, 5, 6)), [1, 2, 4, 5, 6, 9], 2),
    ],
)
def test_from_where_on_the_ids_of_a_joined_prefix_were_drawn(joined: Joined, ids: list[int], drawn_at: int) -> None:
    answers = table()
    record(answers, [(9, b"x")], prefix=[(1, b"a"), (2, b"b"), (3, b"c")], joined=joined)
    resumed = answers.find(HERE, b"abcx", HOW)
    assert resumed is not None
    assert (resumed.ids.tolist(), resumed.drawn_at, resumed.said_at) == (ids, drawn_at, len(ids) - 1)


def test_each_choice_has_its_own_seam() -> None:
    answers = table()
    prompt = Prompt("r", "model", "space", [*HEADER, 1, 2], len(HEADER), HOW, 100, choices=2)
    recorder = Recorder(answers, prompt, b"ab", None)
    recorder.saw(Chunk(1, (5,), b"y", joined=Joined(1, ())))
    recorder.saw(Chunk(0, (6,), b"x", joined=Joined(2, (7, 8))))
    recorder.saw(Chunk(1, (9,), b"z"))
    recorder.keep()
    assert found(answers, "abyz") == ([1, 5, 9], b"")
    assert found(answers, "abx") == ([7, 8, 6], b"")


def test_resumed_again_and_again() -> None:
    """A resumed answer is one record with all its ends: any shorter cut finds its tokens."""
    answers = table()
    record(answers, SAID[:2], prefix=[(9, b"> ")])
    for said in ([SAID[2]], [SAID[3], (5, b" Paris")]):
        whole = next(iter(answers._kept.values()))[0].data
        resumed = answers.find(HERE, whole, HOW)
        assert resumed is not None
        ids = list(zip(resumed.ids, [whole, *[b""] * len(resumed.ids)], strict=False))
        record(answers, said, prefix=ids, resumed=resumed)
    assert answers.held[0] == 1, "it took the place of its own beginnings"
    text, tokens = b"> ", [9]
    for token, data in [*SAID, (5, b" Paris")]:
        text, tokens = text + data, [*tokens, token]
        assert found(answers, text, OTHER) == (tokens, b"")
    assert found(answers, "> The ca") == ([9, 1, 2], b"p")
    resumed = answers.find(HERE, b"> The capital is Paris", HOW)
    assert resumed is not None
    assert (resumed.prefix_bytes, resumed.drawn_at, resumed.said_at, len(resumed.ends)) == (2, 1, 1, 5)


def test_resumed_inside_a_token_its_rest_is_part_of_the_record() -> None:
    answers = table()
    record(answers, SAID)
    resumed = answers.find(HERE, b"The ca", HOW)
    assert resumed is not None
    assert resumed.pending == b"p"
    prompt = Prompt("r", "model", "space", [*HEADER, *resumed.ids], len(HEADER), HOW, 100)
    recorder = Recorder(answers, prompt, b"The ca", resumed)
    recorder.saw(Chunk(0, (3,), b"ital"))
    recorder.saw(Chunk(0, (6,), b" of"))
    recorder.keep()
    assert found(answers, "The capital of") == ([1, 2, 3, 6], b"")
    assert found(answers, "The capita") == ([1, 2, 3], b"l")
    assert found(answers, "Th") == ([1], b"e")


@settings(max_examples=300)
@given(
    st.lists(st.text("a你🙂 \n", min_size=1, max_size=3), min_size=1, max_size=6).map("".join),
    st.lists(st.integers(1, 12), max_size=8),
    st.booleans(),
)
def test_every_cut_of_a_text_resumes_at_the_same_byte(text: str, sizes: list[int], same: bool) -> None:
    """Bytes in any tokens, the text cut at any character: the tokens found spell it, and a rest that is due."""
    data, tokens = text.encode(), []
    begin = 0
    for number, size in enumerate([*sizes, len(data)]):
        if data[begin : begin + size]:
            tokens.append((number, data[begin : begin + size]))
        begin += size
    answers = table()
    record(answers, tokens)
    for cut in range(1, len(text) + 1):
        prefix = text[:cut].encode()
        got = found(answers, prefix, HOW if same else OTHER)
        ends = [sum(len(piece) for _, piece in tokens[: at + 1]) for at in range(len(tokens))]
        end = next(end for end in ends if end >= len(prefix))
        rest = data[len(prefix) : end]
        if not same and rest.decode("utf-8", "ignore"):
            assert got is None
        else:
            assert got == ([number for number, _ in tokens[: ends.index(end) + 1]], rest)


def test_bytes_that_are_no_text_are_left_out_as_they_were_for_the_caller() -> None:
    """The caller was sent `a水b`: the byte in between is no text, and neither are the two that nothing completes."""
    answers, prompt = Answers(8, 10_000), Prompt("r", "m", "w", [1], 1, Decoding(), 9)
    recorder = Recorder(answers, prompt, b"", None)
    pieces = (b"a", b"\x80", "水".encode()[:1], "水".encode()[1:], b"\xe6\xb0", b"b")
    for number, piece in enumerate(pieces):
        recorder.saw(Chunk(0, (10 + number,), piece))
    recorder.keep()
    where = place("w", "m", [1])
    for text, ids in (("a水b", 6), ("a水", 4)):
        found = answers.find(where, text.encode(), Decoding())
        assert found is not None
        assert (len(found.ids), found.pending) == (ids, b"")
