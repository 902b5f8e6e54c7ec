"""Both questions have the answers that trying every token gives."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from segue.engine.seam.lexicon import Lexicon

# Few bytes, so that tokens are beginnings of each other; the last ones of their order among them.
BYTES = st.lists(st.sampled_from([0x00, 0x61, 0x62, 0xFE, 0xFF]), max_size=5).map(bytes)
PIECES = st.lists(BYTES, max_size=25)


@settings(max_examples=400)
@given(PIECES, st.sets(st.integers(0, 24)), BYTES)
@example([b"\xff" * 600], set(), b"\xff")  # nothing is greater than what begins with it
@example([b"a\xff", b"a\xff\xff", b"b"], set(), b"a\xff")
@example([b"ab", b"ab", b"a", b"a"], {1}, b"ab")
@example([b""], set(), b"a")
def test_against_trying_every_token(pieces: list[bytes], excluded: set[int], rest: bytes) -> None:
    lexicon = Lexicon(pieces, excluded)
    there = [(token, piece) for token, piece in enumerate(pieces) if piece and token not in excluded]
    inside = lexicon.inside(rest)
    assert sorted(inside) == [(t, len(p)) for t, p in there if rest.startswith(p) and len(p) < len(rest)]
    assert [size for _, size in inside] == sorted(size for _, size in inside), "the shortest first"
    if rest:
        assert sorted(lexicon.reaching(rest).tolist()) == [t for t, p in there if p.startswith(rest)]


@given(PIECES, BYTES.filter(bool))
def test_no_token_answers_both_questions(pieces: list[bytes], rest: bytes) -> None:
    lexicon = Lexicon(pieces)
    assert not {token for token, _ in lexicon.inside(rest)} & set(lexicon.reaching(rest).tolist())


def test_an_empty_vocabulary_and_one_that_is_all_left_out() -> None:
    for lexicon in (Lexicon([]), Lexicon([b"a", b"ab"], [0, 1])):
        assert lexicon.inside(b"ab") == []
        assert lexicon.reaching(b"a").tolist() == []
