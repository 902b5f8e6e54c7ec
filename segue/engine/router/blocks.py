"""A prompt as the replicas' caches see it: the hash of each beginning, block by block.

Laws: two prompts share the hash of a block where they agree on everything up to its end, and come from the same
workspace and model; a table of these is bounded, and forgets what was not asked for longest.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

BLOCK_TOKENS = 64
BLOCKS_MAX = 512
"""Longer prompts are told apart by their first so many blocks."""


def chain(space: str, ids: Sequence[int]) -> list[int]:
    """The hash of each leading run of whole blocks; of a shorter prompt, of what there is."""
    digest = hashlib.blake2b(space.encode("utf-8", "surrogatepass"), digest_size=8)
    data = array("i", ids[: BLOCK_TOKENS * BLOCKS_MAX])
    ends = range(BLOCK_TOKENS, len(data) + 1, BLOCK_TOKENS) or (len(data),)
    hashes, at = [], 0
    for end in ends:
        digest.update(data[at:end].tobytes())
        hashes.append(int.from_bytes(digest.copy().digest(), "little"))
        at = end
    return hashes


class Places:
    """Which replica has read a run of blocks last."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._kept: OrderedDict[int, str] = OrderedDict()

    def find(self, hashes: Sequence[int]) -> tuple[str, int] | None:
        """The replica that has read the longest run of these, and how many blocks that is."""
        for count in range(len(hashes), 0, -1):
            if (name := self._kept.get(hashes[count - 1])) is not None:
                return name, count
        return None

    def keep(self, hashes: Sequence[int], name: str) -> None:
        """The replica reads all of these; of what it has read before, the end is refreshed."""
        for each in reversed(hashes):
            known = self._kept.pop(each, None)
            self._kept[each] = name
            if known == name:
                break
        while len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)

    def forget(self, name: str) -> None:
        """The replica has lost what it read."""
        for each in [key for key, value in self._kept.items() if value == name]:
            del self._kept[each]
