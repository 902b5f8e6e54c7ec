"""Plain text to be gone on with, or with a hole to be filled: no conversation, no chat template.

    text                     -> (bos) text
    text, suffix             -> <fim_prefix> text <fim_suffix> suffix <fim_middle>

Laws: what the caller wrote is plain, whatever it spells; only the marks are control tokens, and they are the
model's own: a model that has none cannot fill a hole.  Pure.
"""

from __future__ import annotations

from segue.core import frozen
from segue.core.errors import NotSupported
from segue.core.generation import ModelCard, Segment
from segue.core.request import Plain
from segue.prompt.partial import Turn


@frozen
class Marks:
    """What stands before the text, between text and suffix, and behind the suffix."""

    prefix: str
    suffix: str
    middle: str


FAMILIES = (
    Marks("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, Qwen3-Coder
    Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)


def marks(card: ModelCard) -> Marks | None:
    """The model's marks, None where it has none."""
    known = set(card.control_tokens)
    return next((each for each in FAMILIES if known.issuperset((each.prefix, each.suffix, each.middle))), None)


def opened(card: ModelCard, plain: Plain, begins: bool) -> Turn:
    """The text as a prefix that is gone on with, or the whole prompt where there is a hole; `begins`: texts of this
    model begin with its first token.  Raises NotSupported."""
    first = [Segment(card.bos_token, True)] if begins else []
    if plain.suffix is None:
        return Turn(tuple(first), (Segment(plain.text),))
    signs = marks(card)
    if signs is None:
        raise NotSupported("suffix", card.name)
    parts = [
        *first,
        Segment(signs.prefix, True),
        Segment(plain.text),
        Segment(signs.suffix, True),
        Segment(plain.suffix),
        Segment(signs.middle, True),
    ]
    return Turn(tuple(part for part in parts if part.text), ())
