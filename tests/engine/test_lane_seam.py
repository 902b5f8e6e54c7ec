"""A prefix that ends inside a token is gone on with by the same law alone, in company, and without a place."""

from __future__ import annotations

import random

import pytest

from segue.engine.llama import frames
from segue.engine.llama.context import BRANCHES_MAX, PROBES_MAX, FloatRow
from segue.engine.llama.lane import Lane
from segue.engine.llama.memory import Memory
from segue.engine.llama.seam import Seam
from segue.engine.llama.strand import Strand
from segue.engine.seam.cover import Node
from tests.engine.lanes import LETTERS, SHORT, Law, check, lane, message, replace_seam, replaced, replaced_choice, wide


@pytest.mark.parametrize("solitary", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_alone(seed: int, solitary: bool) -> None:
    rng = random.Random(seed)
    sent = message(rng, 1)
    bench = lane(solitary=solitary, slots=1 if solitary else 4, rows=16 if solitary else 32)
    bench.add(sent)
    bench.run()
    check(bench, sent)


def test_the_samples_are_of_every_kind() -> None:
    """The tests here would prove little if each prefix went on as it was encoded."""
    laws = [Law.of(message(random.Random(seed), 1), 0, LETTERS) for seed in range(60)]
    sent = [frames.unpack_ids(message(random.Random(seed), 1).ids) for seed in range(60)]
    as_encoded = [law.ids[: len(ids)] == ids for law, ids in zip(laws, sent, strict=True)]
    over = [law.data and law.said and law.data != b"".join(map(LETTERS.piece, law.said)) for law in laws]
    assert 1 <= sum(as_encoded) < 30
    assert 10 < sum(map(bool, over)) < 58, "answers that begin inside a token"
    assert sum(law.finish == "stop" for law in laws) >= 1
    assert {law.back for law in laws} == {1, 2}


def test_a_prefix_that_stands_as_it_was_encoded_is_read_once() -> None:
    """The draw may choose the very tokens that were read: then the answer goes on from their end at once."""
    found = 0
    for seed in range(400):
        sent = message(random.Random(seed), 1)
        ids = frames.unpack_ids(sent.ids)
        law = Law.of(sent, 0, LETTERS)
        if law.ids[: len(ids)] != ids or len(law.ids) == len(ids):
            continue
        for solitary in (False, True):
            bench = lane(solitary=solitary, slots=1 if solitary else 4, rows=16)
            bench.add(sent)
            bench.run()
            check(bench, sent)
            draws = len(law.said) - (law.finish == "length")
            padding = 8  # of the steps that read the prompt
            assert sum(bench.context.steps) <= len(ids) + draws + padding * (1 + len(ids) // 16)
        found += 1
    assert found >= 2


def test_the_first_words_do_not_wait_for_a_step() -> None:
    """What a cover says is said before the next step, not after it."""
    at_once = 0
    for seed in range(40):
        sent = message(random.Random(seed), 1)
        bench = lane()
        bench.add(sent)
        while not bench.said and bench.lane.busy:
            before = len(bench.context.steps)
            for token in bench.lane.step():
                bench.hear(token, 0)
                if token.joined is not None and token.data != LETTERS.piece(token.id):  # it begins inside a token
                    assert len(bench.context.steps) == before
                    at_once += 1
    assert at_once > 10


class Counting(Lane):
    """Counts who loses a place while a seam is searched."""

    searching = 0

    def _set_aside(self, strand: Strand) -> None:
        self.searching += strand.seam is not None and strand.seam.search is not None
        super()._set_aside(strand)


def crowd(seed: int, cells: int) -> int:
    rng = random.Random(seed)
    head = [rng.choice(SHORT) for _ in range(20)]
    sent = [message(rng, number, rng.choice([1, 1, 2]), head) for number in range(8)]
    # Some have no prefix, and are as they always were.
    sent += [
        replaced(message(rng, number, head=head), seam=None, answer_at=len(frames.unpack_ids(message(rng, 0).ids)))
        for number in range(8, 11)
    ]
    bench = lane(cells=cells)
    bench.lane.__class__ = Counting
    alone = []
    for one in sent:
        single = lane()
        single.add(one)
        single.run()
        alone.append(single)
    for one in sent:
        bench.add(one)
        for token in bench.lane.step() if rng.random() < 0.5 else ():
            bench.hear(token, 0)
    bench.run()
    assert not bench.failed
    for one, single in zip(sent, alone, strict=True):
        for choice in one.choices:
            assert bench.said.get(choice.strand, []) == single.said.get(choice.strand, [])
        if one.seam is not None:
            check(bench, one)
    assert isinstance(bench.lane, Counting)
    return bench.lane.searching


@pytest.mark.parametrize("seed", range(6))
def test_together_is_as_alone(seed: int) -> None:
    crowd(seed, 400)


def test_also_when_places_are_given_up_in_the_middle() -> None:
    """In the middle of a search too: what was read for it is lost, and read again."""
    assert sum(crowd(seed, 50) for seed in range(20, 30)) > 3


def test_a_place_lost_in_the_middle_of_a_search() -> None:
    """A long prompt is read again, over several steps, before the search begins anew."""
    for seed in range(4):
        sent = wide(10)
        ids = [*range(20, 110), *frames.unpack_ids(sent.ids)]
        sent = replaced(sent, ids=frames.pack_ids(ids), answer_at=93, seed=seed)
        bench = lane(rows=16)
        (strand,) = bench.add(sent)
        for _ in range(2):
            while strand.seam is None or strand.seam.search is None:
                assert bench.lane.step() == []
            bench.lane.step()
            bench.lane._set_aside(strand)
            assert strand.sequence is None
            assert strand.seam.known == {}
        bench.run()
        check(bench, sent)


def test_a_cover_that_was_kept_needs_no_search() -> None:
    for seed in range(6):
        rng = random.Random(100 + seed)
        sent = message(rng, 1)
        bench = lane()
        bench.add(sent)
        bench.run()
        check(bench, sent)
        probes, steps = len(bench.context.probes), sum(bench.context.steps)
        again = replaced(sent, choices=[replaced_choice(sent.choices[0], 77)], seed=sent.seed + seed % 2)
        bench.add(again)
        bench.run()
        check(bench, again)
        assert len(bench.context.probes) == probes
        assert bench.cached[77] >= len(frames.unpack_ids(sent.ids)) - 2
        assert sum(bench.context.steps) - steps < 60, "the prompt is not read again"
        # Another workspace finds neither the tokens nor the cover.
        other = replaced(again, workspace="other", choices=[replaced_choice(sent.choices[0], 78)])
        bench.add(other)
        bench.run()
        check(bench, other)
        assert bench.cached[78] == 0
        assert len(bench.context.probes) == 2 * probes


def test_an_answer_given_again_is_remembered_once() -> None:
    """Or a prefix that is sent many times would drive everything else out of the cache."""
    for seed in range(8):
        sent = message(random.Random(seed), 1)
        bench = lane()
        for number in range(4):
            bench.add(replaced(sent, choices=[replaced_choice(sent.choices[0], number)]))
            bench.run()
            if not number:
                free = bench.memory.free_cells
        assert len(bench.memory.sequences) == 1
        assert bench.memory.free_cells == free


@pytest.mark.parametrize("solitary", [False, True])
def test_a_cover_is_kept_for_its_own_budget_only(solitary: bool) -> None:
    """Greedy choice asks for more of the search than a draw does."""
    sent = message(random.Random(3), 1)
    rough = replaced(sent, seam=frames.Seam(2, 0.9, 100_000, 1e9), temperature=1.0)
    bench = lane(solitary=solitary, slots=1 if solitary else 4)
    bench.add(rough)
    bench.run()
    assert bench.joined[10].bound > 0.0
    fine = replaced(sent, choices=[replaced_choice(sent.choices[0], 2)], temperature=0.0)
    bench.add(fine)
    bench.run()
    check(bench, fine)


def test_choices_draw_each_for_itself_from_one_cover() -> None:
    rng = random.Random(8)
    different = 0
    for number in range(6):
        sent = replaced(message(rng, number, choices=4), temperature=1.3, top_k=0, top_p=1.0)
        bench, single = lane(), lane()
        bench.add(sent)
        bench.run()
        laws = check(bench, sent)
        different += len({tuple(law.ids) for law in laws}) > 1
        single.add(replaced(sent, choices=sent.choices[:1]))
        single.run()
        # The search is made once; the others may have begun one of their own, and have found it done.
        assert sum(bench.context.probes) <= sum(single.context.probes) + 3
        assert sorted(bench.cached.values())[1] > 0, "and all but one find the prompt read"
    assert different >= 5


def test_an_early_end_of_the_search_is_reported() -> None:
    for seam in (replace_seam(nodes=0), replace_seam(nodes=1), replace_seam(nodes=3), replace_seam(seconds=0.0)):
        sent = replaced(wide(10), seam=seam)
        bench = lane()
        bench.add(sent)
        bench.run()
        assert not bench.failed
        joined = bench.joined[10]
        assert 0.0 < joined.bound <= 1.0
        assert joined.nodes <= seam.nodes + seam.tokens + 1  # those of the prefix's own tokens are read in any case
        ids, said = frames.unpack_ids(sent.ids), bench.said.get(10, [])
        standing = [*ids[: len(ids) - joined.back], *frames.unpack_ids(joined.path), *said]
        assert b"".join(map(LETTERS.piece, standing)) == b"".join(map(LETTERS.piece, ids)) + bench.data.get(10, b"")


@pytest.mark.parametrize("solitary", [False, True])
def test_a_beginning_that_goes_on_from_another_costs_one_row(solitary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a search stays until its end, and then nothing of it."""
    told: list[int] = []
    tell = Seam.tell

    def counted(seam: Seam, node: Node, logits: FloatRow) -> None:
        told.append(len(node.path))
        tell(seam, node, logits)

    monkeypatch.setattr(Seam, "tell", counted)
    for seed in range(6):
        sent = replaced(message(random.Random(seed), 10), seam=replace_seam(nodes=BRANCHES_MAX - PROBES_MAX))
        bench = lane(solitary=solitary, slots=1 if solitary else 4)
        bench.add(sent)
        before = len(told)
        bench.run()
        assert sum(bench.context.probes) == len(told) - before
    assert max(told) > 1, "some went on from others"


def test_a_solitary_search_takes_the_time_it_needs() -> None:
    sent = replaced(wide(10), seam=replace_seam(seconds=0.0))
    bench = lane(solitary=True, slots=1)
    bench.add(sent)
    bench.run()
    check(bench, sent)


@pytest.mark.parametrize("narrow", ["cache", "batch"])
def test_a_search_without_room_gives_up_and_the_answer_comes(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room in the cache though it is alone, or none in the batch for a branch of several tokens."""
    sent, bench = wide(10), lane()
    (strand,) = bench.add(sent)
    while strand.seam is None or strand.seam.search is None:
        assert bench.lane.step() == []
    with monkeypatch.context() as patched:
        if narrow == "cache":
            patched.setattr(Memory, "reserve", lambda memory, count: False)
        else:
            bench.context.rows_max = 1
        while not strand.seam.search.over:
            bench.lane._searching.step(bench.lane.running)
    bench.context.rows_max = 32
    assert len(bench.context.probes) <= (0 if narrow == "cache" else 3)
    bench.run()
    assert not bench.failed
    assert bench.finish[10] in ("stop", "length")
    assert 0.0 < bench.joined[10].bound < 1.0


@pytest.mark.parametrize("tokens", [1, 2])
def test_an_answer_of_the_seam_s_own_token(tokens: int) -> None:
    """The first token begins in the prefix and counts; it may be the last."""
    found = 0
    for seed in range(20):
        sent = message(random.Random(seed), 1)
        sent.choices[0].tokens_max = tokens
        bench = lane()
        bench.add(sent)
        bench.run()
        (law,) = check(bench, sent)
        assert len(law.said) <= tokens
        found += len(LETTERS.piece(law.said[0])) > len(law.data) if len(law.said) == 1 else 0
    assert found > 3 or tokens > 1


def test_cancelling_in_the_middle_of_a_search() -> None:
    bench = lane(slots=2)
    first, second = wide(10), message(random.Random(2), 2)
    (strand,) = bench.add(first)
    bench.add(second)
    for _ in range(4):
        for token in bench.lane.step():
            bench.hear(token, 0)
    assert strand.seam is not None
    assert strand.seam.search is not None
    strand.cancelled = True
    bench.lane.drop_cancelled()
    bench.run()
    assert 10 not in bench.said
    check(bench, second)
