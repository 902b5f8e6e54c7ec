"""The exact seam: every way in which tokens can reach past the end of a prefix, by probability.

A prefix may end in the middle of what the model would have written as one token.  Wanted is the
model's own distribution, given that the text begins with the prefix's bytes.  The cover of a tail is
the set of all token strings whose last token is the first to reach or pass its end; drawing one of
them in proportion to the model's probability, and going on as usual, is exact (Vieira et al.,
2412.03719).  It is found best-first: the heaviest unread beginning is read next, and the weight
still unread bounds the error at every moment.

    Search.wanted -> nodes to read -> Search.told(node, logits) -> ... -> Search.cover()

Laws: no engine, no tokens of its own, no clock: whoever drives it brings logits.  The total variation
between the draw and the exact one, given the tokens before the tail, is at most `Cover.bound`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from segue.engine.seam.lexicon import Ids, Lexicon

Floats = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float32]
Path = tuple[int, ...]
Legal = Callable[[Path], npt.NDArray[np.bool_]]
"""For each token, whether it may follow a path; the path itself and the tail are known to be legal."""
Known = Callable[[Path], Logits | None]
"""The logits behind a path, where they are at hand already: such a node is read at once and costs nothing."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends.  `eps`: unread weight over read weight; `nodes`: how many that are not known may be read.
    `until_best`: go on until nothing unread could be the heaviest, which greedy choice asks for."""

    eps: float = 0.01
    nodes: int = 32
    until_best: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A beginning of the tail.  `weight` is its natural-log probability after the trunk."""

    order: tuple[float, int]
    path: Path = field(compare=False)
    done: int = field(compare=False)
    """How many of the tail's bytes `path` spells."""

    @property
    def weight(self) -> float:
        """Natural logarithm of the path's probability."""
        return -self.order[0]


@dataclass(frozen=True, slots=True)
class Part:
    """What a node that was read brings to the cover: the tokens that reach the tail's end from it.

    `weights[i]` is the natural-log probability of `path` and then `tokens[i]`; `logits[i]` is what the
    model gave that token, for penalties.
    """

    path: Path
    done: int
    tokens: Ids
    weights: Floats
    logits: Logits


@dataclass(frozen=True, slots=True)
class Element:
    """One way to reach past the tail's end: `path`, then `token`, of whose bytes the first `used` are still
    the tail's.  `logprob` is the natural logarithm of its share in the cover."""

    path: Path
    token: int
    used: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Cover:
    """All that was found.  `bound` is the largest total variation to the exact distribution, `nodes` how many were
    read, known ones included.  Elements are
    numbered through, part after part."""

    tail: bytes
    parts: tuple[Part, ...]
    bound: float
    nodes: int

    def element(self, number: int) -> Element:
        """One element."""
        for part in self.parts:
            if number < len(part.tokens):
                share = float(part.weights[number]) - self.total
                return Element(part.path, int(part.tokens[number]), len(self.tail) - part.done, share)
            number -= len(part.tokens)
        raise IndexError(number)

    def heaviest(self, count: int) -> list[Element]:
        """The elements of most weight, best first."""
        weights = np.concatenate([part.weights for part in self.parts]) if self.parts else np.empty(0)
        return [self.element(int(at)) for at in np.argsort(-weights, kind="stable")[:count]]

    @property
    def total(self) -> float:
        """Natural logarithm of the probability that was found; -inf when nothing was."""
        return log_sum(np.concatenate([part.weights for part in self.parts])) if self.parts else -np.inf


