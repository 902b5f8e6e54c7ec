"""What each character is to a search: part of a word or between words, and what it is read as.

Laws: a character is read as one character (small letters, no accents, Simplified for Traditional Chinese), so two
spellings of a word meet; what NFKC joins or parts has been joined or parted before.  Two processes that read an index
must read alike: whatever changes these tables raises `blob.VERSION`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from opencc import OpenCC

GAP, LETTER, DIGIT, HAN, UNSPACED, JOINER, NOTHING = range(7)
"""UNSPACED: scripts without blanks between words, for which there is no dictionary here.  JOINER: what holds names
and numbers together (`foo_bar`, `3.14`).  NOTHING: is left out, as if it had not been written."""

Codes = npt.NDArray[np.uint32]
Kinds = npt.NDArray[np.uint8]

PLANE = 0x10000
HAN_RANGES = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))
HAN_PLANES = (0x20000, 0x32000)
# kana, Hangul, Thai, Lao, Tibetan, Myanmar, Khmer
UNSPACED_RANGES = (
    (0x3040, 0x3100), (0x31F0, 0x3200), (0x1100, 0x1200), (0x3130, 0x3190), (0xAC00, 0xD7B0),
    (0x0E00, 0x0E80), (0x0E80, 0x0F00), (0x0F00, 0x1000), (0x1000, 0x10A0), (0x1780, 0x1800),
)  # fmt: skip
# Points that are put above or below letters and may as well be missing: accents, Hebrew and Arabic vowels.
POINTS = ((0x0300, 0x0370), (0x0591, 0x05BE), (0x064B, 0x0653), (0x0670, 0x0671), (0x1AB0, 0x1B00), (0x1DC0, 0x1E00))
JOINERS = "_.-/@:+#'’"


@dataclass(frozen=True, slots=True)
class Tables:
    """By code point of the first plane."""

    kind: Kinds
    small: Codes
    plain: Codes
    """Of small letters: without accents, and Simplified."""


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Made once in a process, in some 30 ms."""
    kind = np.zeros(PLANE, np.uint8)
    small = np.arange(PLANE, dtype=np.uint32)
    plain = small.copy()
    for code in range(PLANE):
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            kind[code] = LETTER
        elif category[0] == "N":
            kind[code] = DIGIT if category == "Nd" else LETTER
        elif category == "Cf":
            kind[code] = NOTHING
    for low, high in UNSPACED_RANGES:
        kind[low:high][kind[low:high] == LETTER] = UNSPACED
    for low, high in HAN_RANGES:
        kind[low:high] = HAN
    kind[[ord(each) for each in "々〆〇"]] = HAN
    for low, high in POINTS:
        kind[low:high] = NOTHING
    kind[[ord(each) for each in JOINERS]] = JOINER
    for code in np.flatnonzero((kind == LETTER) & (small >= 0x41)).tolist():
        lower = chr(code).lower()[0]
        small[code] = ord(lower)
        plain[code] = ord(unicodedata.normalize("NFKD", lower)[0])
    han = np.flatnonzero(kind == HAN)
    plain[han] = _simplified(han)
    return Tables(kind, small, plain)


def _simplified(han: npt.NDArray[np.intp]) -> Codes:
    """Each character by itself: words that are written in another way as a whole do not matter to a search."""
    text = "\n".join(map(chr, han.tolist()))
    found = OpenCC("t2s").convert(text).split("\n")
    return np.fromiter((ord(new[0]) if len(new) == 1 else old for new, old in zip(found, han.tolist(), strict=True)),
                       np.uint32, len(han))  # fmt: skip


def kinds(codes: Codes) -> Kinds:
    """What each character is."""
    found = tables().kind[np.minimum(codes, PLANE - 1)]
    if (beyond := codes >= PLANE).any():
        han = (codes >= HAN_PLANES[0]) & (codes < HAN_PLANES[1])
        found[beyond] = np.where(han[beyond], HAN, LETTER)
    return found


def read_as(table: Codes, codes: Codes) -> Codes:
    """Each character as one of the tables reads it."""
    found = table[np.minimum(codes, PLANE - 1)]
    if (beyond := codes >= PLANE).any():
        found[beyond] = codes[beyond]
    return found
