"""A window lets through what it says, in any stretch of time, and goes on where it was left."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.counting import HOLD_S, SLOTS, Ask, Window, granted, held


def test_as_many_as_it_says_and_then_again_when_they_are_past() -> None:
    window = Window(3, 1.0)
    assert [window.take(100.0) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert 0.9 < window.wait_s(100.0) <= 1.0
    assert window.take(100.95) == 0
    assert [window.take(101.0) for _ in range(5)] == [1, 1, 1, 0, 0]


@settings(max_examples=25)
@given(st.integers(1, 8), st.lists(st.floats(0, 0.3), max_size=40))
def test_never_more_than_that_in_any_stretch(most: int, gaps: list[float]) -> None:
    window, now, let = Window(most, 1.0), 1000.0, deque[float]()
    for gap in gaps:
        now += gap
        if window.take(now):
            let.append(now)
            recent = [at for at in let if at > now - (1.0 - 1.0 / SLOTS)]
            assert len(recent) <= most
        else:
            assert window.wait_s(now) > 0


@settings(max_examples=25)
@given(st.integers(1, 8), st.lists(st.floats(0, 0.3), max_size=40), st.randoms(use_true_random=False))
def test_it_has_room_when_it_said_and_not_before(most: int, gaps: list[float], rng: random.Random) -> None:
    window, now = Window(most, 1.0), 1000.0
    for gap in gaps:
        now += gap
        least = rng.randint(1, most)
        if not window.take(now, least, least):
            wait = window.wait_s(now, least)
            assert 0 < wait <= 1.0
            later = Window.unpacked(most, 1.0, window.packed())
            assert later.take(now + wait - 0.001, least, least) == 0
            assert later.take(now + wait + 0.001, least, least) == least


def test_whoever_always_asks_gets_exactly_the_rate() -> None:
    window, let = Window(50, 1.0), 0
    for tick in range(10_000):
        let += window.take(7.0 + tick / 1000)
    assert let == 50 * 10


def test_what_was_had_counts_even_past_the_limit() -> None:
    window = Window(100, 60.0)
    window.add(0.0, 250)
    assert not window.take(59.0)
    assert window.take(60.5)


def test_what_was_not_used_can_be_had_again() -> None:
    window = Window(1, 60.0)
    assert window.take(5.0)
    window.give(1)
    assert window.take(5.0)
    window.give(99)
    assert window.take(5.0), "no more comes back than was had"


def test_more_than_it_holds_is_never_had() -> None:
    window = Window(10, 60.0)
    assert not window.take(0.0, 11, 11)
    assert window.wait_s(0.0, 11) == 60.0


def test_a_clock_that_runs_back_lets_nothing_more_through() -> None:
    window = Window(2, 1.0)
    assert [window.take(now) for now in (100.0, 99.7, 99.1)] == [1, 1, 0]


def test_a_clock_that_was_set_back_keeps_nobody_waiting_until_it_is_where_it_was() -> None:
    window = Window(2, 1.0)
    assert [window.take(now) for now in (5000.0, 5000.0, 5000.0, 100.0, 100.0, 100.0)] == [1, 1, 0, 1, 1, 0]
    assert 0 < window.wait_s(100.0) <= 1.0
    places, _ = held({}, "b", Ask("a", 10, 0.0, want=10), 5000.0)
    assert held(places, "a", Ask("a", 10, 0.0, want=1), 100.0)[1].had == 1


def test_what_is_given_back_is_given_back_where_it_was_had() -> None:
    window = Window(10, 1.0)
    first = granted(window, Ask("a", 10, 1.0, 1, 4), 3.0)
    granted(window, Ask("a", 10, 1.0, 1, 3), 3.5)
    assert granted(window, Ask("a", 10, 1.0, 1, 0, back=((first.slot, 3),)), 3.5).had == 0
    assert window.take(3.9, 6, 9) == 6
    assert window.take(4.01, 1, 9) == 1, "one of the four had been used"
    for slot in (0, first.slot, 10**6):
        granted(window, Ask("a", 10, 1.0, 1, 0, back=((slot, 99),)), 4.02)
    assert window.take(4.02) == 0, "what is long past, or never was, gives nothing"


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 5)), max_size=50))
def test_packed_and_unpacked_it_goes_on(asked: list[tuple[float, int]]) -> None:
    window, now = Window(10, 1.0), 50.0
    for gap, want in asked:
        now += gap
        again = Window.unpacked(10, 1.0, window.packed())
        assert again.take(now, 1, want) == window.take(now, 1, want)
        assert again.wait_s(now) == window.wait_s(now)
    assert Window.unpacked(10, 1.0, "").take(now) == 1


def test_an_idle_window_can_be_forgotten() -> None:
    window = Window(10, 1.0)
    assert window.idle(0.0)
    window.take(5.0)
    assert not window.idle(5.9)
    assert window.idle(6.1)


def test_nobody_gets_all_there_is_but_the_last_one() -> None:
    window = Window(50, 1.0)
    had = [granted(window, Ask("a", 50, 1.0, 1, 50), 3.0).had for _ in range(8)]
    assert had == [25, 13, 6, 3, 2, 1, 0, 0]
    refused = granted(window, Ask("a", 50, 1.0), 3.0)
    assert refused.had == 0
    assert 0 < refused.wait_s <= 1.0


def test_tokens_are_had_whole_or_not_at_all() -> None:
    window = Window(1000, 60.0)
    assert granted(window, Ask("a", 1000, 60.0, 900, 900), 3.0).had == 900
    assert granted(window, Ask("a", 1000, 60.0, 200, 200), 3.0).had == 0
    assert granted(window, Ask("a", 1000, 60.0, 1, 0, add=500), 3.0).had == 0
    assert granted(window, Ask("a", 1000, 60.0, 1, 1), 62.3).had == 0
    assert granted(window, Ask("a", 1000, 60.0, 1, 1), 62.5).had == 1


@pytest.mark.parametrize(("other", "had"), [(0, 5), (3, 5), (7, 3), (12, 0)])
def test_places_are_those_that_others_do_not_hold(other: int, had: int) -> None:
    places, grant = held({"b": (other, 55.0)}, "a", Ask("a", 10, 0.0, want=5), 50.0)
    assert grant.had == had
    assert places.get("a", (0, 0.0))[0] == had
    assert (grant.wait_s > 0) == (had < 5)


def test_places_of_the_dead_are_free_again() -> None:
    places, _ = held({}, "b", Ask("a", 10, 0.0, want=10), 50.0)
    assert held(places, "a", Ask("a", 10, 0.0, want=1), 50.0 + HOLD_S - 1)[1].had == 0
    assert held(places, "a", Ask("a", 10, 0.0, want=1), 50.0 + HOLD_S + 1)[1].had == 1


def test_a_holder_that_wants_none_is_forgotten() -> None:
    places, _ = held({"a": (3, 100.0)}, "a", Ask("a", 10, 0.0, want=0), 50.0)
    assert places == {}
