"""What a model says of any tokens behind any beginning of a text it has in its cache, and of bytes.

`Reader.mass` is the quantity that everything here comes down to: the probability that the tokens behind
a trunk spell given bytes, in whichever way; that is the total weight of the bytes' cover, found by
Segue's own search.  The text is read once; a branch costs one row of a batch for each token that no
branch before it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.bare import passive
from segue.engine.llama.context import Context, FloatRow, Model
from segue.engine.llama.library import open_library
from segue.engine.seam.cover import Budget, Cover, Search, log_sum
from segue.engine.seam.lexicon import Lexicon

BRANCHES_MAX = 230
ABREAST = 8
_CELLS = 4096
_ROWS_MAX = 64

Key = tuple[int, ...]


def lexicon_of(model: Model) -> Lexicon:
    """The tokens that may stand inside text, as the engine sees them."""
    vocabulary = model.vocabulary
    hidden = {*vocabulary.control.values(), *vocabulary.eog, *vocabulary.hidden.tolist()}
    return Lexicon(vocabulary.pieces(list(range(vocabulary.size))), hidden)


def opened(path: Path) -> Model:
    """The model, in this process."""
    passive()
    return Model(*open_library(), path)


class Reader:
    """One text at a time.  `paths` are the nodes that the last search read."""

    def __init__(self, model: Model, threads: int) -> None:
        self.model, self.lexicon = model, lexicon_of(model)
        self._context = Context(model, _CELLS, BRANCHES_MAX + 1, threads, _ROWS_MAX)
        self._text: list[int] = []
        self._free: list[int] = []
        self._holders: dict[Key, int] = {}
        self._known: dict[Key, FloatRow] = {}
        self.paths: list[Key] = []

    def open(self, ids: Sequence[int]) -> None:
        """Another text.  Everything about the last one is forgotten."""
        for sequence in range(BRANCHES_MAX + 1):
            self._context.cut(sequence, 0)
        self._text = list(ids)
        for at in range(0, len(ids), _ROWS_MAX):
            self._context.decode([(ids[i], i, 0, False) for i in range(at, min(len(ids), at + _ROWS_MAX))])
        self._known.clear()
        self._holders.clear()
        self._free = list(range(1, BRANCHES_MAX + 1))

    def forget(self) -> None:
        """Drop all branches; the text stays."""
        self._drop()
        self._known.clear()

    def mass(self, trunk: Sequence[int], tail: bytes, budget: Budget) -> Cover:
        """The cover of `tail` behind `trunk`; its `total` is the log-probability of the tail's bytes."""
        search = Search(self.lexicon, tail, budget)
        self.paths = []
        while nodes := search.wanted(ABREAST):
            rows = self.behind([(*trunk, *node.path) for node in nodes])
            for node, logits in zip(nodes, rows, strict=True):
                search.told(node, logits)
                self.paths.append(node.path)
        return search.cover()

    def along_path(self, trunk: Key, path: Sequence[int], tail: bytes) -> float:
        """Nats of the tail's bytes by one path alone, with all tokens that may end it."""
        total, rest, pieces = 0.0, tail, self.model.vocabulary.pieces(list(path))
        for at, (token, piece) in enumerate(zip(path, pieces, strict=True)):
            logits = self.behind([(*trunk, *path[:at])])[0]
            if piece.startswith(rest):
                return total + log_sum(logits[self.lexicon.reaching(rest)]) - log_sum(logits)
            total += float(logits[token]) - log_sum(logits)
            rest = rest[len(piece) :]
        return -np.inf

    def behind(self, wanted: Sequence[Key]) -> list[FloatRow]:
        """The logits after each of at most ABREAST beginnings."""
        missing = [ids for ids in dict.fromkeys(wanted) if ids not in self._known]
        if len(missing) > len(self._free):
            self._drop()
        rows: list[tuple[int, int, int, bool]] = []
        ends: list[tuple[Key, int, int]] = []
        for ids in missing:
            sequence = self._free.pop()
            source, held = self._holder(ids)
            self._context.share(source, sequence, held)
            rows += [(ids[at], at, sequence, at == len(ids) - 1) for at in range(held, len(ids))]
            ends.append((ids, sequence, len(rows) - 1))
        while rows:
            batch, rows = rows[:_ROWS_MAX], rows[_ROWS_MAX:]
            self._context.decode(batch)
            for ids, sequence, row in ends:
                if 0 <= row < len(batch):
                    self._known[ids] = self._context.logits(row).copy()
                    self._holders[ids] = sequence
            ends = [(ids, sequence, row - len(batch)) for ids, sequence, row in ends if row >= len(batch)]
        return [self._known[ids] for ids in wanted]

    def along(self, trunk: Key, path: Sequence[int]) -> None:
        """Read a way that will be asked for, in one go: the logits behind `trunk` and each step of `path`."""
        ids = (*trunk, *path)
        if not self._free:
            self._drop()
        sequence = self._free.pop()
        source, held = self._holder(trunk)
        self._context.share(source, sequence, held)
        for at in range(held, len(ids), _ROWS_MAX):
            end = min(len(ids), at + _ROWS_MAX)
            self._context.decode([(ids[i], i, sequence, i + 1 >= len(trunk)) for i in range(at, end)])
            for i in range(max(at, len(trunk) - 1), end):
                self._known[ids[: i + 1]] = self._context.logits(i - at).copy()
                self._holders[ids[: i + 1]] = sequence

    def _holder(self, ids: Key) -> tuple[int, int]:
        """A sequence that holds a beginning of `ids`, the longest known but never all of it, and its length."""
        size = min(len(ids) - 1, len(self._text))
        ours, text = np.asarray(ids[:size]), np.asarray(self._text[:size])
        differing = (ours != text).nonzero()[0]
        common = int(differing[0]) if len(differing) else size
        for length in range(len(ids) - 1, common, -1):
            if (sequence := self._holders.get(ids[:length])) is not None:
                return sequence, length
        return 0, common

    def _drop(self) -> None:
        for sequence in range(1, BRANCHES_MAX + 1):
            self._context.cut(sequence, 0)
        self._free = list(range(1, BRANCHES_MAX + 1))
        self._holders.clear()
