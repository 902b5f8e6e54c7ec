"""Files, in the DashScope-native protocol: /api/v1/files."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from urllib.parse import quote

from starlette.routing import Route

from segue.core.documents import File, Purpose
from segue.core.errors import Busy, Fault, FieldMissing, PurposeWrong, Refused, TooLarge
from segue.wire.dashscope import write
from segue.wire.dashscope.write import WHOLE_HEADERS, encode
from segue.wire.desk import A, Desk, UploadLimits
from segue.wire.http import Door, Endpoint, Exchange, S, send_json
from segue.wire.query import TIME_ZONE, number, query_of
from segue.wire.upload import PURPOSES, Arrived, upload
from segue.wire.wording import native

BASE = "/api/v1"
PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
PAGE_NO_MAX = 1_000_000

_BATCH_ENDING = ".jsonl"
_ID_DIGITS = 12


def routes(door: Door[S], desk: Desk[A], limits: UploadLimits) -> list[Route]:
    """The protocol's routes for files."""

    async def add(exchange: Exchange) -> None:
        workspace = exchange.caller.workspace
        desk.admit(workspace, upload=True)
        uploaded, failed = list[dict[str, object]](), list[dict[str, object]]()

        async def keep(arrived: Arrived[A], wish: str | None, description: str) -> None:
            """One file may be refused, and the next one taken in."""
            try:
                purpose = _purpose(arrived.name, wish)
                if arrived.too_large:
                    raise TooLarge("file", desk.bytes_max(arrived.name, purpose))
                file = await desk.keep(arrived.arriving, workspace, arrived.name, purpose, description)
                uploaded.append({"name": file.name, "file_id": file.id})
            except (Refused, Busy) as fault:
                failed.append(_failed(arrived.name, fault))

        async with upload(exchange.receive, exchange.header(b"content-type"), desk, limits) as came:
            if not came.files:
                raise FieldMissing("files")
            descriptions = came.fields.get("descriptions", [])
            for place, arrived in enumerate(came.files):
                described = descriptions[place] if place < len(descriptions) else ""
                await keep(arrived, came.first("purpose"), described)
        await _send(exchange, {"uploaded_files": uploaded, "failed_uploads": failed})

    async def listed(exchange: Exchange) -> None:
        workspace = exchange.caller.workspace
        desk.admit(workspace, upload=False)
        query = query_of(exchange)
        page_no = max(1, min(number(query, "page_no", 1), PAGE_NO_MAX))
        page_size = max(1, min(number(query, "page_size", PAGE_SIZE), PAGE_SIZE_MAX))
        files, total = await desk.numbered(workspace, (page_no - 1) * page_size, page_size)
        entries = [await entry(exchange, file) for file in files]
        await _send(exchange, {"total": total, "page_no": page_no, "page_size": page_size, "files": entries})

    async def show(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=False)
        await _send(exchange, await entry(exchange, await desk.find(exchange.caller.workspace, _id(exchange))))

    async def remove(exchange: Exchange) -> None:
        desk.admit(exchange.caller.workspace, upload=False)
        await desk.remove(exchange.caller.workspace, _id(exchange))
        await send_json(exchange, encode({"request_id": exchange.id}), WHOLE_HEADERS)

    async def entry(exchange: Exchange, file: File) -> dict[str, object]:
        progress = 1.0
        if file.status == "processing":
            progress = await desk.progress(file.workspace, file.id)
        return _entry(file, progress, base_of(exchange), exchange.caller.key)

    return [
        Route(f"{BASE}/files", Endpoint(door, write.error, {"POST": add, "GET": listed})),
        Route(f"{BASE}/files/{{id}}", Endpoint(door, write.error, {"GET": show, "DELETE": remove})),
    ]


def _purpose(name: str, wish: str | None) -> Purpose:
    """The SDK does not send it: then a file's name says it."""
    if not wish:
        return "batch" if name.lower().endswith(_BATCH_ENDING) else "file-extract"
    if wish not in PURPOSES:
        raise PurposeWrong(wish)
    return PURPOSES[wish]


def _failed(name: str, fault: Fault) -> dict[str, object]:
    said = native(fault)
    return {"name": name, "code": said.code, "message": said.sentence}


def _entry(file: File, progress: float, base: str, key: str) -> dict[str, object]:
    """The documented fields, and at the end three of ours: how far its reading is."""
    return {
        "id": int(file.id[-2 * _ID_DIGITS :][:_ID_DIGITS], 16),  # 48 bits: exact in every client's numbers
        "name": file.name,
        "description": file.description,
        "purpose": file.purpose,
        "size": file.bytes,
        "md5": b64encode(bytes.fromhex(file.md5)).decode("ascii"),
        "region": "local",
        "file_id": file.id,
        "url": f"{base}/compatible-mode/v1/files/{quote(file.id, safe='')}/content",
        "user_id": file.workspace,
        "api_key_id": key,
        "gmt_create": datetime.fromtimestamp(file.created_at, TIME_ZONE).strftime("%Y-%m-%d %H:%M:%S"),
        "status": file.status,
        "trouble": file.trouble,
        "progress": round(progress, 3),
    }


def base_of(exchange: Exchange) -> str:
    """Where the caller found us."""
    scheme: str = exchange.scope.get("scheme", "http")
    return f"{scheme}://{exchange.header(b'host')}"


def _id(exchange: Exchange) -> str:
    id: str = exchange.scope["path_params"]["id"]
    return id


async def _send(exchange: Exchange, data: dict[str, object]) -> None:
    await send_json(exchange, encode({"data": data, "request_id": exchange.id}), WHOLE_HEADERS)
