"""Where the model's turn stays open: the rendered conversation, then the caller's prefix, byte for byte.

Laws: the prefix never passes through the chat template, which would trim, rewrite or refuse it; it
is one run of plain text, in which a spelled control token is characters; the prompt is what it
would be without a prefix, plus the prefix's own bytes.  Pure; knows no template and no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.core.generation import Segment


@dataclass(frozen=True, slots=True)
class Turn:
    """An opened assistant turn.  `prefix` is empty or one plain run."""

    header: tuple[Segment, ...]
    prefix: tuple[Segment, ...]


def opened(segments: Sequence[Segment], prefix: str | None) -> Turn:
    """Open the turn after `segments`, the rendered conversation, with `prefix` as its beginning."""
    return Turn(tuple(segments), (Segment(prefix),) if prefix else ())
