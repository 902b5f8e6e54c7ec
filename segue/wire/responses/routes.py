"""Where the Responses protocol is served."""

from __future__ import annotations

from starlette.routing import Route

from segue.core.request import Message, Request
from segue.wire.fields import model_name
from segue.wire.http import Door, Endpoint, Exchange, S, read_object, respond, send_json
from segue.wire.openai.write import error
from segue.wire.responses import read, write
from segue.wire.responses.kept import Keeping

BASE = "/compatible-mode/v1/responses"
LEGACY = "/api/v2/apps/protocols/compatible-mode/v1/responses"


def routes(door: Door[S], kept: Keeping) -> list[Route]:
    """The protocol's routes, over the responses that are `kept`."""

    async def asked(exchange: Exchange, values: dict[str, object]) -> tuple[Request, write.Writer, bool]:
        workspace = exchange.caller.workspace
        high = door.card_of(model_name(values)).output_tokens_max
        previous = read.previous_id(values)
        before = () if previous is None else (await kept.seek(workspace, previous)).messages
        request, form = read.read(values, exchange.id, exchange.caller, door.limits, high, before)

        def keep(messages: tuple[Message, ...], body: bytes) -> None:
            kept.keep(workspace, f"resp_{exchange.id}", messages, body)

        return request, write.Writer(request, form, int(door.clock()), keep), form.stream

    async def create(exchange: Exchange) -> None:
        await respond(door, exchange, *await asked(exchange, await read_object(door, exchange)))

    async def retrieve(exchange: Exchange) -> None:
        await send_json(exchange, (await kept.seek(exchange.caller.workspace, _id(exchange))).body)

    async def delete(exchange: Exchange) -> None:
        await kept.drop(exchange.caller.workspace, _id(exchange))
        await send_json(exchange, write.deleted(_id(exchange)))

    creating = Endpoint(door, error, {"POST": create}, entered="compatible/responses")
    return [
        Route(BASE, creating),
        Route(LEGACY, creating),
        Route(f"{BASE}/{{id}}", Endpoint(door, error, {"GET": retrieve, "DELETE": delete})),
    ]


def _id(exchange: Exchange) -> str:
    id: str = exchange.scope["path_params"]["id"]
    return id
