"""A row of tokens in the key-value cache, as the books know it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segue.engine.llama.places import NONE, Places


@dataclass(slots=True, eq=False)
class Sequence:
    """`held` of the tokens are computed; `cells` names the cell of each."""

    number: int
    workspace: str
    tokens: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int32]
    held: int = 0
    running: bool = True
    used_at: int = 0
    began_at: int = 0
    """How many cells had ever been taken when it began."""
    taken: int = 0
    """How many it took itself."""
    asked: int = 0
    """How many tokens its prompt had."""
    documents: frozenset[str] = frozenset()
    """The marks of the files that something of is in it."""
    places: Places = NONE
    """Its pictures, those of its prompt that are not computed yet included."""

    def common(self, ids: npt.NDArray[np.int32]) -> int:
        """How many leading tokens of `ids` are computed here; no picture is halved."""
        size = min(self.held, len(ids))
        differing = np.nonzero(self.tokens[:size] != ids[:size])[0]
        return self.places.whole(int(differing[0]) if len(differing) else size)
