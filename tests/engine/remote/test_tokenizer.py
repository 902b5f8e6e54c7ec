"""The vocabulary of a tokenizer.json: bytes come back, what steers stays out, what is not known is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue.core.errors import EngineFailed
from segue.engine.remote.tokenizer import _LEVEL, TokenizerJson
from segue.engine.remote.vocabulary import read
from tests.engine.conformance import TEXTS

LETTER = {byte: character for character, byte in _LEVEL.items()}


def token(at: int, text: str, special: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": at, "content": text, "special": special, **plain}


def byte_level() -> dict[str, Any]:
    """As Qwen's: bytes and their merges, behind a normaliser that must not touch what callers say."""
    vocab = {LETTER[byte]: byte for byte in range(256)} | {"th": 256, "the": 257, LETTER[32] + "the": 258}
    added = [
        token(259, "<|im_start|>", True),
        token(260, "<|im_end|>", True),
        token(261, "<think>", False),
        token(262, "    ", False),
        token(263, "<|endoftext|>", True),
    ]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [["t", "h"], ["th", "e"], [LETTER[32], "the"]],
        },
    }


def sentencepiece() -> dict[str, Any]:
    """As Llama 2's: a blank before every text, bytes for what it has no piece for."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocab |= {"\u2581": 259, "a": 260, "\u2581a": 261, "b": 262}
    return {
        "version": "1.0",
        "added_tokens": [token(0, "<unk>", True), token(1, "<s>", True), token(2, "</s>", True)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": [["\u2581", "a"]],
        },
    }


def written(folder: Path, tree: dict[str, Any], **beside: object) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    for name, value in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("tree", [byte_level(), sentencepiece()], ids=["bytes", "pieces"])
@pytest.mark.parametrize(
    "text", [*TEXTS, "the  the", "<think>", "<|im_end|>x", "</s>", "    ", "\U0010ffff\U0010fffe259"]
)
def test_text_comes_back(tmp_path: Path, tree: dict[str, Any], text: str) -> None:
    words = TokenizerJson(written(tmp_path, tree), ("<|im_end|>", "</s>"))
    for before in ([], [(next(iter(words.control)), True)]):
        ids = words.encode([*before, (text, False)])[len(before) :]
        spelled = b"".join(words.pieces(ids))
        assert spelled.removeprefix(b" " if before and tree["model"].get("byte_fallback") else b"") == text.encode()
        assert not set(words.control.values()) & set(ids), "text never steers"


def test_what_it_knows(tmp_path: Path) -> None:
    words = TokenizerJson(written(tmp_path, byte_level()), ("<|im_end|>",))
    assert words.encode([("the the", False)]) == [257, 258]
    assert words.encode([("<|im_start|>", True), ("th", False), ("<|im_end|>", True)]) == [259, 256, 260]
    assert words.encode([("    ", False)]) == [262], "ordinary added tokens stay"
    assert words.eog == {260}
    assert words.size == 264
    assert words.pieces([999]) == [b""]
    assert {259, 263} <= set(words.hidden.tolist())
    assert 261 not in words.hidden, "a model may think; only a caller may not make it"


def test_a_models_folder(tmp_path: Path) -> None:
    written(
        tmp_path,
        byte_level(),
        tokenizer_config={"eos_token": {"content": "<|im_end|>"}, "bos_token": None, "chat_template": "T"},
        generation_config={"eos_token_id": [260, 263]},
        config={"max_position_embeddings": 4096},
    )
    known = read(tmp_path)
    assert (known.template, known.eos_token, known.bos_token, known.context_tokens) == ("T", "<|im_end|>", "", 4096)
    assert known.words.eog == {260, 263}
    (tmp_path / "chat_template.jinja").write_text("newer", encoding="utf-8")
    assert read(tmp_path / "tokenizer.json").template == "newer"


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "BPE", "vocab": {}, "merges": []}},
        {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}},
        {"model": {"type": "Nonsense"}},
        {"added_tokens": []},
        {"added_tokens": [token(259, "<|im_start|>", True), token(265, "<|im_end|>", True)]},
    ],
)
def test_what_cannot_be_used(tmp_path: Path, change: dict[str, Any]) -> None:
    written(tmp_path, {**byte_level(), **change})
    with pytest.raises(EngineFailed):
        read(tmp_path)


def test_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf", tmp_path / "tokenizer.json"):
        with pytest.raises(EngineFailed):
            read(path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(EngineFailed):
        read(tmp_path)


def test_what_every_prompt_says_is_encoded_once(small_model: Path) -> None:
    words = read(small_model).words
    told = "system\nYou are a helpful assistant, and you answer briefly."
    other = "user\nSomething of a caller's that is long enough."
    asked: list[str] = []
    encoder = words._tokens

    def counted(text: str) -> list[int]:
        asked.append(text)
        return encoder(text)

    words._tokens = counted  # type: ignore[method-assign]
    runs = [("<|im_start|>", True), (told, False), ("<|im_end|>", True), (other, False), (told, False)]
    assert [words.encode(runs, [told]) for _ in range(3)] == [words.encode(runs)] * 3
    assert [asked.count(told), asked.count(other)] == [4, 4], (
        "kept, once behind a mark and once not, and twice where it is not"
    )
