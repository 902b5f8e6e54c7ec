"""A tiny Qwen-VL with random weights: a model file and its projector, with the vocabulary of a real model.

Small enough to be written in a second, and real enough that picture bytes go through the real encoder, positions and
caches.  Its answers are noise, but noise that depends on every token and every pixel before it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tests.prompt.metadata import Reader

TEMPLATE = (Path(__file__).parent / "prompt" / "real" / "qwen2.5-vl.jinja").read_text()
WIDTH, HIDDEN, LAYERS, HEADS = 64, 128, 2, 2
SIGHT_WIDTH, SIGHT_LAYERS = 64, 2
SIDE = 16
"""Of the square of positions that Qwen3-VL has learnt."""
Family = Literal["qwen2", "qwen2.5", "qwen3"]
PATCHES: dict[Family, int] = {"qwen2": 14, "qwen2.5": 14, "qwen3": 16}
SPOKEN = 151_665
"""Behind these the vocabulary is padding, which is left out."""
_U32, _F32, _BOOL, _STRING, _ARRAY, _I32 = 4, 6, 7, 8, 9, 5
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
_ALIGN = 32

Tensors = dict[str, npt.NDArray[np.float16] | npt.NDArray[np.float32]]


def write_model(source: Path, target: Path, family: Family = "qwen2.5", seed: int = 1) -> Path:
    """The language model, with the vocabulary of `source`."""
    arch = "qwen3vl" if family == "qwen3" else "qwen2vl"
    facts = {
        "general.architecture": _text(arch),
        "general.name": _text("tiny"),
        f"{arch}.block_count": _number(LAYERS),
        f"{arch}.context_length": _number(32_768),
        f"{arch}.embedding_length": _number(WIDTH),
        f"{arch}.feed_forward_length": _number(HIDDEN),
        f"{arch}.attention.head_count": _number(HEADS),
        f"{arch}.attention.head_count_kv": _number(HEADS),
        f"{arch}.attention.layer_norm_rms_epsilon": _float(1e-6),
        f"{arch}.rope.freq_base": _float(1e6),
        f"{arch}.rope.dimension_sections": _numbers([4, 6, 6, 0]),
        "tokenizer.chat_template": _text(TEMPLATE),
        **_vocabulary(source),
    }
    if family == "qwen3":
        facts[f"{arch}.n_deepstack_layers"] = _number(1)
    draw = np.random.default_rng(seed)
    tensors: Tensors = {
        "token_embd.weight": _drawn(draw, (SPOKEN, WIDTH), 1.0),
        "output.weight": _drawn(draw, (SPOKEN, WIDTH), 0.3),
        "output_norm.weight": np.ones(WIDTH, np.float32),
    }
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v"):
            tensors[at + name + ".weight"] = _drawn(draw, (WIDTH, WIDTH), 0.2)
            if family == "qwen3":
                continue
            tensors[at + name + ".bias"] = _small(draw, WIDTH)
        tensors[at + "attn_output.weight"] = _drawn(draw, (WIDTH, WIDTH), 0.3)
        tensors[at + "ffn_gate.weight"] = _drawn(draw, (HIDDEN, WIDTH), 0.2)
        tensors[at + "ffn_up.weight"] = _drawn(draw, (HIDDEN, WIDTH), 0.2)
        tensors[at + "ffn_down.weight"] = _drawn(draw, (WIDTH, HIDDEN), 0.2)
        for name in ("attn_norm", "ffn_norm"):
            tensors[at + name + ".weight"] = np.ones(WIDTH, np.float32)
        if family == "qwen3":
            for name in ("attn_q_norm", "attn_k_norm"):
                tensors[at + name + ".weight"] = np.ones(WIDTH // HEADS, np.float32)
    return _write(target, facts, tensors)


def write_projector(target: Path, family: Family = "qwen2.5", seed: int = 2) -> Path:
    """The encoder of pictures, and what projects them to the model's width."""
    patch = PATCHES[family]
    facts = {
        "general.architecture": _text("clip"),
        "clip.has_vision_encoder": _flag(True),
        "clip.projector_type": _text("qwen2vl_merger" if family == "qwen2" else f"{family}vl_merger"),
        "clip.use_silu": _flag(family == "qwen2.5"),
        "clip.vision.image_size": _number(SIDE * patch),
        "clip.vision.patch_size": _number(patch),
        "clip.vision.embedding_length": _number(SIGHT_WIDTH),
        "clip.vision.feed_forward_length": _number(HIDDEN),
        "clip.vision.projection_dim": _number(WIDTH),
        "clip.vision.block_count": _number(SIGHT_LAYERS),
        "clip.vision.attention.head_count": _number(2),
        "clip.vision.attention.layer_norm_epsilon": _float(1e-6),
        "clip.vision.image_mean": _floats([0.48145466, 0.4578275, 0.40821073]),
        "clip.vision.image_std": _floats([0.26862954, 0.26130258, 0.27577711]),
    }
    if family == "qwen2.5":
        facts["clip.vision.n_wa_pattern"] = _number(2)
    draw = np.random.default_rng(seed)
    merged = 4 * SIGHT_WIDTH
    tensors: Tensors = {
        "v.patch_embd.weight": _drawn(draw, (SIGHT_WIDTH, 3, patch, patch), 0.1),
        "v.patch_embd.weight.1": _drawn(draw, (SIGHT_WIDTH, 3, patch, patch), 0.1),
        "v.post_ln.weight": np.ones(SIGHT_WIDTH, np.float32),
        **_dense(draw, "mm.0", merged, merged, 0.1),
        **_dense(draw, "mm.2", WIDTH, merged, 0.2),
    }
    if family == "qwen3":
        tensors["v.patch_embd.bias"] = _small(draw, SIGHT_WIDTH)
        tensors["v.position_embd.weight"] = draw.standard_normal((SIDE * SIDE, SIGHT_WIDTH), np.float32)
        tensors["v.deepstack.0.norm.weight"] = np.ones(merged, np.float32)
        tensors["v.deepstack.0.norm.bias"] = _small(draw, merged)
        tensors |= _dense(draw, "v.deepstack.0.fc1", merged, merged, 0.1)
        tensors |= _dense(draw, "v.deepstack.0.fc2", WIDTH, merged, 0.2)
    for layer in range(SIGHT_LAYERS):
        at = f"v.blk.{layer}."
        if family == "qwen3":
            tensors |= _dense(draw, at + "attn_qkv", 3 * SIGHT_WIDTH, SIGHT_WIDTH, 0.2)
        else:
            for name in ("attn_q", "attn_k", "attn_v"):
                tensors |= _dense(draw, at + name, SIGHT_WIDTH, SIGHT_WIDTH, 0.2)
        tensors |= _dense(draw, at + "attn_out", SIGHT_WIDTH, SIGHT_WIDTH, 0.2)
        if family == "qwen2.5":
            tensors |= _dense(draw, at + "ffn_gate", HIDDEN, SIGHT_WIDTH, 0.2)
        tensors |= _dense(draw, at + "ffn_up", HIDDEN, SIGHT_WIDTH, 0.2)
        tensors |= _dense(draw, at + "ffn_down", SIGHT_WIDTH, HIDDEN, 0.2)
        for name in ("ln1", "ln2"):
            tensors[at + name + ".weight"] = np.ones(SIGHT_WIDTH, np.float32)
            if family != "qwen2.5":
                tensors[at + name + ".bias"] = _small(draw, SIGHT_WIDTH)
    return _write(target, facts, tensors)


