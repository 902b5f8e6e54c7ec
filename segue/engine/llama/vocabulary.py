"""The vocabulary inside a llama.cpp model.

`llama_tokenize` leaves control tokens alone when told to, but makes user-defined ones out of any text; those that
steer are kept out of it by `engine/words.py`.  (That also spares llama.cpp work that grows with the square of their
number: a megabyte of `<think>` takes it half a minute.)
"""

from __future__ import annotations

from typing import Any

from segue.engine.words import Table, Words, steers

_UNKNOWN, _UNUSED, _CONTROL, _USER_DEFINED = 1 << 0, 1 << 1, 1 << 3, 1 << 4


class Vocabulary(Words):
    """Thread-safe: llama.cpp's vocabulary is constant after loading."""

    def __init__(self, ffi: Any, lib: Any, vocab: Any) -> None:
        self._ffi, self._lib, self._vocab = ffi, lib, vocab
        self._room, self._buffer = 256, ffi.new("char[]", 256)
        size = lib.llama_vocab_n_tokens(vocab)
        attrs = [lib.llama_vocab_get_attr(vocab, i) for i in range(size)]
        eog = frozenset(i for i in range(size) if lib.llama_vocab_is_eog(vocab, i))
        special = {i: self._text(i) for i, attr in enumerate(attrs) if attr & (_CONTROL | _USER_DEFINED)}
        steering = {i: text for i, text in special.items() if attrs[i] & _CONTROL or steers(text)}
        super().__init__(
            Table(
                pieces=[self._piece(i) for i in range(size)],
                steering=steering,
                markup=[text for i, text in steering.items() if attrs[i] & _USER_DEFINED],
                eog=eog,
                hidden=[i for i, attr in enumerate(attrs) if attr & (_UNKNOWN | _UNUSED | _CONTROL) and i not in eog],
                bos=int(lib.llama_vocab_bos(vocab)),
                eos=int(lib.llama_vocab_eos(vocab)),
            )
        )

    def spelling(self, token: int) -> str:
        """A special token's spelling; "" for none."""
        return self._text(token) if token >= 0 else ""

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
