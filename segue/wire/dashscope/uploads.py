"""Temporary uploads, in the DashScope-native protocol: /api/v1/uploads.

`GET ...?action=getPolicy` gives leave, and the address of a form; the form is posted there, without a key, as the
official client does; what it uploads is then called `oss://` and the form's `key`.

Laws: the form's address is its leave, which is judged before a byte of the form is read; one file a form.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Protocol

from starlette.routing import Route

from segue.core.errors import FieldMissing, FieldWrong
from segue.core.request import Caller
from segue.wire.body import Receive, Send
from segue.wire.dashscope import write
from segue.wire.dashscope.files import base_of
from segue.wire.dashscope.write import WHOLE_HEADERS, encode
from segue.wire.desk import A, Taker, UploadLimits
from segue.wire.fields import VALUE_CHARS_MAX
from segue.wire.http import Door, Endpoint, Exchange, S, Scope, send_json, send_plain
from segue.wire.query import query_of
from segue.wire.upload import upload

BASE = "/api/v1/uploads"
_MIB = 1024**2
_CAPACITY_MB = 999_999_999
_WAIT_S = 300


class Permit(Protocol):
    """Leave to upload."""

    @property
    def ticket(self) -> str:
        """The last part of the form's address."""
        ...

    @property
    def folder(self) -> str:
        """What the form's `key` begins with."""
        ...

    @property
    def policy(self) -> str:
        """Comes back in the form."""
        ...

    @property
    def signature(self) -> str:
        """Likewise."""
        ...


class Locker(Taker[A], Protocol[A]):
    """Keeps temporary uploads."""

    def admit(self, workspace: str) -> None:
        """Raises RateExceeded."""
        ...

    def permit(self, caller: Caller) -> Permit:
        """Give leave.  Raises KeyInvalid."""
        ...

    def holder(self, ticket: str) -> Caller:
        """Who has this leave.  Raises KeyInvalid."""
        ...

    async def keep(self, arriving: A, ticket: str, key: str, policy: str, signature: str) -> None:
        """Take it in.  Raises KeyInvalid, AlreadyThere, TooLarge, QuotaFull."""
        ...


def routes(door: Door[S], locker: Locker[A], limits: UploadLimits, wait_s: float = _WAIT_S) -> list[Route]:
    """The protocol's routes for temporary uploads."""

    async def policy(exchange: Exchange) -> None:
        locker.admit(exchange.caller.workspace)
        action = query_of(exchange).get("action")
        if action is None:
            raise FieldMissing("action")
        if action != "getPolicy":
            raise FieldWrong("action", "value", "choice", action[:VALUE_CHARS_MAX], ("getPolicy",))
        permit = locker.permit(exchange.caller)
        data = {
            "policy": permit.policy,
            "signature": permit.signature,
            "upload_dir": permit.folder,
            "upload_host": f"{base_of(exchange)}{BASE}/{permit.ticket}",
            "expire_in_seconds": int(wait_s),
            "max_file_size_mb": locker.bytes_max("", "upload") // _MIB,
            "capacity_limit_mb": _CAPACITY_MB,
            "oss_access_key_id": exchange.caller.key,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        await send_json(exchange, encode({"data": data, "request_id": exchange.id}), WHOLE_HEADERS)

    async def take(exchange: Exchange) -> None:
        ticket: str = exchange.scope["path_params"]["ticket"]
        async with upload(exchange.receive, exchange.header(b"content-type"), locker, limits) as came:
            said = {name: came.first(name) for name in ("key", "policy", "Signature")}
            absent = next((name for name, value in said.items() if not value), "file" if not came.files else None)
            if absent is not None:
                raise FieldMissing(absent)
            await locker.keep(came.files[0].arriving, ticket, *(value or "" for value in said.values()))
        await send_plain(exchange, b"", "text/plain")

    bearing = replace(door, authenticate=lambda token, workspace: locker.holder(token or ""))
    form = Endpoint(bearing, write.error, {"POST": take})

    return [
        Route(BASE, Endpoint(door, write.error, {"GET": policy})),
        Route(f"{BASE}/{{ticket}}", _Form(form)),
    ]


class _Form:
    """The endpoint of a form: whoever comes has no key but the last part of its address."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(_ticketed(scope), receive, send)


def _ticketed(scope: Scope) -> MutableMapping[str, object]:
    ticket: str = scope["path_params"]["ticket"]
    kept = [
        (name, value) for name, value in scope["headers"] if name not in (b"authorization", b"x-dashscope-workspace")
    ]
    return {**scope, "headers": [*kept, (b"authorization", b"Bearer " + ticket.encode("latin-1", "replace"))]}
