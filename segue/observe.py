"""What is written down and counted: every log field and counter, named in one place.

Laws: no prompt, no answer and no key is ever written, only who, what, how many and how long; a
request makes one entry, when its answer ends, however it ends, and it is written before the event
loop waits again; the observer passes on what it sees unchanged and adds no failure of its own.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.core.errors import (
    BurstExceeded,
    Fault,
    PlacesTaken,
    QueueFull,
    QuotaSpent,
    RateExceeded,
    TokenRateExceeded,
)
from segue.core.events import CallArguments, Event, Failed, Finished, Started, Text, Thought
from segue.core.generation import SeamFound
from segue.core.histogram import Histogram
from segue.core.request import Request
from segue.pipeline import Job

log = logging.getLogger("segue")

FIELDS = (
    "request_id",  # also in the answer's x-request-id
    "key",  # the key's public identifier
    "workspace",  # whose it is
    "model",  # as asked
    "served",  # who answered
    "outcome",  # finished, left (by the client), or the name of a Fault
    "prompt_tokens",
    "cached_tokens",  # of the prompt, those that had not to be read again
    "output_tokens",
    "seam",  # how a prefix was joined
    "documents",  # what was read of them: whole, retrieval or digest
    "passages",  # how many runs of them the model was given
    "first_ms",  # until the first text
    "total_ms",
    "method",
    "path",
    "status",
    "restarts",  # of an engine's process, since start
    "upstream",  # the address of a server that does not answer
)


_TICKETS = "/uploads/"
"""What is behind it in a path opens something."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Counters:
    """What happened since start.  Names are those of the metrics, without `segue_` and `_total`."""

    requests_finished: int = 0
    requests_refused: int = 0
    requests_failed: int = 0
    requests_left: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seam_exact: int = 0
    seam_healed: int = 0
    seam_resumed: int = 0
    seam_plain: int = 0
    seam_nodes: int = 0
    seam_bound: float = 0.0
    """The sum over all searches: divided by their number, the mean."""


_FIRST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class Times:
    """How long things took since start.  Names are those of the metrics, without `segue_` and `_seconds`."""

    first_token: Histogram = field(default_factory=lambda: Histogram(_FIRST_S))
    per_token: Histogram = field(default_factory=lambda: Histogram(_TOKEN_S))
    answer: Histogram = field(default_factory=lambda: Histogram(_ANSWER_S))


def limited() -> dict[str, int]:
    """How often each limit has refused somebody: none yet."""
    return dict.fromkeys((*_LIMITS.values(), *_QUOTAS.values()), 0)


_LIMITS = {
    BurstExceeded: "requests_per_second",
    RateExceeded: "requests_per_minute",
    TokenRateExceeded: "tokens_per_minute",
    PlacesTaken: "concurrent",
    QueueFull: "queue",
}
_QUOTAS = {"tokens": "tokens_per_month", "money": "money_per_month"}


class Stages(Protocol):
    """The pipeline, as the wire sees it."""

    async def prepare(self, request: Request) -> Job:
        """See `pipeline.Pipeline.prepare`."""
        ...

    def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        """See `pipeline.Pipeline.answer`."""
        ...


class Observed:
    """A pipeline that writes down what passes through it.  `clock` is in seconds."""

    def __init__(self, stages: Stages, clock: Callable[[], float] = time.monotonic) -> None:
        self._stages = stages
        self._clock = clock
        self.counters = Counters()
        self.times = Times()
        self.limited = limited()

    async def prepare(self, request: Request) -> Job:
        """Raises as the pipeline does, after writing the refusal down."""
        try:
            return await self._stages.prepare(request)
        except Fault as fault:
            self.counters.requests_refused += 1
            self._count_limit(fault)
            about = {"request_id": request.id, "key": request.caller.key, "model": request.model}
            about["workspace"] = request.caller.workspace
            _note("refused", {**about, "outcome": type(fault).__name__})
            raise

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        """The pipeline's events, unchanged."""
        begun, first = self._clock(), None
        outcome, output = "left", 0
        started = Started(job.prompt_tokens, 0)
        try:
            async with aclosing(self._stages.answer(job)) as events:
                async for event in events:
                    match event:
                        case Text() | CallArguments() | Thought():  # nearly all of them, so first
                            first = self._clock() if first is None else first
                            output += event.tokens
                        case Started():
                            started = event
                        case Finished():
                            outcome, output = "finished", event.output_tokens
                        case Failed():
                            outcome = type(event.fault).__name__
                            self._count_limit(event.fault)
                    yield event
        finally:
            ended = self._clock()
            self._count(outcome, started, output)
            self._time(begun, first, ended, output)
            fields: dict[str, object] = {
                "request_id": job.prompt.request_id,
                "workspace": job.prompt.workspace,
                "served": job.served,
                "outcome": outcome,
                "prompt_tokens": started.prompt_tokens,
                "cached_tokens": started.cached_tokens,
                "output_tokens": output,
                "total_ms": round((ended - begun) * 1000),
            }
            if started.seam is not None:
                fields["seam"] = started.seam.mode
            if job.reading is not None:
                fields["documents"], fields["passages"] = job.reading.tier, len(job.reading.citations)
            if first is not None:
                fields["first_ms"] = round((first - begun) * 1000)
            _note("answered", fields)

    def _time(self, begun: float, first: float | None, ended: float, output: int) -> None:
        self.times.answer.add(ended - begun)
        if first is not None:
            self.times.first_token.add(first - begun)
            if output > 1:
                self.times.per_token.add((ended - first) / (output - 1))

    def _count(self, outcome: str, started: Started, output: int) -> None:
        self.counters.requests_finished += outcome == "finished"
        self.counters.requests_left += outcome == "left"
        self.counters.requests_failed += outcome not in ("finished", "left")
        self.counters.prompt_tokens += started.prompt_tokens
        self.counters.cached_tokens += started.cached_tokens
        self.counters.output_tokens += output
        if started.seam is not None:
            self._count_seam(started.seam)

    def _count_limit(self, fault: Fault) -> None:
        limit = _QUOTAS[fault.what] if isinstance(fault, QuotaSpent) else _LIMITS.get(type(fault))
        if limit is not None:
            self.limited[limit] += 1

    def _count_seam(self, seam: SeamFound) -> None:
        name = f"seam_{seam.mode}"
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        self.counters.seam_nodes += seam.nodes
        self.counters.seam_bound += seam.bound


