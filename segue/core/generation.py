"""What passes between the pipeline and an engine: cards, prompts in, chunks out.

Laws: an engine's only act is to continue token ids.  Nothing here knows of protocols, partial
mode or templates; a `Prompt` is complete, so an engine never asks back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Ability = Literal["partial", "tools", "json", "thinking", "vision", "score"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen, with every default filled in.  Ranges: `request.Sampling`."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 1234


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a served model is and can do.

    `template` is the model's own chat template (Jinja source); `context_tokens` bounds prompt
    plus answer; `output_tokens_max` bounds one answer; `output_tokens_default` is what an
    answer gets when nothing is said.
    """

    name: str
    context_tokens: int
    output_tokens_max: int
    output_tokens_default: int
    template: str
    bos_token: str = ""
    eos_token: str = ""
    vocabulary_size: int = 0
    token_bytes_max: int = 0
    """The longest token, in bytes; 0 where it is not known.  A text of more than that times the
    context cannot fit, whatever it says."""
    control_tokens: tuple[str, ...] = ()
    abilities: frozenset[Ability] = frozenset({"partial"})
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of prompt text.  `control` runs are the spelling of exactly one control token;
    in all other runs such a spelling is plain characters."""

    text: str
    control: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything an engine needs to continue `ids`.

    `answer_at` is the index in `ids` where the answer begins: the caller's prefix is
    `ids[answer_at:]`, empty when there is none.  Penalties count from there, and sampling noise
    is numbered from there.  `logprobs` is `None` when not asked, else the number of
    alternatives (0-5).
    """

    request_id: str
    model: str
    workspace: str
    ids: Sequence[int]
    answer_at: int
    decoding: Decoding
    output_tokens_max: int
    choices: int = 1
    logprobs: int | None = None
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have come: its bytes and natural-log probability."""

    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The natural-log probability of a token that came, before penalties and temperature."""

    data: bytes
    logprob: float
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """The first thing an engine says: the prompt is read, and this much of it was remembered."""

    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A few tokens more of one choice.  `data` is exactly the bytes of `ids`; a token that ends
    the answer has no bytes and is not among them.  `finish` is set once a choice, on its last."""

    choice: int
    ids: tuple[int, ...]
    data: bytes
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: FinishReason | None = None
