"""The branches of one search, in the cache for as long as it goes on.

A search reads what may stand for a prefix's end, beginning by beginning.  One that goes on from another costs a single
row when the other's cells are still there.

Laws: the branches of one sequence at a time; whoever shortens or gives up that sequence prunes first, since branches
hold its cells too; a branch is read at once or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from segue.engine.llama.context import PROBES_MAX, DecodeError, FloatRow, Row

Branch = tuple[int, tuple[int, ...]]
"""How many tokens of the sequence it begins with, and its own."""


class Cells(Protocol):
    """What a context can do, as far as it is needed here."""

    @property
    def trials(self) -> Sequence[int]: ...
    def share(self, source: int, target: int, end: int) -> None: ...
    def cut(self, sequence: int, end: int) -> None: ...
    def probe(self, rows: Sequence[Row]) -> list[FloatRow]: ...


class Branches:
    """Empty at first."""

    def __init__(self, context: Cells) -> None:
        self._context = context
        self._free = list(context.trials)
        self._numbers: dict[Branch, int] = {}

    def rows(self, branch: Branch) -> int:
        """How many rows it takes to read one."""
        return len(branch[1]) - self._held(branch)

    @property
    def any(self) -> bool:
        """Is there one?"""
        return bool(self._numbers)

    @property
    def full(self) -> bool:
        """Could it be that no PROBES_MAX more can be read?"""
        return len(self._free) < PROBES_MAX

    def read(self, source: int, branches: Sequence[Branch], shift: int = 0) -> list[FloatRow]:
        """The logits after each, of sequence `source`, whose tokens' positions are `shift` from their indices here;
        they were not `full`.  Raises DecodeError, and then none of these is there."""
        rows: list[Row] = []
        made: dict[Branch, int] = {}
        for branch in branches:
            (count, tokens), held, number = branch, self._held(branch), self._free.pop()
            begin, last = count + shift, len(tokens) - 1
            self._context.share(self._numbers[count, tokens[:held]] if held else source, number, begin + held)
            rows += [(tokens[at], begin + at, number, at == last) for at in range(held, len(tokens))]
            made[branch] = number
        try:
            found = self._context.probe(rows)
        except DecodeError:
            for number in made.values():
                self._drop(number)
            raise
        self._numbers |= made
        return found

    def prune(self) -> None:
        """Nothing of them stays."""
        for number in self._numbers.values():
            self._drop(number)
        self._numbers.clear()

    def _held(self, branch: Branch) -> int:
        """How many of its tokens are another's."""
        count, tokens = branch
        return next((size for size in range(len(tokens) - 1, 0, -1) if (count, tokens[:size]) in self._numbers), 0)

    def _drop(self, number: int) -> None:
        self._context.cut(number, 0)
        self._free.append(number)
