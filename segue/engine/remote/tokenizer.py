"""The vocabulary of a `tokenizer.json`, as the models that vLLM and SGLang serve come with one.

Laws: as `engine/words.py`.  The library makes added tokens out of any text that spells them, so those that steer are
given other names before it sees them; Unicode normalisation is taken out too, for a caller's text must come back
byte for byte.  The bytes of a token are worked out from the file's own decoder; a kind of vocabulary that is not
known here is refused in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from tokenizers import Tokenizer

from segue.engine.words import Table, Words, steers

FILE_BYTES_MAX = 256 * 1024**2
_NORMAL_FORMS = frozenset({"NFC", "NFD", "NFKC", "NFKD"})
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BLANK = "\u2581"
Json = Mapping[str, Any]


class TokenizerInvalid(Exception):
    """The file is no vocabulary that can be used; the text says why."""


class TokenizerJson(Words):
    """Thread-safe: the library's encoder is constant after loading.  `ends`: spellings of tokens that end an answer."""

    def __init__(self, path: Path, ends: Sequence[str]) -> None:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise TokenizerInvalid(f"{path} has more than {FILE_BYTES_MAX} bytes")
        try:
            tree = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise TokenizerInvalid(f"{path}: {error}") from error
        added = {int(each["id"]): str(each["content"]) for each in tree.get("added_tokens") or []}
        special = {int(each["id"]) for each in tree.get("added_tokens") or [] if each.get("special")}
        steering = {i: text for i, text in added.items() if i in special or steers(text)}
        own = _vocab(path, tree)  # what is among these too needs no name to keep its number
        unspelled = [
            {**each, "content": _unspelled(int(each["id"])), "special": False} if int(each["id"]) in steering else each
            for each in tree.get("added_tokens") or []
            if int(each["id"]) not in steering or str(each["content"]) not in own
        ]
        self._encoder = _encoder(path, {**tree, "added_tokens": unspelled})
        for each in unspelled:
            if self._encoder.token_to_id(each["content"]) != each["id"]:
                raise TokenizerInvalid(f"{path} does not number its added tokens in their order")
        pieces = _pieces(path, tree, own, added)
        ids = {text: i for i, text in added.items()}
        eog = frozenset(ids[text] for text in ends if text in ids)
        if not eog:
            raise TokenizerInvalid(f"{path} has none of the tokens that are to end an answer: {', '.join(ends) or '-'}")
        super().__init__(
            Table(
                pieces=pieces,
                steering=steering,
                markup=[],
                eog=eog,
                hidden=[i for i, piece in enumerate(pieces) if not piece or (i in special and i not in eog)],
                eos=next(ids[text] for text in ends if text in ids),
            )
        )

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids


def _unspelled(token: int) -> str:
    """A name that no text has: two characters that are none, and a number.  Text that has it all the same is cut."""
    return f"\U0010ffff\U0010fffe{token}"


def _encoder(path: Path, tree: Json) -> Tokenizer:
    kept = {
        **tree,
        "normalizer": _without_forms(tree.get("normalizer")),
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }
    try:
        return Tokenizer.from_str(msgspec.json.encode(kept).decode())
    except Exception as error:
        raise TokenizerInvalid(f"{path}: {error}") from error


def _without_forms(normalizer: Json | None) -> Json | None:
    """A normaliser that leaves characters as they are."""
    if normalizer is None or normalizer.get("type") in _NORMAL_FORMS:
        return None
    if normalizer.get("type") == "Sequence":
        inner = [kept for each in normalizer["normalizers"] if (kept := _without_forms(each)) is not None]
        return {"type": "Sequence", "normalizers": inner} if inner else None
    return normalizer


def _vocab(path: Path, tree: Json) -> Mapping[str, int]:
    """The tokens of the model itself, added ones aside."""
    model = cast(Json, tree.get("model") or {})
    vocab = model.get("vocab")
    if isinstance(vocab, list):  # Unigram: pairs of a token and its score, in the order of their ids
        vocab = {str(entry[0]): i for i, entry in enumerate(vocab)}
    if not isinstance(vocab, dict) or not vocab:
        raise TokenizerInvalid(f"{path} has no vocabulary")
    return cast(Mapping[str, int], vocab)


def _pieces(path: Path, tree: Json, vocab: Mapping[str, int], added: Mapping[int, str]) -> list[bytes]:
    """The bytes of every token, by id; none for holes."""
    kinds = set(_kinds(tree.get("decoder")))
    size = max([*vocab.values(), *added]) + 1
    pieces = [b""] * size
    if "ByteLevel" in kinds:
        for text, token in vocab.items():
            try:
                pieces[token] = bytes(_LEVEL[character] for character in text)
            except KeyError:
                pieces[token] = text.encode()
    elif kinds & {"ByteFallback", "Metaspace", "Replace"}:
        for text, token in vocab.items():
            byte = _BYTE.fullmatch(text)
            pieces[token] = bytes([int(byte[1], 16)]) if byte else text.replace(_BLANK, " ").encode()
    else:
        raise TokenizerInvalid(f"{path}: its kind of tokens is not known here; give the model as GGUF instead")
    for token, text in added.items():
        pieces[token] = text.encode()
    return pieces


def _kinds(decoder: Json | None) -> list[str]:
    if decoder is None:
        return []
    inner = [kind for each in decoder.get("decoders", []) for kind in _kinds(each)]
    return [str(decoder.get("type", "")), *inner]


def _level() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes as: printable ones as they are, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


_LEVEL = _level()
