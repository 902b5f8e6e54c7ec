"""Batches, in the OpenAI-compatible protocol: /compatible-mode/v1/batches; and how a line of one is answered.

Laws: a line is read and written by the same readers and writers as a request of its own, whole; a batch is its
workspace's; a field that is not in `FIELDS` is read past and listed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from starlette.routing import Route

from segue.core.batches import Batch
from segue.core.errors import Fault, FieldMissing, FieldWrong, Internal, OutOfRange
from segue.core.request import Caller, Request
from segue.wire.body import json_object
from segue.wire.fields import VALUE_CHARS_MAX, Field, Fields, Ignored, model_name
from segue.wire.http import Door, Endpoint, Exchange, S, read_object, send_json
from segue.wire.openai import completions, read, write
from segue.wire.openai.write import encode
from segue.wire.query import moment, number, query_of
from segue.wire.stream import Writer

log = logging.getLogger("segue")

BASE = "/compatible-mode/v1/batches"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENDPOINTS = (CHAT, TEXT)
PAGE, PAGE_MAX = 20, 100
HOURS_MIN, HOURS_MAX = 24, 336
METADATA_MAX = 16
METADATA_CHARS_MAX = 512
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")

USED = Field("used")
FIELDS: Mapping[str, Field] = {
    "input_file_id": Field("used", "a file of purpose batch"),
    "endpoint": Field("used", "/v1/chat/completions or /v1/completions; lines of another are refused"),
    "completion_window": Field("used", "24h to 336h, or in days"),
    "metadata": Field("used", "up to 16 strings; ds_name is what lists are searched by"),
    "output_expires_after": Field("ignored", "output files stay until they are deleted"),
}


class Batches(Protocol):
    """Whoever keeps the batches; all that take an id raise FileAbsent."""

    async def add(self, batch: Batch) -> Batch:
        """Take one in.  Raises QuotaFull."""
        ...

    async def find(self, workspace: str, id: str) -> Batch:
        """One of the workspace's."""
        ...

    async def page(self, workspace: str, limit: int, **wish: object) -> tuple[Sequence[Batch], bool]:
        """Newest first, and whether there are more."""
        ...

    async def cancel(self, workspace: str, id: str) -> Batch:
        """Let no line more be begun."""
        ...


async def answered(door: Door[S], batch: Batch, body: bytes) -> tuple[int, str, bytes]:
    """The answer to a line: its status, its id and its body."""
    id = door.new_id()
    try:
        caller = door.caller(batch.key, batch.workspace)  # as it is by now: the key may have been revoked
        values = json_object(body) | {"stream": False}
        high = door.card_of(model_name(values)).output_tokens_max
        request: Request
        writer: Writer
        created = int(door.clock())
        if batch.endpoint == CHAT:
            documents = door.reads_documents(model_name(values))
            request, form = read.read(values, id, caller, door.limits, high, documents)
            writer = write.Writer(request, form, created)
        else:
            request, shape = completions.read(values, id, caller, door.limits, high)
            writer = completions.Writer(request, shape, created)
        job = await door.prepare(request)
        return 200, id, writer.whole([event async for event in door.answer(job)])
    except Fault as fault:
        reply = write.error(fault, id)
    except Exception:  # a line that cannot be answered must not be asked for ever
        log.exception("a line of a batch failed", extra={"request_id": id})
        reply = write.error(Internal(), id)
    return reply.status, id, reply.body


