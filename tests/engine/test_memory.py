"""The books of the key-value cache agree with the library's, whatever happens."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from segue.engine.llama.ends import KEPT_MAX, Ends
from segue.engine.llama.memory import Memory
from segue.engine.llama.sequence import Sequence
from segue.engine.seam.cover import Budget, Cover
from tests.engine.toy import ToyContext

CELLS, SEQUENCES = 60, 6
SPACES = st.sampled_from(["a", "b"])
IDS = st.lists(st.integers(0, 2), min_size=1, max_size=20)


class Books(RuleBasedStateMachine):
    """Begin, extend, finish and forget sequences in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.context = ToyContext(CELLS, SEQUENCES, rows_max=CELLS)
        self.memory = Memory(self.context, SEQUENCES)  # type: ignore[arg-type]
        self.running: list[tuple[Sequence, list[int]]] = []

    @rule(space=SPACES, ids=IDS, most=st.none() | st.integers(0, 20), growth=st.sampled_from([0, 5, CELLS]))
    def begin(self, space: str, ids: list[int], most: int | None, growth: int) -> None:
        wanted = np.asarray(ids, np.int32)
        _, best = self.memory.best(space, wanted)
        begun = self.memory.begin(space, wanted, growth, most)
        if begun is None:
            assert len(self.running) == SEQUENCES
            return
        sequence, found = begun
        assert found <= best <= len(ids) - 1
        assert most is None or found <= most
        assert sequence.held == found
        assert sequence.tokens[:found].tolist() == ids[:found]
        self.running.append((sequence, ids))

    @rule(pick=st.integers(0, 5), count=st.integers(1, 8))
    def extend(self, pick: int, count: int) -> None:
        if not self.running:
            return
        sequence, ids = self.running[pick % len(self.running)]
        piece = ids[sequence.held : sequence.held + count]
        if not piece or not self.memory.reserve(len(piece)):
            return
        self.context.decode([(token, sequence.held + i, sequence.number, False) for i, token in enumerate(piece)])
        self.memory.extend(sequence, np.asarray(piece, np.int32))

    @rule(pick=st.integers(0, 5), count=st.integers(0, 20))
    def shorten(self, pick: int, count: int) -> None:
        if not self.running:
            return
        sequence, _ = self.running[pick % len(self.running)]
        held, used = sequence.held, self.context.used()
        self.memory.shorten(sequence, count)
        assert sequence.held == min(held, count)
        assert self.context.used() >= used - max(0, held - count)

    @rule(pick=st.integers(0, 5), keep=st.booleans())
    def end(self, pick: int, keep: bool) -> None:
        if not self.running:
            return
        sequence, _ = self.running.pop(pick % len(self.running))
        if keep:
            self.memory.finish(sequence)
        else:
            self.memory.forget(sequence)

    @invariant()
    def books_agree(self) -> None:
        assert self.memory.free_cells == CELLS - self.context.used()
        for sequence in self.memory.sequences:
            held = [token for token, _, _ in self.context._held.get(sequence.number, [])]
            assert held == sequence.tokens[: sequence.held].tolist()
        numbers = [sequence.number for sequence in self.memory.sequences]
        assert len(set(numbers)) == len(numbers)
        running = [self.context._held.get(sequence.number, []) for sequence, _ in self.running]
        assert self.memory.running_cells() == len({id(cell) for row in running for _, cell, _ in row})


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase


def filled(memory: Memory, space: str, ids: list[int]) -> Sequence:
    begun = memory.begin(space, np.asarray(ids, np.int32))
    assert begun is not None
    sequence = begun[0]
    rest = ids[sequence.held :]
    assert memory.reserve(len(rest))
    context = memory.context
    context.decode([(token, sequence.held + i, sequence.number, False) for i, token in enumerate(rest)])
    memory.extend(sequence, np.asarray(rest, np.int32))
    return sequence


def books(cells: int = 100) -> Memory:
    return Memory(ToyContext(cells, 8, rows_max=cells), 8)  # type: ignore[arg-type]


