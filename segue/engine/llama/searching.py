"""The searches for the ends of prefixes: what is read for them, a few branches before each step.

Laws: the eldest strand's search comes first; what is read for it stays in the cache until it is over, or its strand
loses its place, or another's begins; where there is no room for that, it is read again; where there is none at all,
or no more time, the search ends with what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.engine.llama.branches import Branches
from segue.engine.llama.context import Context, DecodeError, FloatRow
from segue.engine.llama.memory import Memory
from segue.engine.llama.seam import Seam
from segue.engine.llama.strand import Strand
from segue.engine.seam.cover import Node


class Searching:
    """`room(rows, strand)` makes room in the cache, by taking their places from others, or from the strand itself;
    False: it cannot.  `failed(strand, detail)` is called where the library fails.  `patient`: a search takes the time
    it needs."""

    def __init__(
        self,
        context: Context,
        memory: Memory,
        room: Callable[[int, Strand], bool],
        failed: Callable[[Strand, str], None],
        patient: bool,
    ) -> None:
        self._context, self._memory, self._room, self._failed, self._patient = context, memory, room, failed, patient
        self._branches = Branches(context)
        self._of: Strand | None = None

    def step(self, running: Sequence[Strand]) -> int:
        """Read a few branches for the eldest of these whose seam is searched.  Returns how many batches that took."""
        searching = [strand for strand in running if strand.seam is not None and strand.seam.search is not None]
        for strand in sorted(searching, key=lambda strand: strand.arrived):
            seam = strand.seam
            if seam is None or seam.search is None or strand.sequence is None or seam.search.over:
                continue  # done, or it has just lost its place to an elder one's search
            if self._of is not strand or self._branches.full:
                self._prune(strand)
            if seam.late and not self._patient:
                seam.search.give_up()
                continue
            nodes = self._wanted(strand, seam)
            if not nodes or strand.sequence is None:  # over; or it was the youngest itself
                continue
            try:
                rows = self._read(strand, strand.sequence.number, seam, nodes)
            except DecodeError as error:
                self._failed(strand, str(error))
                return 1
            for node, logits in zip(nodes, rows, strict=True):
                seam.tell(node, logits)
            return 1
        return 0

    def end(self, strand: Strand) -> None:
        """Keep nothing of the strand's search.  To be called before its sequence is shortened or given up."""
        if strand is self._of:
            self._prune(None)

    def _prune(self, strand: Strand | None) -> None:
        """Keep nothing; what is read from now on is this strand's."""
        self._branches.prune()
        self._memory.take_back()
        self._of = strand

    def _wanted(self, strand: Strand, seam: Seam) -> list[Node]:
        """The nodes to be read next, for which there is room now; [] when the search is over."""
        assert seam.search is not None
        while nodes := seam.wanted(self._branches):
            count = self._rows(seam, nodes)
            if count <= self._context.rows_max and self._room(count, strand):
                return nodes
            for node in nodes:
                seam.search.put_back(node)
            if not self._branches.any:
                seam.search.give_up()
                return []
            self._prune(strand)
        return []

    def _read(self, strand: Strand, number: int, seam: Seam, nodes: Sequence[Node]) -> list[FloatRow]:
        count = self._rows(seam, nodes)
        shift = strand.places.position(seam.at) - seam.at  # pictures stand before the answer
        rows = self._branches.read(number, [seam.branch(node) for node in nodes], shift)
        self._memory.lend(count)
        return rows

    def _rows(self, seam: Seam, nodes: Sequence[Node]) -> int:
        return sum(self._branches.rows(seam.branch(node)) for node in nodes)
