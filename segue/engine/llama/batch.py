"""What goes into a step, as rows: of each strand its next tokens, and of pictures their embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.engine.llama.context import Patch, Row
from segue.engine.llama.pace import Plan
from segue.engine.llama.strand import Strand


@dataclass(slots=True)
class Batch:
    """`patches` are the embeddings of those rows that have some; `ends` are the rows whose logits are wanted: whose
    they are, the index of their token, the row."""

    rows: list[Row] = field(default_factory=list)
    patches: dict[int, Patch] = field(default_factory=dict)
    ends: list[tuple[Strand, int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan) -> Batch:
        """The rows of a plan, in its order."""
        made = cls()
        for strand, count in plan:
            made._add(strand, count)
        return made

    def _add(self, strand: Strand, count: int) -> None:
        assert strand.sequence is not None
        start, number, seam, places = strand.held, strand.sequence.number, strand.seam, strand.places
        last = start + count == len(strand.ids)
        for at in range(start, start + count):
            wanted = (last and at == start + count - 1) or (seam is not None and at >= seam.at - 1)
            if wanted:
                self.ends.append((strand, at, len(self.rows)))
            if places and (patch := places.seen(at)) is not None:
                self.patches[len(self.rows)] = patch
            self.rows.append((strand.ids[at], places.position(at) if places else at, number, wanted))


def rows(plan: Plan) -> int:
    """How many rows a plan has."""
    return sum(count for _, count in plan)


def common(other: Strand, strand: Strand) -> int:
    """The length of the two prompts' common head; never all of the second."""
    ours, theirs = strand.array(), other.array()
    size = min(len(ours) - 1, len(theirs))
    differing = (ours[:size] != theirs[:size]).nonzero()[0]
    return int(differing[0]) if len(differing) else size
