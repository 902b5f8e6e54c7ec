"""What is known of an upstream's model from its files: its vocabulary, its chat template, its marks.

    a folder          its tokenizer.json, with the templates beside it; else the one GGUF in it
    tokenizer.json    likewise
    a .gguf file      the vocabulary inside it, read by llama.cpp without the weights

Law: reading takes seconds and blocks; whoever calls does so outside the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from segue.core.errors import EngineFailed
from segue.engine.llama.context import Model
from segue.engine.llama.library import LibraryError, open_library
from segue.engine.remote.tokenizer import TokenizerInvalid, TokenizerJson
from segue.engine.words import Words

_COMMON_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>", "<end_of_turn>", "<eos>")
_TEXT_BYTES_MAX = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Known:
    """A model as its files show it.  `context_tokens` is 0 where they do not say."""

    words: Words
    template: str
    bos_token: str
    eos_token: str
    context_tokens: int = 0


def read(path: Path) -> Known:
    """What the files at `path` say.  Raises EngineFailed."""
    try:
        return _read(path)
    except (OSError, LibraryError, TokenizerInvalid, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineFailed(str(error)) from error


def _read(path: Path) -> Known:
    if path.is_dir():
        if (path / "tokenizer.json").is_file():
            return _json(path / "tokenizer.json")
        files = sorted(path.glob("*.gguf"))
        if len(files) != 1:
            raise EngineFailed(f"{path} has neither a tokenizer.json nor exactly one .gguf file")
        path = files[0]
    if not path.is_file():
        raise EngineFailed(f"{path} does not exist")
    return _gguf(path) if path.suffix == ".gguf" else _json(path)


def _gguf(path: Path) -> Known:
    model = Model(*open_library(), path, weights=False)
    words = model.vocabulary
    return Known(words, model.template(), words.spelling(words.bos), words.spelling(words.eos), model.context_train)


def _json(path: Path) -> Known:
    config = _object(path.parent / "tokenizer_config.json")
    generation = _object(path.parent / "generation_config.json")
    bos, eos = _spelling(config.get("bos_token")), _spelling(config.get("eos_token"))
    more = _object(path).get("added_tokens")
    stops = generation.get("eos_token_id")
    wanted = set(stops if isinstance(stops, list) else [stops])
    named = [str(each["content"]) for each in more if each["id"] in wanted] if isinstance(more, list) else []
    ends = dict.fromkeys([*([eos] if eos else []), *named, *([] if eos or named else _COMMON_ENDS)])
    template = _text(path.parent / "chat_template.jinja") or _template(config.get("chat_template"))
    context = _object(path.parent / "config.json").get("max_position_embeddings")
    known = TokenizerJson(path, tuple(ends))
    return Known(known, template, bos, eos, context if isinstance(context, int) else 0)


def _template(value: object) -> str:
    """The template of a tokenizer_config.json: a text, or a list of named ones."""
    if isinstance(value, list):
        named = {str(each.get("name")): each.get("template") for each in value if isinstance(each, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else ""


def _spelling(value: object) -> str:
    """A token as these files write one: its text, or an object around it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > _TEXT_BYTES_MAX:
        return ""
    return path.read_text(encoding="utf-8")


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
