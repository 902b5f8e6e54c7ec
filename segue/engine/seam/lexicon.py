"""Which tokens' bytes begin, or begin with, given bytes: a vocabulary in the order of its bytes.

Law: what may not stand inside text (control tokens, padding of the table, tokens without bytes) is
found by neither question.  A sorted list does the work of a trie: both questions are bisections.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.intp]


class Lexicon:
    """`pieces[i]` is the bytes of token i.  Several tokens may have the same bytes."""

    def __init__(self, pieces: Sequence[bytes], excluded: Iterable[int] = ()) -> None:
        left_out = frozenset(excluded)
        kept = [token for token, piece in enumerate(pieces) if piece and token not in left_out]
        kept.sort(key=pieces.__getitem__)
        self._sorted = [pieces[token] for token in kept]
        self._ids: Ids = np.asarray(kept, dtype=np.intp)
        self._longest = max(map(len, self._sorted), default=0)

    def inside(self, rest: bytes) -> list[tuple[int, int]]:
        """Tokens whose bytes are a proper prefix of `rest`, with their lengths, the shortest first."""
        found = []
        for size in range(1, min(len(rest), self._longest + 1)):
            head = rest[:size]
            at = bisect_left(self._sorted, head)
            while at < len(self._sorted) and self._sorted[at] == head:
                found.append((int(self._ids[at]), size))
                at += 1
        return found

    def exactly(self, data: bytes) -> list[int]:
        """Tokens whose bytes are `data`, in the order of their numbers."""
        at, found = bisect_left(self._sorted, data), []
        while at < len(self._sorted) and self._sorted[at] == data:
            found.append(int(self._ids[at]))
            at += 1
        return found

    def reaching(self, rest: bytes) -> Ids:
        """Tokens whose bytes begin with `rest`, which is not empty."""
        begin = bisect_left(self._sorted, rest)
        after = _after(rest)
        return self._ids[begin : None if after is None else bisect_left(self._sorted, after, begin)]


def _after(head: bytes) -> bytes | None:
    """The least bytes that are greater than everything that begins with `head`; None: there are none."""
    kept = head.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
