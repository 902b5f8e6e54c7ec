"""A model's vocabulary: text to token ids and back.

Laws: user text never becomes a token that steers; its ids are those of its characters, and their
bytes are the text's.  A control segment is looked up whole, by its spelling.

What steers: the control tokens of the file, and those of its user-defined tokens that are markup,
such as `<think>`, `<tool_call>` or `<|fim_prefix|>` (`steers` has the rule).  `llama_tokenize` leaves
control tokens alone when told to, but makes user-defined ones out of any text.  Many of these are
ordinary (runs of blanks, rare letters, Gemma's HTML tags) and stay.  Where one that steers is spelled,
the text is cut inside, and the parts are encoded by themselves.  (That also spares llama.cpp work that
grows with the square of their number: a megabyte of `<think>` takes it half a minute.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_UNKNOWN, _UNUSED, _CONTROL, _USER_DEFINED = 1 << 0, 1 << 1, 1 << 3, 1 << 4

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


class Vocabulary:
    """Thread-safe: llama.cpp's vocabulary is constant after loading."""

    def __init__(self, ffi: Any, lib: Any, vocab: Any) -> None:
        self._ffi, self._lib, self._vocab = ffi, lib, vocab
        self._room, self._buffer = 256, ffi.new("char[]", 256)
        self.size: int = lib.llama_vocab_n_tokens(vocab)
        attrs = [lib.llama_vocab_get_attr(vocab, i) for i in range(self.size)]
        self.eog = frozenset(i for i in range(self.size) if lib.llama_vocab_is_eog(vocab, i))
        special = {i: self._text(i) for i, attr in enumerate(attrs) if attr & (_CONTROL | _USER_DEFINED)}
        steering = {i: text for i, text in special.items() if attrs[i] & _CONTROL or steers(text)}
        self.control: dict[str, int] = {text: i for i, text in steering.items()}
        self._steering = frozenset(steering)
        self._markup = _any_of(text for i, text in steering.items() if attrs[i] & _USER_DEFINED)
        self._pieces = [self._piece(i) for i in range(self.size)]
        blank = self.pieces(self._tokens("a")) in ([b" a"], [b" ", b"a"])
        self._led = self._tokens(_LEAD) if blank else []
        self.longest = max(map(len, self._pieces))
        # Never to be drawn: control tokens that do not end an answer, and padding of the table.
        hidden = [i for i, attr in enumerate(attrs) if attr & (_UNKNOWN | _UNUSED | _CONTROL) and i not in self.eog]
        self.hidden: npt.NDArray[np.int32] = np.asarray(hidden, dtype=np.int32)

    def spelling(self, token: int) -> str:
        """A special token's spelling; "" for none."""
        return self._text(token) if token >= 0 else ""

    @property
    def bos(self) -> int:
        """The beginning-of-text token, or -1."""
        return int(self._lib.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> int:
        """The end-of-text token, or -1."""
        return int(self._lib.llama_vocab_eos(self._vocab))

    def piece(self, token: int) -> bytes:
        """The token's bytes; a control token gives its spelling."""
        return self._pieces[token]

    def pieces(self, ids: list[int]) -> list[bytes]:
        """The bytes of each token; an id outside the vocabulary gives none."""
        return [self._pieces[i] if 0 <= i < self.size else b"" for i in ids]

    def encode(self, segments: list[tuple[str, bool]]) -> list[int]:
        """Token ids of (text, control) runs.  An unknown control spelling is plain text."""
        ids: list[int] = []
        begun = False
        for text, control in segments:
            token = self.control.get(text) if control else None
            if token is not None:
                ids.append(token)
            else:
                ids.extend(self._plain(text, begun))
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
            cuts = _cuts(text, _any_of(map(self._text, met))) or [len(text) // 2]
        places = [0, *cuts, len(text)]
        return [i for a, b in pairwise(places) for i in self._plain(text[a:b], begun and a == 0)]

    def _tokenized(self, text: str, begun: bool) -> list[int]:
        """What llama.cpp makes of a text.  A vocabulary that puts a blank before every text may do so
        only where it was trained to, right behind a control token (`begun`)."""
        if self._led and not begun:
            ids = self._tokens(_LEAD + text)
            if ids[: len(self._led)] == self._led:
                return ids[len(self._led) :]
        return self._tokens(text)

    def _tokens(self, text: str) -> list[int]:
        data = text.encode("utf-8")
        room = len(data) + 8
        buffer = self._ffi.new("llama_token[]", room)
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, room, False, False)
        if count < 0:
            buffer = self._ffi.new("llama_token[]", -count)
            count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, -count, False, False)
        ids: list[int] = self._ffi.unpack(buffer, count) if count else []
        return ids

    def _text(self, token: int) -> str:
        raw: bytes = self._ffi.string(self._lib.llama_vocab_get_text(self._vocab, token))
        return raw.decode("utf-8", "replace")

    def _piece(self, token: int) -> bytes:
        count = self._lib.llama_token_to_piece(self._vocab, token, self._buffer, self._room, 0, True)
        if count < 0:
            self._room, self._buffer = -count, self._ffi.new("char[]", -count)
            return self._piece(token)
        return bytes(self._ffi.buffer(self._buffer, count))
