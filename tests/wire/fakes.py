"""A house behind the door that says what it is told, and an ASGI client that hears everything.

Why by hand and not a test client: a client that buffers cannot see when a status line leaves,
nor leave itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import Router

from segue.core.errors import Fault, KeyInvalid, ModelUnknown
from segue.core.events import Ended, Event, Finished, Started, Text
from segue.core.generation import ModelCard, Reading
from segue.core.request import Caller, Request
from segue.wire.anthropic import routes as anthropic
from segue.wire.dashscope import routes as dashscope
from segue.wire.http import Door, Limits, fallback
from segue.wire.openai import routes as openai

ID = "11111111-2222-4333-8444-555555555555"
KEY = "sk-right"
CARD = ModelCard("qwen-real", 4096, 2048, 512, "")
COMPAT = "/compatible-mode/v1/chat/completions"
NATIVE = "/api/v1/services/aigc/text-generation/generation"

HELLO: tuple[Event, ...] = (Started(22, 3), Text(0, "He", 1), Text(0, "y", 1), Ended(0, "stop"), Finished(22, 3, 2))


@dataclass(frozen=True, slots=True)
class Job:
    served: str
    request: Request
    reading: Reading | None = None
    prompt_tokens: int = 22


@dataclass
class House:
    """`events` is what every answer says; `gate`, when set, is waited for after `gate_at` events, `reads` before the
    first of them."""

    events: Sequence[Event] = HELLO
    refusal: Fault | None = None
    crash: Exception | None = None
    gate: asyncio.Event | None = None
    gate_at: int = 0
    limits: Limits = field(default_factory=Limits)
    reading: Reading | None = None
    reads: asyncio.Event | None = None
    requests: list[Request] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, request: Request) -> Job:
        self.requests.append(request)
        if self.reads is not None:
            await self.reads.wait()
        if self.refusal is not None:
            raise self.refusal
        return Job(CARD.name, request, self.reading)

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        try:
            for number, event in enumerate(self.events):
                if number == self.gate_at and self.gate is not None:
                    await self.gate.wait()
                if self.crash is not None:
                    raise self.crash
                yield event
        finally:
            self.closed.set()

    def authenticate(self, token: str | None, workspace: str | None) -> Caller:
        if token != KEY:
            raise KeyInvalid
        return Caller("key-1", workspace or "default")

    def card_of(self, name: str) -> ModelCard:
        if name not in ("qwen-plus", "qwen-real", "qwen-long"):
            raise ModelUnknown(name)
        return CARD

    async def encode(self, model: str, text: str) -> tuple[Sequence[int], Sequence[bytes]]:
        data = text.encode()
        return list(data), [bytes([byte]) for byte in data]

    def app(self) -> Router:
        door = Door(
            prepare=self.prepare,
            answer=self.answer,
            authenticate=self.authenticate,
            names=lambda: [("qwen-plus", CARD), ("qwen-real", CARD)],
            card_of=self.card_of,
            encode=self.encode,
            clock=lambda: 1_764_500_000.9,
            new_id=lambda: ID,
            reads_documents=lambda name: name == "qwen-long",
            limits=self.limits,
        )
        listed = [*openai.routes(door), *dashscope.routes(door), *anthropic.routes(door)]
        return Router(listed, default=fallback(door), redirect_slashes=False)


class Client:
    """One request to an ASGI app, heard message by message."""

    def __init__(
        self,
        app: Router,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        chunks: Sequence[bytes] | None = None,
    ) -> None:
        path, _, query = path.partition("?")
        sent = {"authorization": f"Bearer {KEY}"} | (headers or {})
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self._chunks = list(chunks) if chunks is not None else [data]
        self._left = asyncio.Event()
        self._app = app
        self.heard: list[dict[str, Any]] = []
        self.pulse = asyncio.Event()
        self.broken = False

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            chunk = self._chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.broken:
            raise OSError("broken pipe")
        self.heard.append(dict(message))
        self.pulse.set()

    def leave(self) -> None:
        self._left.set()

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.call())

    async def call(self) -> None:
        await self._app(self.scope, self._receive, self._send)

    async def run(self) -> Client:
        await asyncio.wait_for(self.call(), 5)
        return self

    @property
    def status(self) -> int:
        status: int = self.heard[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.heard[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def complete(self) -> bool:
        return bool(self.heard) and not self.heard[-1].get("more_body", False) and len(self.heard) > 1
