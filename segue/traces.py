"""Traces of requests, for OpenTelemetry: the door, and in it what is prepared and what is answered.

    POST                     from the first byte of the request to the last of its answer
      prepare                until it may run: read, agreed, rendered, encoded
      answer                 from its place in the queue to its end, with the moment of the first token

Laws: no prompt, no answer and no key is in a span, nor what a caller called a model, nor an exception's text; a trace
that a caller's `traceparent` begins is gone on with; whoever collects may be away: nobody waits for it, and what cannot
be handed over is dropped.  It is imported only where `traces.endpoint` is set: its library is the extra `otel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue import __version__
from segue.core.errors import Fault
from segue.core.events import CallArguments, Event, Failed, Finished, Started, Text
from segue.core.request import Request
from segue.observe import Stages
from segue.pipeline import Job

_FLUSH_MAX_MS = 3000
_PARENT = "traceparent"


class Traces:
    """Hands `share` of all traces to `exporter`."""

    def __init__(self, exporter: SpanExporter, share: float) -> None:
        resource = Resource.create({"service.name": "segue", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer: Tracer = self._provider.get_tracer("segue", __version__)

    def around(self, stages: Stages) -> Stages:
        """The same stages, traced."""
        return _Traced(stages, self.tracer)

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """Hand over what there is."""
        await asyncio.to_thread(self._provider.force_flush, _FLUSH_MAX_MS)
        await asyncio.to_thread(self._provider.shutdown)


class _Traced:
    """See `observe.Stages`."""

    def __init__(self, stages: Stages, tracer: Tracer) -> None:
        self._stages = stages
        self._tracer = tracer

    async def prepare(self, request: Request) -> Job:
        # A Fault may quote what a caller sent: nothing of an exception is recorded.
        with self._tracer.start_as_current_span(
            "prepare", record_exception=False, set_status_on_exception=False
        ) as span:
            span.set_attribute("segue.request_id", request.id)
            span.set_attribute("segue.key", request.caller.key)
            span.set_attribute("segue.workspace", request.caller.workspace)
            try:
                job = await self._stages.prepare(request)
            except Fault as fault:
                _failed(span, fault)
                raise
            span.set_attribute("segue.model", job.served)
            span.set_attribute("segue.prompt_tokens", job.prompt_tokens)
            if job.reading is not None:
                span.set_attribute("segue.documents", job.reading.tier)
            return job

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        span = self._tracer.start_span("answer")
        span.set_attribute("segue.request_id", job.prompt.request_id)
        span.set_attribute("segue.model", job.served)
        outcome, begun = "left", False
        try:
            async with aclosing(self._stages.answer(job)) as events:
                async for event in events:
                    match event:
                        case Text() | CallArguments() if not begun:
                            begun = True
                            span.add_event("first token")
                        case Started():
                            span.set_attribute("segue.cached_tokens", event.cached_tokens)
                            if event.seam is not None:
                                span.set_attribute("segue.seam", event.seam.mode)
                        case Finished():
                            outcome = "finished"
                            span.set_attribute("segue.output_tokens", event.output_tokens)
                        case Failed():
                            outcome = type(event.fault).__name__
                            _failed(span, event.fault)
                    yield event
        finally:
            span.set_attribute("segue.outcome", outcome)
            span.end()


class Door:
    """ASGI middleware: one span an HTTP request."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parents = [value.decode("latin-1") for name, value in scope["headers"] if name == _PARENT.encode()]
        given = {_PARENT: parents[0]} if parents else {}
        with self._tracer.start_as_current_span(
            scope["method"],
            self._propagator.extract(given),
            SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    for name, value in message.get("headers", ()):
                        if name == b"x-request-id":
                            span.set_attribute("segue.request_id", value.decode("latin-1"))
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            span.set_attribute("http.request.method", scope["method"])
            await self._app(scope, receive, noted)


def _failed(span: Span, fault: Fault) -> None:
    """By its name alone."""
    span.set_attribute("segue.outcome", type(fault).__name__)
    span.set_status(Status(StatusCode.ERROR, type(fault).__name__))
