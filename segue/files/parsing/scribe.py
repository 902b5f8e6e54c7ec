"""Writes down what a reader finds, and says it to the server as it comes.

Laws: text is Unicode without lone surrogates or control characters but for tab and newline; what was said cannot be
taken back; more than the limits allow is `size`.
"""

from __future__ import annotations

import os
import re

from segue.files.parsing import frames
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.unreadable import Unreadable

_PIECE_CHARS = 1 << 16  # at most four bytes each, so well inside a frame
_PROGRESS_MAX = 1000
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufeff\ufffe\uffff]")


class Scribe:
    """One file's text, in order."""

    def __init__(self, pipe: int, limits: ParseLimits) -> None:
        self._pipe = pipe
        self._limits = limits
        self._pending: list[str] = []
        self._chars = self._bytes = self._parts = 0
        self.blank = True

    def part(self, label: str) -> None:
        """What is written from now on belongs to this part."""
        self._flush()
        self._parts += 1
        if self._parts > self._limits.parts_max:
            raise Unreadable("size", "parts")
        self._say(frames.Part(" ".join(_clean(label).split())[: self._limits.label_chars_max]))

    def write(self, text: str) -> None:
        """The next piece of the text."""
        if not text:
            return
        text = _clean(text)
        if self.blank:
            self.blank = not text or text.isspace()
        self._pending.append(text)
        self._chars += len(text)
        if self._chars >= _PIECE_CHARS:
            self._flush()

    def progress(self, done: int, total: int) -> None:
        """So many pages of so many.  Of many, not every one is worth a word."""
        if done == total or done % (total // _PROGRESS_MAX + 1) == 0:
            self._say(frames.Progress(done, total))

    def recognising(self) -> None:
        """From here on pages are images."""
        self._say(frames.Recognising())

    def caged(self, walls: list[str]) -> None:
        """Which walls are missing."""
        self._say(frames.Caged(walls))

    def done(self, pages: int) -> None:
        """That was all.  A file without text is `blank`."""
        if self.blank:
            raise Unreadable("blank")
        self._flush()
        self._say(frames.Done(pages))

    def failed(self, trouble: Unreadable) -> None:
        """It cannot be read; what was written does not count."""
        self._say(frames.Failed(trouble.trouble, trouble.detail))

    def _flush(self) -> None:
        text = "".join(self._pending)
        self._pending.clear()
        self._chars = 0
        for start in range(0, len(text), _PIECE_CHARS):
            piece = text[start : start + _PIECE_CHARS]
            self._bytes += len(piece.encode())
            if self._bytes > self._limits.text_bytes_max:
                raise Unreadable("size", "text")
            self._say(frames.Text(piece))

    def _say(self, frame: frames.Frame) -> None:
        data = memoryview(frames.pack(frame))
        while data:
            data = data[os.write(self._pipe, data) :]


def _clean(text: str) -> str:
    """Line ends as one newline; no character that would be no text."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub(_replace, text) if _UNWANTED.search(text) else text


def _replace(match: re.Match[str]) -> str:
    """A form feed parts pages, a vertical tab lines; a lone surrogate stood for something that was not understood."""
    found = match.group()
    return "\n" if found in "\x0b\x0c" else "\ufffd" if "\ud800" <= found <= "\udfff" else ""
