"""One limit each: how much may yet be had of it, by this server.

    Own, OwnPlaces          this server alone keeps the count
    Leased, LeasedPlaces    servers share it; each has small shares of it, so that hardly a request asks the others

Laws: who is refused has used nothing; a share is used within two slots of when it was asked for or given back, and is
as large as what was used of the last; of one count a server asks one question at a time; when the others cannot be
asked, this server keeps the limit alone until they can.  `take` returns 0 when it was had, else how many seconds to
wait.  It knows no caller and no Fault.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from segue.core.counting import SLOTS, Ask, CountersLost, Grant, Window

PLACE_WAIT_S = 1.0
"""How long whoever finds no place is told to wait: when one will be free, nobody knows."""
_SHARE_SLOTS = 2
_SHARE_MAX = 4096
_REFUSED_S = 0.05  # how long a refusal holds, so that a crowd that is refused does not ask each for itself
_AGAIN_S = 0.25  # after which the refused ask again: others may have given back what they did not use
_ALONE_S = 2.0
_ALONE = -1.0  # instead of a time: it was had of what this server keeps alone

Clock = Callable[[], float]
Asking = Callable[[Ask], Awaitable[Grant]]
"""Asks the shared counts.  Raises CountersLost."""


Taken = tuple[tuple[int, float, int], ...]
"""What was had, to be given back exactly where it was had: slots, until when each may be used, and how many of it."""


class Gauge(Protocol):
    """What can be had at a rate: requests, tokens."""

    most: int
    taken: Taken
    """What was had last: to be read at once, before anything is waited for."""

    async def take(self, count: int = 1) -> float:
        """Have `count`, all or none."""
        ...

    def add(self, count: int) -> None:
        """Count what has been had in any case."""
        ...

    def give(self, taken: Taken) -> None:
        """This was not used."""
        ...

    def idle(self) -> bool:
        """Whether it can be forgotten."""
        ...


class Places(Protocol):
    """What is had for a while: a place among those that run."""

    most: int

    async def take(self) -> float:
        """Have a place."""
        ...

    def give(self) -> None:
        """Leave it."""
        ...

    def idle(self) -> bool:
        """Whether it can be forgotten."""
        ...


class Own:
    """A rate that this server keeps alone."""

    __slots__ = ("_clock", "_window", "taken")

    def __init__(self, most: int, window_s: float, clock: Clock) -> None:
        self.taken: Taken = ()
        self._window = Window(most, window_s)
        self._clock = clock

    @property
    def most(self) -> int:
        return self._window.most

    @most.setter
    def most(self, most: int) -> None:
        self._window.most = most

    async def take(self, count: int = 1) -> float:
        now = self._clock()
        if not self._window.take(now, count, count):
            return self._window.wait_s(now, count)
        self.taken = ((self._window.slot, 0.0, count),)
        return 0.0

    def add(self, count: int) -> None:
        self._window.add(self._clock(), count)

    def give(self, taken: Taken) -> None:
        for slot, _, count in taken:
            self._window.give(count, slot)

    def idle(self) -> bool:
        return self._window.idle(self._clock())


class OwnPlaces:
    """Places that this server keeps alone."""

    __slots__ = ("_taken", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = 0

    async def take(self) -> float:
        if self._taken >= self.most:
            return PLACE_WAIT_S
        self._taken += 1
        return 0.0

    def give(self) -> None:
        self._taken -= 1

    def idle(self) -> bool:
        return not self._taken


class Shares:
    """What is left of the shares that a server was given: by the slot each was counted in, the oldest used first."""

    __slots__ = ("_back", "_had", "left", "until")

    def __init__(self) -> None:
        self._had: deque[tuple[int, float, int]] = deque()  # slot, until when, how many
        self._back: dict[int, int] = {}
        self.left = 0
        self.until = 0.0  # when the last of them is past

    def put(self, slot: int, until: float, count: int) -> None:
        """One share more."""
        self._had.append((slot, until, count))
        self.left += count
        self.until = until

    def take(self, now: float, count: int) -> Taken:
        """Use so many, if there are; () where there are not."""
        self._drop(now)
        if self.left < count:
            return ()
        self.left -= count
        taken: list[tuple[int, float, int]] = []
        while count:
            slot, until, some = self._had.popleft()
            if some > count:
                self._had.appendleft((slot, until, some - count))
            taken.append((slot, until, min(some, count)))
            count -= taken[-1][2]
        return tuple(taken)

    def give(self, taken: Taken) -> None:
        """This was not used."""
        self._had.extendleft(reversed(taken))
        self.left += sum(count for _, _, count in taken)

    def unused(self, now: float) -> tuple[tuple[int, int], ...]:
        """What is past, and has yet to be given back: it is forgotten here."""
        self._drop(now)
        back, self._back = tuple(self._back.items()), {}
        return back

    def _drop(self, now: float) -> None:
        while self._had and self._had[0][1] <= now:
            slot, _, past = self._had.popleft()
            self.left -= past
            self._back[slot] = self._back.get(slot, 0) + past


class Leased:
    """A rate that servers share."""

    def __init__(self, name: str, most: int, window_s: float, clock: Clock, asking: Asking) -> None:
        self.most = most
        self._name = name
        self._window_s = window_s
        self._clock = clock
        self._asking = asking
        self._slot_s = window_s / SLOTS
        self.taken: Taken = ()
        self._shares = Shares()
        self._size = 1
        self._shut_until = 0.0
        self._room_at = 0.0  # when there will be room, if nobody gives any back
        self._shut_for = 0  # who asks for less than this is not shut out
        self._owed = 0  # had, and not yet told
        self._waiting = 0
        self._asked: asyncio.Task[None] | None = None
        self._alone = Window(most, window_s)
        self._alone_until = 0.0

    async def take(self, count: int = 1) -> float:
        self._waiting += count
        try:
            while True:
                now = self._clock()
                if taken := self._shares.take(now, count):
                    self.taken = taken
                    return 0.0
                if now < self._alone_until:
                    self._alone.most = self.most
                    if not self._alone.take(now, count, count):
                        return self._alone.wait_s(now, count)
                    self.taken = ((self._alone.slot, _ALONE, count),)
                    return 0.0
                if count >= self._shut_for and now < self._shut_until:
                    return self._room_at - now
                await self._renew(count, now)
        finally:
            self._waiting -= count

    def add(self, count: int) -> None:
        self._owed += count

    def give(self, taken: Taken) -> None:
        if taken[0][1] == _ALONE:
            self._alone.give(taken[0][2], taken[0][0])
        else:
            self._shares.give(taken)

    def idle(self) -> bool:
        over = self._clock() >= max(self._shares.until, self._shut_until)
        return over and not (self._owed or self._waiting or self._shares.left)

    async def tell(self) -> None:
        """Let the others know what has been had, and what will not be used."""
        back = self._unused(self._clock())
        if self._owed or back:
            owed, self._owed = self._owed, 0
            try:
                await self._asking(Ask(self._name, self.most, self._window_s, 1, 0, owed, back))
            except CountersLost:
                self._owed += owed  # what is not given back will be past soon enough

    def _unused(self, now: float) -> tuple[tuple[int, int], ...]:
        """What is to be given back; the next share is as much smaller."""
        back = self._shares.unused(now)
        self._size = max(1, self._size - sum(count for _, count in back))
        return back

    async def _renew(self, count: int, now: float) -> None:
        """Ask for another share, or wait for the answer to the question that somebody else has asked.

        The question is a task of its own: whoever asked it may leave, and the answer must not be lost with them.
        """
        if self._asked is None:
            lively = now < self._shares.until
            self._asked = asyncio.get_running_loop().create_task(self._ask(count, now, lively))
        await asyncio.wait([self._asked])

    async def _ask(self, count: int, asked_at: float, lively: bool) -> None:
        owed, self._owed = self._owed, 0
        back = self._unused(asked_at)
        if lively:
            self._size = min(2 * self._size, _SHARE_MAX)
        want = max(count, self._size, self._waiting)
        try:
            grant = await self._asking(Ask(self._name, self.most, self._window_s, count, want, owed, back))
        except CountersLost:
            self._owed += owed
            self._alone_until = self._clock() + _ALONE_S
            return
        finally:
            self._asked = None
        now = self._clock()
        if grant.had:
            # From when it was asked for, so that what is used late is not used beside what comes after it; whoever
            # waits for an answer that took long has it nevertheless.
            until = max(asked_at + _SHARE_SLOTS * self._slot_s, now + self._slot_s)
            self._shares.put(grant.slot, until, grant.had)
            self._shut_until = 0.0
        else:
            self._shut_until, self._shut_for = now + min(max(grant.wait_s, _REFUSED_S), _AGAIN_S), count
            self._room_at = now + max(grant.wait_s, _REFUSED_S)


class LeasedPlaces:
    """Places that servers share.  Those that nobody is in go back at the next `tell`."""

    def __init__(self, name: str, most: int, clock: Clock, asking: Asking) -> None:
        self.most = most
        self._name = name
        self._clock = clock
        self._asking = asking
        self._taken = 0
        self._held = 0
        self._waiting = 0
        self._shut_until = 0.0
        self._alone_until = 0.0
        self._asked: asyncio.Task[None] | None = None

    async def take(self) -> float:
        self._waiting += 1
        try:
            while True:
                now = self._clock()
                if self._taken < (self.most if now < self._alone_until else self._held):
                    self._taken += 1
                    return 0.0
                if now < self._alone_until or now < self._shut_until:
                    return PLACE_WAIT_S
                await self._hold(self._taken + self._waiting)
        finally:
            self._waiting -= 1

    def give(self) -> None:
        self._taken -= 1

    def idle(self) -> bool:
        return not (self._taken or self._held or self._waiting)

    async def tell(self) -> None:
        """Hold on to what is used, and give back the rest."""
        if self._held and self._asked is None:
            self._held = self._taken  # none of those that are given back may be taken meanwhile
            await self._hold(self._taken)

    async def _hold(self, want: int) -> None:
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._ask(want))
        await asyncio.wait([self._asked])

    async def _ask(self, want: int) -> None:
        try:
            grant = await self._asking(Ask(self._name, self.most, 0.0, want=want))
        except CountersLost:
            self._alone_until = self._clock() + _ALONE_S
            return
        finally:
            self._asked = None
        self._held = grant.had
        if self._taken >= self._held:
            self._shut_until = self._clock() + _REFUSED_S
