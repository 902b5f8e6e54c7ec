"""What the engine process says of its model, as a card."""

from __future__ import annotations

from segue.core.generation import Ability, ModelCard
from segue.core.media import Sight
from segue.engine.llama import frames
from segue.engine.llama.spec import LlamaSpec

_PICTURE_TOKENS_MIN = 4
"""What the models were trained with (`min_pixels`); smaller pictures are shown enlarged."""


def card_of(spec: LlamaSpec, ready: frames.Ready) -> ModelCard:
    """The card of a model that is loaded."""
    own: set[Ability] = {"score", "json", "vision"} if ready.patch else {"score", "json"}
    return ModelCard(
        name=spec.name,
        context_tokens=min(spec.context_tokens, spec.kv_tokens, ready.context_train),
        output_tokens_max=spec.output_tokens_max,
        output_tokens_default=spec.output_tokens_default,
        template=spec.template or ready.template,
        bos_token=ready.bos,
        eos_token=ready.eos,
        vocabulary_size=ready.vocabulary_size,
        token_bytes_max=ready.longest,
        control_tokens=tuple(ready.control),
        abilities=spec.abilities | own,
        decoding=spec.decoding,
        sight=_sight(spec, ready.patch),
        clock=ready.clock,
    )


def _sight(spec: LlamaSpec, patch: int) -> Sight | None:
    if not patch:
        return None
    area = patch * patch
    return Sight(
        patch=patch,
        pixels_min=_PICTURE_TOKENS_MIN * area,
        pixels_max=spec.picture_tokens_max * area,
        video_tokens_max=spec.video_tokens_max,
        frames_max=spec.frames_max,
    )
