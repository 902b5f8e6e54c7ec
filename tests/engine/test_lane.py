"""Many strands in one batch say exactly what each would say alone, and none starves."""

from __future__ import annotations

import random

import pytest

from segue.core.generation import Decoding
from segue.engine.llama.strand import Strand
from tests.engine.lanes import Bench
from tests.engine.toy import toy_answer, toy_strand


def strands(count: int, seed: int, longest: int = 60) -> list[Strand]:
    rng = random.Random(seed)
    head = [rng.randrange(300) for _ in range(20)]
    made = []
    for number in range(count):
        ids = head[: rng.randrange(20)] + [rng.randrange(300) for _ in range(rng.randrange(1, longest))]
        how = Decoding(
            temperature=rng.choice([0.0, 0.8]),
            seed=rng.randrange(100),
            repetition_penalty=rng.choice([1.0, 1.3]),
        )
        made.append(toy_strand(number, ids, rng.randrange(1, 40), how))
    return made


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("cells", [150, 400])
def test_together_is_as_alone(seed: int, cells: int) -> None:
    """Also when the cache is too small for all of them and places are given up."""
    made = strands(14, seed)
    wanted = {strand.number: toy_answer(strand) for strand in made}
    lengths = {strand.number: strand.tokens_left for strand in made}
    bench = Bench(cells=cells)
    rng = random.Random(seed)
    for strand in made:
        bench.lane.add(strand)
        for token in bench.lane.step() if rng.random() < 0.5 else ():
            bench.hear(token, 0)
    bench.run()
    assert not bench.failed
    assert {number: bench.said.get(number, []) for number in wanted} == wanted
    for number, answer in wanted.items():
        assert bench.finish[number] == ("length" if len(answer) == lengths[number] else "stop")
    assert not bench.lane.running
    assert not bench.lane.waiting


def test_a_solitary_lane_decodes_one_strand_at_a_time() -> None:
    made = strands(6, 3)
    wanted = {strand.number: toy_answer(strand) for strand in made}
    bench = Bench(solitary=True, rows=16, slots=1)
    for strand in made:
        bench.lane.add(strand)
    bench.run()
    assert {number: bench.said.get(number, []) for number in wanted} == wanted


def test_the_second_turn_pays_for_new_tokens_only() -> None:
    bench = Bench()
    first = toy_strand(1, list(range(50, 90)), 5)
    bench.lane.add(first)
    bench.run()
    assert bench.cached[1] == 0
    second = toy_strand(2, [*first.ids, 1, 2, 3], 5)
    bench.lane.add(second)
    bench.run()
    # The last token of an answer is said but never read; all before it are remembered.
    assert bench.cached[2] >= len(first.ids) - 1


def test_choices_of_one_prompt_read_it_once() -> None:
    bench = Bench(slots=4, rows=16)
    prompt = list(range(100, 164))
    for number in range(4):
        bench.lane.add(toy_strand(number, prompt, 3, Decoding(seed=number)))
    bench.run()
    assert [bench.cached[number] for number in range(4)] == [0, 64, 64, 64]
    assert sum(bench.context.steps) < 64 + 4 * 4


def test_a_long_prompt_neither_stops_the_drawing_nor_starves() -> None:
    bench = Bench(cells=3000, rows=32)
    talker = toy_strand(1, [1, 2, 3], 200, Decoding(seed=3))
    answer = toy_answer(talker)
    bench.lane.add(talker)
    bench.hear(bench.lane.step()[0], 0)
    bench.lane.add(toy_strand(2, [i % 299 for i in range(1000)], 1))
    bench.lane.add(toy_strand(3, [5, 6, 7, 8], 1))
    bench.run()
    steps = len(answer)
    assert bench.said[1] == answer
    assert bench.first_step[3] <= 2, "a short prompt does not wait for a long one"
    assert bench.first_step[2] < 1000 / 12, "the long prompt goes on beside the others"
    assert steps > 0


def test_cancelling_frees_the_place_at_once() -> None:
    bench = Bench(slots=1)
    first, second = toy_strand(1, [1, 2, 3], 10_000), toy_strand(2, [4, 5], 2)
    bench.lane.add(first)
    bench.lane.add(second)
    bench.lane.step()
    first.cancelled = True
    bench.lane.drop_cancelled()
    assert bench.lane.step()[0].strand == 2


def test_what_cannot_ever_fit_fails_and_others_go_on() -> None:
    bench = Bench(cells=50)
    bench.lane.add(toy_strand(1, list(range(60)), 5))
    bench.lane.add(toy_strand(2, [1, 2], 5))
    bench.run()
    assert [number for number, _ in bench.failed] == [1]
    assert 2 in bench.finish


def test_an_answer_that_fills_the_cache_ends_by_length() -> None:
    bench = Bench(cells=40, slots=1)
    strand = toy_strand(1, [1, 2, 3], 1000, Decoding(temperature=0.0))
    wanted = toy_answer(strand)
    bench.lane.add(strand)
    bench.run()
    assert bench.said[1] == wanted[: len(bench.said[1])]
    assert bench.finish[1] == ("length" if len(wanted) > 37 else "stop")


def test_workspaces_share_nothing() -> None:
    bench = Bench()
    prompt = list(range(40))
    bench.lane.add(toy_strand(1, prompt, 1, workspace="a"))
    bench.run()
    bench.lane.add(toy_strand(2, prompt, 1, workspace="b"))
    bench.lane.add(toy_strand(3, prompt, 1, workspace="a"))
    bench.run()
    assert bench.cached == {1: 0, 2: 0, 3: 40}
