"""What a trace tells of a request, and what it never tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from segue.app import build
from segue.config import Traces as Settings
from segue.core.errors import EngineLost
from segue.engine.scripted import Echo, Failure, Scripted, scripted_card
from segue.traces import Traces
from tests.test_app import ASK, CHAT, KEY, NATIVE, running, settings

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where spans go, instead of over the network."""
    kept = InMemorySpanExporter()
    monkeypatch.setattr("segue.app.traces_of", lambda settings: Traces(kept, 1.0))
    yield kept
    kept.shutdown()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def facts(span: ReadableSpan) -> Mapping[str, object]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_s_trace(stream: bool, spans: InMemorySpanExporter) -> None:
    async with running(build(settings())) as client:
        answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers={"traceparent": PARENT})
        assert answer.is_success
    told = by_name(spans)
    assert told.keys() == {"POST", "prepare", "answer"}
    door, prepare, answered = told["POST"], told["prepare"], told["answer"]
    assert door.parent is not None
    assert f"{door.parent.span_id:016x}" in PARENT
    for inner in (prepare, answered):
        assert inner.parent is not None
        assert door.context is not None
        assert inner.parent.span_id == door.context.span_id
    assert [event.name for event in answered.events] == ["first token"]
    assert facts(door)["http.response.status_code"] == 200
    assert facts(answered)["segue.outcome"] == "finished"
    assert facts(prepare)["segue.key"] == "key-env"
    assert {facts(span)["segue.request_id"] for span in told.values()} == {answer.headers["x-request-id"]}


async def test_what_is_refused_and_what_breaks(spans: InMemorySpanExporter) -> None:
    engine = Scripted(Echo(), scripted_card("segue-scripted"), failure=Failure(1, EngineLost))
    async with running(build(settings(), {"segue-scripted": engine})) as client:
        long = [{"role": "user", "content": "x" * 40_000}]
        assert (await client.post(CHAT, json={**ASK, "messages": long})).status_code == 400
        assert (await client.post(NATIVE, json={"model": "qwen-plus", "input": {"prompt": "hello"}})).is_error
    outcomes = [facts(span).get("segue.outcome") for span in spans.get_finished_spans() if span.name != "POST"]
    assert outcomes.count("PromptTooLong") == outcomes.count("EngineLost") == 1


async def test_no_span_has_a_text_or_a_key(spans: InMemorySpanExporter) -> None:
    async with running(build(settings())) as client:
        await client.post(CHAT, json=ASK)
        await client.post(CHAT, json={**ASK, "model": "secret-model"})
        await client.post(CHAT, json={**ASK, "response_format": {"type": "regex", "regex": "secret("}})
        await client.get("/compatible-mode/v1/models/secret-model?secret=1")
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert spans.get_finished_spans()
    assert "secret" not in told
    assert KEY not in told


async def test_a_collector_that_is_away_keeps_nobody_waiting() -> None:
    away = replace(settings(), traces=Settings(endpoint="http://127.0.0.1:9/v1/traces"))
    async with running(build(away)) as client:
        assert (await client.post(CHAT, json=ASK)).is_success
