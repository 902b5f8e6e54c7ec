"""Caller text inside a template: it reads as it was written, and can never spell a control token.

A chat template prints caller text and control tokens into one string, so afterwards nobody can
tell a `<|im_end|>` the template wrote from one that a caller spelled.  `CallerText` makes the
difference visible: wherever caller text spells a control token, or could be a part of one at its
borders, a mark (a character that occurs nowhere else in the request) stands inside.  `segments`
splits the rendered prompt at unmarked spellings and takes the marks out again.

Laws: what is printed carries marks, what a template reads (comparing, splitting, stripping,
measuring) does not, so that a template that looks for `</think>` finds it.  An operation that is
not foreseen here works on the marked characters: the outcome may then keep text that the template
meant to cut, but no caller text becomes a control token.

It refuses to know Jinja, roles and requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import SupportsIndex

from segue.core.errors import BodyInvalid
from segue.core.generation import Segment

SPELLING_CHARACTERS_MIN = 2  # a mark cannot stand inside a single character; such a token is never recognised

# Code points that no text is meant to hold come first, private ones after them.
_CANDIDATES = (range(0xFDD0, 0xFDF0), range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


class Spellings:
    """The control tokens of one model, prepared for searching.  Immutable."""

    def __init__(self, tokens: Iterable[str]) -> None:
        known = sorted({t for t in tokens if len(t) >= SPELLING_CHARACTERS_MIN}, key=lambda t: (-len(t), t))
        self.pattern = re.compile(_any_of(sorted(known))) if known else None
        self.longest = len(known[0]) if known else 0
        self.heads = frozenset(t[:size] for t in known for size in range(1, len(t)))
        self.tails = frozenset(t[-size:] for t in known for size in range(1, len(t)))
        self.inside = "\n\0\n".join(known)

    def marked(self, text: str, mark: str) -> str:
        """`text` with a mark inside whatever is, or could become by its borders, a part of a control token."""
        if self.pattern is None or not text:
            return text
        cuts = set()
        found = self.pattern.search(text)
        while found is not None:  # overlapping ones too: each start is cut
            cuts.add(found.start() + 1)
            found = self.pattern.search(text, found.start() + 1)
        reach = min(len(text), self.longest - 1)
        cuts.update(len(text) - size + 1 for size in range(1, reach + 1) if text[-size:] in self.heads)
        if any(text[:size] in self.tails for size in range(1, reach + 1)) or (
            len(text) < self.longest and text in self.inside
        ):
            cuts.add(0)
        if not cuts:
            return text
        places = [0, *sorted(cuts), len(text)]
        return mark.join(text[a:b] for a, b in pairwise(places))


def _any_of(words: Sequence[str]) -> str:
    """A regular expression for any of the sorted `words`, the longest first.

    Common beginnings are written once: some models have thousands of such tokens, nearly all of
    which begin alike, and trying them one by one at every `<` or `[` of a long text takes seconds.
    """
    head = words[0][: common(words[0], words[-1])]
    rest = [word[len(head) :] for word in words if len(word) > len(head)]
    if not rest:
        return re.escape(head)
    branches = "|".join(_any_of(list(group)) for _, group in groupby(rest, key=itemgetter(0)))
    return f"{re.escape(head)}(?:{branches}){'?' if len(rest) < len(words) else ''}"


def common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


@lru_cache(maxsize=64)
def spellings(tokens: tuple[str, ...]) -> Spellings:
    """The prepared control tokens of a card; remembered for the last 64 cards."""
    return Spellings(tokens)


class CallerText(str):
    """A string from the caller.  Its characters are the marked ones; its methods read the plain ones."""

    _plain: str
    _known: Spellings
    _mark: str

    @classmethod
    def of(cls, plain: str, known: Spellings, mark: str) -> CallerText:
        """Mark `plain`, which must not hold `mark`."""
        made = super().__new__(cls, known.marked(plain, mark))
        made._plain, made._known, made._mark = plain, known, mark
        return made

    def _again(self, plain: str) -> CallerText:
        return self if plain == self._plain else CallerText.of(plain, self._known, self._mark)

    def __str__(self) -> str:
        return self  # so that `str(text).replace(...)`, which filters do, is the `replace` below

    def __eq__(self, other: object) -> bool:
        return self._plain == (other._plain if isinstance(other, CallerText) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._plain)

    def __lt__(self, other: str) -> bool:
        return self._plain < (other._plain if isinstance(other, CallerText) else other)

    def __len__(self) -> int:
        return len(self._plain)

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and _plain(part) in self._plain

    def __iter__(self) -> Iterator[str]:
        return (self._again(character) for character in self._plain)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return self._again(self._plain[key])

    def __add__(self, other: str) -> str:
        return super().__add__(other) if other else self

    def strip(self, chars: str | None = None, /) -> str:
        return self._again(self._plain.strip(chars))

    def lstrip(self, chars: str | None = None, /) -> str:
        return self._again(self._plain.lstrip(chars))

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._again(self._plain.rstrip(chars))

    def removeprefix(self, prefix: str, /) -> str:
        return self._again(self._plain.removeprefix(_plain(prefix)))

    def removesuffix(self, suffix: str, /) -> str:
        return self._again(self._plain.removesuffix(_plain(suffix)))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return [self._again(part) for part in self._plain.split(sep, maxsplit)]

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return [self._again(part) for part in self._plain.rsplit(sep, maxsplit)]

    def splitlines(self, keepends: bool = False) -> list[str]:
        return [self._again(line) for line in self._plain.splitlines(keepends)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, middle, after = self._plain.partition(_plain(sep))
        return self._again(before), self._again(middle), self._again(after)

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, middle, after = self._plain.rpartition(_plain(sep))
        return self._again(before), self._again(middle), self._again(after)

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        return self._again(self._plain.replace(_plain(old), _plain(new), count))

    def lower(self) -> str:
        return self._again(self._plain.lower())

    def upper(self) -> str:
        return self._again(self._plain.upper())

    def title(self) -> str:
        return self._again(self._plain.title())

    def capitalize(self) -> str:
        return self._again(self._plain.capitalize())

    def startswith(self, part: str | tuple[str, ...], *span: SupportsIndex | None) -> bool:
        return self._plain.startswith(part, *span)

    def endswith(self, part: str | tuple[str, ...], *span: SupportsIndex | None) -> bool:
        return self._plain.endswith(part, *span)

    def find(self, part: str, *span: SupportsIndex | None) -> int:
        return self._plain.find(_plain(part), *span)

    def rfind(self, part: str, *span: SupportsIndex | None) -> int:
        return self._plain.rfind(_plain(part), *span)

    def index(self, part: str, *span: SupportsIndex | None) -> int:
        return self._plain.index(_plain(part), *span)

    def count(self, part: str, *span: SupportsIndex | None) -> int:
        return self._plain.count(_plain(part), *span)


def _plain(text: str) -> str:
    return text._plain if isinstance(text, CallerText) else text


def free_mark(texts: Sequence[str]) -> str:
    """A character that occurs in none of `texts`, nor does its JSON escape, which `tojson` may print instead.

    Raises BodyInvalid when all 137,000 candidates are taken.
    """
    used: set[str] | None = None
    for code in chain(*_CANDIDATES):
        mark = chr(code)
        taken = any(mark in text for text in texts) if used is None else mark in used
        if not taken and not any(escaped(mark) in text for text in texts):
            return mark
        used = set().union(*texts) if used is None else used
    raise BodyInvalid("the texts use every private code point")


@lru_cache(maxsize=64)
def escaped(mark: str) -> str:
    """The mark as JSON in ASCII spells it."""
    return json.dumps(mark)[1:-1]


def segments(rendered: str, known: Spellings, mark: str) -> list[Segment]:
    """Split a rendered prompt at its unmarked control tokens, longest spelling first, and drop the marks."""
    runs: list[tuple[str, bool]] = []
    at = 0
    for found in known.pattern.finditer(rendered) if known.pattern is not None else ():
        runs += (unmarked(rendered[at : found.start()], mark), False), (found.group(), True)
        at = found.end()
    runs.append((unmarked(rendered[at:], mark), False))
    return [Segment(text, control) for text, control in runs if text]


def unmarked(text: str, mark: str) -> str:
    """`text` without its marks."""
    return text.replace(mark, "").replace(escaped(mark), "")
