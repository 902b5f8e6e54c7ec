"""Which replica answers: a pure core, its clock handed in, so that a bench can simulate years of it.

    where most of the prompt was read last  ->  else the key's own on the ring  ->  the next one on the ring ...
    each only if it can answer and has no more than its share

Affinity saves reading a prompt again; the bound on the share keeps one replica from drowning under a prompt that
everybody sends (consistent hashing with bounded loads, Mirrokni et al., 1608.01350).  Two loads are bounded: answers
that run now, and the tokens given in the last while, for of many short answers few run at any moment.

Laws: pure; no clock, no engine, no randomness.  A replica that fails is left alone, for longer each time, then
tried with one answer; one that has just come gets its share little by little.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from segue.core import frozen
from segue.engine.router.blocks import BLOCK_TOKENS, Places
from segue.engine.router.ring import Ring


@dataclass(frozen=True, slots=True)
class Policy:
    """`share`: how much more than its part a replica may have, `known_share` for a prompt that it has read; below
    `running_free` answers and `tokens_free` tokens nobody counts.  `recent_s`: after this long, half of the tokens
    given are forgotten.  `key_blocks`: how much of a prompt is its key."""

    share: float = 1.25
    known_share: float = 1.5
    running_free: int = 4
    tokens_free: int = 4096
    recent_s: float = 60.0
    failures_max: int = 3
    open_s: float = 2.0
    open_s_max: float = 60.0
    slow_start_s: float = 10.0
    key_blocks: int = 8
    places_max: int = 200_000


@dataclass(slots=True)
class Replica:
    """What is known of one.  `tokens` is in the balance's own, growing unit."""

    name: str
    weight: float
    ready: bool = False
    draining: bool = False
    since: float = 0.0
    failures: int = 0
    opens: int = 0
    open_until: float = -math.inf
    trying: bool = False
    running: int = 0
    tokens: float = 0.0


@frozen
class Taken:
    """A replica was chosen for a prompt: `hashes` are its blocks', `known_blocks` of them it has probably read."""

    name: str
    hashes: Sequence[int]
    known_blocks: int
    tokens: int


