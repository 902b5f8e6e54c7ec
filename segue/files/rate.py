"""How often a workspace may call.

Law: in any second at most as many calls as are allowed; who is refused is told when there will be room, and has not
used any of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from segue.core.errors import RateExceeded

_WINDOW_S = 1.0


class Rate:
    """At most `calls_per_s` calls in any second, for each workspace; 0: any number.  `clock` is in seconds."""

    def __init__(self, calls_per_s: int, clock: Callable[[], float]) -> None:
        self._most = calls_per_s
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}

    def take(self, workspace: str) -> None:
        """One call more.  Raises RateExceeded."""
        if not self._most:
            return
        now = self._clock()
        calls = self._calls.setdefault(workspace, deque(maxlen=self._most))
        if len(calls) == self._most and now - calls[0] < _WINDOW_S:
            raise RateExceeded(_WINDOW_S - (now - calls[0]))
        calls.append(now)
