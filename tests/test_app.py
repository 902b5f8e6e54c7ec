"""The composed app, without a socket: what is open, what is shut, and what is written down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from segue.app import build
from segue.catalogue.table import CatalogueInvalid
from segue.config import Auth, Engine, Models, Server, Settings
from segue.core.errors import EngineFailed
from segue.engine.house import House
from segue.engine.scripted import Echo, Failure, Scripted, scripted_card
from segue.prompt import template

KEY = "sk-known"
CHAT = "/compatible-mode/v1/chat/completions"
NATIVE = "/api/v1/services/aigc/text-generation/generation"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
ASK = {"model": "qwen-plus", "messages": [{"role": "user", "content": "a secret prompt"}]}


def settings(server: Server | None = None) -> Settings:
    return Settings(server=server or Server(), auth=Auth(api_key=KEY), models=Models(default="segue-scripted"))


class Slow(Scripted):
    """Starts when `go` is set."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(Echo(), scripted_card("segue-scripted"))
        self.go = asyncio.Event()
        self._fails = fails

    async def start(self) -> None:
        await self.go.wait()
        if self._fails:
            raise EngineFailed("no model")
        await super().start()


@asynccontextmanager
async def running(app: Starlette, wait: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        if wait:
            await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            client.headers["Authorization"] = f"Bearer {KEY}"
            yield client


async def test_both_protocols_and_the_probes() -> None:
    async with running(build(settings())) as client:
        compatible = await client.post(CHAT, json=ASK)
        assert compatible.json()["choices"][0]["message"]["content"] == "a secret prompt"
        native = await client.post(NATIVE, json={"model": "qwen-max", "input": {"prompt": "hi"}})
        assert native.json()["output"]["text"] == "hi"
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path, headers={"Authorization": ""})).status_code == 200
        listed = (await client.get("/compatible-mode/v1/models")).json()["data"]
        assert {"segue-scripted", "qwen-plus", "qwen-max-latest"} <= {model["id"] for model in listed}


@pytest.mark.parametrize(
    "headers", [{"Authorization": ""}, {"Authorization": "Bearer sk-other"}, {"Authorization": "Basic x"}]
)
@pytest.mark.parametrize("path", [CHAT, NATIVE])
async def test_nothing_else_is_open_without_a_key(path: str, headers: dict[str, str]) -> None:
    async with running(build(settings())) as client:
        assert (await client.post(path, json=ASK, headers=headers)).status_code == 401


async def test_before_the_engine_is_up() -> None:
    engine = Slow()
    app = build(settings(), {"segue-scripted": engine})
    async with running(app, wait=False) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post(CHAT, json=ASK)).status_code == 503
        assert (await client.post(CHAT, json={**ASK, "model": "gpt-4"})).status_code == 404
        engine.go.set()
        await app.state.house.started()
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post(CHAT, json=ASK)).status_code == 200


async def test_an_engine_that_fails_to_start_is_told() -> None:
    engine = Slow(fails=True)
    app = build(settings(), {"segue-scripted": engine})
    async with running(app, wait=False) as client:
        engine.go.set()
        with pytest.raises(EngineFailed, match="no model"):
            await app.state.house.started()
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post(CHAT, json=ASK)).status_code == 503


async def test_a_start_that_takes_too_long() -> None:
    house = House({"a": Slow()}, lambda name: name, 0.01)
    house.open()
    with pytest.raises(EngineFailed, match=r"not ready after 0\.01 s"):
        await house.started()
    await house.close()


async def test_leaving_while_an_engine_starts() -> None:
    async with running(build(settings(), {"segue-scripted": Slow()}), wait=False):
        await asyncio.sleep(0)


async def test_limits_come_from_the_settings() -> None:
    async with running(build(settings(Server(messages_max=1, body_bytes_max=2000)))) as client:
        two = {**ASK, "messages": [*ASK["messages"], *ASK["messages"]]}
        assert (await client.post(CHAT, json=two)).status_code in (400, 413)
        assert (await client.post(CHAT, content=b" " * 2001)).status_code in (400, 413)


async def test_web_pages_may_call_only_from_named_origins() -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    async with running(build(settings(Server(cors_origins=("https://a.example",))))) as client:
        assert (await client.options(CHAT, headers=headers)).headers[
            "access-control-allow-origin"
        ] == "https://a.example"
        answer = await client.post(CHAT, json=ASK, headers=headers)
        assert answer.headers["access-control-expose-headers"] == "x-request-id, x-segue-model, x-segue-ignored"
    async with running(build(settings())) as client:
        assert "access-control-allow-origin" not in (await client.options(CHAT, headers=headers)).headers


async def test_what_is_written_down(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("segue"), "propagate", True)
    caplog.set_level("DEBUG", "segue")
    broken = Scripted(Echo(), scripted_card("segue-scripted"), failure=Failure(1))
    app = build(settings(), {"segue-scripted": broken})
    async with running(app) as client:
        await client.post(CHAT, json={**ASK, "response_format": SCHEMA})
        await client.post(CHAT, json={**ASK, "stream": True})
    async with running(build(settings())) as client:
        answer = await client.post(CHAT, json=ASK)
    refused, failed, finished = [record.__dict__ for record in caplog.records if record.name == "segue"]
    assert (refused["msg"], refused["model"], refused["key"], refused["outcome"]) == (
        "refused",
        "qwen-plus",
        "key-env",
        "NotSupported",
    )
    assert (failed["msg"], failed["outcome"], failed["output_tokens"]) == ("answered", "EngineLost", 4)
    assert (finished["outcome"], finished["output_tokens"]) == ("finished", len("a secret prompt"))
    assert finished["request_id"] == answer.headers["x-request-id"]
    assert finished["total_ms"] >= finished["first_ms"] >= 0
    counters = app.state.observed.counters
    assert (counters.requests_refused, counters.requests_failed, counters.requests_finished) == (1, 1, 0)
    assert "secret" not in caplog.text
    assert KEY not in caplog.text


async def test_the_embedded_engine_is_told_the_settings(tmp_path: Path) -> None:
    from segue.app import engine_of, names_of
    from segue.engine.llama.engine import LlamaEngine

    own = Settings(models=Models(dir=tmp_path), engine=Engine(threads=3, slots=5))
    (entry,) = names_of(own).entries
    engine = engine_of(entry, own)
    assert isinstance(engine, LlamaEngine)
    spec = engine._spec
    assert spec.path == tmp_path / entry.file
    assert (spec.threads, spec.slots, spec.context_tokens) == (3, 5, 32_768)
    assert spec.decoding == entry.decoding


def test_a_model_that_is_not_in_the_catalogue() -> None:
    with pytest.raises(CatalogueInvalid):
        build(Settings(models=Models(default="nothing")))


async def test_a_template_that_cannot_be_opened_is_refused_at_start() -> None:
    card = replace(scripted_card("a"), template="{% if %}")
    house = House({"a": Scripted(Echo(), card)}, lambda name: name, 5.0, template.check)
    house.open()
    with pytest.raises(EngineFailed, match="a cannot be served"):
        await house.started()
    assert not await house.ready()
    await house.close()
