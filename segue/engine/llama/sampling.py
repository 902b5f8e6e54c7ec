"""Which token comes next.

    logits -> penalties -> temperature -> top_k -> top_p -> noise -> token

Laws: the noise is a pure function of (seed, choice, position in the whole answer, token id), so a
continued answer draws what the uninterrupted one would have drawn, and nothing depends on who
else is being served.  The draw is Gumbel-max: the token whose `log p + g` is largest is exactly a
draw from p (Gumbel 1954; Maddison et al., 1411.0030), and a change of logits in the last bits can
only matter where the best two are that close.

Cost: the candidates are found by block maxima (the k-th largest of the maxima of blocks of 128 bounds
the k-th largest logit from below), so the common case never sorts the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from segue.core.generation import Decoding
from segue.engine.llama.context import FloatRow
from segue.engine.seam.cover import Cover, Element, Part, Path, log_sum

_BLOCK = 128
_NUCLEUS_FIRST = 256
_MASK = (1 << 64) - 1

Ids = npt.NDArray[np.intp]


@dataclass(slots=True)
class Sampler:
    """One choice's sampling state: what its answer holds so far, and its place in the noise.

    `position` numbers tokens from the answer's beginning, the caller's prefix included.
    """

    decoding: Decoding
    choice: int
    hidden: npt.NDArray[np.int32]
    position: int = 0
    _counts: dict[int, int] = field(default_factory=dict)

    def see(self, token: int) -> None:
        """The answer has grown by this token."""
        self._counts[token] = self._counts.get(token, 0) + 1
        self.position += 1

    def draw(self, logits: FloatRow, allowed: npt.NDArray[np.bool_] | None = None) -> int:
        """The next token, of those that are `allowed` where that is said.  Overwrites parts of `logits`."""
        self._penalise(logits)
        if allowed is not None:
            logits[~allowed] = -np.inf
        if len(self.hidden):
            logits[self.hidden] = -np.inf
        how = self.decoding
        if how.temperature == 0.0:
            return int(logits.argmax())
        ids, scores = _kept(logits, how)
        keys = scores + gumbel(how.seed, self.choice, self.position, ids)
        return int(ids[keys.argmax()])

    def join(self, cover: Cover) -> Element:
        """One element of a prefix's cover, which is not empty.

        The same steps as for a token, over whole elements: the last token bears the penalties, the
        temperature sharpens the element's weight, top_k and top_p count elements.  Then it is drawn token
        by token, each with the noise of its own place: what an uninterrupted answer meets there, and
        none that a later token is drawn with.
        """
        how, parts = self.decoding, cover.parts
        weights = np.concatenate([part.weights + self._change(part) for part in parts])
        if how.temperature == 0.0:
            return cover.element(int(weights.argmax()))
        places, scores = _kept(weights, how)
        weights[:] = -np.inf
        weights[places] = scores
        return cover.element(self._drawn(parts, weights))

    def _drawn(self, parts: Sequence[Part], weights: npt.NDArray[np.float64]) -> int:
        """The number of one element: at each token, those it ends with and those it goes on with compete."""
        begins = np.cumsum([0, *(len(part.tokens) for part in parts)]).tolist()
        behind = [log_sum(weights[a:b]) for a, b in pairwise(begins)]
        path: Path = ()
        while True:
            begin, ids, left = 0, np.empty(0, np.intp), np.empty(0)
            further: dict[int, float] = {}
            for part, start, weight in zip(parts, begins, behind, strict=False):
                if part.path == path:
                    begin, ids, left = start, part.tokens, weights[start : start + len(part.tokens)]
                elif part.path[: len(path)] == path:
                    token = part.path[len(path)]
                    further[token] = float(np.logaddexp(further.get(token, -np.inf), weight))
            both = np.concatenate([ids, np.fromiter(further, np.intp)])
            keys = np.concatenate([left, np.fromiter(further.values(), np.float64)])
            best = int((keys + gumbel(self.decoding.seed, self.choice, self.position + len(path), both)).argmax())
            if best < len(ids):
                return int(begin + best)
            path = (*path, int(both[best]))

    def _change(self, part: Part) -> npt.NDArray[np.float32] | float:
        """What the penalties do to the last tokens of a part's elements."""
        after = Sampler(self.decoding, self.choice, self.hidden, self.position, dict(self._counts))
        for token in part.path:
            after.see(token)
        return after._changed(part.tokens, part.logits) - part.logits

    def _changed(self, tokens: Ids, logits: FloatRow) -> FloatRow:
        counted = self._counted()
        if counted is None:
            return logits
        ids, counts = counted
        order = np.argsort(ids)
        places = np.minimum(np.searchsorted(ids[order], tokens), len(ids) - 1)
        found = ids[order][places] == tokens
        changed = logits.copy()
        changed[found] = self._lessened(logits[found], counts[order][places][found])
        return changed

    def _penalise(self, logits: FloatRow) -> None:
        counted = self._counted()
        if counted is not None:
            ids, counts = counted
            logits[ids] = self._lessened(logits[ids], counts)

    def _counted(self) -> tuple[Ids, FloatRow] | None:
        """The answer's tokens and how often each came; None where no penalty asks for it."""
        how = self.decoding
        idle = how.repetition_penalty == 1.0 and how.presence_penalty == 0.0 and how.frequency_penalty == 0.0
        if not self._counts or idle:
            return None
        ids = np.fromiter(self._counts, dtype=np.intp, count=len(self._counts))
        return ids, np.fromiter(self._counts.values(), dtype=np.float32, count=len(self._counts))

    def _lessened(self, values: FloatRow, counts: FloatRow) -> FloatRow:
        how = self.decoding
        if how.repetition_penalty != 1.0:
            values = np.where(values > 0, values / how.repetition_penalty, values * how.repetition_penalty)
        lessened: FloatRow = values - how.presence_penalty - how.frequency_penalty * counts
        return lessened


