"""A text as lines: the smallest pieces that are found and shown.

A line is a sentence, or a row of a table, or a few short ones of them; where text was wrapped at a width, the sentence
goes on past the break.  It has at most `LINE_BYTES_MAX` bytes, whatever the text looks like.

Laws: lines follow each other without a gap, from `begin` to `end`; each begins and ends between characters.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

Text = bytes | bytearray | memoryview | mmap.mmap

LINE_BYTES_MAX = 384
LINE_BYTES_MIN = 40
SENTENCE_BYTES_MIN = 40
WRAPPED_BYTES_MIN = 48
"""A shorter line was not ended by the width of a page."""

_CLOSERS = rb"(?:[\"')\]}]|\xe2\x80[\x99\x9d]|\xe3\x80[\x8b\x8d\x8f\x91]|\xef\xbc\x89)*+"
_BREAK = re.compile(
    rb"\n(?:[ \t\r\f\v]*\n)*"  # 1: a line break, and blank lines behind it
    rb"|(?<![.!?])[.!?]++" + _CLOSERS + rb"[ \t\r]++"  # from a run's beginning only: long runs are read once
    rb"|(?:\xe3\x80\x82|\xef\xbc[\x81\x9b\x9f]|\xe2\x80\xa6)+" + _CLOSERS  # 。 ！ ； ？ …
)
_SENTENCE = re.compile(
    r"(?<=[.!?])\s+|(?<=[。！？])"
    "|\n+(?![a-z])(?!(?<=[\u3400-\u9fff，、]\n)[\u3400-\u9fff])"  # not where one goes on past the break
)
_STOPS = frozenset(b".!?:;|}]>")
_ENDS = frozenset(each.encode() for each in "。！；？…：」』”")
_WEAK = (b"\xef\xbc\x8c", b"\xe3\x80\x81", b", ", b"; ", b" ", b"\t", b",")


def cut(text: Text, begin: int, end: int) -> Iterator[int]:
    """Where the lines of `text[begin:end]` end, in bytes, in order; the last is `end`."""
    start = broken_at = begin
    for found in _BREAK.finditer(text, begin, end):
        at, behind = found.span()
        if text[at] == 10:
            wrapped = at - broken_at >= WRAPPED_BYTES_MIN and behind - at == 1 and _goes_on(text, at, behind, end)
            broken_at = behind
            least = LINE_BYTES_MAX // 2 if wrapped else 1 if behind - at > 1 else LINE_BYTES_MIN
        else:
            least = SENTENCE_BYTES_MIN
        while behind - start > LINE_BYTES_MAX and (cut_at := _inside(text, start, at)) > start:
            yield cut_at
            start = cut_at
        if at - start >= least:
            yield behind
            start = behind
    while end - start > LINE_BYTES_MAX:
        start = _inside(text, start, end)
        yield start
    if end > start:
        yield end


def _goes_on(text: Text, at: int, behind: int, end: int) -> bool:
    """Does a sentence go on past the line break at `at`?"""
    if behind >= end or text[at - 1] in _STOPS:
        return False
    last, following = text[at - 1], text[behind]
    if last < 0x80 or not 0xE3 <= following <= 0xE9:
        return 97 <= following <= 122
    return bytes(text[max(0, at - 3) : at]) not in _ENDS


def _inside(text: Text, start: int, end: int) -> int:
    """Where a line of at most the greatest length may be cut: behind a comma or a blank, else anywhere."""
    if end - start <= LINE_BYTES_MAX:
        return end
    piece = bytes(text[start : start + LINE_BYTES_MAX])
    for mark in _WEAK:
        if (at := piece.rfind(mark, LINE_BYTES_MAX // 3)) >= 0:
            return start + at + len(mark)
    at = LINE_BYTES_MAX
    while text[start + at] & 0xC0 == 0x80:
        at -= 1
    return start + at


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """What somebody would call one, each with its first character's place in the text."""
    at = 0
    for end in [*(found.start() for found in _SENTENCE.finditer(text)), len(text)]:
        if (piece := text[at:end]).strip():
            yield at + len(piece) - len(piece.lstrip()), piece.strip()
        at = end
