"""The prepared searches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.request import Stop
from segue.output.stops import Stops


@pytest.mark.parametrize(
    ("strings", "text", "cut"),
    [
        (("b",), "abc", 1),
        (("x",), "abc", None),
        (("abcd", "bc"), "abcd", 1),  # "bc" is complete first
        (("abc", "bc"), "abc", 0),  # complete together: the longer one counts
        (("bc", "abc"), "abc", 0),
        (("aa",), "aaa", 0),
        (("", "b"), "ab", 1),
        (("",), "ab", None),
        (("。",), "好。", 1),
    ],
)
def test_cut(strings: tuple[str, ...], text: str, cut: int | None) -> None:
    assert Stops(Stop(strings=strings)).cut(text) == cut


@pytest.mark.parametrize(
    ("strings", "text", "pending"),
    [
        (("\n\n",), "a\n", 1),
        (("abab",), "xaba", 3),
        (("abc", "cd"), "xab", 2),
        (("abc",), "xyz", 0),
        (("a",), "a", 0),
        (("aab",), "aaaa", 2),
        (("abc",), "", 0),
        (("aba", "bab"), "ab", 2),
    ],
)
def test_pending(strings: tuple[str, ...], text: str, pending: int) -> None:
    assert Stops(Stop(strings=strings)).pending(text) == pending


@given(st.lists(st.text("ab", min_size=1, max_size=5), max_size=4), st.text("abc", max_size=12))
def test_pending_is_the_longest_beginning(strings: list[str], text: str) -> None:
    want = max(
        (size for s in strings for size in range(len(s)) if size <= len(text) and text.endswith(s[:size])), default=0
    )
    assert Stops(Stop(strings=tuple(strings))).pending(text) == want


@pytest.mark.parametrize(
    ("runs", "ids", "complete", "begun"),
    [
        (((1,),), [1], 1, 0),
        (((1, 2),), [5, 1], 0, 1),
        (((1, 2), (5, 1, 2)), [5, 1, 2], 3, 0),
        (((1, 1, 2),), [1, 1, 1], 0, 2),
        (((), (3,)), [2], 0, 0),
        (((1, 2, 3),), [1, 2, 4], 0, 0),
    ],
)
def test_runs(runs: tuple[tuple[int, ...], ...], ids: list[int], complete: int, begun: int) -> None:
    stops = Stops(Stop(sequences=runs))
    assert stops.complete(ids) == complete
    if not complete:
        assert stops.begun(ids) == begun


def test_nothing_to_stop_at() -> None:
    assert not Stops(Stop(strings=("",), sequences=((),)))
    assert Stops(Stop(sequences=((1,),)))
