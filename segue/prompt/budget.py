"""Does it fit, and what holds where the caller said nothing: limits and defaults of the model's card.

Laws: a value the caller gave is used or refused, never bent; only what was left open, and the room
that the context leaves, are ours to fill in.  Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.core.errors import OutOfRange, PromptTooLong
from segue.core.generation import Decoding, ModelCard, Segment
from segue.core.request import Sampling

TOP_K_MAX = 100  # above it the documented meaning is "off"


def decoding(sampling: Sampling, card: ModelCard) -> Decoding:
    """The caller's wishes over the card's defaults.  `top_k` off is 0."""
    default = card.decoding
    top_k = default.top_k if sampling.top_k is None else sampling.top_k
    return Decoding(
        temperature=default.temperature if sampling.temperature is None else sampling.temperature,
        top_p=default.top_p if sampling.top_p is None else sampling.top_p,
        top_k=0 if top_k > TOP_K_MAX else top_k,
        repetition_penalty=(
            default.repetition_penalty if sampling.repetition_penalty is None else sampling.repetition_penalty
        ),
        presence_penalty=default.presence_penalty if sampling.presence_penalty is None else sampling.presence_penalty,
        frequency_penalty=(
            default.frequency_penalty if sampling.frequency_penalty is None else sampling.frequency_penalty
        ),
        seed=default.seed if sampling.seed is None else sampling.seed,
    )


def size(segments: Sequence[Segment], card: ModelCard) -> None:
    """Refuse a text that could not fit however it were encoded, before anyone encodes it: megabytes
    take seconds.  Raises PromptTooLong."""
    if card.token_bytes_max:
        least = sum(len(segment.text.encode("utf-8", "surrogatepass")) for segment in segments) // card.token_bytes_max
        if least >= card.context_tokens:
            raise PromptTooLong(least, limit=card.context_tokens - 1)


def output_tokens(asked: int | None, prompt_tokens: int, card: ModelCard) -> int:
    """The most tokens one choice may have: at least 1, never past the context.

    Raises OutOfRange when more is asked than the model ever gives, PromptTooLong when the prompt,
    prefix included, leaves no room for a single token.
    """
    if asked is not None and asked > card.output_tokens_max:
        raise OutOfRange("max_tokens", asked, high=card.output_tokens_max)
    if prompt_tokens >= card.context_tokens:
        raise PromptTooLong(prompt_tokens, limit=card.context_tokens - 1)
    return min(card.output_tokens_default if asked is None else asked, card.context_tokens - prompt_tokens)
