"""The contract every engine keeps.  One conformance suite (tests/engine) runs over all of them.

Laws: `generate` yields one `Opened`, then `Chunk`s, each choice's last with `finish` set, and
ends when every choice has finished; closing the iterator stops the work and frees the place at
once; a failure is a `Broken` or `Busy` fault raised from the iterator, never a silent end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from segue.core.generation import Chunk, ModelCard, Opened, Prompt, Segment


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine is.  `waiting` and `running` count choices; `restarts`, `steps`, the batches that its model
    computed, and `failovers`, answers that went on at another replica or in the next process, count since start;
    `kv_tokens_used` of `kv_tokens` of context memory hold something (0 of 0: nobody knows).  `shared`: several servers
    ask it, and what it says of itself is of all of them together."""

    ready: bool
    running: int = 0
    waiting: int = 0
    restarts: int = 0
    detail: str = ""
    steps: int = 0
    kv_tokens: int = 0
    kv_tokens_used: int = 0
    failovers: int = 0
    shared: bool = False


class Engine(Protocol):
    """What the pipeline may ask of an engine."""

    @property
    def card(self) -> ModelCard:
        """The served model.  Valid after `start`."""
        ...

    async def start(self) -> None:
        """Return when requests can be answered; raise EngineFailed when they never will."""
        ...

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of the segments.  Only `control` segments can become control tokens."""
        ...

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token; control tokens give their spelling."""
        ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """Continue the prompt.  Raises QueueFull before the first item when there is no room."""
        ...

    async def forget(self, documents: Collection[str]) -> None:
        """Keep nothing any longer of what was computed of these documents, in memory or in files; what is being
        answered about them is answered.  `documents` are marks, as in `Prompt`.  Works also while it is down."""
        ...

    async def health(self) -> Health:
        """Answers at once, also while the engine is busy or down."""
        ...

    async def close(self) -> None:
        """Let running answers end or fail, then free everything.  Safe to call twice."""
        ...
