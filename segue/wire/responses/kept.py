"""Responses that can be gone on from, for a while.

Laws: one belongs to a workspace and is nothing to any other; at most `responses_max` of at most `bytes_max` bytes
together are kept, the longest unused go first, and none longer than `kept_s`; in memory only: a restart
forgets them (`stored.py` is for several servers).  It knows no JSON but the bytes it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from segue.core import frozen
from segue.core.errors import ResponseUnknown
from segue.core.request import Message

MESSAGE_BYTES = 200
"""What a message costs beside its text, about."""


@dataclass(frozen=True, slots=True)
class KeptLimits:
    """How much is kept, and how long."""

    responses_max: int = 10_000
    bytes_max: int = 256 * 1024**2
    kept_s: float = 7 * 86_400.0


@frozen
class Response:
    """The conversation up to and with the answer, but for instructions; the response as it was written."""

    messages: tuple[Message, ...]
    body: bytes
    until: float

    @property
    def cost(self) -> int:
        """Bytes of memory, about."""
        return len(self.body) + sum(
            MESSAGE_BYTES + len(_text(each).encode("utf-8", "replace")) for each in self.messages
        )


def _text(message: Message) -> str:
    addresses = "".join(source for placed in message.media for source in placed.medium.sources)
    called = "".join(call.arguments for call in message.tool_calls)
    return message.content + (message.reasoning or "") + called + addresses


class Keeping(Protocol):
    """Whoever keeps responses."""

    def keep(self, workspace: str, id: str, messages: tuple[Message, ...], body: bytes) -> None:
        """Remember a response."""
        ...

    async def seek(self, workspace: str, id: str) -> Response:
        """One of the workspace's.  Raises ResponseUnknown."""
        ...

    async def drop(self, workspace: str, id: str) -> None:
        """Forget one.  Raises ResponseUnknown."""
        ...


class Kept:
    """Keeps them in memory; see `Keeping`.  `clock` is in seconds."""

    def __init__(self, limits: KeptLimits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._known: OrderedDict[tuple[str, str], tuple[Response, int]] = OrderedDict()
        self._bytes = 0

    @property
    def held(self) -> tuple[int, int]:
        """Responses kept, and their bytes."""
        return len(self._known), self._bytes

    def keep(self, workspace: str, id: str, messages: tuple[Message, ...], body: bytes) -> None:
        """Remember a response."""
        made = Response(messages, body, self._clock() + self._limits.kept_s)
        cost = made.cost
        self._known[workspace, id] = made, cost
        self._bytes += cost
        while len(self._known) > self._limits.responses_max or self._bytes > self._limits.bytes_max:
            self._bytes -= self._known.popitem(last=False)[1][1]

    def find(self, workspace: str, id: str) -> Response:
        """One of the workspace's.  Raises ResponseUnknown."""
        known = self._known.get((workspace, id))
        if known is None:
            raise ResponseUnknown(id)
        if known[0].until < self._clock():
            self.forget(workspace, id)
            raise ResponseUnknown(id)
        self._known.move_to_end((workspace, id))
        return known[0]

    async def seek(self, workspace: str, id: str) -> Response:
        return self.find(workspace, id)

    async def drop(self, workspace: str, id: str) -> None:
        self.forget(workspace, id)

    def forget(self, workspace: str, id: str) -> None:
        """Raises ResponseUnknown."""
        known = self._known.pop((workspace, id), None)
        if known is None:
            raise ResponseUnknown(id)
        self._bytes -= known[1]