def created(values: Mapping[str, object], id: str, caller: Caller, now: int) -> Batch:
    """A new batch, of a decoded body.  Raises Refused."""
    fields = Fields(values, "", False, Ignored())
    file, endpoint, window = (_required(fields, name) for name in ("input_file_id", "endpoint", "completion_window"))
    if endpoint not in ENDPOINTS:
        raise FieldWrong("endpoint", "value", "choice", endpoint[:VALUE_CHARS_MAX], ENDPOINTS)
    span = _WINDOW.fullmatch(window)
    hours = int(span[1]) * (24 if span[2] == "d" else 1) if span else 0
    if not HOURS_MIN <= hours <= HOURS_MAX:
        allowed = (f"{HOURS_MIN}h", f"{HOURS_MAX}h")
        raise FieldWrong("completion_window", "value", "choice", window[:VALUE_CHARS_MAX], allowed)
    return Batch(
        id=f"batch_{id}",
        workspace=caller.workspace,
        key=caller.key,
        endpoint=endpoint,
        input_file=file,
        span=window,
        created_at=now,
        expires_at=now + hours * 3600,
        metadata=_metadata(fields),
    )


def _required(fields: Fields, name: str) -> str:
    value = fields.string(name)
    if not value:
        raise FieldMissing(name)
    return value


def _metadata(fields: Fields) -> tuple[tuple[str, str], ...]:
    given = fields.inside("metadata")
    if given is None:
        return ()
    pairs: list[tuple[str, str]] = []
    for key, value in list(given.values.items())[: METADATA_MAX + 1]:
        if not isinstance(value, str) or len(value) > METADATA_CHARS_MAX or len(key) > METADATA_CHARS_MAX:
            raise FieldWrong(f"metadata.{key[:VALUE_CHARS_MAX]}", "string")
        pairs.append((key, value))
    if len(pairs) > METADATA_MAX:
        raise FieldWrong("metadata", "object")
    return tuple(pairs)


def routes(door: Door[S], batches: Batches, admit: Callable[[str], None]) -> list[Route]:
    """The protocol's routes for batches; `admit` raises RateExceeded."""

    async def create(exchange: Exchange) -> None:
        admit(exchange.caller.workspace)
        values = await read_object(door, exchange)
        batch = await batches.add(created(values, exchange.id, exchange.caller, int(door.clock())))
        await send_json(exchange, encode(_object(batch)))

    async def show(exchange: Exchange) -> None:
        admit(exchange.caller.workspace)
        await send_json(exchange, encode(_object(await batches.find(exchange.caller.workspace, _id(exchange)))))

    async def cancel(exchange: Exchange) -> None:
        admit(exchange.caller.workspace)
        await send_json(exchange, encode(_object(await batches.cancel(exchange.caller.workspace, _id(exchange)))))

    async def listed(exchange: Exchange) -> None:
        admit(exchange.caller.workspace)
        query = query_of(exchange)
        limit = number(query, "limit", PAGE)
        if not 1 <= limit <= PAGE_MAX:
            raise OutOfRange("limit", limit, PAGE_MAX)
        found, more = await batches.page(
            exchange.caller.workspace,
            limit,
            after=query.get("after"),
            statuses=_words(query.get("status")),
            input_files=_words(query.get("input_file_ids")),
            since=moment(query, "create_after"),
            until=moment(query, "create_before"),
            named=query.get("ds_name"),
        )
        ends = {"first_id": found[0].id if found else None, "last_id": found[-1].id if found else None}
        data = [_object(batch) for batch in found] or None  # null when empty, as recorded
        await send_json(exchange, encode({"object": "list", "data": data, "has_more": more} | ends))

    return [
        Route(BASE, Endpoint(door, write.error, {"POST": create, "GET": listed})),
        Route(f"{BASE}/{{id}}", Endpoint(door, write.error, {"GET": show})),
        Route(f"{BASE}/{{id}}/cancel", Endpoint(door, write.error, {"POST": cancel})),
    ]


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())[:PAGE_MAX]


def _id(exchange: Exchange) -> str:
    id: str = exchange.scope["path_params"]["id"]
    return id


def _object(batch: Batch) -> dict[str, object]:
    troubles = [
        {"code": each.code, "message": each.message, "param": each.param or None, "line": each.line or None}
        for each in batch.troubles
    ]
    times = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": troubles} if troubles else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.span,
        "status": batch.status,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "created_at": batch.created_at,
        **{f"{name}_at": getattr(batch, f"{name}_at") or None for name in times},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": dict(batch.metadata) or None,
    }
