"""The composed app, without a socket: what is open, what is shut, and what is written down."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import RFC_4122, UUID

import httpx
import pytest
from starlette.applications import Starlette
from uvicorn import Config
from uvicorn.server import ServerState

from segue.app import _uuid7, build
from segue.catalogue.table import CatalogueInvalid
from segue.cli.connection import Connection
from segue.config import Auth, Engine, Files, Log, Models, Server, Settings
from segue.core.errors import EngineFailed
from segue.engine.house import House
from segue.engine.scripted import Echo, Failure, Scripted, scripted_card
from segue.observe import _note, _path, write_log
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
        assert (
            answer.headers["access-control-expose-headers"]
            == "x-request-id, x-segue-model, x-segue-seam, x-segue-documents, x-segue-ignored"
        )
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
    assert refused["workspace"] == finished["workspace"] == "default"
    assert (failed["msg"], failed["outcome"], failed["output_tokens"]) == ("answered", "EngineLost", 4)
    assert (finished["outcome"], finished["output_tokens"]) == ("finished", len("a secret prompt"))
    assert finished["request_id"] == answer.headers["x-request-id"]
    assert finished["total_ms"] >= finished["first_ms"] >= 0
    counters = app.state.observed.counters
    assert (counters.requests_refused, counters.requests_failed, counters.requests_finished) == (1, 1, 0)
    assert "secret" not in caplog.text
    assert KEY not in caplog.text


@pytest.fixture
def log(log_kept: None, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What came on standard error since last asked."""
    return lambda: capsys.readouterr().err


async def test_the_log_as_lines(log: Callable[[], str]) -> None:
    write_log("info", "line")
    async with running(build(settings())) as client:
        await asyncio.gather(*[client.post(CHAT, json=ASK) for _ in range(5)])
        await asyncio.sleep(0)
        lines = log().splitlines()  # there by the end of the loop's turn
        await client.post(CHAT, json={**ASK, "response_format": SCHEMA})
    refusal = log()
    at, id = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00",
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f-]{16}",
    )
    figures = r"prompt_tokens=\d+ cached_tokens=0 output_tokens=15 first_ms=\d+ total_ms=\d+"
    assert len(lines) == 5
    for line in lines:
        said = rf"{at} info answered request_id={id} workspace=default served=segue-scripted outcome=finished {figures}"
        assert re.fullmatch(said, line), line
    refused = rf"{at} info refused request_id={id} key=key-env workspace=default model=qwen-plus outcome=NotSupported\n"
    assert re.fullmatch(refused, refusal), refusal
    assert abs(datetime.fromisoformat(refusal.split()[0]).timestamp() - time.time()) < 60


async def test_the_log_as_objects(log: Callable[[], str]) -> None:
    write_log("info", "json")
    async with running(build(replace(settings(), log=Log(access=True)))) as client:
        await client.post(CHAT, json=ASK)
    answered, request = map(json.loads, log().splitlines())
    assert (answered["message"], answered["level"], answered["outcome"]) == ("answered", "info", "finished")
    assert (request["message"], request["path"], request["status"]) == ("request", CHAT, 200)
    assert request["request_id"] == answered["request_id"]


async def test_a_ticket_in_an_address_is_not_written_down(log: Callable[[], str], tmp_path: Path) -> None:
    write_log("info", "json")
    async with running(build(replace(settings(), files=Files(dir=tmp_path), log=Log(access=True)))) as client:
        assert (await client.post("/api/v1/uploads/c2VjcmV0")).status_code == 401
    (request,) = map(json.loads, log().splitlines())
    assert (request["path"], request["status"]) == ("/api/v1/uploads/...", 401)


def test_an_entry_outside_any_loop_is_written_at_once(log: Callable[[], str]) -> None:
    write_log("info", "line")
    _note("answered", {"model": "a\nb c"})
    assert log().endswith("info answered model='a\\nb c'\n")
    write_log("warning", "line")
    _note("answered", {})
    assert log() == ""


class Wire(asyncio.Transport):
    """What a connection sends, write by write."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def sent(wire: Wire, *pieces: bytes, engine: Scripted | None = None, wait_s: float = 0.05) -> list[bytes]:
    """The writes of our own HTTP over `wire`, after these bytes came."""
    engines = None if engine is None else {engine.card.name: engine}
    async with running(app := build(settings(), engines)):
        protocol = Connection(Config(app, log_config=None, access_log=False), ServerState(), {})
        protocol.connection_made(wire)
        for piece in pieces:
            protocol.data_received(piece)
            await asyncio.sleep(wait_s)
        return wire.writes


def post(body: dict[str, object], *headers: str) -> tuple[bytes, bytes]:
    data = json.dumps(body).encode()
    lines = [f"POST {CHAT} HTTP/1.1", f"Authorization: Bearer {KEY}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode(), data


async def test_head_and_body_are_one_write() -> None:
    head, body = post(dict(ASK))
    one, two = await sent(Wire(), head + body, head, body)
    assert one.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"a secret prompt" in one
    assert len(one) == len(two)


async def test_a_stream_is_sent_turn_by_turn() -> None:
    """What is there in one turn of the event loop goes together; what comes later does not wait for more."""
    head, body = post({**ASK, "stream": True})
    together = await sent(Wire(), head + body)
    assert together[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"content":"a se"' in together[0]
    assert together[-1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    paced = Scripted(Echo(), scripted_card("segue-scripted"), delay_s=0.001)
    slow = await sent(Wire(), head + body, engine=paced, wait_s=0.5)
    assert len(slow) >= 4 > len(together)
    assert all(len(write) < len(together[0]) for write in slow[1:3])
    assert b"".join(slow).count(b"data: ") == b"".join(together).count(b"data: ")


async def test_much_is_not_held_back() -> None:
    head, body = post({**ASK, "messages": [{"role": "user", "content": "x" * 4000}], "stream": True})
    writes = await sent(Wire(), head + body)
    assert sum(map(len, writes)) > 100_000
    assert max(map(len, writes)) < 32 * 1024


async def test_a_head_without_a_body_is_sent_too() -> None:
    (head,) = await sent(Wire(), f"HEAD {CHAT} HTTP/1.1\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.1 405 ")
    assert head.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_for_100_continue_hears_it() -> None:
    head, body = post(dict(ASK), "Expect: 100-continue")
    go_on, answer = await sent(Wire(), head, body)
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_what_is_no_http_is_told_so_before_the_connection_closes() -> None:
    wire = Wire()
    (refusal,) = await sent(wire, b"\x16\x03\x01 hello\r\n\r\n")
    assert refusal.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert wire.closed


async def test_the_embedded_engine_is_told_the_settings(tmp_path: Path) -> None:
    from segue.app import names_of
    from segue.engine.llama.engine import LlamaEngine
    from segue.engines import engine_of

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


@pytest.mark.parametrize("ticket", ["abc", "abc/", "abc/def", "/abc"])
def test_no_ticket_is_written_down(ticket: str) -> None:
    assert _path({"path": f"/api/v1/uploads/{ticket}"}) == "/api/v1/uploads/..."
    assert [_path({"path": path}) for path in ("/api/v1/uploads", "/api/v1/uploads/")] == [
        "/api/v1/uploads",
        "/api/v1/uploads/",
    ]


def test_ids_of_requests_are_uuids_that_grow() -> None:
    made = []
    for _ in range(5):
        made += [_uuid7() for _ in range(100)]
        time.sleep(0.002)
    assert len({*made}) == len(made)
    assert {(each.version, each.variant) for each in map(UUID, made)} == {(7, RFC_4122)}
    assert [str(UUID(each)) for each in made] == made
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)
