"""Where the DashScope-native protocol is served."""

from __future__ import annotations

from starlette.routing import Route

from segue.core.errors import AsyncDenied, EndpointWrong
from segue.core.request import Request
from segue.wire.dashscope import read, write
from segue.wire.fields import model_name
from segue.wire.http import Door, Endpoint, Exchange, S, card_for, names_for, read_object, respond, send_json
from segue.wire.query import number, query_of

BASE = "/api/v1"
PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
PAGE_NO_MAX = 1_000_000


def routes(door: Door[S]) -> list[Route]:
    """The protocol's routes."""

    def asked(exchange: Exchange, values: dict[str, object]) -> tuple[Request, write.Writer, bool]:
        name = model_name(values)
        high, stream = card_for(door, exchange.caller, name).output_tokens_max, wants_stream(exchange)
        documents = door.reads_documents(name)
        request, form = read.read(values, stream, exchange.id, exchange.caller, door.limits, high, documents)
        return request, write.Writer(request, form), form.stream

    def shown(exchange: Exchange, values: dict[str, object]) -> tuple[Request, write.Writer, bool]:
        """Of the multimodal endpoint."""
        name = model_name(values)
        card = card_for(door, exchange.caller, name)
        if card.sight is None:
            raise EndpointWrong
        high, stream = card.output_tokens_max, wants_stream(exchange)
        request, form = read.read(values, stream, exchange.id, exchange.caller, door.limits, high, parts=True)
        return request, write.Writer(request, form), form.stream

    async def multimodal(exchange: Exchange) -> None:
        if exchange.header(b"x-dashscope-async").lower() == "enable":
            raise AsyncDenied
        await respond(door, exchange, *shown(exchange, await read_object(door, exchange)))

    async def generation(exchange: Exchange) -> None:
        if exchange.header(b"x-dashscope-async").lower() == "enable":
            raise AsyncDenied
        # Nothing here may outlive the reading: an answer can wait long, its conversation need not.
        await respond(door, exchange, *asked(exchange, await read_object(door, exchange)))

    async def models(exchange: Exchange) -> None:
        query = query_of(exchange)
        page_no = max(1, min(number(query, "page_no", 1), PAGE_NO_MAX))
        page_size = max(1, min(number(query, "page_size", PAGE_SIZE), PAGE_SIZE_MAX))
        wanted = query.get("model")
        found = [entry for entry in names_for(door, exchange.caller) if wanted is None or entry[0] == wanted]
        page = found[(page_no - 1) * page_size : page_no * page_size]
        body = write.models(page, len(found), page_no, page_size, exchange.id)
        await send_json(exchange, body, write.WHOLE_HEADERS)

    async def tokenizer(exchange: Exchange) -> None:
        values = await read_object(door, exchange)
        model = model_name(values)
        card_for(door, exchange.caller, model)  # an unknown model is told before the input is looked at
        ids: list[int] = []
        pieces: list[bytes] = []
        for text in read.texts(values, door.limits):
            some_ids, some_pieces = await door.encode(model, text)
            ids += some_ids
            pieces += some_pieces
        await send_json(exchange, write.tokens(ids, pieces, exchange.id), write.WHOLE_HEADERS)

    return [
        Route(
            f"{BASE}/services/aigc/text-generation/generation",
            Endpoint(door, write.error, {"POST": generation}, entered="native/generation"),
        ),
        Route(
            f"{BASE}/services/aigc/multimodal-generation/generation",
            Endpoint(door, write.error, {"POST": multimodal}, entered="native/multimodal"),
        ),
        Route(f"{BASE}/models", Endpoint(door, write.error, {"GET": models})),
        Route(f"{BASE}/tokenizer", Endpoint(door, write.error, {"POST": tokenizer})),
    ]


def wants_stream(exchange: Exchange) -> bool:
    """Either header asks for a stream; the body has no say in this protocol."""
    if exchange.header(b"x-dashscope-sse").strip().lower() == "enable":
        return True
    return "text/event-stream" in exchange.header(b"accept").lower()
