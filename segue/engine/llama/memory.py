"""Which tokens lie in the key-value cache, and whose they are.

llama.cpp keeps a set of sequences per cell: giving a new sequence the head of an old one costs
nothing (`Context.share`).  This file keeps the books: how many cells are free, which sequence
holds which tokens, which finished sequences are still remembered, and which of them goes first
when room is needed (the least recently used).

Exactness asks two things of it.  Attention adds up in the order of the cells, and the library takes
the lowest free ones once there are enough holes; so while one answer runs alone nothing is freed
from between: when room is needed then, everything goes at once, except the sequence that is about
to be shared, which is moved to the front.  And the logits at the end of a prompt are kept, so that
a prompt asked again is not read again in another way.

Laws: a sequence is only ever matched within its own workspace, so that neither time nor
`cached_tokens` can tell one workspace of another's prompts.  The books say exactly what the
library holds; `Context` is only changed through here, except for `decode` itself.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segue.engine.llama.context import Context, FloatRow

_GROWTH = 256
_NUMBERS_KEPT = 4
"""Sequence numbers that an answer beginning alone finds free: one for each choice it may have."""
_ENDS_MAX = 32
"""Prompt ends whose logits are kept; 0.6 MB each with a vocabulary of 150,000."""


@dataclass(slots=True, eq=False)
class Sequence:
    """A row of tokens in the cache.  `held` of them are computed; `cells` names the cell of each."""

    number: int
    workspace: str
    tokens: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int32]
    held: int = 0
    running: bool = True
    used_at: int = 0
    began_at: int = 0
    """How many cells had ever been taken when it began."""
    taken: int = 0
    """How many it took itself."""

    def common(self, ids: npt.NDArray[np.int32]) -> int:
        """How many leading tokens of `ids` are computed here."""
        size = min(self.held, len(ids))
        differing = np.nonzero(self.tokens[:size] != ids[:size])[0]
        return int(differing[0]) if len(differing) else size


@dataclass(slots=True)
class Memory:
    """The books of one context."""

    context: Context
    sequences_max: int
    divisible: bool = True
    sequences: list[Sequence] = field(default_factory=list)
    _numbers: list[int] = field(init=False)
    _references: npt.NDArray[np.int32] = field(init=False)
    _free: list[int] = field(init=False)
    _clock: int = 0
    _taken: int = 0
    _ends: OrderedDict[bytes, FloatRow] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._numbers = list(range(self.sequences_max - 1, -1, -1))
        self._references = np.zeros(self.context.cells, np.int32)
        self._free = list(range(self.context.cells - 1, -1, -1))

    @property
    def free_cells(self) -> int:
        """Cells no sequence holds."""
        return len(self._free)

    def running_cells(self) -> int:
        """Cells that running sequences hold, each counted once."""
        held = [sequence.cells[: sequence.held] for sequence in self.sequences if sequence.running]
        return len(np.unique(np.concatenate(held))) if held else 0

    def keep_end(self, workspace: str, ids: npt.NDArray[np.int32], logits: FloatRow) -> None:
        """These are the logits after a prompt."""
        self._ends[_end(workspace, ids)] = logits.copy()
        while len(self._ends) > _ENDS_MAX:
            self._ends.popitem(last=False)

    def end(self, workspace: str, ids: npt.NDArray[np.int32]) -> FloatRow | None:
        """A copy of the logits after a prompt, when they were kept."""
        kept = self._ends.get(_end(workspace, ids))
        if kept is None:
            return None
        self._ends.move_to_end(_end(workspace, ids))
        return kept.copy()

    def best(self, workspace: str, ids: npt.NDArray[np.int32]) -> tuple[Sequence | None, int]:
        """The sequence with the longest common head, and its length.  All of `ids` only where the
        logits at its end were kept; else the last token is to be computed again."""
        found, length = None, 0
        if not self.divisible:
            return found, length
        for sequence in self.sequences:
            if sequence.workspace == workspace and (common := sequence.common(ids)) > length:
                found, length = sequence, common
        if length == len(ids) and _end(workspace, ids) not in self._ends:
            length -= 1
        return found, length

    def begin(self, workspace: str, ids: npt.NDArray[np.int32], growth: int = 0) -> tuple[Sequence, int] | None:
        """A new running sequence, with the longest remembered head already in it, and that head's
        length.  `growth` is how long the answer may become.  None when every sequence number is
        in use by a running one."""
        source, length = self.best(workspace, ids)
        if source is not None:
            self._touch(source)
        alone = not any(sequence.running for sequence in self.sequences)
        if alone and (len(self._numbers) < _NUMBERS_KEPT or len(self._free) < len(ids) - length + growth):
            source = self._start_over(source, length)
        elif not self._numbers and not self._forget_oldest():
            return None
        if source is None or source not in self.sequences:
            source, length = self.best(workspace, ids)
        sequence = self._new(workspace)
        if source is not None and length:
            self.context.share(source.number, sequence.number, length)
            sequence.tokens = source.tokens[:length].copy()
            sequence.cells = source.cells[:length].copy()
            sequence.held = length
            self._references[sequence.cells] += 1
        return sequence, length

    def _new(self, workspace: str) -> Sequence:
        sequence = Sequence(self._numbers.pop(), workspace, np.empty(0, np.int32), np.empty(0, np.int32))
        sequence.began_at = self._taken
        self.sequences.append(sequence)
        self._touch(sequence)
        return sequence

    def _start_over(self, source: Sequence | None, length: int) -> Sequence | None:
        """Forget everything but the head that is about to be shared, and move that to the front."""
        if source is None or not length:
            for sequence in list(self.sequences):
                self.forget(sequence)
            return None
        self.context.cut(source.number, length)
        saved, tokens = self.context.save(source.number), source.tokens[:length].copy()
        for sequence in list(self.sequences):
            self.forget(sequence)
        moved = self._new(source.workspace)
        moved.running = False
        self.context.load(moved.number, saved)
        self.extend(moved, tokens)
        return moved

    def reserve(self, count: int) -> bool:
        """Make at least `count` cells free by forgetting remembered sequences.  False: not possible."""
        while len(self._free) < count:
            if not self._forget_oldest():
                return False
        return True

    def extend(self, sequence: Sequence, ids: npt.NDArray[np.int32]) -> None:
        """The library has computed these tokens at the sequence's end.  `reserve` came before."""
        count = len(ids)
        cells = [self._free.pop() for _ in range(count)]
        end = sequence.held + count
        if end > len(sequence.tokens):
            room = end + max(_GROWTH, end // 2)
            sequence.tokens = _grown(sequence.tokens, sequence.held, room)
            sequence.cells = _grown(sequence.cells, sequence.held, room)
        sequence.tokens[sequence.held : end] = ids
        sequence.cells[sequence.held : end] = cells
        self._references[cells] = 1
        self._taken += count
        sequence.taken += count
        sequence.held = end

    def finish(self, sequence: Sequence) -> None:
        """The sequence runs no more; it is remembered until its room is needed, unless another
        remembers all of it and its cells are the last taken, so that no hole is left.  Others that
        it remembers wholly, cell by cell, go."""
        sequence.running = False
        self._touch(sequence)
        ids = sequence.tokens[: sequence.held]
        peers = [
            other
            for other in self.sequences
            if other is not sequence and not other.running and other.workspace == sequence.workspace
        ]
        last = self._taken - sequence.began_at == sequence.taken
        covered = last and any(other.common(ids) == sequence.held for other in peers)
        if sequence.held == 0 or not self.divisible or covered:
            self.forget(sequence)
            return
        for other in peers:
            if other.common(ids) == other.held and (self._references[other.cells[: other.held]] > 1).all():
                self.forget(other)

    def forget(self, sequence: Sequence) -> None:
        """Drop a sequence and free what only it held."""
        self.context.cut(sequence.number, 0)
        cells = sequence.cells[: sequence.held]
        self._references[cells] -= 1
        self._free.extend(cells[self._references[cells] == 0].tolist())
        self.sequences.remove(sequence)
        self._numbers.append(sequence.number)

    def _forget_oldest(self) -> bool:
        remembered = [sequence for sequence in self.sequences if not sequence.running]
        if not remembered:
            return False
        self.forget(min(remembered, key=lambda sequence: sequence.used_at))
        return True

    def _touch(self, sequence: Sequence) -> None:
        self._clock += 1
        sequence.used_at = self._clock


def _end(workspace: str, ids: npt.NDArray[np.int32]) -> bytes:
    digest = hashlib.blake2b(workspace.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(ids.tobytes())
    return digest.digest()


def _grown(array: npt.NDArray[np.int32], held: int, room: int) -> npt.NDArray[np.int32]:
    wider = np.empty(room, np.int32)
    wider[:held] = array[:held]
    return wider