class Access:
    """ASGI middleware: one entry an HTTP request, when its response is complete or broken off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        fields: dict[str, object] = {"method": scope["method"], "path": "", "status": 0}

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields["status"] = message["status"]
                for name, value in message.get("headers", ()):
                    if name == b"x-request-id":
                        fields["request_id"] = value.decode("latin-1")
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            fields["path"] = _path(scope)
            fields["total_ms"] = round((time.monotonic() - begun) * 1000)
            _note("request", fields)


def _path(scope: Scope) -> str:
    """What was asked for; a ticket is not written."""
    path: str = scope["path"]
    before, found, ticket = path.partition(_TICKETS)
    return f"{before}{found}..." if ticket else path


class _Entry(logging.LogRecord):
    """An entry of ours.

    What `log.info(message, extra=facts)` makes, but for the line of the source: to find that, and to take
    its file's name apart, costs more than all the rest of a short answer's entry.
    """

    _ALIKE: ClassVar[dict[str, Any]] = logging.LogRecord("segue", logging.INFO, __file__, 0, "", (), None).__dict__

    def __init__(self, message: str, created: float, facts: Mapping[str, object]) -> None:
        self.__dict__ = {**self._ALIKE, **facts, "msg": message, "created": created, "msecs": created % 1 * 1000}


class _Desk:
    """Where entries lie until the event loop's turn ends, to be written down together.

    Under load these are dozens, and written one behind the other each takes a third of what it would take
    between two requests, where all that it needs has just left the processor's caches.
    """

    def __init__(self) -> None:
        self._noted: list[tuple[str, float, Mapping[str, object]]] = []
        self._turn: asyncio.AbstractEventLoop | None = None  # whose turn's end is waited for

    def note(self, message: str, facts: Mapping[str, object]) -> None:
        """Take an entry."""
        if not log.isEnabledFor(logging.INFO):
            return
        self._noted.append((message, time.time(), facts))
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write_down()
            return
        if self._turn is not loop:
            self._turn = loop
            loop.call_soon(self._write_down)

    def _write_down(self) -> None:
        noted, self._noted, self._turn = self._noted, [], None
        for message, created, facts in noted:
            log.handle(_Entry(message, created, facts))


_note = _Desk().note


class _Lines(logging.Formatter):
    """`time level message field=value ...`; a trace follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry as text."""
        facts = "".join([f" {name}={_one_word(value)}" for name, value in _facts(record)])
        text = f"{_when(record)} {record.levelname.lower()} {record.getMessage()}{facts}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Objects(logging.Formatter):
    """One JSON object an entry."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry as JSON."""
        entry: dict[str, object] = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **dict(_facts(record)),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def _facts(record: logging.LogRecord) -> list[tuple[str, object]]:
    known = record.__dict__
    return [(name, known[name]) for name in FIELDS if name in known]


def _one_word(value: object) -> str:
    """A value that cannot be taken for another field, or for another line: callers choose some of them."""
    text = str(value)
    if type(value) is int:
        return text
    return text if text.isprintable() and " " not in text else ascii(text)


def _when(record: logging.LogRecord) -> str:
    return _clock_text(int(record.created * 1000))


@lru_cache(maxsize=1)  # entries that are written together were often made in the same millisecond
def _clock_text(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def write_log(level: str, format: Literal["line", "json"] | str) -> None:
    """Send our entries, and the HTTP server's warnings, to standard error."""
    # Nobody reads these facts of a record, and asking for them is a third of an entry's cost.
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Objects() if format == "json" else _Lines())
    for name, least in (("segue", level.upper()), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(least)
        logger.propagate = False
