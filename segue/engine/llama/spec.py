"""What the embedded engine is told before it starts.  Every limit has its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from segue.core.generation import Ability, Decoding


@dataclass(frozen=True, slots=True)
class LlamaSpec:
    """One model file and how to run it.

    `threads` 0 means one a core.  `slots` answers run together, `queue` more may wait.
    `kv_tokens` is the size of the shared key-value cache; finished answers stay in it, up to
    `remembered` of them, until their room is needed.  `step_target_ms` is how long a step may
    take while others' answers run: a long prompt is read in pieces that fit it.
    Cells of prompts that are to last are kept in the folder `snapshots`, up to `snapshots_bytes_max`.
    With `projector`, the file that encodes pictures for the model, it sees: a picture takes up to
    `picture_tokens_max` places, a video `video_tokens_max`, of at most `frames_max` frames.  What was encoded
    is remembered up to `encoded_bytes_max`; the pictures of all answers under way have together
    `pictures_bytes_max`, unless it is one answer.  A picture that takes longer to encode than
    `picture_timeout_s` ends the process.
    The deterministic lane runs one answer at a time; it is built at its first use, with a cache
    of its own of `context_tokens`.
    """

    name: str
    path: Path
    context_tokens: int = 32_768
    output_tokens_max: int = 8_192
    output_tokens_default: int = 2_048
    decoding: Decoding = field(default_factory=Decoding)
    abilities: frozenset[Ability] = frozenset({"partial"})
    template: str | None = None
    threads: int = 0
    slots: int = 16
    queue: int = 256
    kv_tokens: int = 32_768
    snapshots: Path | None = None
    snapshots_bytes_max: int = 0
    remembered: int = 63
    projector: Path | None = None
    picture_tokens_max: int = 1_280
    video_tokens_max: int = 8_192
    frames_max: int = 80
    encoded_bytes_max: int = 256 * 1024 * 1024
    pictures_bytes_max: int = 512 * 1024 * 1024
    picture_timeout_s: float = 600.0
    step_target_ms: int = 400
    prompt_piece_tokens: int = 128
    startup_timeout_s: float = 120.0
    restart_wait_s: float = 30.0
    stall_timeout_s: float = 120.0
    close_timeout_s: float = 5.0


def spec_to(spec: LlamaSpec) -> bytes:
    """For the engine process's standard input."""
    return msgspec.json.encode(spec, enc_hook=str)


def spec_from(data: bytes) -> LlamaSpec:
    """What `spec_to` wrote."""
    return msgspec.json.decode(data, type=LlamaSpec, dec_hook=lambda kind, value: kind(value))
