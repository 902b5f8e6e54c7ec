"""A list of words and patterns that nothing may say.

A line each: a word or a phrase, found anywhere and in any case (`/.../` is a pattern in RE2's syntax); `#` begins a
comment; `[input]`, `[output]` and `[both]` say which side the lines below them are about, at first both.

Laws: what is looked for is found in time linear in the text, whatever the patterns are (RE2 has no back-references and
no look-around, and no need to try again); a word is found however the text was cut into pieces, before its first
character is let go; what a pattern finds likewise, when it has at most `PATTERN_CHARS` characters: of a longer find
only the end is kept back, and its beginning may be out when it ends the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import re2

from segue.core import frozen
from segue.core.errors import Side

PATTERN_CHARS = 64
"""How much of a text is held back while a pattern may yet find something in it."""
LINES_MAX = 100_000
WORD_CHARS_MAX = 256
_MEMORY_MAX = 512 * 1024**2
_LIST_BYTES_MAX = 16 * 1024**2
_SIDES: tuple[Side, ...] = ("input", "output")


class WordsInvalid(Exception):
    """The list cannot be used.  The message says where and why."""


@frozen
class Entry:
    """A line of the list."""

    source: str
    is_pattern: bool
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Finder:
    """All that is looked for on one side."""

    words: re2._Regexp | None
    patterns: re2._Regexp | None
    beginnings: frozenset[str]
    """Every beginning of a word that is not the whole of it, in small letters."""
    longest: int
    """Of those."""

    def finds(self, text: str, begun: bool = True, ended: bool = True) -> bool:
        """Whether any of it is in the text.

        What has not `begun` or not `ended` is a piece out of a longer text: its first character is only there for
        what stands behind it, and its last one for what stands before it, for a pattern may ask what that is.
        """
        if self.words is not None and self.words.search(text) is not None:
            return True
        if self.patterns is None:
            return False
        return self.patterns.search(text, int(not begun), len(text) - int(not ended)) is not None

    def hold(self, text: str) -> int:
        """How many of the text's last characters may belong to something that is found when it goes on."""
        least = PATTERN_CHARS if self.patterns is not None else 0
        low = _small(text[-self.longest :]) if self.longest else ""
        for length in range(len(low), least, -1):
            if low[-length:] in self.beginnings:
                return length
        return min(least, len(text))

    def __bool__(self) -> bool:
        return self.words is not None or self.patterns is not None


def read_words(path: Path) -> tuple[Finder, Finder]:
    """What is looked for in what is asked, and in what is answered.  Raises WordsInvalid."""
    try:
        if path.stat().st_size > _LIST_BYTES_MAX:
            raise WordsInvalid(f"{path} has more than {_LIST_BYTES_MAX} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WordsInvalid(f"{path} cannot be read: {error}") from error
    if len(lines) > LINES_MAX:
        raise WordsInvalid(f"{path} has more than {LINES_MAX} lines")
    entries: list[Entry] = []
    sides = _SIDES
    for number, line in enumerate(lines, 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if said in ("[input]", "[output]", "[both]"):
            sides = _SIDES if said == "[both]" else tuple(side for side in _SIDES if said == f"[{side}]")
            continue
        try:
            entries.append(_entry(said, sides))
        except ValueError as error:
            raise WordsInvalid(f"{path}, line {number}: {error}") from error
    try:
        return finder(entries, "input"), finder(entries, "output")
    except re2.error as error:
        raise WordsInvalid(f"{path}: {_reason(error)}") from error


def finder(entries: Sequence[Entry], side: Side) -> Finder:
    """What finds these, on this side.  Raises re2.error."""
    words = [entry.source for entry in entries if side in entry.sides and not entry.is_pattern]
    patterns = [entry.source for entry in entries if side in entry.sides and entry.is_pattern]
    beginnings = {_small(word)[:length] for word in words for length in range(1, len(word))}
    return Finder(
        _compiled("|".join(map(re2.escape, words)), False) if words else None,
        _compiled("|".join(f"(?:{pattern})" for pattern in patterns), True) if patterns else None,
        frozenset(beginnings),
        max(map(len, beginnings), default=0),
    )


def _entry(said: str, sides: tuple[Side, ...]) -> Entry:
    """Raises ValueError."""
    if len(said) > 2 and said[0] == said[-1] == "/":
        pattern = said[1:-1]
        try:
            found = _compiled(pattern, True).search("")
        except re2.error as error:
            raise ValueError(_reason(error)) from error
        if found is not None:
            raise ValueError("the pattern finds the empty text, and so everything")
        return Entry(pattern, True, sides)
    if len(said) > WORD_CHARS_MAX:
        raise ValueError(f"a word of more than {WORD_CHARS_MAX} characters")
    return Entry(re.sub(r"\s+", " ", said), False, sides)


def _compiled(pattern: str, case_sensitive: bool) -> re2._Regexp:
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.max_mem = _MEMORY_MAX
    options.log_errors = False
    options.never_capture = True
    return re2.compile(pattern, options)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _small(text: str) -> str:
    """Folded as RE2 folds letters that are matched in any case, which leaves the length as it is."""
    low = text.casefold()
    return low if len(low) == len(text) else "".join(map(_small_letter, text))


def _small_letter(letter: str) -> str:
    for low in (letter.casefold(), letter.lower()):
        if len(low) == 1:
            return low
    return letter
