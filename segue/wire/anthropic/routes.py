"""Where the Anthropic protocol is served."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import Route

from segue.core.request import Request
from segue.wire.anthropic import read, write
from segue.wire.fields import model_name
from segue.wire.http import Door, Endpoint, Exchange, S, bearer, read_object, respond, send_json

BASE = "/apps/anthropic/v1"


def key(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's key: `x-api-key`, or a bearer token."""
    given = headers.get(b"x-api-key")
    return given.decode("latin-1").strip() if given else bearer(headers)


def routes(door: Door[S]) -> list[Route]:
    """The protocol's routes."""

    def asked(exchange: Exchange, values: dict[str, object], counting: bool = False) -> Request:
        high = door.card_of(model_name(values)).output_tokens_max
        return read.read(values, exchange.id, exchange.caller, door.limits, high, counting)

    def answering(exchange: Exchange, values: dict[str, object]) -> tuple[Request, write.Writer, bool]:
        request = asked(exchange, values)
        return request, write.Writer(request), request.delivery.stream

    async def messages(exchange: Exchange) -> None:
        await respond(door, exchange, *answering(exchange, await read_object(door, exchange)))

    async def count(exchange: Exchange) -> None:
        job = await door.prepare(asked(exchange, await read_object(door, exchange), counting=True))
        await send_json(exchange, write.counted(job.prompt_tokens))

    return [
        Route(
            f"{BASE}/messages", Endpoint(door, write.error, {"POST": messages}, entered="anthropic/messages", key=key)
        ),
        Route(f"{BASE}/messages/count_tokens", Endpoint(door, write.error, {"POST": count}, key=key)),
    ]
