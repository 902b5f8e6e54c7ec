"""The events of a thought: its bytes as they come, its characters as they are complete.

Laws: no token is lost or counted twice; what is left of a character that was never completed is nobody's.
Where a thought ends was settled before (`engine/thought.py`).  Pure.
"""

from __future__ import annotations

from segue.core.events import Thought
from segue.core.generation import Chunk
from segue.output.utf8 import decoded


class Thinking:
    """One answer's thought.  `tokens` so far."""

    __slots__ = ("_bytes", "tokens")

    def __init__(self) -> None:
        self._bytes = b""
        self.tokens = 0

    def feed(self, chunk: Chunk) -> Thought:
        """A piece more; its text may be empty."""
        text, self._bytes = decoded(self._bytes + chunk.data)
        self.tokens += len(chunk.ids)
        return Thought(chunk.choice, text, len(chunk.ids))
