"""A model's vocabulary: text to token ids and back.

Law: user text never becomes a control token.  `llama_tokenize` is asked to look for special
spellings nowhere; a control segment is looked up whole, by its spelling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_UNKNOWN, _UNUSED, _CONTROL = 1 << 0, 1 << 1, 1 << 3


class Vocabulary:
    """Thread-safe: llama.cpp's vocabulary is constant after loading."""

    def __init__(self, ffi: Any, lib: Any, vocab: Any) -> None:
        self._ffi, self._lib, self._vocab = ffi, lib, vocab
        self._room, self._buffer = 256, ffi.new("char[]", 256)
        self.size: int = lib.llama_vocab_n_tokens(vocab)
        attrs = [lib.llama_vocab_get_attr(vocab, i) for i in range(self.size)]
        self.eog = frozenset(i for i in range(self.size) if lib.llama_vocab_is_eog(vocab, i))
        self.control: dict[str, int] = {self._text(i): i for i in range(self.size) if attrs[i] & _CONTROL}
        self._pieces = [self._piece(i) for i in range(self.size)]
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
        for text, control in segments:
            token = self.control.get(text) if control else None
            if token is not None:
                ids.append(token)
            else:
                ids.extend(self._encode_text(text))
        return ids

    def _encode_text(self, text: str) -> list[int]:
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
