"""How large steps are, and when they are cut."""

from __future__ import annotations

from collections.abc import Callable

from segue.engine.llama.pace import Pace, Plan
from tests.engine.toy import toy_strand


def drawing(count: int) -> Plan:
    return [(toy_strand(number, [1], 1), 1) for number in range(count)]


def serve(pace: Pace, rows: int, cost: Callable[[int], float], steps: int) -> list[int]:
    """Run steps of so many drawing strands on a machine that takes `cost` seconds; returns the last parts."""
    parts: list[int] = []
    for _ in range(steps):
        parts = [len(part) for part in pace.cut(drawing(rows))]
        for part in parts:
            pace.took(part, cost(part))
    return parts


def test_alone_a_prompt_gets_a_whole_piece() -> None:
    assert Pace(0.4, 256).prompt_rows(0) == 256


def test_a_fast_machine_is_found_out_from_small_steps() -> None:
    pace = Pace(0.4, 256)
    for _ in range(60):
        rows = pace.prompt_rows(4) + 4
        pace.took(rows, rows / 1000)
    assert pace.prompt_rows(4) == 252


def test_a_slow_machine_keeps_reading_a_little() -> None:
    pace = Pace(0.4, 256)
    for _ in range(60):
        rows = pace.prompt_rows(4) + 4
        pace.took(rows, rows / 5)
    assert pace.prompt_rows(4) == 16


def test_a_step_never_exceeds_the_piece() -> None:
    assert Pace(10.0, 32).prompt_rows(30) == 2


def test_an_unlucky_count_is_cut_where_that_is_quicker() -> None:
    """As measured on one machine: 8 rows cost 327 ms, 7 cost 211 and one 47."""
    cost = {1: 0.047, 2: 0.073, 3: 0.099, 4: 0.140, 5: 0.164, 6: 0.187, 7: 0.211, 8: 0.327}
    parts = serve(Pace(0.4, 256), 8, cost.__getitem__, 201)
    assert sorted(parts) in ([1, 7], [2, 6], [3, 5])
    assert sum(map(cost.__getitem__, parts)) < 0.327


def test_the_choices_of_one_request_are_never_cut() -> None:
    """How long steps take must not decide what they say: four rows at once round otherwise than two."""
    for rows in (1, 2, 3, 4):
        assert serve(Pace(0.4, 256), rows, lambda part: 0.01 * part**3, 201) == [rows]


def test_where_larger_is_better_nothing_is_cut() -> None:
    for rows in (5, 8, 16, 40):
        assert serve(Pace(0.4, 256), rows, lambda part: 0.04 + 0.005 * part, 201) == [rows]


def test_nothing_planned_is_no_step() -> None:
    assert Pace(0.4, 256).cut([]) == []
