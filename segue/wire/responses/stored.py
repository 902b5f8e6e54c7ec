"""Responses that any of several servers can go on from.

Laws: those of `kept`, but that it is the shelf's to keep the limits; nothing is kept here, so that what one server
forgets no other finds.  A response is written down behind its last event, so one that is asked for at once, of another
server, is waited for a moment.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from segue.core.errors import ResponseUnknown
from segue.core.request import Message
from segue.wire.responses.kept import Response

_LOOKS_AFTER_S = (0.0, 0.05, 0.2, 0.5)
_ID = re.compile(r"resp_[0-9a-f-]{36}")


class Shelf(Protocol):
    """Where servers leave responses for each other."""

    def put(self, workspace: str, name: str, data: bytes) -> None:
        """Leave one; returns at once."""
        ...

    async def find(self, workspace: str, names: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        """Those of these names, newest first."""
        ...

    async def remove(self, workspace: str, name: str) -> bool:
        """Take one away.  False: there is none."""
        ...


class Stored:
    """Keeps `kept.Keeping`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def keep(self, workspace: str, id: str, messages: tuple[Message, ...], body: bytes) -> None:
        """See `kept.Keeping`."""
        self._shelf.put(workspace, id, msgspec.msgpack.encode((messages, body)))

    async def seek(self, workspace: str, id: str) -> Response:
        """See `kept.Keeping`."""
        for after_s in _LOOKS_AFTER_S if _ID.fullmatch(id) else ():  # what no id can be is not let near a store
            await asyncio.sleep(after_s)
            if found := await self._shelf.find(workspace, [id]):
                messages, body = msgspec.msgpack.decode(found[0][1], type=tuple[tuple[Message, ...], bytes])
                return Response(messages, body, 0.0)
        raise ResponseUnknown(id)

    async def drop(self, workspace: str, id: str) -> None:
        """See `kept.Keeping`."""
        await self.seek(workspace, id)
        if not await self._shelf.remove(workspace, id):
            raise ResponseUnknown(id)
