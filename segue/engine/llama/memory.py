"""Which tokens lie in the key-value cache, and whose they are.

llama.cpp keeps a set of sequences per cell: giving a new sequence the head of an old one costs
nothing (`Context.share`).  This file keeps the books: how many cells are free, which sequence
holds which tokens, which finished sequences are still remembered, and which of them goes first
when room is needed (the least recently used).

Exactness asks two things of it.  Attention adds up in the order of the cells, and the library takes
the lowest free ones once there are enough holes; so while one answer runs alone nothing is freed
from between: when room is needed then, everything goes at once, except the sequence that is about
to be shared, which is moved to the front.  And the logits at the end of a prompt are kept, with the
sequence they came from, so that a prompt asked again is not read again in another way, nor gone on
with over cells that another kind of step has computed.

Laws: a sequence is only ever matched within its own workspace, so that neither time nor
`cached_tokens` can tell one workspace of another's prompts.  Tokens are counted, positions
(`places.py`) are what the library is told.  The books say exactly what the
library holds; `Context` is only changed through here, except for `decode` itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segue.engine.llama.context import Context, DecodeError
from segue.engine.llama.ends import Ends
from segue.engine.llama.places import NONE, Places
from segue.engine.llama.sequence import Sequence

_GROWTH = 256
_NUMBERS_KEPT = 4
"""Sequence numbers that an answer beginning alone finds free: one for each choice it may have."""


@dataclass(slots=True)
class Memory:
    """The books of one context."""

    context: Context
    sequences_max: int
    divisible: bool = True
    sequences: list[Sequence] = field(default_factory=list)
    ends: Ends = field(default_factory=Ends)
    _numbers: list[int] = field(init=False)
    _references: npt.NDArray[np.int32] = field(init=False)
    _free: list[int] = field(init=False)
    _lent: list[int] = field(default_factory=list)
    _clock: int = 0
    _taken: int = 0

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

    def best(self, workspace: str, ids: npt.NDArray[np.int32]) -> tuple[Sequence | None, int]:
        """The sequence with the longest common head, and its length: of equal ones that which the kept
        logits came from, else the latest.  All of `ids` only where the logits at its end were kept; else
        the last token is to be computed again."""
        found, length = None, 0
        if not self.divisible:
            return found, length
        for sequence in self.sequences:
            if sequence.workspace != workspace:
                continue
            common = sequence.common(ids)
            if common > length or (found is not None and common == length and sequence.used_at > found.used_at):
                found, length = sequence, common
        if length == len(ids):
            holder = self.ends.holder(workspace, ids)
            if holder is None:
                length -= 1
            elif holder in self.sequences and holder.common(ids) == length:
                found = holder
        return found, length

    def begin(
        self,
        workspace: str,
        ids: npt.NDArray[np.int32],
        growth: int = 0,
        most: int | None = None,
        holder: Sequence | None = None,
        places: Places = NONE,
    ) -> tuple[Sequence, int] | None:
        """A new running sequence, with the longest remembered head already in it, and that head's length: what
        `holder` has of it, where that is still there, else at most `most` tokens of whatever has most.  `growth`
        is how long the answer may become, `places` are the prompt's pictures.  None when every sequence number is in
        use by a running one."""
        source, length = self._head(workspace, ids, most, holder)
        if source is not None:
            self._touch(source)
        alone = not any(sequence.running for sequence in self.sequences)
        if alone and (len(self._numbers) < _NUMBERS_KEPT or len(self._free) < len(ids) - length + growth):
            source = self._start_over(source, length)
        elif not self._numbers and not self._forget_oldest():
            return None
        if source is None or source not in self.sequences:
            source, length = self._head(workspace, ids, most, holder)
        sequence = self._new(workspace)
        sequence.asked, sequence.places = len(ids), places
        if source is not None and length:
            self.context.share(source.number, sequence.number, places.position(length))
            sequence.tokens = source.tokens[:length].copy()
            sequence.cells = source.cells[:length].copy()
            sequence.held = length
            self._references[sequence.cells] += 1
        return sequence, length

    def recall(
        self, workspace: str, ids: npt.NDArray[np.int32], saved: bytearray, documents: frozenset[str] = frozenset()
    ) -> bool:
        """Remember tokens whose cells were saved.  False: there is no room, or they cannot be had."""
        if (not self._numbers and not self._forget_oldest()) or not self.reserve(len(ids)):
            return False
        recalled = self._new(workspace)
        recalled.running, recalled.asked, recalled.documents = False, len(ids), documents
        try:
            self.context.load(recalled.number, saved)
        except DecodeError:
            self.forget(recalled)
            return False
        self.extend(recalled, ids)
        return True

    def _head(
        self, workspace: str, ids: npt.NDArray[np.int32], most: int | None, holder: Sequence | None
    ) -> tuple[Sequence | None, int]:
        if holder is not None and holder in self.sequences and self.divisible:
            common = holder.common(ids)
            return holder, common - (common == len(ids) and self.ends.holder(workspace, ids) is None)
        source, length = self.best(workspace, ids)
        if source is None or most is None or length <= most:
            return source, length
        return source, source.places.whole(most)

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
        self.context.cut(source.number, source.places.position(length))
        saved, tokens = self.context.save(source.number), source.tokens[:length].copy()
        for sequence in list(self.sequences):
            self.forget(sequence)
        moved = self._new(source.workspace)
        moved.running, moved.documents, moved.places = False, source.documents, source.places
        self.context.load(moved.number, saved)
        self.extend(moved, tokens)
        self.ends.moved(source, moved)
        return moved

    def reserve(self, count: int) -> bool:
        """Make at least `count` cells free by forgetting remembered sequences.  False: not possible."""
        while len(self._free) < count:
            if not self._forget_oldest():
                return False
        return True

    def lend(self, count: int) -> None:
        """The library has used so many cells for what is nobody's sequence.  `reserve` came before."""
        self._lent += [self._free.pop() for _ in range(count)]

    def take_back(self) -> None:
        """All that was lent is free again."""
        while self._lent:
            self._free.append(self._lent.pop())

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

    def shorten(self, sequence: Sequence, count: int) -> None:
        """Keep the first `count` tokens of a running sequence."""
        if count >= sequence.held:
            return
        self.context.cut(sequence.number, sequence.places.position(count))
        self._release(sequence.cells[count : sequence.held])
        given = min(sequence.held - count, sequence.taken)
        self._taken -= given
        sequence.taken -= given
        sequence.held = count

    def finish(self, sequence: Sequence) -> None:
        """The sequence runs no more; it is remembered until its room is needed, unless another
        remembers all of it, in the same cells as far as its prompt goes, and its own cells are the last
        taken, so that no hole is left.  Others that it remembers wholly, cell by cell, go."""
        sequence.running = False
        self._touch(sequence)
        ids = sequence.tokens[: sequence.held]
        peers = [
            other
            for other in self.sequences
            if other is not sequence and not other.running and other.workspace == sequence.workspace
        ]
        last = self._taken - sequence.began_at == sequence.taken
        covering = [other for other in peers if other.common(ids) == sequence.held and _alike(other, sequence)]
        if sequence.held == 0 or not self.divisible or (last and covering):
            for other in covering:
                other.documents |= sequence.documents
            if covering:
                self.ends.moved(sequence, covering[0])
            self.forget(sequence)
            return
        for other in peers:
            if other.common(ids) == other.held and (self._references[other.cells[: other.held]] > 1).all():
                sequence.documents |= other.documents
                self.ends.moved(other, sequence)
                self.forget(other)

    def forget_documents(self, documents: Collection[str]) -> None:
        """Drop what is remembered of these documents; what runs is its lane's to drop."""
        self.ends.forget(documents)
        for sequence in list(self.sequences):
            if not sequence.running and not sequence.documents.isdisjoint(documents):
                self.forget(sequence)

    def forget(self, sequence: Sequence) -> None:
        """Drop a sequence and free what only it held."""
        self.context.cut(sequence.number, 0)
        self._release(sequence.cells[: sequence.held])
        self.sequences.remove(sequence)
        self._numbers.append(sequence.number)

    def _release(self, cells: npt.NDArray[np.int32]) -> None:
        self._references[cells] -= 1
        self._free.extend(cells[self._references[cells] == 0].tolist())

    def _forget_oldest(self) -> bool:
        remembered = [sequence for sequence in self.sequences if not sequence.running]
        if not remembered:
            return False
        self.forget(min(remembered, key=lambda sequence: sequence.used_at))
        return True

    def _touch(self, sequence: Sequence) -> None:
        self._clock += 1
        sequence.used_at = self._clock


def _alike(other: Sequence, sequence: Sequence) -> bool:
    """Does `other` hold the sequence's prompt in the very same cells?"""
    asked = min(sequence.asked, sequence.held)
    return bool((other.cells[:asked] == sequence.cells[:asked]).all())


def _grown(array: npt.NDArray[np.int32], held: int, room: int) -> npt.NDArray[np.int32]:
    wider = np.empty(room, np.int32)
    wider[:held] = array[:held]
    return wider
