"""Where the time of a request and of a streamed piece goes, in one process, with the real objects.

A whole request is sent through the ASGI interface of the real endpoint, whose `Door` leads to the real
stages and notes the time at each step, so the parts add up to the whole.  A streamed piece takes
too little for that: its stages are timed by themselves, many pieces at a time, and what they leave
of the whole app's time is the sending and the piece's share of the request.  Settings and log are
those of a default server; what is sent is dropped.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import msgspec
import uvloop
from starlette.types import ASGIApp, Message, Scope

from bench.client import chat
from bench.process import KEY
from bench.servers import CHUNK_BYTES, CHUNKS, SCRIPTED, echo
from segue.core.events import Event, Text
from segue.core.generation import ModelCard
from segue.core.request import Caller, Request
from segue.engine.scripted import Echo, Scripted, scripted_card
from segue.observe import Observed, Stages, write_log
from segue.pipeline import Job, Pipeline
from segue.policy.auth import Auth, Grant, ring
from segue.policy.keys import digest
from segue.wire.body import json_object
from segue.wire.http import Door
from segue.wire.limits import Limits
from segue.wire.openai import read
from segue.wire.openai.routes import routes
from segue.wire.openai.write import Writer

PATH = "/compatible-mode/v1/chat/completions"
WHOLE_TEXT = "How many people live on the island now?"
"""What a whole answer echoes: ten chunks."""
STREAM_TEXT = "abcd" * CHUNKS
_BATCHES = 9


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds by stage, in order, and of the app that they are parts of.  `floor` is the echo app's."""

    stages: dict[str, float]
    app: float
    floor: float


class _Clocked:
    """The time at each step of one request.  `note` ends the stage it names."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.last = 0.0

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent[stage].append(1e6 * (now - self.last))
        self.last = time.perf_counter()


class _Clocking:
    """The pipeline, noting when it has said everything."""

    def __init__(self, stages: Stages, clocked: _Clocked) -> None:
        self._stages, self._clocked = stages, clocked

    async def prepare(self, request: Request) -> Job:
        self._clocked.note("watching for the client")
        job = await self._stages.prepare(request)
        self._clocked.note("pipeline: rules, template, encode, budget")
        return job

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        async for event in self._stages.answer(job):
            yield event
        self._clocked.note("pipeline: engine and assembly, ten chunks")


def _app(engine: Scripted, clocked: _Clocked) -> ASGIApp:
    """The real endpoint over the real stages, as `segue.app` puts them together, with the clock between them."""
    observed = Observed(_Clocking(Pipeline(lambda name: engine), clocked))
    keys = ring([Grant(digest(KEY), Caller("key-1", "default"))])
    auth = Auth(lambda: keys)

    async def answer(job: Job) -> AsyncGenerator[Event, None]:
        async for event in observed.answer(job):
            yield event
        clocked.note("counters, log entry noted")

    def authenticate(token: str | None, workspace: str | None) -> Caller:
        clocked.note("request id, headers")
        caller = auth.authenticate(token, workspace)
        clocked.note("who asks")
        return caller

    def card_of(name: str) -> ModelCard:
        clocked.note("body to JSON")
        return engine.card

    def clock() -> float:
        clocked.note("reader")
        return 1.7e9

    def new_id() -> str:
        clocked.note("entering")
        return str(uuid.uuid4())

    async def encode(model: str, text: str) -> tuple[list[int], list[bytes]]:
        raise AssertionError("nobody tokenises here")

    door = Door(observed.prepare, answer, authenticate, list, card_of, encode, clock, new_id)
    return next(route.app for route in routes(door) if route.path == PATH)  # `segue.app` routes no further


async def whole(batch: int) -> Costs:
    """Of one whole answer."""
    engine, clocked = Scripted(Echo(CHUNK_BYTES), scripted_card(SCRIPTED)), _Clocked()
    await engine.start()
    raw = _body(WHOLE_TEXT, stream=False)
    app = _app(engine, clocked)
    call = _call(app, PATH, raw, lambda: clocked.note("fold, writer"))
    for warm in (True, False):
        for _ in range(batch * _BATCHES):
            clocked.last = time.perf_counter()
            await call()
            clocked.note("sending, taking leave")
            await asyncio.sleep(0)
            clocked.note("writing the log entry down, one in a turn of the event loop")
        if warm:
            clocked.spent.clear()
    stages = {stage: statistics.median(times) for stage, times in clocked.spent.items()}
    return Costs(stages, sum(stages.values()), await _cost_us(_call(echo, "/echo", raw), batch))


async def piece(batch: int) -> Costs:
    """Of one piece of a stream of `CHUNKS`."""
    engine = Scripted(Echo(CHUNK_BYTES), scripted_card(SCRIPTED))
    await engine.start()
    pipeline = Pipeline(lambda name: engine)
    raw = _body(STREAM_TEXT, stream=True)
    request, form = read.read(json_object(raw), "id", Caller("key", "default"), Limits(), 8192)
    job, writer = await pipeline.prepare(request), Writer(request, form, 1_700_000_000)
    texts = [event async for event in pipeline.answer(job) if isinstance(event, Text)]

    async def frames() -> None:
        for text in texts:
            writer.frame(text)

    answered = await _cost_us(lambda: _drained(pipeline, job), batch)
    counted = await _cost_us(lambda: _drained(Observed(pipeline), job), batch)
    stages = {
        "pipeline: engine, assembly": answered,
        "counters": counted - answered,
        "writer": await _cost_us(frames, batch),
    }
    app = await _cost_us(_call(_app(engine, _Clocked()), PATH, raw), batch)
    return Costs({name: cost / len(texts) for name, cost in stages.items()}, app / len(texts), 0.0)


async def _drained(stages: Stages, job: Job) -> None:
    async for _ in stages.answer(job):
        pass


def _body(text: str, stream: bool) -> bytes:
    return chat(text, 2 * len(text), stream, KEY).partition(b"\r\n\r\n")[2]


async def _cost_us(call: Callable[[], Awaitable[object]], batch: int) -> float:
    """Microseconds a call: the median of several batches."""
    found = []
    for _ in range(_BATCHES):
        begun = time.perf_counter()
        for _ in range(batch):
            await call()
            await asyncio.sleep(0)  # log entries are written at the end of the loop's turn
        found.append(1e6 * (time.perf_counter() - begun) / batch)
    return statistics.median(found)


def _call(
    app: ASGIApp, path: str, body: bytes, started: Callable[[], None] | None = None
) -> Callable[[], Awaitable[None]]:
    """One request through an app's ASGI interface; `started` is called at its status line."""
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
            if message["type"] == "http.response.start":
                assert message["status"] == 200, message
                if started is not None:
                    started()

        scope: Scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": headers}
        await app(scope, receive, send)

    return call


def main() -> None:
    """Print both costs as JSON, after `BATCH` calls a batch; log entries are written to nowhere."""
    batch = int(sys.argv[1])
    with open(os.devnull, "w", encoding="utf-8") as sys.stderr:
        write_log("info", "line")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            costs = [runner.run(whole(batch)), runner.run(piece(max(1, batch // 10)))]
    sys.stdout.buffer.write(msgspec.json.encode(costs))


if __name__ == "__main__":
    main()
