"""How long steps take on this machine, learned while serving, and what follows from it.

Two decisions rest on it.  How many prompt rows fit a step that others wait for: as many as the
target time allows.  And whether a step is better cut in two: matrix kernels work in tiles, so on
some processors 8 rows cost far more than 7 and 1 (measured on one: 327 ms against 211 + 47), and
which counts are unlucky differs from machine to machine.
"""

from __future__ import annotations

from segue.engine.llama.strand import Strand

_PROMPT_ROWS_MIN = 16
_SMOOTHING = 0.25
_CUT_STRANDS_MIN = 5
"""With fewer drawing a step is never cut: so many are one request's choices, and must not depend on timing."""
_CUT_BELOW = 48
"""Steps larger than this are never cut: the tiles are full enough."""
_TRY_EVERY = 24
_GAIN = 0.95
"""A cut must promise at least this much, so that noise does not cut."""

Plan = list[tuple[Strand, int]]


class Pace:
    """Times in seconds, by number of rows."""

    def __init__(self, target_s: float, piece_rows: int) -> None:
        self._target_s, self._piece_rows = target_s, piece_rows
        self._cost: dict[int, float] = {}
        self._rate = 64.0
        """Prompt rows a second."""
        self._steps: dict[int, int] = {}

    def took(self, rows: int, seconds: float) -> None:
        """A step of this many rows took this long."""
        known = self._cost.get(rows)
        self._cost[rows] = seconds if known is None else known + _SMOOTHING * (seconds - known)
        if rows >= _PROMPT_ROWS_MIN:
            self._rate += _SMOOTHING * (rows / seconds - self._rate)

    def prompt_rows(self, drawing: int) -> int:
        """Prompt rows for a step in which `drawing` strands draw tokens; a step's rows stay within
        `piece_rows`."""
        if not drawing:
            return self._piece_rows
        fitting = int(self._target_s * self._rate) - drawing
        return min(max(_PROMPT_ROWS_MIN, fitting), self._piece_rows - drawing)

    def cut(self, plan: Plan) -> list[Plan]:
        """A step in which all draw, whole, or in two where that is known, or worth trying, to be quicker."""
        rows = sum(count for _, count in plan)
        if len(plan) < _CUT_STRANDS_MIN or rows > _CUT_BELOW:
            return [plan] if plan else []
        self._steps[rows] = self._steps.get(rows, 0) + 1
        at = self._untried(rows) if rows in self._cost and self._steps[rows] % _TRY_EVERY == 2 else None
        at = self._best_cut(rows) if at is None else at
        return [plan] if at is None else [plan[:at], plan[at:]]

    def _best_cut(self, rows: int) -> int | None:
        whole = self._cost.get(rows)
        if whole is None:
            return None
        best, found = whole * _GAIN, None
        for at in range(1, rows // 2 + 1):
            one, other = self._cost.get(rows - at), self._cost.get(at)
            if one is not None and other is not None and one + other < best:
                best, found = one + other, rows - at
        return found

    def _untried(self, rows: int) -> int | None:
        """A cut with a part nobody has timed yet: halves first, then a row less, and so on."""
        cuts: tuple[int, ...] = (rows // 2, *range(1, rows // 2))
        for at in cuts:
            if rows - at not in self._cost or at not in self._cost:
                return rows - at
        return None
