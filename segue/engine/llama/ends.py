"""What was found at the end of a prompt, kept so that the same prompt need not be read again.

The logits after it, with the sequence that holds it; and, where its prefix ended inside a token, the
cover of its tail.  Law: found only by the same ids in the same workspace.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from segue.engine.llama.context import FloatRow
from segue.engine.llama.sequence import Sequence
from segue.engine.seam.cover import Budget, Cover

KEPT_MAX = 32
"""Of each kind.  Logits are 0.6 MB with a vocabulary of 150,000, a cover mostly much less."""

Ids = npt.NDArray[np.int32]
Kept = TypeVar("Kept")


@dataclass(slots=True)
class Ends:
    """The least recently used go first."""

    _logits: OrderedDict[bytes, tuple[FloatRow, Sequence]] = field(default_factory=OrderedDict)
    _covers: OrderedDict[bytes, tuple[Cover, Sequence]] = field(default_factory=OrderedDict)

    def keep(self, workspace: str, ids: Ids, logits: FloatRow, sequence: Sequence) -> None:
        """These are the logits after a prompt, which `sequence` holds."""
        _put(self._logits, _key(workspace, ids), (logits.copy(), sequence))

    def logits(self, workspace: str, ids: Ids) -> FloatRow | None:
        """A copy of the logits after a prompt, when they were kept."""
        kept = _get(self._logits, _key(workspace, ids))
        return None if kept is None else kept[0].copy()

    def holder(self, workspace: str, ids: Ids) -> Sequence | None:
        """The sequence that the kept logits came from; it may be gone meanwhile."""
        kept = self._logits.get(_key(workspace, ids))
        return None if kept is None else kept[1]

    def keep_cover(
        self, workspace: str, ids: Ids, at: int, budget: Budget, cover: Cover, sequence: Sequence, rule: str = ""
    ) -> None:
        """The cover of the prompt's bytes from token `at` on, as far as `rule` allows it; it was found over the
        cells of `sequence`."""
        _put(self._covers, _key(workspace, ids, at, budget, rule), (cover, sequence))

    def cover(self, workspace: str, ids: Ids, at: int, budget: Budget, rule: str = "") -> tuple[Cover, Sequence] | None:
        """A cover that was found with this very budget and rule, and over whose cells; they may be gone."""
        return _get(self._covers, _key(workspace, ids, at, budget, rule))

    def moved(self, old: Sequence, new: Sequence) -> None:
        """What `old` held of all that is kept, `new` holds in the very same state."""
        for key, (logits, holder) in self._logits.items():
            if holder is old:
                self._logits[key] = (logits, new)
        for key, (cover, holder) in self._covers.items():
            if holder is old:
                self._covers[key] = (cover, new)

    def forget(self, documents: Collection[str]) -> None:
        """Drop what was found over sequences with something of these documents."""
        for table in (self._logits, self._covers):
            for key in [key for key, (_, sequence) in table.items() if not sequence.documents.isdisjoint(documents)]:
                del table[key]


def _put(kept: OrderedDict[bytes, Kept], key: bytes, value: Kept) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT_MAX:
        kept.popitem(last=False)


def _get(kept: OrderedDict[bytes, Kept], key: bytes) -> Kept | None:
    found = kept.get(key)
    if found is not None:
        kept.move_to_end(key)
    return found


def _key(workspace: str, ids: Ids, *more: object) -> bytes:
    digest = hashlib.blake2b(workspace.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(ids.tobytes())
    digest.update(repr(more).encode())
    return digest.digest()
