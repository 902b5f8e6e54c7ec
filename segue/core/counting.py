"""How much was had lately: counts over a window that slides, and what servers that share such counts say to each other.

Laws: pure, the time is given by the caller; a window is `SLOTS` slots long, the running one included, so that in any
`window_s` less one slot there is never more than `most`, and whoever always asks gets `most` a window, no more and no
less; what was had is counted where it was had, and forgotten as a whole slot; time that runs back stands still, and
when it was set back by more than a window, that begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from segue.core import frozen

SLOTS = 25
"""Slots of a window.  More of them follow more closely; fewer are sooner asked about."""


class Window:
    """What was had in the last `window_s` seconds, of `most`."""

    __slots__ = ("_counts", "_latest", "_per_s", "_sum", "most", "window_s")

    def __init__(self, most: int, window_s: float, latest: int = 0, counts: Sequence[int] = ()) -> None:
        self.most = most
        self.window_s = window_s
        self._per_s = SLOTS / window_s
        self._latest = latest
        self._counts = list(counts) if len(counts) == SLOTS else [0] * SLOTS
        self._sum = sum(self._counts)

    def take(self, now: float, least: int = 1, want: int = 1) -> int:
        """Have as many as there is room for, up to `want`; if there is no room for `least`, none.  How many."""
        self._turn(now)
        room = self.most - self._sum
        if room < least:
            return 0
        taken = min(room, want)
        self._counts[self._latest % SLOTS] += taken
        self._sum += taken
        return taken

    def add(self, now: float, count: int) -> None:
        """Count what was had, whether or not there was room for it."""
        self._turn(now)
        self._counts[self._latest % SLOTS] += count
        self._sum += count

    def give(self, count: int, slot: int | None = None) -> None:
        """What was taken in this slot, or just now, was not used."""
        slot = self._latest if slot is None else slot
        if self._latest - SLOTS < slot <= self._latest:
            count = min(count, self._counts[slot % SLOTS])
            self._counts[slot % SLOTS] -= count
            self._sum -= count

    @property
    def slot(self) -> int:
        """The running one."""
        return self._latest

    def wait_s(self, now: float, least: int = 1) -> float:
        """How long until there is room for `least`; a whole window where there will never be."""
        self._turn(now)
        room = self.most - self._sum
        for past in range(SLOTS):
            if room >= least:
                return max(0.0, (self._latest + past) / self._per_s - now)
            room += self._counts[(self._latest + 1 + past) % SLOTS]
        return self.window_s if room < least else max(0.0, (self._latest + SLOTS) / self._per_s - now)

    def idle(self, now: float) -> bool:
        """Whether there is nothing left to remember."""
        return int(now * self._per_s) >= self._latest + SLOTS or not self._sum

    def packed(self) -> str:
        """All that `unpacked` needs to go on."""
        return f"{self._latest}:" + ",".join(map(str, self._counts))

    @classmethod
    def unpacked(cls, most: int, window_s: float, packed: str) -> Window:
        """A window as it was; an empty one from an empty text."""
        latest, _, counts = packed.partition(":")
        return (
            cls(most, window_s, int(latest), [int(count) for count in counts.split(",")])
            if counts
            else cls(most, window_s)
        )

    def _turn(self, now: float) -> None:
        slot = int(now * self._per_s)
        if slot > self._latest:
            self._advance(slot)
        elif slot <= self._latest - SLOTS:
            self._counts, self._sum, self._latest = [0] * SLOTS, 0, slot

    def _advance(self, slot: int) -> None:
        for passed in range(self._latest + 1, min(slot, self._latest + SLOTS) + 1):
            self._sum -= self._counts[passed % SLOTS]
            self._counts[passed % SLOTS] = 0
        self._latest = slot


@frozen
class Ask:
    """What a server asks of counts that it shares.

    Of a window of `window_s` (above 0): between `least` and `want` to have, after `back` was given back (by slot, how
    many that were granted in it were not used) and `add` counted that has been had already.  Of places (`window_s` is
    0): to hold `want` of them, for `HOLD_S` from now.
    """

    name: str
    most: int
    window_s: float
    least: int = 1
    want: int = 1
    add: int = 0
    back: tuple[tuple[int, int], ...] = ()


@frozen
class Grant:
    """What is had: how many more of a window, counted in `slot`, or how many places in all; `wait_s` until there may
    be more."""

    had: int
    wait_s: float = 0.0
    slot: int = 0


HOLD_S = 10.0
"""How long places are held for a server that nothing more is heard of."""
GRANT_SHARE = 2
"""A server gets at most one part in so many of what there is, so that another finds some too."""


class CountersLost(Exception):
    """The shared counts cannot be asked."""


class Counters(Protocol):
    """Counts that servers share."""

    async def ask(self, holder: str, asks: Sequence[Ask]) -> Sequence[Grant]:
        """Answer them together, each by itself.  Raises CountersLost."""
        ...

    async def close(self) -> None:
        """Let go of whatever is held open."""
        ...


def granted(window: Window, ask: Ask, now: float) -> Grant:
    """The answer of a shared window."""
    for slot, count in ask.back:
        window.give(count, slot)
    if ask.add:
        window.add(now, ask.add)
    if not ask.want:
        return Grant(0)
    room = window.take(now, ask.least, window.most)
    had = min(ask.want, max(ask.least, -(-room // GRANT_SHARE))) if room else 0
    window.give(room - had)
    return Grant(had, 0.0 if had else window.wait_s(now, ask.least), window.slot)


def held(
    places: Mapping[str, tuple[int, float]], holder: str, ask: Ask, now: float
) -> tuple[dict[str, tuple[int, float]], Grant]:
    """The answer of shared places, and how they are held from now on: by holder, how many and until when."""
    alive = {
        name: (count, until)
        for name, (count, until) in places.items()
        if now < until <= now + 2 * HOLD_S and name != holder  # held for longer, a clock was set back
    }
    others = sum(count for count, _ in alive.values())
    had = max(0, min(ask.want, ask.most - others))
    if had:
        alive[holder] = (had, now + HOLD_S)
    return alive, Grant(had, 0.0 if had >= ask.want else 1.0)
