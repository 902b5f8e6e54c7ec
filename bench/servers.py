"""The servers beside which the real one is measured: `python -m bench.servers KIND PORT`.

`echo` and `chunks` are floors: the least that starlette, and ASGI itself, can do under the same
uvicorn with the same settings.  `idle` is Segue's own app with an engine that never comes to its
first word.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.app import build
from segue.cli.connection import Connection
from segue.config import Settings
from segue.config_read import load
from segue.engine.scripted import Echo, Scripted, scripted_card

SCRIPTED = "segue-scripted"
CHUNKS = 256
"""Pieces of one stream, in the floor and in Segue."""
CHUNK_BYTES = 4
"""What the scripted engine says in one piece."""
_FRAME = b'data: {"choices":[{"finish_reason":null,"delta":{"content":"abcd"},"index":0,"logprobs":null}],' + (
    b'"object":"chat.completion.chunk","usage":null,"created":1700000000,"system_fingerprint":null,'
    b'"model":"qwen-plus","id":"chatcmpl-00000000-0000-0000-0000-000000000000"}\n\n'
)
_FOREVER_S = 1e6
_IDLE_PLACES = 100_000


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


async def _alive(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


echo = Starlette(routes=[Route("/echo", _echo, methods=["POST"]), Route("/healthz", _alive)])


async def chunks(scope: Scope, receive: Receive, send: Send) -> None:
    """A stream of `CHUNKS` frames as large as Segue's, from nothing."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"text/event-stream;charset=UTF-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": _FRAME, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


def idle(settings: Settings) -> Starlette:
    """Segue over an engine whose answers all wait."""
    engine = Scripted(Echo(), scripted_card(SCRIPTED), delay_s=_FOREVER_S, running_max=_IDLE_PLACES)
    return build(settings, {SCRIPTED: engine})


def main() -> None:
    """Serve one of them as `segue serve` serves its app."""
    kind, port = sys.argv[1], int(sys.argv[2])
    apps: dict[str, ASGIApp] = {"echo": echo, "chunks": chunks}
    uvicorn.run(
        apps[kind] if kind in apps else idle(load()),
        port=port,
        loop="uvloop",
        http="httptools" if kind in apps else Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=75,
        limit_concurrency=100_000,
    )


if __name__ == "__main__":
    main()
