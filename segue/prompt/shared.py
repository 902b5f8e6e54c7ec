"""What other servers have said: answers that any of several can go on with.

Laws: those of `answers`; what was said here is looked for here first, and asked of the others only for a prefix that
nobody here has said; answers about documents stay here, for who deletes a document wants nothing of it kept.  A record
from another machine is of this one's byte order, or is not taken.
"""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Sequence
from typing import Protocol

import msgspec

from segue.core.generation import Decoding
from segue.prompt.answers import Answers, Recorded

log = logging.getLogger("segue")


class Shelf(Protocol):
    """Where servers leave answers for each other."""

    def put(self, workspace: str, name: str, data: bytes) -> None:
        """Leave one; returns at once."""
        ...

    async def find(self, workspace: str, names: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        """Those of these names, newest first."""
        ...


class _Packed(msgspec.Struct, array_like=True):
    order: str
    ids: bytes
    data: bytes
    prefix_bytes: int
    drawn_at: int
    said_at: int
    ends: bytes
    decoding: Decoding
    choice: int


class SharedAnswers(Answers):
    """`Answers` that are on the `shelf` too."""

    def __init__(self, answers_max: int, bytes_max: int, shelf: Shelf) -> None:
        super().__init__(answers_max, bytes_max)
        self._shelf = shelf

    def say(self, workspace: str, place: bytes, answer: Recorded) -> None:
        """See `Answers`."""
        if self.on and answer.ends:
            self._shelf.put(workspace, place.hex(), packed(answer))

    async def learn(self, workspace: str, places: Sequence[bytes]) -> bool:
        """See `Answers`."""
        if not self.on:
            return False
        try:
            found = await self._shelf.find(workspace, [place.hex() for place in places])
        except Exception:  # a store that is away: then nobody else has said it
            log.exception("what other servers have said cannot be asked for")
            return False
        for name, data in reversed(found):
            if (answer := unpacked(data)) is not None:
                self.keep(bytes.fromhex(name), answer)
        return bool(found)


def packed(answer: Recorded) -> bytes:
    """A record as bytes."""
    return msgspec.msgpack.encode(
        _Packed(
            sys.byteorder,
            answer.ids.tobytes(),
            answer.data,
            answer.prefix_bytes,
            answer.drawn_at,
            answer.said_at,
            answer.ends.tobytes(),
            answer.decoding,
            answer.choice,
        )
    )


def unpacked(data: bytes) -> Recorded | None:
    """What `packed` wrote; None for what another version, or another kind of machine, has written."""
    try:
        told = msgspec.msgpack.decode(data, type=_Packed)
        if told.order != sys.byteorder:
            return None
        ids, ends = array("i"), array("q")
        ids.frombytes(told.ids)
        ends.frombytes(told.ends)
    except (msgspec.MsgspecError, ValueError):
        return None
    at = told.prefix_bytes, told.drawn_at, told.said_at
    return Recorded(ids, told.data, *at, ends, told.decoding, told.choice)