def test_another_workspace_finds_nothing() -> None:
    memory = books()
    memory.finish(filled(memory, "ours", list(range(30))))
    ids = np.arange(30, dtype=np.int32)
    assert memory.best("ours", ids)[1] == 29
    assert memory.best("theirs", ids) == (None, 0)


def test_a_running_sequence_can_be_shared() -> None:
    memory = books()
    filled(memory, "w", list(range(30)))
    assert filled(memory, "w", [*range(20), 99]).held == 21
    assert memory.free_cells == 100 - 31


def test_the_least_recently_used_goes_first() -> None:
    memory = books(cells=35)
    for start in (0, 100, 200):
        memory.finish(filled(memory, "w", list(range(start, start + 10))))
    filled(memory, "w", list(range(300, 305)))  # somebody else runs
    memory.best("w", np.arange(0, 10, dtype=np.int32))
    begun = memory.begin("w", np.arange(0, 12, dtype=np.int32))
    assert begun is not None
    assert begun[1] == 10
    assert memory.reserve(2)
    assert memory.best("w", np.arange(100, 111, dtype=np.int32))[1] == 0, "the oldest is forgotten"
    assert memory.best("w", np.arange(200, 211, dtype=np.int32))[1] == 10


def test_alone_and_full_all_goes_but_the_head_that_is_shared() -> None:
    """Nothing is freed from between: the shared head is moved to the front, in the old order."""
    memory = books(cells=40)
    for start in (0, 100, 200):
        memory.finish(filled(memory, "w", list(range(start, start + 10))))
    begun = memory.begin("w", np.arange(200, 220, dtype=np.int32), growth=8)
    assert begun is not None
    sequence, found = begun
    assert found == 10
    assert sequence.tokens[:10].tolist() == list(range(200, 210))
    assert memory.free_cells == 30
    assert memory.best("w", np.arange(0, 11, dtype=np.int32)) == (None, 0)


def test_a_prompt_asked_again_needs_no_reading_once_its_end_is_kept() -> None:
    memory = books()
    ids = np.arange(20, dtype=np.int32)
    sequence = filled(memory, "w", ids.tolist())
    memory.finish(sequence)
    assert memory.best("w", ids)[1] == 19
    logits = np.arange(5, dtype=np.float32)
    memory.ends.keep("w", ids, logits, sequence)
    assert memory.best("w", ids)[1] == 20
    assert memory.best("other", ids)[1] == 0
    kept = memory.ends.logits("w", ids)
    assert kept is not None
    kept[:] = 0
    again = memory.ends.logits("w", ids)
    assert again is not None
    assert again.tolist() == logits.tolist()
    assert memory.ends.logits("other", ids) is None


def test_an_answer_said_before_is_remembered_once() -> None:
    memory = books()
    memory.finish(filled(memory, "w", list(range(20))))
    prompt = np.arange(12, dtype=np.int32)
    memory.ends.keep("w", prompt, np.zeros(5, np.float32), memory.sequences[0])
    free = memory.free_cells
    begun = memory.begin("w", prompt)
    assert begun is not None
    memory.extend(begun[0], np.arange(12, 15, dtype=np.int32))
    memory.finish(begun[0])
    assert len(memory.sequences) == 1
    assert memory.free_cells == free


def test_a_prompt_is_gone_on_with_in_the_cells_that_its_kept_end_came_from() -> None:
    """Another sequence with the same tokens may have drawn them one by one, with other last bits."""
    memory = books()
    memory.finish(filled(memory, "w", list(range(20))))
    prompt = np.arange(15, dtype=np.int32)
    begun = memory.begin("w", prompt)
    assert begun is not None
    mine, found = begun
    assert found == 14
    memory.extend(mine, prompt[found:])
    memory.ends.keep("w", prompt, np.zeros(5, np.float32), mine)
    memory.extend(mine, np.asarray([15], np.int32))
    memory.finish(mine)
    assert mine in memory.sequences
    assert memory.best("w", prompt) == (mine, 15)
    memory.finish(filled(memory, "w", list(range(14))))
    assert memory.best("w", prompt) == (mine, 15)