class Search:
    """One search over one tail, which is not empty."""

    def __init__(
        self, lexicon: Lexicon, tail: bytes, budget: Budget, legal: Legal | None = None, known: Known | None = None
    ) -> None:
        self._lexicon, self._tail, self._budget, self._legal, self._known = lexicon, tail, budget, legal, known
        self._front: list[Node] = []
        self._asked: list[Node] = []
        self._numbered = 0
        self._parts: list[Part] = []
        self._nodes = self._paid = 0
        self._total = -np.inf
        self._best = -np.inf
        self._unknown = -np.inf
        self.given_up = False
        self._add(Node((0.0, 0), (), 0))

    @property
    def bound(self) -> float:
        """Unread weight over all known weight: at most this far (total variation) from exact.  1 where
        nothing was found."""
        unread = self._unread()
        if self._total == -np.inf:
            return 1.0
        unread = float(np.logaddexp(unread, self._unknown))
        return float(np.exp(unread - np.logaddexp(unread, self._total)))

    @property
    def over(self) -> bool:
        """Nothing more needs to be read, or may be."""
        if not self._front and not self._asked:
            return True
        if self._paid + len(self._asked) >= self._budget.nodes:
            return not self._asked
        unread = self._unread()
        if self._budget.until_best and not (self._best > unread):
            return False
        return unread <= self._allowed(self._total)

    def wanted(self, count: int, surely: bool = False) -> list[Node]:
        """The heaviest unread nodes, at most `count`, each given out once; `told` takes them back.  `surely`: only
        such as must be read whatever comes of those given out, for engines to which each one is dear."""
        nodes: list[Node] = []
        while self._front and len(nodes) < count and not self.over:
            if self._paid + len(self._asked) >= self._budget.nodes or (surely and not self._must):
                break
            node = heapq.heappop(self._front)
            nodes.append(node)
            self._asked.append(node)
        return nodes

    @property
    def _must(self) -> bool:
        """Is more to be read than was given out, even if all of that is found to reach past the tail?"""
        if not self._asked:
            return True
        left = log_sum(np.asarray([node.weight for node in self._front]))
        asked = [node.weight for node in self._asked]
        if self._budget.until_best and left >= max(self._best, *asked):
            return True
        return left > self._allowed(float(np.logaddexp(self._total, log_sum(np.asarray(asked)))))

    def put_back(self, node: Node) -> None:
        """A node given out, unread."""
        self._asked.remove(node)
        heapq.heappush(self._front, node)

    def give_up(self) -> None:
        """Nothing more can be read; what is unread stays in the bound."""
        self.given_up = True
        self._budget = replace(self._budget, nodes=0)
        for node in list(self._asked):
            self.put_back(node)

    def candidates(self, node: Node) -> Ids:
        """The tokens whose probabilities behind a node matter."""
        rest = self._tail[node.done :]
        inside = [token for token, _ in self._lexicon.inside(rest)]
        return np.concatenate([np.asarray(inside, np.intp), self._lexicon.reaching(rest)])

    def told(self, node: Node, logits: Logits) -> None:
        """The model's logits after the trunk and the node's path, of the whole vocabulary."""
        candidates = self.candidates(node)
        self.scored(node, candidates, logits[candidates], log_sum(logits))

    def scored(
        self, node: Node, candidates: Ids, logits: Logits, normaliser: float = 0.0, unknown: float = -math.inf
    ) -> None:
        """The logits of `candidates`, in their order, or with `normaliser` 0 their natural-log
        probabilities; a candidate that an engine knows nothing of is -inf, and all of these together have a
        natural-log probability of at most `unknown`, which stays in the bound."""
        self._asked.remove(node)
        self._paid += 1
        self._found(node, candidates, logits, normaliser, unknown)

    def _add(self, node: Node) -> None:
        """A node that may be read; one that is known, is."""
        logits = None if self._known is None else self._known(node.path)
        if logits is None:
            heapq.heappush(self._front, node)
        else:
            candidates = self.candidates(node)
            self._found(node, candidates, logits[candidates], log_sum(logits))

    def _found(
        self, node: Node, candidates: Ids, logits: Logits, normaliser: float, unknown: float = -math.inf
    ) -> None:
        self._nodes += 1
        self._unknown = float(np.logaddexp(self._unknown, node.weight + unknown))
        inside = self._lexicon.inside(self._tail[node.done :])
        weights = logits.astype(np.float64) - normaliser + node.weight
        known = np.nonzero(weights[len(inside) :] > -np.inf)[0] + len(inside)
        if self._legal is not None and len(known):
            known = known[self._legal(node.path)[candidates[known]]]
        if len(known):
            found = weights[known]
            self._parts.append(Part(node.path, node.done, candidates[known], found, logits[known]))
            self._total = float(np.logaddexp(self._total, log_sum(found)))
            self._best = max(self._best, float(found.max()))
        for (token, size), weight in zip(inside, weights[: len(inside)], strict=True):
            if weight > -np.inf:
                self._numbered += 1
                self._add(Node((-float(weight), self._numbered), (*node.path, token), node.done + size))

    def cover(self) -> Cover:
        """What was found so far."""
        return Cover(self._tail, tuple(self._parts), self.bound, self._nodes)

    def _allowed(self, total: float) -> float:
        """How much may stay unread where so much was found; natural logarithms."""
        return total + math.log(self._budget.eps) if self._budget.eps > 0 else -math.inf

    def _unread(self) -> float:
        weights = [node.weight for node in self._front] + [node.weight for node in self._asked]
        return log_sum(np.asarray(weights)) if weights else -np.inf


def log_sum(values: Floats | Logits) -> float:
    """Natural logarithm of the sum of exponentials; -inf for none."""
    if not len(values):
        return -np.inf
    top = float(values.max())
    if top == -np.inf:
        return -np.inf
    return top + float(np.log(np.exp(values.astype(np.float64) - top).sum()))


def rivals(cover: Cover, data: Callable[[Element], bytes], count: int) -> list[tuple[bytes, float]]:
    """The likeliest `count` things that a cover's elements add to its tail, with the natural logarithms of their
    shares, best first.  `data` is what one adds."""
    top: dict[bytes, float] = {}
    for rival in cover.heaviest(4 * count):
        added = data(rival)
        if added and (added in top or len(top) < count):
            top[added] = float(np.logaddexp(top[added], rival.logprob)) if added in top else rival.logprob
    return sorted(top.items(), key=lambda each: -each[1])
