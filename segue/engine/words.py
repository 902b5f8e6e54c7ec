"""A vocabulary: text to token ids and back, wherever the vocabulary comes from.

Laws: user text never becomes a token that steers; its ids are those of its characters, and their
bytes are the text's.  A control segment is looked up whole, by its spelling.

What steers: the control tokens of the file, and those of its user-defined tokens that are markup,
such as `<think>`, `<tool_call>` or `<|fim_prefix|>` (`steers` has the rule).  Many user-defined ones
are ordinary (runs of blanks, rare letters, Gemma's HTML tags) and stay.  Where one that steers is
spelled, the text is cut inside, and the parts are encoded by themselves.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_LEAD = "\n"  # merges with nothing behind it, in vocabularies that put a blank before a text

# HTML that some vocabularies (Gemma's) hold as single tokens: what a page says, not what a chat means.
_TAG = re.compile(
    "/?(a|b|blockquote|body|br|caption|code|dd|del|div|dl|dt|em|h[1-6]|head|hr|html|i|img|li|ol|p|pre|s|small|span|strong"
    "|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|u|ul)/?"
)


def steers(spelling: str) -> bool:
    """Whether a user-defined token is markup for the chat: `<...>` or `[...]` with a letter in it, or
    `<|...`; an HTML tag is not."""
    if len(spelling) < 3 or spelling[0] + spelling[-1] not in ("<>", "[]"):
        return False
    inner = spelling[1:-1]
    return inner[0] in "|\uff5c" or (any(map(str.isalpha, inner)) and not _TAG.fullmatch(inner))


def cut_at(spelling: str) -> int:
    """Where to cut a spelling: behind its last word, where pre-tokenisers part words from signs anyway.

    So the ids are the ones that a vocabulary without this token would give (measured on Qwen's: all
    of 1,584 spellings in context; cut behind the first character, half of them).
    """
    ends = [at for at in range(1, len(spelling)) if spelling[at - 1].isalnum() and not spelling[at].isalnum()]
    return ends[-1] if ends else 1


def _any_of(spellings: Iterable[str]) -> re.Pattern[str] | None:
    """What finds any of them, and others that differ in a number: placeholders come by the thousand,
    and a cut too many, between a word and a sign, changes nothing."""
    shapes = {re.sub("[0-9]+", "[0-9]+", re.escape(each)) for each in spellings}
    return re.compile("|".join(sorted(shapes))) if shapes else None


def _cuts(text: str, spelled: re.Pattern[str] | None) -> list[int]:
    """A place inside each spelling, overlapping ones too."""
    cuts: set[int] = set()
    found = spelled.search(text) if spelled is not None else None
    while found is not None and spelled is not None:
        cuts.add(found.start() + cut_at(found.group()))
        found = spelled.search(text, found.start() + 1)
    return sorted(cuts)


@dataclass(frozen=True, slots=True)
class Table:
    """What a vocabulary's file says.  `steering`: spellings by id; `markup`: those of them that its own encoder would
    make out of plain text; `hidden`: ids that are never drawn."""

    pieces: Sequence[bytes]
    steering: Mapping[int, str]
    markup: Sequence[str]
    eog: frozenset[int]
    hidden: Sequence[int]
    bos: int = -1
    eos: int = -1


_SHORT_CHARACTERS, _SHORT_MAX = 16, 1024
"""Texts so short, and so many of them, are kept with their tokens: a template says the same few in every prompt, and an
encoder needs tens of microseconds for the least."""
_OWN_MAX = 64


class Words(ABC):
    """Thread-safe where `_tokens` is."""

    def __init__(self, table: Table) -> None:
        self._pieces = table.pieces
        self.size = len(table.pieces)
        self.eog = table.eog
        self.bos, self.eos = table.bos, table.eos
        self.control: dict[str, int] = {text: i for i, text in table.steering.items()}
        self._spellings = table.steering
        self._steering = frozenset(table.steering)
        self._markup = _any_of(table.markup)
        self.longest = max(map(len, table.pieces))
        # Never to be drawn: control tokens that do not end an answer, and padding of the table.
        self.hidden: npt.NDArray[np.int32] = np.asarray(table.hidden, dtype=np.int32)
        self._short = lru_cache(_SHORT_MAX)(lambda text: tuple(self._tokens(text)))
        self._own = lru_cache(_OWN_MAX)(lambda text, begun: tuple(self._plain(text, begun)))
        blank = self.pieces(self._tokens("a")) in ([b" a"], [b" ", b"a"])
        self._led = self._tokens(_LEAD) if blank else []

    @abstractmethod
    def _tokens(self, text: str) -> list[int]:
        """What the file's own encoder makes of a text, its control tokens left alone."""

    def piece(self, token: int) -> bytes:
        """The token's bytes; a control token gives its spelling."""
        return self._pieces[token]

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token; an id outside the vocabulary gives none."""
        return [self._pieces[i] if 0 <= i < self.size else b"" for i in ids]

    def encode(self, segments: Iterable[tuple[str, bool]], own: Collection[str] = ()) -> list[int]:
        """Token ids of (text, control) runs.  An unknown control spelling is plain text.  Those of `own`,
        which come in every prompt, are kept."""
        ids: list[int] = []
        begun = False
        for text, control in segments:
            token = self.control.get(text) if control else None
            if token is not None:
                ids.append(token)
            else:
                ids.extend(self._own(text, begun) if text in own else self._plain(text, begun))
            begun = token is not None
        return ids

    def _plain(self, text: str, begun: bool) -> list[int]:
        """Ids of plain text, none of which steers."""
        cuts = _cuts(text, self._markup)
        if not cuts:
            ids = self._tokenized(text, begun)
            met = self._steering.intersection(ids)
            if not met or len(text) < 2:
                return ids
            # Letters were merged, or folded, into one that steers: no vocabulary that we know does so.
            cuts = _cuts(text, _any_of(self._spellings[i] for i in met)) or [len(text) // 2]
        places = [0, *cuts, len(text)]
        return [i for a, b in pairwise(places) for i in self._plain(text[a:b], begun and a == 0)]

    def _tokenized(self, text: str, begun: bool) -> list[int]:
        """What the encoder makes of a text.  A vocabulary that puts a blank before every text may do so
        only where it was trained to, right behind a control token (`begun`)."""
        if self._led and not begun:
            ids = self._tokens(_LEAD + text)
            if ids[: len(self._led)] == self._led:
                return ids[len(self._led) :]
        return list(self._short(text)) if len(text) <= _SHORT_CHARACTERS else self._tokens(text)