def test_a_longer_sequence_takes_the_place_of_its_beginning() -> None:
    memory = books()
    memory.finish(filled(memory, "w", list(range(10))))
    memory.finish(filled(memory, "w", list(range(20))))
    assert len(memory.sequences) == 1


def test_an_indivisible_model_shares_and_remembers_nothing() -> None:
    memory = books()
    memory.divisible = False
    memory.finish(filled(memory, "w", list(range(10))))
    assert memory.sequences == []
    assert memory.free_cells == 100


def test_a_shortened_sequence_gives_back_what_only_it_held() -> None:
    memory = books()
    ids = list(range(30))
    sequence = filled(memory, "w", ids)
    begun = memory.begin("w", np.asarray([*ids[:20], 99], np.int32))
    assert begun is not None
    other, found = begun
    assert (found, memory.free_cells) == (20, 70)
    memory.shorten(sequence, 25)
    assert (sequence.held, memory.free_cells) == (25, 75)
    memory.shorten(sequence, 10)  # the rest is the other's too
    assert (sequence.held, other.held, memory.free_cells) == (10, 20, 80)
    memory.shorten(sequence, 10)
    memory.shorten(sequence, 50)
    assert (sequence.held, memory.free_cells) == (10, 80)
    assert memory.best("w", np.arange(30, dtype=np.int32)) == (other, 20)
    memory.forget(other)
    assert memory.free_cells == 90
    # It grows again, with other tokens.
    context = memory.context
    context.decode([(7, 10 + at, sequence.number, False) for at in range(3)])
    memory.extend(sequence, np.asarray([7, 7, 7], np.int32))
    assert memory.best("w", np.asarray([*ids[:10], 7, 7, 8], np.int32)) == (sequence, 12)


def test_a_shortened_sequence_is_still_the_last_to_have_taken_cells() -> None:
    """So a prompt whose end was written otherwise leaves no copy behind when its answer is remembered already."""
    memory = books()
    memory.finish(filled(memory, "w", list(range(20))))
    prompt = np.arange(12, dtype=np.int32)
    begun = memory.begin("w", prompt, most=8)
    assert begun is not None
    mine, found = begun
    assert (found, mine.held) == (8, 8)
    memory.context.decode([(token, 8 + at, mine.number, False) for at, token in enumerate((8, 9, 77))])
    memory.extend(mine, np.asarray([8, 9, 77], np.int32))
    memory.shorten(mine, 8)
    mine.asked = 8  # as the lane has it
    free = memory.free_cells
    memory.finish(mine)
    assert (len(memory.sequences), memory.free_cells) == (1, free)


def test_no_more_of_a_head_is_shared_than_is_wanted() -> None:
    memory = books()
    memory.finish(filled(memory, "w", list(range(30))))
    for most, found in ((None, 19), (25, 19), (7, 7), (0, 0)):
        begun = memory.begin("w", np.arange(20, dtype=np.int32), most=most)
        assert begun is not None
        assert (begun[1], begun[0].held) == (found, found)
        memory.forget(begun[0])


def test_alone_and_full_only_the_wanted_head_is_moved_to_the_front() -> None:
    memory = books(cells=40)
    memory.finish(filled(memory, "w", list(range(30))))
    begun = memory.begin("w", np.arange(28, dtype=np.int32), growth=8, most=12)
    assert begun is not None
    assert begun[1] == begun[0].held == 12
    assert memory.free_cells == 28


def test_a_cover_is_gone_on_with_in_the_cells_it_was_found_over() -> None:
    """Others have more of the prompt, but may have computed it in another kind of step."""
    memory = books()
    prompt = np.arange(15, dtype=np.int32)
    holder = filled(memory, "w", [*range(12), 90])
    memory.finish(holder)
    memory.finish(filled(memory, "w", list(range(20))))
    begun = memory.begin("w", prompt, most=10, holder=holder)
    assert begun is not None
    assert begun[1] == begun[0].held == 12
    assert begun[0].cells[:12].tolist() == holder.cells[:12].tolist()
    memory.finish(begun[0])
    memory.forget(holder)
    begun = memory.begin("w", prompt, most=10, holder=holder)
    assert begun is not None
    assert begun[1] == 10, "without them, what was read for the cover is read again"