def _dense(draw: np.random.Generator, name: str, out: int, into: int, spread: float) -> Tensors:
    return {name + ".weight": _drawn(draw, (out, into), spread), name + ".bias": _small(draw, out)}


def _vocabulary(source: Path) -> dict[str, bytes]:
    """The facts about tokens in a model file, without its padding."""
    with source.open("rb") as file:
        reader = Reader(file)
        assert file.read(4) == b"GGUF"
        reader.number("I"), reader.number("Q")
        facts: dict[str, bytes] = {}
        for _ in range(reader.number("Q")):
            key = reader.string().decode()
            start = file.tell()
            value = reader.value(reader.number("I"))
            if not key.startswith("tokenizer.") or key == "tokenizer.chat_template":
                continue
            if key == "tokenizer.ggml.tokens":
                assert isinstance(value, list)
                kept = value[:SPOKEN]
                facts[key] = struct.pack("<IIQ", _ARRAY, _STRING, len(kept)) + b"".join(map(_string, kept))
            elif key == "tokenizer.ggml.token_type":
                assert isinstance(value, tuple)
                facts[key] = _numbers(list(value[:SPOKEN]))
            else:
                end = file.tell()
                file.seek(start)
                facts[key] = file.read(end - start)
    return facts


def _drawn(draw: np.random.Generator, shape: tuple[int, ...], spread: float) -> npt.NDArray[np.float16]:
    return (draw.standard_normal(shape, np.float32) * spread).astype(np.float16)


def _small(draw: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    return draw.standard_normal(size, np.float32) * np.float32(0.05)


def _text(value: str) -> bytes:
    return struct.pack("<I", _STRING) + _string(value.encode())


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _number(value: int) -> bytes:
    return struct.pack("<II", _U32, value)


def _float(value: float) -> bytes:
    return struct.pack("<If", _F32, value)


def _flag(value: bool) -> bytes:
    return struct.pack("<I?", _BOOL, value)


def _numbers(values: list[int]) -> bytes:
    return struct.pack(f"<IIQ{len(values)}i", _ARRAY, _I32, len(values), *values)


def _floats(values: list[float]) -> bytes:
    return struct.pack(f"<IIQ{len(values)}f", _ARRAY, _F32, len(values), *values)


def _write(target: Path, facts: Mapping[str, bytes], tensors: Tensors) -> Path:
    with target.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)))
        for key, value in facts.items():
            file.write(_string(key.encode()) + value)
        at = 0
        for name, tensor in tensors.items():
            shape = tensor.shape[::-1]
            file.write(_string(name.encode()) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            file.write(struct.pack("<IQ", _TYPES[tensor.dtype], at))
            at += tensor.nbytes + -tensor.nbytes % _ALIGN
        file.write(bytes(-file.tell() % _ALIGN))
        for tensor in tensors.values():
            file.write(tensor.tobytes() + bytes(-tensor.nbytes % _ALIGN))
    return target
