"""The words of a text, as numbers: the one way in which texts and questions are read.

A word is known by a hash of its characters, computed for all words of a block at once: with H[i] the sum of
code[k] * B**k over k < i, modulo 2**64, the word from s to e is (H[e] - H[s]) * B**-s, for B is odd and has an inverse.
No word becomes a Python object.

What counts as a word: runs of letters and digits; such runs held together by joiners (`foo_bar`, `AB-1234`,
`3.14`), whole and in pieces, and in pieces at changes of case or kind (`parseJSON2`); dictionary words of Chinese;
pairs of neighbouring characters inside long Chinese words, around single ones (names are not in a dictionary), and in
scripts without blanks.  1,234 is read as 1234.

Laws: line numbers never decrease in what `read` returns for one kind of word; two spellings that `characters` reads
alike are one word.  Hashes collide once in thousands of millions: a line too many is found, never one too few.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import rjieba

from segue.retrieval import characters
from segue.retrieval.characters import DIGIT, GAP, HAN, JOINER, LETTER, NOTHING, UNSPACED, Codes, Kinds

Places = npt.NDArray[np.intp]
Hashes = npt.NDArray[np.uint32]
Longs = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

WORD_CHARACTERS_MAX = 128
FUNCTION = np.array([ord(each) for each in "的了吗呢吧啊是在和与或就都也很"], np.uint32)
"""Characters that are no part of a name: pairs with them say nothing."""
BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)


@dataclass(frozen=True, slots=True)
class Spans:
    """Words by where they begin and end, in characters."""

    starts: Places
    ends: Places

    def where(self, keep: Flags) -> Spans:
        """Some of them."""
        return Spans(self.starts[keep], self.ends[keep])

    @property
    def lengths(self) -> Places:
        """In characters."""
        return self.ends - self.starts


@dataclass(frozen=True, slots=True)
class Words:
    """The words of several lines.  `hashes[i]` stands on line `lines[i]`; `weights[i]` says how much a question should
    make of it: pieces and pairs less than words."""

    hashes: Hashes
    lines: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    reading: Reading


@dataclass(frozen=True, slots=True)
class Reading:
    """What a vector can be looked up for: runs and dictionary words, with accents, in small letters, Simplified."""

    codes: Codes
    spans: Spans
    hashes: Longs
    lines: npt.NDArray[np.int32]

    def word(self, number: int) -> str:
        """One of them."""
        return self.codes[self.spans.starts[number] : self.spans.ends[number]].tobytes().decode("utf-32-le")


@lru_cache(maxsize=4)
def _powers(count: int) -> tuple[Longs, Longs]:
    """B**k and B**-k for all k < count."""
    powers = np.full(count, BASE, np.uint64)
    inverses = np.full(count, INVERSE, np.uint64)
    powers[0] = inverses[0] = 1
    return np.multiply.accumulate(powers), np.multiply.accumulate(inverses)


class _Hasher:
    def __init__(self, codes: Codes) -> None:
        # As few sizes as can be, so that the powers are found ready.
        powers, self._inverses = _powers(1 << max(12, len(codes).bit_length()))
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[: len(codes)], out=self._sums[1:])

    def of(self, spans: Spans) -> Longs:
        found = (self._sums[spans.ends] - self._sums[spans.starts]) * self._inverses[spans.starts]
        found ^= found >> np.uint64(29)  # a polynomial's low bits hardly mix
        found *= np.uint64(0xBF58476D1CE4E5B9)
        return found ^ (found >> np.uint64(32))


def read(lines: list[str]) -> Words:
    """The words of these lines, which have no line breaks in them."""
    text = unicodedata.normalize("NFKC", "\n".join(lines))
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
    codes, kind = _kept(codes, characters.kinds(codes))
    table = characters.tables()
    small = characters.read_as(table.small, codes)
    plain = characters.read_as(table.plain, small)
    line_of = np.cumsum(codes == 10, dtype=np.int32)
    runs = _runs((kind == LETTER) | (kind == DIGIT))
    compounds = _compounds(kind, runs)
    pieces = _pieces(kind, small != codes, runs)
    unspaced = _runs(kind == UNSPACED)
    han, pairs = _chinese(kind, plain)
    pairs = _joined(pairs, _pairs_of(unspaced))
    hasher = _Hasher(plain)
    groups = ((runs, 1.0), (compounds, 1.0), (pieces, 0.4), (han, 1.0), (pairs, 0.5))
    spans = [_short(group) for group, _ in groups]
    hashes = np.concatenate([hasher.of(group) for group in spans])
    at = np.concatenate([group.starts for group in spans])
    weights = np.repeat(np.array([weight for _, weight in groups], np.float32), [len(group.starts) for group in spans])
    reading = _joined(_joined(spans[0], spans[3]), _short(unspaced))
    order = np.argsort(reading.starts, kind="stable")
    reading = Spans(reading.starts[order], reading.ends[order])
    spoken = np.where(kind == HAN, plain, small)
    seen = Reading(spoken, reading, _Hasher(spoken).of(reading), line_of[reading.starts])
    return Words((hashes >> np.uint64(32)).astype(np.uint32), line_of[at], weights, seen)


def _kept(codes: Codes, kind: Kinds) -> tuple[Codes, Kinds]:
    """Without what is read as nothing, and without commas that part thousands."""
    drop = kind == NOTHING
    comma = np.flatnonzero(codes == 44)
    if len(comma):
        padded = np.concatenate([[False], kind == DIGIT, np.zeros(5, np.bool_)])  # padded[i + 1] tells of code i
        before, behind = padded[comma], padded[comma + 2] & padded[comma + 3] & padded[comma + 4]
        drop[comma[before & behind & ~padded[comma + 5]]] = True
    if drop.any():
        return codes[~drop], kind[~drop]
    return codes, kind


def _runs(inside: Flags) -> Spans:
    edges = np.diff(inside.astype(np.int8), prepend=0, append=0)
    return Spans(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1))


def _compounds(kind: Kinds, runs: Spans) -> Spans:
    """Runs that single joiners hold together."""
    joints = np.flatnonzero(kind == JOINER)
    inside = (kind == LETTER) | (kind == DIGIT)
    joints = joints[(joints > 0) & (joints < len(kind) - 1)]
    joints = joints[inside[joints - 1] & inside[joints + 1]]
    if not len(joints):
        return Spans(joints, joints)
    inside[joints] = True
    found = _runs(inside)
    several = np.searchsorted(runs.starts, found.ends) - np.searchsorted(runs.starts, found.starts) > 1
    return found.where(several)


def _pieces(kind: Kinds, large: Flags, runs: Spans) -> Spans:
    """Of runs that change between letters and digits, or from small to capital letters: what is between."""
    letter, digit = kind == LETTER, kind == DIGIT
    change = letter[1:] & digit[:-1] | digit[1:] & letter[:-1]
    change |= letter[1:] & letter[:-1] & large[1:] & ~large[:-1]
    cuts = np.flatnonzero(change) + 1
    if not len(cuts):
        return Spans(cuts, cuts)
    cut = runs.where(np.searchsorted(cuts, runs.ends) > np.searchsorted(cuts, runs.starts))
    starts = np.sort(np.concatenate([cut.starts, cuts]))
    ends = np.sort(np.concatenate([cut.ends, cuts]))
    found = Spans(starts, ends)
    return found.where(found.lengths > 1)


def _chinese(kind: Kinds, plain: Codes) -> tuple[Spans, Spans]:
    """Dictionary words, and the pairs beside them."""
    han = kind == HAN
    if not han.any():
        nothing = np.empty(0, np.intp)
        return Spans(nothing, nothing), Spans(nothing, nothing)
    keep = han.copy()
    keep[1:] |= han[:-1]  # one character of whatever stands behind a run keeps runs apart
    at = np.flatnonzero(keep)
    text = np.where(han[at], plain[at], np.uint32(10)).astype(np.uint32).tobytes().decode("utf-32-le")
    lengths = np.fromiter(map(len, rjieba.cut(text, False)), np.intp)
    starts = np.cumsum(lengths) - lengths
    real = han[at[starts]]
    starts, lengths = at[starts[real]], lengths[real]
    words = Spans(starts, starts + lengths)
    single = np.zeros(len(kind) + 1, np.bool_)
    single[starts[lengths == 1]] = True
    long = np.zeros(len(kind) + 1, np.int8)
    np.add.at(long, starts[lengths > 2], 1)
    np.add.at(long, words.ends[lengths > 2] - 1, -1)
    inner = np.cumsum(long)[:-2] > 0  # a pair that begins here is inside a long word
    bound = np.isin(plain, FUNCTION)
    pair = han[1:] & han[:-1] & (single[1:-1] | single[:-2] | inner) & ~(bound[1:] | bound[:-1])
    begin = np.flatnonzero(pair)
    return words, Spans(begin, begin + 2)


def _pairs_of(runs: Spans) -> Spans:
    """All neighbouring characters in runs; a run of one is its own pair."""
    counts = np.maximum(runs.lengths - 1, 1)
    first = np.repeat(runs.starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return Spans(first, np.minimum(first + 2, np.repeat(runs.ends, counts)))


def _joined(one: Spans, other: Spans) -> Spans:
    return Spans(np.concatenate([one.starts, other.starts]), np.concatenate([one.ends, other.ends]))


def _short(spans: Spans) -> Spans:
    return spans.where(spans.lengths <= WORD_CHARACTERS_MAX)


__all__ = ["GAP", "Flags", "Hashes", "Longs", "Places", "Reading", "Spans", "Words", "read"]
