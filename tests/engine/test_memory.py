"""The books of the key-value cache agree with the library's, whatever happens."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from segue.engine.llama.memory import Memory, Sequence
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

    @rule(space=SPACES, ids=IDS)
    def begin(self, space: str, ids: list[int]) -> None:
        wanted = np.asarray(ids, np.int32)
        _, best = self.memory.best(space, wanted)
        begun = self.memory.begin(space, wanted)
        if begun is None:
            assert len(self.running) == SEQUENCES
            return
        sequence, found = begun
        assert found <= best <= len(ids) - 1
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
            held = [token for token, _ in self.context._held.get(sequence.number, [])]
            assert held == sequence.tokens[: sequence.held].tolist()
        numbers = [sequence.number for sequence in self.memory.sequences]
        assert len(set(numbers)) == len(numbers)
        assert self.memory.running_cells() <= CELLS - self.memory.free_cells


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
    memory.finish(filled(memory, "w", ids.tolist()))
    assert memory.best("w", ids)[1] == 19
    logits = np.arange(5, dtype=np.float32)
    memory.keep_end("w", ids, logits)
    assert memory.best("w", ids)[1] == 20
    assert memory.best("other", ids)[1] == 0
    kept = memory.end("w", ids)
    assert kept is not None
    kept[:] = 0
    again = memory.end("w", ids)
    assert again is not None
    assert again.tolist() == logits.tolist()
    assert memory.end("other", ids) is None


def test_an_answer_said_before_is_remembered_once() -> None:
    memory = books()
    memory.finish(filled(memory, "w", list(range(20))))
    free = memory.free_cells
    memory.finish(filled(memory, "w", list(range(15))))
    assert len(memory.sequences) == 1
    assert memory.free_cells == free


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
