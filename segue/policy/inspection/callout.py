"""A service of yours that is asked whether a text may pass.

    POST  {"request_id", "workspace", "model", "side", "text", "context", "final"}
    200   {"flagged": false}   or   {"flagged": true, "rule": "content" | "custom" | "faq" | "infringement"}

`text` is what is new, `context` what stood before it and has passed, for what begins there and ends here.

Laws: an answer in any other form, or none within `wait_s`, is a failure, and a failure lets a text pass or not, as was
set; failures are logged with their kind and never with a text; redirections are not followed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import httpx
import msgspec

from segue.core import frozen
from segue.core.errors import Ban, InspectionLost, Side

log = logging.getLogger("segue")

_REPLY_BYTES_MAX = 64 * 1024
_CONNECTIONS_MAX = 100


@frozen
class Piece:
    """A text that is to be judged."""

    request_id: str
    workspace: str
    model: str
    side: Side
    text: str
    context: str = ""
    final: bool = True


class Judge(Protocol):
    """Whoever says whether a text may pass."""

    async def judge(self, piece: Piece) -> Ban | None:
        """The kind of rule that is against it, None for none.  Raises InspectionLost."""
        ...


class _Verdict(msgspec.Struct, frozen=True):
    flagged: bool
    rule: Ban = "content"


class Callout:
    """The service at `url`; `key`, where there is one, is its bearer token.  `closed`: what cannot be judged does not
    pass."""

    def __init__(
        self, url: str, key: str, wait_s: float, closed: bool, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._wait_s = wait_s
        self._closed = closed
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._lost = False

    async def judge(self, piece: Piece) -> Ban | None:
        """See `Judge`."""
        try:
            async with asyncio.timeout(self._wait_s):
                verdict = await self._ask(piece)
        except (TimeoutError, httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
            if not self._lost:
                passing = "nothing passes" if self._closed else "everything passes"
                log.warning("contents cannot be inspected, %s until they can: %s", passing, type(error).__name__)
            self._lost = True
            if self._closed:
                raise InspectionLost from None
            return None
        if self._lost:
            log.info("contents can be inspected again")
        self._lost = False
        return verdict.rule if verdict.flagged else None

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _ask(self, piece: Piece) -> _Verdict:
        if self._client is None:
            limits = httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX)
            self._client = httpx.AsyncClient(
                timeout=self._wait_s, limits=limits, trust_env=False, transport=self._transport
            )
        data = msgspec.json.encode(piece)
        async with self._client.stream("POST", self._url, content=data, headers=self._headers) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            said = b""
            async for some in response.aiter_bytes():
                said += some
                if len(said) > _REPLY_BYTES_MAX:
                    raise ValueError("a reply without end")
        return msgspec.json.decode(said, type=_Verdict)