def _kept(logits: FloatRow | npt.NDArray[np.float64], how: Decoding) -> tuple[Ids, npt.NDArray[np.float64]]:
    """The tokens that may come, best first, and their log-weights at this temperature."""
    if how.top_k:
        ids = _largest(logits, how.top_k)
        scores = logits[ids].astype(np.float64) / how.temperature
        scores -= _logsumexp(scores)
        return _nucleus(ids, scores, how.top_p)
    whole = logits.astype(np.float64)
    whole /= how.temperature
    total = _logsumexp(whole)
    if how.top_p >= 1.0:
        ids = np.nonzero(np.isfinite(whole))[0]
        return ids, whole[ids] - total
    count = _NUCLEUS_FIRST
    while True:
        ids = _largest(logits, count)
        scores = whole[ids] - total
        if count >= len(logits) or np.exp(scores).sum() >= how.top_p:
            return _nucleus(ids, scores, how.top_p)
        count *= 8


def _nucleus(ids: Ids, scores: npt.NDArray[np.float64], top_p: float) -> tuple[Ids, npt.NDArray[np.float64]]:
    """The smallest head of best-first candidates that holds `top_p`; never empty."""
    if top_p >= 1.0:
        return ids, scores
    kept = int(np.searchsorted(np.cumsum(np.exp(scores)), top_p)) + 1
    return ids[:kept], scores[:kept]


def _largest(logits: FloatRow | npt.NDArray[np.float64], count: int) -> Ids:
    """Indices of the `count` largest, best first, ties by index; fewer where the rest is -inf."""
    size = len(logits)
    whole = size - size % _BLOCK
    blocks = logits[:whole].reshape(_BLOCK, -1).max(axis=0)  # strided blocks: a quarter of the time of solid ones
    if count < len(blocks):
        floor = np.partition(blocks, len(blocks) - count)[len(blocks) - count]
        ids = np.nonzero(logits >= floor)[0]
    else:
        ids = np.arange(size)
    values = logits[ids]
    finite = values > -np.inf
    ids, values = ids[finite], values[finite]
    order = np.argsort(-values, kind="stable")[:count]
    return ids[order]


def _logsumexp(values: npt.NDArray[np.float64]) -> float:
    top = float(values.max())
    return top + float(np.log(np.exp(values - top).sum()))


def gumbel(seed: int, choice: int, position: int, ids: Ids) -> npt.NDArray[np.float64]:
    """Standard Gumbel noise, one value an id: a counter-based generator (splitmix64's finaliser)."""
    key = _mix(_mix(_mix(seed) + choice) + position)
    mixed = _mix_array(ids.astype(np.uint64) + np.uint64(key))
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return -np.log(-np.log(uniform))


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _mix_array(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def logprobs(logits: FloatRow, alternatives: int) -> tuple[float, list[tuple[int, float]]]:
    """(log of the normaliser, the best `alternatives` tokens with their log-probabilities).

    Of the model's own distribution: before penalties and temperature.
    """
    top = float(logits.max())
    total = top + float(np.log(np.exp(logits - np.float32(top)).sum(dtype=np.float64)))
    best = _largest(logits, alternatives) if alternatives else ()
    return total, [(int(i), float(logits[i]) - total) for i in best]