def test_a_cover_found_over_cells_that_another_has_too_is_gone_on_with_there() -> None:
    """The sequence is forgotten for one that has the same cells: what was found over them is found there."""
    memory, ends = books(), np.arange(12, dtype=np.int32)
    holder = filled(memory, "w", list(range(12)))
    memory.finish(holder)
    memory.ends.keep_cover("w", ends, 10, Budget(), Cover(b"a", (), 0.0, 1), holder)
    longer = filled(memory, "w", list(range(20)))
    memory.finish(longer)
    assert holder not in memory.sequences
    assert memory.ends.cover("w", ends, 10, Budget()) == (Cover(b"a", (), 0.0, 1), longer)
    memory.ends.keep("w", ends, np.zeros(5, np.float32), longer)  # so that all of its cells are shared
    begun = memory.begin("w", ends)
    assert begun is not None
    shorter = begun[0]
    memory.ends.keep_cover("w", ends, 9, Budget(), Cover(b"b", (), 0.0, 1), shorter)
    memory.finish(shorter)
    assert memory.sequences == [longer]
    assert memory.ends.cover("w", ends, 9, Budget()) == (Cover(b"b", (), 0.0, 1), longer)


def test_a_cover_is_found_over_the_cells_that_were_moved_to_the_front() -> None:
    memory = books(cells=40)
    holder, prompt = filled(memory, "w", list(range(30))), np.arange(28, dtype=np.int32)
    memory.finish(holder)
    memory.ends.keep_cover("w", prompt, 20, Budget(), Cover(b"a", (), 0.0, 1), holder)
    begun = memory.begin("w", prompt, growth=12, most=19, holder=holder)
    assert begun is not None
    assert begun[1] == 27
    kept = memory.ends.cover("w", prompt, 20, Budget())
    assert kept is not None
    assert kept[1] is not holder
    second = memory.begin("w", prompt, most=19, holder=kept[1])
    assert second is not None
    assert second[1] == 27, "the next choice too"


def test_covers_are_kept_for_their_prompt_their_budget_their_rule_and_their_workspace() -> None:
    ends, ids, budget = Ends(), np.arange(9, dtype=np.int32), Budget(0.01, 32)
    cover, sequence = Cover(b"ab", (), 0.5, 3), filled(books(), "w", [1])
    ends.keep_cover("w", ids, 6, budget, cover, sequence, "rule")
    assert ends.cover("w", ids, 6, Budget(0.01, 32), "rule") == (cover, sequence)
    assert ends.cover("other", ids, 6, budget, "rule") is None
    assert ends.cover("w", ids, 5, budget, "rule") is None
    assert ends.cover("w", ids[:-1], 6, budget, "rule") is None
    assert ends.cover("w", ids, 6, budget) is None
    for other in (Budget(0.02, 32), Budget(0.01, 31), Budget(0.01, 32, True)):
        assert ends.cover("w", ids, 6, other, "rule") is None
    assert ends.logits("w", ids) is None, "a cover is not taken for logits"


def test_the_ends_that_are_kept_are_bounded() -> None:
    ends, memory = Ends(), books()
    sequence = filled(memory, "w", [1])
    rows = [np.asarray([number], np.int32) for number in range(KEPT_MAX + 3)]
    for number, ids in enumerate(rows):
        ends.keep("w", ids, np.zeros(3, np.float32), sequence)
        ends.keep_cover("w", ids, 0, Budget(), Cover(b"a", (), 0.0, number), sequence)
        assert ends.logits("w", rows[0]) is not None, "what is asked for stays"
        assert ends.cover("w", rows[0], 0, Budget()) is not None
    assert [ends.logits("w", ids) is None for ids in rows[:5]] == [False, True, True, True, False]
    assert [ends.cover("w", ids, 0, Budget()) is None for ids in rows[:5]] == [False, True, True, True, False]
