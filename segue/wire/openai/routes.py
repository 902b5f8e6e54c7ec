"""Where the OpenAI-compatible protocol is served."""

from __future__ import annotations

from starlette.routing import Route

from segue.core.request import Request
from segue.wire.fields import model_name
from segue.wire.http import Door, Endpoint, Exchange, S, card_for, names_for, read_object, respond, send_json
from segue.wire.openai import completions, read, write

BASE = "/compatible-mode/v1"


def routes(door: Door[S]) -> list[Route]:
    """The protocol's routes."""
    created = int(door.clock())

    def asked(exchange: Exchange, values: dict[str, object]) -> tuple[Request, write.Writer, bool]:
        name = model_name(values)
        high = card_for(door, exchange.caller, name).output_tokens_max
        documents = door.reads_documents(name)
        request, form = read.read(values, exchange.id, exchange.caller, door.limits, high, documents)
        return request, write.Writer(request, form, int(door.clock())), form.stream

    async def chat(exchange: Exchange) -> None:
        # Nothing here may outlive the reading: an answer can wait long, its conversation need not.
        await respond(door, exchange, *asked(exchange, await read_object(door, exchange)))

    def completing(exchange: Exchange, values: dict[str, object]) -> tuple[Request, completions.Writer, bool]:
        high = door.card_of(model_name(values)).output_tokens_max
        request, form = completions.read(values, exchange.id, exchange.caller, door.limits, high)
        return request, completions.Writer(request, form, int(door.clock())), form.stream

    async def complete(exchange: Exchange) -> None:
        await respond(door, exchange, *completing(exchange, await read_object(door, exchange)))

    async def models(exchange: Exchange) -> None:
        await send_json(exchange, write.models(names_for(door, exchange.caller), created))

    async def model(exchange: Exchange) -> None:
        name: str = exchange.scope["path_params"]["id"]
        card_for(door, exchange.caller, name)  # raises ModelUnknown, ModelDenied
        await send_json(exchange, write.model(name, created))

    return [
        Route(f"{BASE}/chat/completions", Endpoint(door, write.error, {"POST": chat}, entered="compatible/chat")),
        Route(
            f"{BASE}/completions",
            Endpoint(door, write.error, {"POST": complete}, entered="compatible/completions"),
        ),
        Route(f"{BASE}/models", Endpoint(door, write.error, {"GET": models})),
        Route(f"{BASE}/models/{{id:path}}", Endpoint(door, write.error, {"GET": model})),
    ]
