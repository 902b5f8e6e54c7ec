"""Files, in the OpenAI-compatible protocol: /compatible-mode/v1/files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from starlette.routing import Route

from segue.core.documents import File, Purpose
from segue.core.errors import FieldMissing, OutOfRange, PurposeWrong, TooLarge
from segue.wire.body import ClientGone
from segue.wire.desk import A, Desk, UploadLimits
from segue.wire.http import Door, Endpoint, Exchange, S, send_json
from segue.wire.openai import write
from segue.wire.openai.write import encode
from segue.wire.query import moment, number, query_of
from segue.wire.upload import PURPOSES, upload

BASE = "/compatible-mode/v1"
PAGE_MAX = 2000
CONTENT_PIECE_BYTES = 256 * 1024

_LISTED: Mapping[str, Purpose] = {**PURPOSES, "batch_output": "batch_output"}


def routes(door: Door[S], desk: Desk[A], limits: UploadLimits) -> list[Route]:
    """The protocol's routes for files."""
    one = replace(limits, files_max=1)

    async def add(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=True)
        async with upload(exchange.receive, exchange.header(b"content-type"), desk, one) as came:
            wish = (came.first("purpose") or "").strip()
            purpose = PURPOSES.get(wish)
            if purpose is None:
                raise PurposeWrong(wish)
            if not came.files:
                raise FieldMissing("file")
            arrived = came.files[0]
            if arrived.too_large:
                raise TooLarge("file", desk.bytes_max(arrived.name, purpose))
            file = await desk.keep(arrived.arriving, exchange.caller.workspace, arrived.name, purpose)
        await send_json(exchange, encode(_object(file)))

    async def listed(exchange: Exchange) -> None:
        workspace = exchange.caller.workspace
        desk.admit(workspace, upload=False)
        query = query_of(exchange)
        limit = number(query, "limit", PAGE_MAX)
        if not 1 <= limit <= PAGE_MAX:
            raise OutOfRange("limit", limit, PAGE_MAX)
        wish = query.get("purpose")
        if wish is not None and wish not in _LISTED:
            raise PurposeWrong(wish)
        files, more = await desk.page(
            workspace,
            query.get("after"),
            limit,
            None if wish is None else _LISTED[wish],
            moment(query, "create_after"),
            moment(query, "create_before"),
        )
        await send_json(
            exchange, encode({"object": "list", "data": [_object(file) for file in files], "has_more": more})
        )

    async def show(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=False)
        await send_json(exchange, encode(_object(await desk.find(exchange.caller.workspace, _id(exchange)))))

    async def remove(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=False)
        await desk.remove(exchange.caller.workspace, _id(exchange))
        await send_json(exchange, encode({"id": _id(exchange), "object": "file", "deleted": True}))

    async def content(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=False)
        async with desk.content(exchange.caller.workspace, _id(exchange)) as (file, path):
            await _send_bytes(exchange, file, path, door.limits.stalled_s)

    return [
        Route(f"{BASE}/files", Endpoint(door, write.error, {"POST": add, "GET": listed})),
        Route(f"{BASE}/files/{{id}}", Endpoint(door, write.error, {"GET": show, "DELETE": remove})),
        Route(f"{BASE}/files/{{id}}/content", Endpoint(door, write.error, {"GET": content})),
    ]


def _object(file: File) -> dict[str, object]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "filename": file.name,
        "purpose": file.purpose,
        "status": file.status,
        "created_at": file.created_at,
    }


def _id(exchange: Exchange) -> str:
    id: str = exchange.scope["path_params"]["id"]
    return id


async def _send_bytes(exchange: Exchange, file: File, path: Path, stalled_s: float) -> None:
    """Raises ClientGone for one who leaves it unread."""
    named = f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % file.bytes),
        (b"content-disposition", named.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", exchange.id.encode("ascii")),
    ]
    with await asyncio.to_thread(path.open, "rb") as data:
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        while piece := await asyncio.to_thread(data.read, CONTENT_PIECE_BYTES):
            try:
                async with asyncio.timeout(stalled_s):
                    await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                raise ClientGone from None
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
