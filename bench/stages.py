"""Where the time of a request and of a streamed piece goes, timed in one process with the real objects.

The whole app is called through its ASGI interface with a body ready and a `send` that drops what it
gets; then its stages are called one by one, with the settings and the log of a default server.  What
the stages do not explain is routing, headers, watching for the client, and sending.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec
import uvloop
from starlette.types import ASGIApp, Message, Scope

from bench.client import chat
from bench.process import KEY
from bench.servers import CHUNK_BYTES, CHUNKS, SCRIPTED, echo
from segue.app import build
from segue.config import Auth as AuthSettings
from segue.config import Models, Settings
from segue.core.events import Event, Text
from segue.engine.scripted import Echo, Scripted, scripted_card
from segue.observe import Observed, write_log
from segue.pipeline import Job, Pipeline
from segue.policy.auth import Auth, single
from segue.wire.body import json_object
from segue.wire.limits import Limits
from segue.wire.openai import read
from segue.wire.openai.write import Writer

PATH = "/compatible-mode/v1/chat/completions"
WHOLE_TEXT = "How many people live on the island now?"
"""What a whole answer echoes: ten chunks."""
STREAM_TEXT = "abcd" * CHUNKS
_BATCHES = 9


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds by stage, in the order of a request; the last two are of the app as a whole."""

    stages: dict[str, float]
    app: float
    floor: float


async def _cost_us(call: Callable[[], Awaitable[object]], batch: int) -> float:
    """Microseconds a call: the median of several batches."""
    found = []
    for _ in range(_BATCHES):
        begun = time.perf_counter()
        for _ in range(batch):
            await call()
        found.append(1e6 * (time.perf_counter() - begun) / batch)
    return statistics.median(found)


class _Bench:
    """The real stages, and one request on its way through them."""

    def __init__(self, text: str, stream: bool) -> None:
        self.raw = chat(text, 2 * len(text), stream, KEY).partition(b"\r\n\r\n")[2]
        settings = Settings(auth=AuthSettings(api_key=KEY), models=Models(default=SCRIPTED))
        self.engine = Scripted(Echo(CHUNK_BYTES), scripted_card(SCRIPTED))
        self.app = build(settings, {SCRIPTED: self.engine})
        self.auth = Auth(single(KEY))
        self.pipeline = Pipeline(lambda name: self.engine)
        self.observed = Observed(self.pipeline)
        self.values = json_object(self.raw)
        self.caller = self.auth.authenticate(KEY)
        self.request, self.form = read.read(self.values, "id", self.caller, Limits(), 8192)
        self.writer = Writer(self.request, self.form, 1_700_000_000)

    async def parse(self) -> object:
        return json_object(self.raw)

    async def authenticate(self) -> object:
        return self.auth.authenticate(KEY)

    async def read(self) -> object:
        request, form = read.read(self.values, "id", self.caller, Limits(), 8192)
        return Writer(request, form, 1_700_000_000)

    async def prepare(self) -> Job:
        return await self.pipeline.prepare(self.request)


async def whole(batch: int) -> Costs:
    """Of one whole answer."""
    bench = _Bench(WHOLE_TEXT, stream=False)
    await bench.engine.start()
    job = await bench.prepare()
    events = [event async for event in bench.pipeline.answer(job)]
    answered = await _cost_us(lambda: _drained(bench.pipeline, job), batch)
    stages = {
        "body to JSON": await _cost_us(bench.parse, batch),
        "who asks": await _cost_us(bench.authenticate, batch),
        "reader": await _cost_us(bench.read, batch),
        "pipeline: rules, template, encode, budget": await _cost_us(bench.prepare, batch),
        "pipeline: engine, assembly": answered,
        "counters and log entry": await _cost_us(lambda: _drained(bench.observed, job), batch) - answered,
        "writer": await _cost_us(lambda: _written(bench.writer, events), batch),
    }
    return Costs(stages, await _app_cost(bench, batch), await _cost_us(_call(echo, "/echo", bench.raw), batch))


async def piece(batch: int) -> Costs:
    """Of one piece of a stream of `CHUNKS`."""
    bench = _Bench(STREAM_TEXT, stream=True)
    await bench.engine.start()
    job = await bench.prepare()
    texts = [event async for event in bench.pipeline.answer(job) if isinstance(event, Text)]

    async def frames() -> None:
        for text in texts:
            bench.writer.frame(text)

    answered = await _cost_us(lambda: _drained(bench.pipeline, job), batch)
    stages = {
        "pipeline: engine, assembly": answered,
        "counters": await _cost_us(lambda: _drained(bench.observed, job), batch) - answered,
        "writer": await _cost_us(frames, batch),
    }
    app = await _app_cost(bench, batch)
    return Costs({name: cost / len(texts) for name, cost in stages.items()}, app / len(texts), 0.0)


async def _drained(stages: Pipeline | Observed, job: Job) -> None:
    async for _ in stages.answer(job):
        pass


async def _written(writer: Writer, events: Sequence[Event]) -> bytes:
    return writer.whole(events)


async def _app_cost(bench: _Bench, batch: int) -> float:
    async with bench.app.router.lifespan_context(bench.app):
        await bench.app.state.house.started()
        return await _cost_us(_call(bench.app, PATH, bench.raw), batch)


def _call(app: ASGIApp, path: str, body: bytes) -> Callable[[], Awaitable[None]]:
    """One request through an app's ASGI interface."""
    headers = [
        (b"host", b"bench"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"authorization", f"Bearer {KEY}".encode()),
    ]

    async def call() -> None:
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # a client that stays
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            assert message.get("status", 200) == 200, message

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)

    return call


def main() -> None:
    """Print both costs as JSON, after `BATCH` calls a batch; the log goes where a service's would: to nobody here."""
    batch = int(sys.argv[1])
    with open(os.devnull, "w", encoding="utf-8") as sys.stderr:
        write_log("info", "line")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            costs = [runner.run(whole(batch)), runner.run(piece(max(1, batch // 10)))]
    sys.stdout.buffer.write(msgspec.json.encode(costs))


if __name__ == "__main__":
    main()
