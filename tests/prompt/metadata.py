"""Reads a GGUF file's metadata: just enough to test with the templates that real models ship."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segue.core.generation import ModelCard
from tests.prompt import templates

STRING, ARRAY = 8, 9
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
CONTROL, USER_DEFINED = 3, 4


@dataclass(frozen=True, slots=True)
class Reader:
    """Values in the order of the file, little-endian."""

    file: BinaryIO

    def number(self, format: str) -> int:
        value: int = struct.unpack("<" + format, self.file.read(struct.calcsize("<" + format)))[0]
        return value

    def string(self) -> bytes:
        return self.file.read(self.number("Q"))

    def value(self, kind: int) -> object:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.number(FORMATS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner == STRING:
            return [self.string() for _ in range(count)]
        packed = f"<{count}{FORMATS[inner]}"
        return struct.unpack(packed, self.file.read(struct.calcsize(packed)))


def read_card(path: Path) -> ModelCard:
    """The card of a model file, with its control and user-defined tokens; its template is empty if it ships none."""
    with path.open("rb") as file:
        reader = Reader(file)
        assert file.read(4) == b"GGUF"
        reader.number("I"), reader.number("Q")
        facts: dict[bytes, object] = {}
        for _ in range(reader.number("Q")):
            key = reader.string()
            facts[key] = reader.value(reader.number("I"))
    tokens, kinds = facts[b"tokenizer.ggml.tokens"], facts[b"tokenizer.ggml.token_type"]
    source = facts.get(b"tokenizer.chat_template", b"")
    assert isinstance(tokens, list)
    assert isinstance(kinds, tuple)
    assert isinstance(source, bytes)
    named = (token.decode() for token, kind in zip(tokens, kinds, strict=True) if kind in (CONTROL, USER_DEFINED))
    return templates.card(path.stem, source.decode(), tuple(named))
