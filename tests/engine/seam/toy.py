"""A model small enough to be enumerated: letters, tokens of several of them, and a table of chances.

Nothing here uses the code under test: covers are found by trying every token at every place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from segue.engine.seam.cover import Cover, Search
from segue.engine.seam.lexicon import Lexicon

Element = tuple[tuple[int, ...], int]
"""The path, and the last token."""

VOCABULARIES: Sequence[Sequence[bytes]] = (
    # "ab" twice; a token that nothing can come before the end of; one that has no bytes, as the end of an answer.
    (b"a", b"b", b"c", b"ab", b"ab", b"ba", b"aa", b"abc", b"bca", b"cab", b""),
    # No single "b": some tails cannot be spelled, or only by going beyond them.
    (b"a", b"ab", b"ba", b"bb", b"aab", b"bab", b"abba", b"a", b""),
    # Bytes at both ends of their order, as halves of characters are.
    (b"\x00", b"\xff", b"\xff\xff", b"\x00\xff", b"\xff\x00", b"\xff\xff\xff", b"\x00\x00", b"\xff", b""),
    # Letters only: one cover of a single element for every tail.
    (b"a", b"b", b"c", b""),
    # Long tokens over short ones.
    (b"a", b"b", b"abab", b"ababab", b"bababa", b"aba", b"bab", b"ba", b"ab", b"abb", b"bba", b""),
)
ROWS = 512


class Toy:
    """A model: what comes next depends on all that came before, through a table of random rows."""

    def __init__(self, pieces: Sequence[bytes], salt: int, scale: float = 2.0) -> None:
        self.pieces, self.salt, self.scale = pieces, salt, scale
        self.alphabet = sorted({byte for piece in pieces for byte in piece})
        self.lexicon = _lexicon(tuple(pieces))

    def logits(self, path: Sequence[int]) -> npt.NDArray[np.float32]:
        """As an engine gives them."""
        at = hash((self.salt, *path)) % ROWS
        row: npt.NDArray[np.float32] = _table(len(self.pieces), self.scale)[at]
        return row

    def chances(self, path: Sequence[int]) -> npt.NDArray[np.float64]:
        """The probability of each token after a path."""
        at = hash((self.salt, *path)) % ROWS
        row: npt.NDArray[np.float64] = _softmax(len(self.pieces), self.scale)[at]
        return row

    def elements(
        self, tail: bytes, path: tuple[int, ...] = (), weight: float = 1.0
    ) -> Iterator[tuple[Element, float, bytes]]:
        """The whole cover of a tail: each element, its probability, and its bytes behind the tail."""
        chances = self.chances(path)
        for token, piece in enumerate(self.pieces):
            if not piece:
                continue
            if piece.startswith(tail):
                yield (path, token), weight * float(chances[token]), piece[len(tail) :]
            elif tail.startswith(piece):
                yield from self.elements(tail[len(piece) :], (*path, token), weight * float(chances[token]))

    def begins(self, text: bytes, path: tuple[int, ...] = ()) -> float:
        """The probability that what comes after a path begins with `text`."""
        return sum(weight for _, weight, _ in self.elements(text, path)) if text else 1.0

    def text(self, rng: random.Random, size: int) -> bytes:
        """Bytes of its alphabet."""
        return bytes(rng.choice(self.alphabet) for _ in range(size))

    def read(self, search: Search, abreast: int = 1) -> Cover:
        """Bring a search to its end, `abreast` nodes at a time."""
        while nodes := search.wanted(abreast):
            for node in nodes:
                search.told(node, self.logits(node.path))
        return search.cover()


def shares(cover: Cover) -> dict[Element, float]:
    """The probability of each element of what was found."""
    found: dict[Element, float] = {}
    for part in cover.parts:
        for token, weight in zip(part.tokens.tolist(), part.weights.tolist(), strict=True):
            assert (part.path, token) not in found, "an element comes once"
            found[part.path, token] = float(np.exp(weight - cover.total))
    return found


@lru_cache
def _table(size: int, scale: float) -> npt.NDArray[np.float32]:
    return np.random.default_rng(size).normal(0, scale, (ROWS, size)).astype(np.float32)


@lru_cache
def _softmax(size: int, scale: float) -> npt.NDArray[np.float64]:
    weights = np.exp(_table(size, scale).astype(np.float64))
    made: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return made


@lru_cache
def _lexicon(pieces: tuple[bytes, ...]) -> Lexicon:
    return Lexicon(pieces)
