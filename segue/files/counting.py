"""How many tokens a text has, without letting anybody wait for it.

Law: the text is read and counted in pieces of at most `PIECE_BYTES`, cut at line ends where there are some, and others
have their turn between two of them.  A token that would reach past a cut is counted as two: one in thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

PIECE_BYTES = 32 * 1024

_CONTINUES, _FIRST = 0b1000_0000, 0b1100_0000


async def counted(path: Path, count: Callable[[str], Awaitable[int]]) -> int:
    """The sum of what `count` says of the pieces of the text at `path`."""
    total = 0
    pieces = _pieces(path)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        total += await count(piece.decode("utf-8", "replace"))
        await asyncio.sleep(0)
    return total


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        rest = b""
        while block := file.read(PIECE_BYTES - len(rest)):
            block = rest + block
            end = block.rfind(b"\n") + 1 or _whole(block)
            if len(block) < PIECE_BYTES:
                end = len(block)
            yield block[:end]
            rest = block[end:]
        if rest:
            yield rest


def _whole(block: bytes) -> int:
    """How much of it is whole characters."""
    end = len(block)
    while end > len(block) - 4 and block[end - 1] & _FIRST == _CONTINUES:
        end -= 1
    return end - 1 if block[end - 1] & _FIRST == _FIRST else end
