"""From the bytes of a request body to a JSON object, whatever the bytes are.

Laws: the limit counts the bytes that came, not the ones a header promised; every body that is
not a JSON object in UTF-8 is one `BodyInvalid`, however deep, long or broken; NUL, written as
an escape, is a character like any other.  This file knows no field.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from segue.core.errors import BodyInvalid, TimedOut, TooLarge
from segue.wire.limits import PATIENCE_S, Interruption, Patience

# ASGI's own types; the one place where a foreign mapping of anything is passed on.
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]

_decoder = msgspec.json.Decoder()


class ClientGone(Exception):
    """The client left; there is nobody to answer."""


async def body(receive: Receive, bytes_max: int, wait_s: float, patience: Patience) -> bytes:
    """The whole body.  Raises TooLarge past `bytes_max`, TimedOut past `wait_s` seconds, ClientGone."""

    def watch(late: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(wait_s - PATIENCE_S, late)

    with Interruption(patience, watch):
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise TooLarge("body", bytes_max)
            if not message.get("more_body", False):
                return b"".join([*parts, part]) if parts else part
            parts.append(part)
    raise TimedOut  # what was waited for was interrupted


def json_object(data: bytes) -> dict[str, object]:
    """The object that `data` spells.  Raises BodyInvalid."""
    try:
        value = _decoder.decode(data)
    except RecursionError:
        raise BodyInvalid("nested too deep") from None
    except ValueError as error:  # msgspec's own errors and UnicodeDecodeError are all ValueErrors
        raise BodyInvalid(str(error)[:200]) from None
    if not isinstance(value, dict):
        raise BodyInvalid(f"a {type(value).__name__}, not an object")
    return value