class Balance:
    """Not thread-safe.  Times are seconds of any clock that does not go back."""

    def __init__(self, policy: Policy = Policy()) -> None:
        self._policy = policy
        self._replicas: dict[str, Replica] = {}
        self._ring = Ring()
        self._places = Places(policy.places_max)
        self._rising: dict[str, Replica] = {}
        self._risen_weight = 0.0
        self._running = 0
        self._tokens = 0.0
        self._unit, self._unit_at = 1.0, 0.0

    def put(self, name: str, weight: float) -> None:
        """Add a replica, which is not ready yet, or change its weight."""
        known = self._replicas.get(name)
        if known is None:
            self._replicas[name] = Replica(name, weight)
        else:
            self._weigh(known, -1)
            known.weight, known.draining = weight, False
            self._weigh(known, 1)
        self._ring.put(name, weight)

    def drain(self, name: str) -> None:
        """Give it nothing new; `idle` tells when it can go."""
        if (known := self._replicas.get(name)) is not None and not known.draining:
            self._weigh(known, -1)
            known.draining = True

    def idle(self, name: str) -> bool:
        """Does nothing run there?"""
        return name not in self._replicas or self._replicas[name].running == 0

    def remove(self, name: str) -> None:
        """Forget it."""
        if (known := self._replicas.get(name)) is not None:
            self._weigh(known, -1)
            del self._replicas[name]
            self._running -= known.running
            self._tokens -= known.tokens
            self._ring.remove(name)
            self._places.forget(name)

    def told(self, name: str, ready: bool, now: float) -> None:
        """What a look at it found."""
        known = self._replicas[name]
        if known.ready == ready:
            return
        self._weigh(known, -1)
        known.ready = ready
        if ready:
            known.since = now
        else:
            self._places.forget(name)  # a process that comes back remembers nothing
        self._weigh(known, 1)

    def choose(
        self, hashes: Sequence[int], tokens: int, now: float, exclude: Collection[str] = (), choices: int = 1
    ) -> Taken | None:
        """A replica for a prompt of so many tokens, which it now has; None where no one can answer."""
        weight = self._weight(now)
        if weight <= 0:
            return None
        for name, known_blocks in self._offers(hashes):
            replica = self._replicas.get(name)
            if replica is None or name in exclude or not self._open(replica, now):
                continue
            unread = max(tokens - known_blocks * BLOCK_TOKENS, 0)
            share = self._policy.known_share if known_blocks else self._policy.share
            if self._within(replica, share / weight, unread, choices, now):
                return self._take(replica, hashes, known_blocks, tokens, choices, now)
        able = [each for each in self._replicas.values() if each.name not in exclude and self._open(each, now)]
        if not able:
            return None
        least = min(able, key=lambda each: (each.running + 1) / max(self._effective(each, now), 1e-9))
        return self._take(least, hashes, 0, tokens, choices, now)

    def ended(self, taken: Taken, now: float, failed: bool, choices: int = 1) -> None:
        """An answer that was given to a replica is over, or has left it."""
        replica = self._replicas.get(taken.name)
        if replica is None:
            return
        replica.running -= choices
        self._running -= choices
        replica.trying = False
        if not failed:
            replica.failures = replica.opens = 0
            return
        replica.failures += 1
        if replica.failures >= self._policy.failures_max or replica.opens:
            pause_s = min(self._policy.open_s * 2**replica.opens, self._policy.open_s_max)
            replica.open_until, replica.opens, replica.failures = now + pause_s, replica.opens + 1, 0

    def said(self, taken: Taken, tokens: int, now: float) -> None:
        """A replica has generated so many tokens."""
        if (replica := self._replicas.get(taken.name)) is not None:
            self._work(replica, tokens, now)

    def open(self, name: str, now: float) -> bool:
        """May it be given an answer?"""
        return name in self._replicas and self._open(self._replicas[name], now)

    def states(self, now: float) -> list[tuple[Replica, bool]]:
        """Each replica, and whether it may be given an answer."""
        return [(each, self._open(each, now)) for each in self._replicas.values()]

    def loads(self, now: float) -> dict[str, tuple[int, float]]:
        """Answers that run and recent tokens, by replica."""
        unit = self._scale(now)
        return {each.name: (each.running, each.tokens / unit) for each in self._replicas.values()}

    # --- inside -------------------------------------------------------------------------------

    def _offers(self, hashes: Sequence[int]) -> Iterator[tuple[str, int]]:
        """Replicas in the order in which they are asked, with the blocks they have probably read."""
        found = self._places.find(hashes)
        if found is not None and 2 * found[1] >= len(hashes):
            yield found
        key = hashes[min(len(hashes), self._policy.key_blocks) - 1] if hashes else 0
        for name in self._ring.order(key):
            yield name, 0

    def _open(self, replica: Replica, now: float) -> bool:
        if not replica.ready or replica.draining:
            return False
        return not replica.opens or (now >= replica.open_until and not replica.trying)

    def _within(self, replica: Replica, share: float, tokens: int, choices: int, now: float) -> bool:
        policy = self._policy
        part = share * self._effective(replica, now)
        running = replica.running + choices
        if running > policy.running_free and running > math.ceil((self._running + choices) * part):
            return False
        unit = self._scale(now)
        given = replica.tokens / unit + tokens
        return given <= policy.tokens_free or given <= (self._tokens / unit + tokens) * part + tokens / 2

    def _take(
        self, replica: Replica, hashes: Sequence[int], known_blocks: int, tokens: int, choices: int, now: float
    ) -> Taken:
        replica.running += choices
        self._running += choices
        replica.trying = bool(replica.opens)
        unread = max(tokens - known_blocks * BLOCK_TOKENS, 1)
        self._work(replica, unread, now)
        self._places.keep(hashes, replica.name)
        return Taken(replica.name, hashes, known_blocks, tokens)

    def _work(self, replica: Replica, tokens: int, now: float) -> None:
        added = tokens * self._scale(now)
        replica.tokens += added
        self._tokens += added

    def _scale(self, now: float) -> float:
        """What a token given now counts: twice that of one given `recent_s` ago."""
        age = (now - self._unit_at) / self._policy.recent_s
        if age > 500:
            shrink = 2.0 ** -min(age, 1000)
            for replica in self._replicas.values():
                replica.tokens *= shrink
            self._tokens *= shrink
            self._unit_at, age = now, 0.0
        return float(2.0**age)

    def _weigh(self, replica: Replica, sign: int) -> None:
        """Count its weight in, or out; those that have just come are counted apart."""
        if not replica.ready or replica.draining:
            return
        if sign > 0:
            self._rising[replica.name] = replica
        elif self._rising.pop(replica.name, None) is None:
            self._risen_weight -= replica.weight

    def _weight(self, now: float) -> float:
        for replica in list(self._rising.values()):
            if now - replica.since >= self._policy.slow_start_s:
                del self._rising[replica.name]
                self._risen_weight += replica.weight
        return self._risen_weight + sum(self._effective(replica, now) for replica in self._rising.values())

    def _effective(self, replica: Replica, now: float) -> float:
        """Its weight, less while it has just come."""
        if replica.name not in self._rising or self._policy.slow_start_s <= 0:
            return replica.weight
        return replica.weight * min(1.0, max(0.1, (now - replica.since) / self._policy.slow_start_s))
