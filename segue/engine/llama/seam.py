"""The end of a prefix, inside the embedded engine: from the logits of its own tokens to its cover.

The tokens that spell the prefix's end are read with the rest of the prompt, so the logits on the
main path cost no step of their own; only branches that turn off it are read apart, a few rows at a
time, over the same cells.

Law: the tail begins behind the answer's beginning and leaves at least one token before it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segue.core.generation import Decoding
from segue.engine.llama import frames
from segue.engine.llama.branches import Branch, Branches
from segue.engine.llama.context import DRAWN_ROWS_MAX, PROBES_MAX, FloatRow
from segue.engine.llama.guide import Guide
from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.seam.cover import Budget, Cover, Node, Path, Search
from segue.engine.seam.lexicon import Lexicon
from segue.engine.seam.tail import given_back


@dataclass(slots=True)
class Seam:
    """`at` is the index of the tail's first token in the strand's ids, `main` are those tokens."""

    at: int
    main: Path
    tail: bytes
    budget: Budget
    seconds: float
    hidden: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    guide: Guide | None = None
    """The constraint's place where the tail begins."""
    rule: str = ""
    """The constraint itself."""
    known: dict[Path, FloatRow] = field(default_factory=dict)
    """Logits behind beginnings of the main path."""
    search: Search | None = None
    began: float = 0.0

    @classmethod
    def of(
        cls, asked: frames.Seam, ids: list[int], answer_at: int, vocabulary: Vocabulary, decoding: Decoding
    ) -> Seam | None:
        """The seam of a prompt; None where nothing stands behind its answer's beginning."""
        begin = max(answer_at, len(ids) - asked.tokens, 1)
        at = len(ids) - given_back([vocabulary.piece(token) for token in ids[begin:]], asked.tokens)
        main = tuple(ids[at:])
        tail = b"".join(map(vocabulary.piece, main))
        if not tail:
            return None
        budget = Budget(asked.eps, asked.nodes, decoding.temperature == 0.0)
        return cls(at, main, tail, budget, asked.seconds, vocabulary.hidden)

    def learn(self, index: int, logits: FloatRow) -> None:
        """The logits behind the strand's token `index`."""
        self.known[self.main[: index + 1 - self.at]] = self._drawable(logits)

    def tell(self, node: Node, logits: FloatRow) -> None:
        """The logits behind a branch."""
        assert self.search is not None
        self.search.told(node, self._drawable(logits))

    def _drawable(self, logits: FloatRow) -> FloatRow:
        """A copy in which what is never drawn has no weight."""
        row = logits.copy()
        row[self.hidden] = -np.inf
        return row

    def begin(self, lexicon: Lexicon) -> None:
        """Everything on the main path is known."""
        legal = None if self.guide is None else self.guide.behind
        self.search = Search(lexicon, self.tail, self.budget, legal, self.known.get)
        self.began = time.perf_counter()

    def restart(self) -> None:
        """Its place in the cache is lost."""
        self.known, self.search = {}, None

    @property
    def late(self) -> bool:
        """The search has had its time."""
        return time.perf_counter() - self.began > self.seconds

    def wanted(self, branches: Branches) -> list[Node]:
        """The nodes to be read next: at most PROBES_MAX, few rows where that is possible, and none on the chance
        that it may be wanted, since a row more costs half a step; [] when the search is over."""
        assert self.search is not None
        nodes: list[Node] = []
        rows = 0
        while len(nodes) < PROBES_MAX and (found := self.search.wanted(1, surely=True)):
            node = found[0]
            rows += branches.rows(self.branch(node))
            if nodes and rows > DRAWN_ROWS_MAX:
                self.search.put_back(node)
                break
            nodes.append(node)
        return nodes

    def branch(self, node: Node) -> Branch:
        """Where a node turns off the strand's own tokens, and how it goes on."""
        common = self.common(node.path)
        return self.at + common, node.path[common:]

    def common(self, path: Path) -> int:
        """How many tokens of a path are the main path's."""
        count = 0
        while count < min(len(path), len(self.main)) and path[count] == self.main[count]:
            count += 1
        return count

    def cover(self) -> Cover:
        """What was found.  The logits are needed no more."""
        assert self.search is not None
        return self.search.cover()
