"""Consistent hashing: which replica is next for a key.

Law: a replica that comes or goes moves only the keys that are its own; servers that know the same replicas come to
the same order without talking to each other.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Iterator

POINTS = 64
"""Places on the ring of a replica of weight 1: enough to even out its share to about an eighth."""
POINTS_MAX = 1024


class Ring:
    """Replicas by name, each at as many points as its weight asks for."""

    def __init__(self) -> None:
        self._points: list[tuple[int, str]] = []
        self._counts: dict[str, int] = {}

    def put(self, name: str, weight: float) -> None:
        """Add a replica, or change its weight."""
        count = min(max(1, round(POINTS * weight)), POINTS_MAX)
        if self._counts.get(name) == count:
            return
        self.remove(name)
        for number in range(count):
            insort(self._points, (hashed(f"{name} {number}".encode()), name))
        self._counts[name] = count

    def remove(self, name: str) -> None:
        """Take a replica out; nothing happens where it is not in."""
        if self._counts.pop(name, None) is not None:
            self._points = [point for point in self._points if point[1] != name]

    def order(self, key: int) -> Iterator[str]:
        """Every replica once, beginning with the key's own."""
        begin = bisect_right(self._points, (key, "\U0010ffff"))
        met: set[str] = set()
        for step in range(len(self._points)):
            name = self._points[(begin + step) % len(self._points)][1]
            if name not in met:
                met.add(name)
                yield name
                if len(met) == len(self._counts):
                    return


def hashed(data: bytes) -> int:
    """A place on the ring."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
