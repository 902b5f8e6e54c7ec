"""Where pictures stand in a row of tokens, and which positions that gives everything.

A model with eyes counts a token's position in three dimensions: text goes on in all of them at once, a square of a
picture has the picture's beginning in time, and its row and column from there; text behind it goes on after the
largest.  So behind a picture the position of a token is no longer its index.

Laws: an index that is cut or shared at is never inside a picture (`whole`), since the library tells cells of a sequence
apart by their position in time only; without pictures position and index are one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segue.core.generation import Clock
from segue.engine.llama.context import FloatRow

TICKS_A_SECOND = 2
"""How many positions a second of video is, for models that are told the time so (`tokens_per_second`)."""


@dataclass(slots=True, eq=False)
class Shot:
    """What is seen as one: a picture, or two frames of a video.  `rows` are its embeddings once it has been encoded;
    then its pixels are not needed any more."""

    key: bytes
    width: int
    height: int
    frames: tuple[bytes, ...]
    rows: FloatRow | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One view: tokens `start` to `end`; `positions[i]` are the four numbers of its i-th token, counted from its
    beginning, and `span` is how far the text behind it is from there."""

    start: int
    end: int
    span: int
    positions: npt.NDArray[np.int32]
    shots: tuple[Shot, ...]


def laid_out(start: int, grid: tuple[int, int, int], seconds: float, clock: Clock, shots: Sequence[Shot]) -> Place:
    """A view that begins at token `start`; `seconds` are between two of its frames."""
    times, rows, columns = grid
    ticks = np.arange(times, dtype=np.float64)
    if clock == "timed" and times > 1:
        # Never two at one position: the library could not tell which of them is the later one.
        ticks = np.maximum.accumulate(np.floor(ticks * (2 * seconds * TICKS_A_SECOND)) - ticks) + ticks
    at = np.indices((times, rows, columns), dtype=np.int32).reshape(3, -1)
    positions = np.zeros((at.shape[1], 4), np.int32)
    positions[:, 0] = ticks.astype(np.int32)[at[0]]
    positions[:, 1], positions[:, 2] = at[1], at[2]
    return Place(start, start + len(positions), int(positions.max()) + 1, positions, tuple(shots))


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The pictures of one row of tokens, in their order."""

    places: tuple[Place, ...] = ()
    _starts: tuple[int, ...] = field(init=False)
    _bases: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        bases, shift = [], 0
        for place in self.places:
            bases.append(place.start + shift)
            shift += place.span - (place.end - place.start)
        object.__setattr__(self, "_starts", tuple(place.start for place in self.places))
        object.__setattr__(self, "_bases", tuple(bases))

    def __bool__(self) -> bool:
        return bool(self.places)

    def position(self, index: int) -> int:
        """The position in time of the token at `index`, or of the one to come there."""
        at = bisect_right(self._starts, index) - 1
        if at < 0:
            return index
        place, base = self.places[at], self._bases[at]
        if index < place.end:
            return base + int(place.positions[index - place.start, 0])
        return base + place.span + index - place.end

    def whole(self, count: int) -> int:
        """As many of the first `count` tokens as end no picture in its middle."""
        at = bisect_right(self._starts, count) - 1
        if at < 0 or count >= self.places[at].end:
            return count
        return self.places[at].start

    def seen(self, index: int) -> tuple[FloatRow, npt.NDArray[np.int32]] | None:
        """The embedding and the four positions of a token that is a picture's; None for any other."""
        at = bisect_right(self._starts, index) - 1
        if at < 0 or index >= self.places[at].end:
            return None
        place = self.places[at]
        inside = index - place.start
        shot, row = divmod(inside, (place.end - place.start) // len(place.shots))
        rows = place.shots[shot].rows
        assert rows is not None, "a picture is encoded before its strand has its place"
        return rows[row], place.positions[inside] + _OFFSETS * self._bases[at]

    def unseen(self, count: int) -> list[Shot]:
        """What must be encoded before anything behind the first `count` tokens can be computed."""
        return [shot for place in self.places if place.end > count for shot in place.shots if shot.rows is None]


_OFFSETS = np.array([1, 1, 1, 0], np.int32)
NONE = Places()
