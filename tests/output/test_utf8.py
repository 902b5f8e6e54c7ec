"""Characters come when they are complete; what is no character never comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.output.utf8 import decoded


def in_pieces(data: bytes, cuts: list[int]) -> str:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    text, rest = "", b""
    for begin, end in pairwise(places):
        more, rest = decoded(rest + data[begin:end])
        text += more
        assert len(rest) <= 3
    return text


@given(st.text(), st.lists(st.integers(0, 1000)))
def test_text_survives_any_cutting(text: str, cuts: list[int]) -> None:
    assert in_pieces(text.encode(), cuts) == text


BROKEN = st.sampled_from([b"\xff", b"\x80", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x99", b"\xed\xa0\x80", b"\xc0\xaf", b"a"])


@given(st.lists(st.one_of(BROKEN, st.binary(max_size=3), st.text(max_size=2).map(str.encode))), st.lists(st.integers()))
def test_broken_bytes_are_dropped_however_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    assert in_pieces(data, cuts) == data.decode("utf-8", "ignore")


def test_every_byte_alone() -> None:
    text = "a é 你 🙂\n"
    assert in_pieces(text.encode(), list(range(100))) == text


@pytest.mark.parametrize(
    ("data", "text", "rest"), [(b"", "", b""), (b"ab", "ab", b""), (b"a\xe4\xbd", "a", b"\xe4\xbd"), (b"\xff", "", b"")]
)
def test_cases(data: bytes, text: str, rest: bytes) -> None:
    assert decoded(data) == (text, rest)
