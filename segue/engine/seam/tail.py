"""Which end of a prefix a continuation may still spell with other tokens.

Vocabularies of this kind (byte-pair merges behind a splitting pattern, as Qwen's, Llama 3's, GPT's) cut
text into runs first: a word with the one character before it, digits, punctuation with the line ends
behind it, blanks.  What comes after a run can only change that run, so the runs before the last
are settled, and the search leaves them alone.  Blanks at the end are all open: they may become
part of a longer indentation, of an empty line, or of the next word.

Law: pure text; errs towards a longer tail.  Inside one long run the caller's bound on tokens decides.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_INNER = bytes(range(0x80, 0xC0))
"""Bytes that only stand inside a character."""

_WIDE_TOKENS_MAX = 3
"""In scripts without blanks a run has no near beginning, and every token more makes the search longer.  With
two 5 continuations of 1,500 were out of reach, with three none."""


def open_end(text: str) -> int:
    """How many characters at the end of `text` are not settled; 0 only for an empty text."""
    words = text.rstrip()
    blanks = len(text) - len(words)
    # Punctuation takes the line ends behind it along.
    if blanks and (not words or _kind(words[-1]) not in ("mark", "") or text[len(words) :].strip("\r\n")):
        return blanks
    at, kind = len(words), ""
    while at:
        here = _kind(words[at - 1])
        if kind and here and here != kind:
            break
        kind = kind or here
        at -= 1
    if at:
        at -= 1  # a blank or a mark before a run may belong to it
    return len(text) - at


def given_back(pieces: Sequence[bytes], tokens_max: int) -> int:
    """How many of a prefix's last tokens are to be given back, at least 1 where there are any.  `pieces`
    are the bytes of its tokens."""
    most = min(len(pieces), tokens_max)
    if most <= 1:
        return most
    window = b"".join(pieces[len(pieces) - most :])
    text = window.decode("utf-8", "ignore")
    settled = len(text[: len(text) - open_end(text)].encode())
    if settled:
        settled += len(window) - len(window.lstrip(_INNER))  # of a character that began before the window
    open_bytes = len(window) - settled
    count, size = 0, 0
    while count < most and (size < open_bytes or not count):
        count += 1
        size += len(pieces[len(pieces) - count])
    return min(count, _WIDE_TOKENS_MAX) if _wide(text.rstrip()[-1:]) else count


def _wide(character: str) -> bool:
    """Is it of a script that writes its words without blanks between them?"""
    return unicodedata.east_asian_width(character or " ") == "W" and _kind(character) == "letter"


def _kind(character: str) -> str:
    """Of what kind of run a character is; "" for combining marks, which some vocabularies count among
    letters and others among punctuation."""
    if character.isspace():
        return "blank"
    group = unicodedata.category(character)[0]
    return {"L": "letter", "M": "", "N": "digit"}.get(group, "mark")
