"""Real vocabularies without their weights, and copies of them in which some tokens are of another kind."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from segue.core.generation import Chunk, ModelCard, Opened, Prompt, Segment
from segue.core.request import Request
from segue.engine.base import Health
from segue.engine.llama.library import open_library
from segue.engine.llama.vocabulary import Vocabulary
from segue.pipeline import Pipeline
from tests.prompt.metadata import CONTROL, USER_DEFINED, Reader

UNUSED = 5
ARRAY_OF_STRINGS, ARRAY_OF_NUMBERS = struct.pack("<II", 9, 8), struct.pack("<II", 9, 5)
# Where Qwen3 has its tokens for thoughts and tools' answers, Qwen2.5 has padding.
THOUGHTS = {
    "[PAD151665]": ("<tool_response>", USER_DEFINED),
    "[PAD151666]": ("</tool_response>", USER_DEFINED),
    "[PAD151667]": ("<think>", USER_DEFINED),
    "[PAD151668]": ("</think>", USER_DEFINED),
}
# Nothing is special to this one: what it makes of a text is what the characters alone would give.
PLAIN = {"<tool_call>": ("[PAD151657]", UNUSED), "</tool_call>": ("[PAD151658]", UNUSED)}


@lru_cache(maxsize=8)
def load(path: Path) -> Vocabulary:
    """The vocabulary of a model file."""
    ffi, lib = open_library()
    ignored = ffi.callback("void(int, const char *, void *)", lambda level, text, data: None)
    lib.llama_log_set(ignored, ffi.NULL)
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    handle: Any = lib.llama_model_load_from_file(str(path).encode(), params)
    assert handle != ffi.NULL, path
    vocabulary = Vocabulary(ffi, lib, lib.llama_model_get_vocab(handle))
    _KEPT.append((ignored, handle))
    return vocabulary


_KEPT: list[object] = []  # what C still points at


def altered(source: Path, target: Path, changes: Mapping[str, tuple[str, int]]) -> Path:
    """Write the metadata of `source` without tensors, some tokens with another spelling and kind."""
    with source.open("rb") as file:
        reader = Reader(file)
        assert file.read(4) == b"GGUF"
        version, _, count = reader.number("I"), reader.number("Q"), reader.number("Q")
        values: dict[bytes, Any] = {}
        raw: dict[bytes, bytes] = {}
        for _ in range(count):
            key = reader.string()
            start = file.tell()
            values[key] = reader.value(reader.number("I"))
            end = file.tell()
            file.seek(start)
            raw[key] = file.read(end - start)
    tokens, kinds = values[b"tokenizer.ggml.tokens"], list(values[b"tokenizer.ggml.token_type"])
    for old, (new, kind) in changes.items():
        at = tokens.index(old.encode())
        tokens[at], kinds[at] = new.encode(), kind
    raw[b"tokenizer.ggml.tokens"] = ARRAY_OF_STRINGS + struct.pack("<Q", len(tokens)) + b"".join(map(string, tokens))
    raw[b"tokenizer.ggml.token_type"] = ARRAY_OF_NUMBERS + struct.pack(f"<Q{len(kinds)}i", len(kinds), *kinds)
    head = b"GGUF" + struct.pack("<IQQ", version, 0, count)
    target.write_bytes(head + b"".join(string(key) + value for key, value in raw.items()))
    return target


def string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def control_ids(vocabulary: Vocabulary) -> frozenset[int]:
    return frozenset(vocabulary.control.values())


class Encoder:
    """An engine that only reads prompts: all that `Pipeline.prepare` needs."""

    def __init__(self, card: ModelCard, vocabulary: Vocabulary) -> None:
        self.card, self.vocabulary = card, vocabulary

    async def start(self) -> None:
        """Nothing to start."""

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        return self.vocabulary.encode([(segment.text, segment.control) for segment in segments])

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return self.vocabulary.pieces(list(ids))

    def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        raise NotImplementedError

    async def forget(self, documents: Collection[str]) -> None:
        pass

    async def health(self) -> Health:
        return Health(ready=True)

    async def close(self) -> None:
        """Nothing to close."""

    async def prompt(self, sent: Request) -> Prompt:
        """What an engine with this card and vocabulary would be given."""
        return (await Pipeline(lambda model: self).prepare(sent)).prompt

    def text(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.vocabulary.pieces(list(ids)))

    def control(self, ids: Sequence[int]) -> list[int]:
        """Those of the ids that steer, in their order."""
        steering = control_ids(self.vocabulary)
        return [token for token in ids if token in steering]


def sentencepiece(target: Path) -> Path:
    """Write a small vocabulary of the other family: no words before merging, a blank put before every text."""
    pieces = [("<unk>", 2, 0.0), ("<s>", CONTROL, 0.0), ("</s>", CONTROL, 0.0), ("<think>", USER_DEFINED, 0.0)]
    pieces += [(f"<0x{byte:02X}>", 6, 0.0) for byte in range(256)]
    pieces += [(each, 1, -float(at)) for at, each in enumerate(["▁a", "ab", "▁ab", "nk", "▁", *"abcdehiknt<>/"])]
    values = {
        "general.architecture": struct.pack("<I", 8) + string(b"llama"),
        "tokenizer.ggml.model": struct.pack("<I", 8) + string(b"llama"),
        "tokenizer.ggml.tokens": ARRAY_OF_STRINGS
        + struct.pack("<Q", len(pieces))
        + b"".join(string(text.encode()) for text, _, _ in pieces),
        "tokenizer.ggml.scores": struct.pack(
            f"<IIQ{len(pieces)}f", 9, 6, len(pieces), *(score for _, _, score in pieces)
        ),
        "tokenizer.ggml.token_type": ARRAY_OF_NUMBERS
        + struct.pack(f"<Q{len(pieces)}i", len(pieces), *(kind for _, kind, _ in pieces)),
        "tokenizer.ggml.bos_token_id": struct.pack("<II", 4, 1),
        "tokenizer.ggml.eos_token_id": struct.pack("<II", 4, 2),
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    target.write_bytes(head + b"".join(string(key.encode()) + value for key, value in values.items()))
    return target
