"""What a remote engine is told before it starts.  Every limit has its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segue.core.generation import Ability, Decoding
from segue.core.media import Sight

PrefixForm = Literal["", "partial", "prefix", "continue"]
PREFIX_FORMS: tuple[PrefixForm, ...] = ("", "partial", "prefix", "continue")
KindName = Literal["llama-server", "vllm", "sglang", "chat"]
KINDS: tuple[KindName, ...] = ("llama-server", "vllm", "sglang", "chat")


@dataclass(frozen=True, slots=True)
class Site:
    """Where one upstream is.  `key` is its bearer key, never shown; `ca` the authorities that its certificate is
    checked against, None for the system's; `names` are all addresses behind its host name, each one an upstream."""

    url: str
    key: str = field(default="", repr=False)
    weight: float = 1.0
    ca: Path | None = None
    names: bool = False
    host: str = ""
    """The name that its certificate is checked for and that it is asked by, where `url` has an address instead."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an upstream may cost, and how long it is waited for."""

    connect_s: float = 3.0
    first_s: float = 120.0
    silence_s: float = 60.0
    look_s: float = 5.0
    looks_every_s: float = 2.0
    line_bytes_max: int = 4 * 1024**2
    body_bytes_max: int = 32 * 1024**2
    running_max: int = 256


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """One model that runs elsewhere.  `model` is its name there; `vocabulary` are its files here."""

    name: str
    kind: KindName
    vocabulary: Path
    model: str = ""
    context_tokens: int = 32_768
    output_tokens_max: int = 8_192
    output_tokens_default: int = 2_048
    decoding: Decoding = field(default_factory=Decoding)
    abilities: frozenset[Ability] = frozenset({"partial"})
    template: str | None = None
    bounds: Bounds = field(default_factory=Bounds)
    prefix: PrefixForm = ""
    """By which field a chat upstream takes a prefix; "" for one that cannot."""
    extras: bool = True
    """Whether a chat upstream takes `top_k` and `repetition_penalty`."""
    sight: Sight | None = None
    """Which pictures a chat upstream is sent, None for none; the others take none beside token ids."""
