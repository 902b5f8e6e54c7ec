"""Limits, quotas, records and inspection, through the composed app: each refusal byte for byte in both protocols."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from segue.app import build
from segue.config import Auth, Files, Limits, Models, Moderation, Server, Settings, Usage
from segue.core.errors import EngineFailed, EngineLost, Fault, Internal
from segue.core.usage import Range, Record
from segue.engine.scripted import Echo, Failure, Say, Scripted, scripted_card
from segue.wire.inspection import wanted

KEY = "sk-known"
CHAT = "/compatible-mode/v1/chat/completions"
NATIVE = "/api/v1/services/aigc/text-generation/generation"
PATHS = (CHAT, NATIVE)
MODEL = "segue-scripted"
PRICED = f"""
currency = "CNY"
[models.{MODEL}.prices]
input = 2.0
cached = 0.5
output = 6.0
"""


def ask(path: str, text: str = "hello", **more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    if path == CHAT:
        return {"model": "qwen-plus", "messages": messages, **more}
    stream = more.pop("stream", False)
    return {"model": "qwen-plus", "input": {"messages": messages}, "parameters": {**more, "incremental_output": stream}}


def settings(folder: Path, **more: Any) -> Settings:
    plain = Settings(
        server=Server(first_event_wait_s=60),
        auth=Auth(api_key=KEY),
        models=Models(default=MODEL),
        files=Files(dir=folder),
    )
    return replace(plain, **more)


@asynccontextmanager
async def running(
    settings: Settings, engine: Scripted | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Starlette]]:
    app = build(settings, {MODEL: engine} if engine else None)
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            client.headers["Authorization"] = f"Bearer {KEY}"
            yield client, app


def engine(script: Echo | Say | None = None, **more: Any) -> Scripted:
    return Scripted(script or Echo(), scripted_card(MODEL), **more)


def refused(response: httpx.Response, path: str, status: int, code: str, message: str, kind: str = "") -> None:
    """The whole body, byte for byte."""
    id = response.headers["x-request-id"]
    if path == NATIVE:
        body = f'{{"code":"{code}","message":{json.dumps(message)},"request_id":"{id}"}}'
    else:
        error = f'{{"code":"{code}","param":null,"message":{json.dumps(message)},"type":"{kind or code}"}}'
        named = f',"id":"chatcmpl-{id}"' if message.startswith("<400>") else ""
        body = f'{{"error":{error}{named},"request_id":"{id}"}}'
    assert (response.status_code, response.text) == (status, body)


async def records(app: Starlette) -> list[Record]:
    await app.state.accounts.clerk.settle()
    found: list[Record] = await app.state.accounts.ledger.records(Range())
    return sorted(found, key=lambda record: record.at)


BURST = (
    "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests "
    "more smoothly over time."
)
QUOTA_NATIVE = "Allocated quota exceeded, please increase your quota limit."
QUOTA_COMPAT = "You exceeded your current quota, please check your plan and billing details."
GOOD_STANDING = "Access denied, please make sure your account is in good standing."

# limits, how many pass, then: status, DashScope code, message, OpenAI code, message, most seconds to wait
ROWS: Mapping[str, tuple[Limits, int, int, tuple[str, str], tuple[str, str], int | None]] = {
    "requests a minute": (
        Limits(requests_per_minute=2),
        2,
        429,
        ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
        ("limit_requests", "You exceeded your current requests list."),
        60,
    ),
    "requests a second": (
        Limits(requests_per_second=1, requests_per_minute=100),
        1,
        429,
        ("Throttling.BurstRate", BURST),
        ("limit_burst_rate", BURST),
        1,
    ),
    "tokens a minute": (
        Limits(tokens_per_minute=40),
        1,
        429,
        ("Throttling.AllocationQuota", QUOTA_NATIVE),
        ("insufficient_quota", QUOTA_COMPAT),
        60,
    ),
    "tokens a month": (
        Limits(tokens_per_month=10),
        1,
        429,
        ("Throttling.AllocationQuota", QUOTA_NATIVE),
        ("insufficient_quota", QUOTA_COMPAT),
        32 * 86400,
    ),
    "money a month": (
        Limits(money_per_month=0.000001),
        1,
        400,
        ("Arrearage", GOOD_STANDING),
        ("Arrearage", GOOD_STANDING),
        None,
    ),
}


@pytest.mark.parametrize(("path", "stream"), [(CHAT, False), (NATIVE, True)])
@pytest.mark.parametrize("row", ROWS)
async def test_each_limit_refuses_as_documented(row: str, stream: bool, path: str, tmp_path: Path) -> None:
    limits, passing, status, native, compat, wait_s = ROWS[row]
    (tmp_path / "catalogue.toml").write_text(PRICED)
    models = Models(default=MODEL, catalogue=tmp_path / "catalogue.toml")
    headers = {"X-DashScope-SSE": "enable"} if stream else {}
    async with running(settings(tmp_path, limits=limits, models=models)) as (client, app):
        for _ in range(passing):
            response = await client.post(path, json=ask(path, stream=stream), headers=headers)
            assert response.status_code == 200
        response = await client.post(path, json=ask(path, stream=stream), headers=headers)
        refused(response, path, status, *(native if path == NATIVE else compat))
        if wait_s is None:
            assert "retry-after" not in response.headers
        else:
            assert 1 <= int(response.headers["retry-after"]) <= wait_s
        left = await records(app)
        assert [record.outcome for record in left] == ["stop"] * passing + [native[0]]


@pytest.mark.parametrize(("path", "stream"), [(CHAT, True), (NATIVE, False)])
async def test_a_place_is_had_for_as_long_as_an_answer_lives(stream: bool, path: str, tmp_path: Path) -> None:
    slow = engine(Say("a" * 40), delay_s=0.05)
    headers = {"X-DashScope-SSE": "enable"} if stream else {}
    async with running(settings(tmp_path, limits=Limits(concurrent=1)), slow) as (client, app):
        first = asyncio.create_task(client.post(path, json=ask(path, stream=stream), headers=headers))
        await asyncio.sleep(0.2)
        response = await client.post(path, json=ask(path, stream=stream), headers=headers)
        code, message = "Throttling.Concurrency", "Too many concurrent requests."
        refused(response, path, 429, code, message)
        assert response.headers["retry-after"] == "1"
        assert (await first).status_code == 200
        first = asyncio.create_task(client.post(path, json=ask(path, stream=stream), headers=headers))
        await asyncio.sleep(0.2)
        first.cancel()  # the client leaves
        await asyncio.wait([first])
        assert (await client.post(path, json=ask(path), headers=headers)).status_code == 200
        assert [record.outcome for record in await records(app)] == ["stop", code, "left", "stop"]


BROKEN: list[tuple[Fault, int, tuple[str, str], tuple[str, str]]] = [
    (
        EngineFailed("secret"),
        500,
        ("InternalError.Algo", "inference internal error."),
        ("internal_error", "inference internal error."),
    ),
    (
        Internal(),
        500,
        ("InternalError", "An internal error has occured, please try again later or contact service support."),
        ("internal_error", "An internal error has occured, please try again later or contact service support."),
    ),
    (
        EngineLost(),
        503,
        ("ModelUnavailable", "Model is unavailable, please try again later."),
        ("ModelUnavailable", "Model is unavailable, please try again later."),
    ),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("row", BROKEN, ids=lambda row: type(row[0]).__name__)
async def test_what_breaks_is_told_as_documented_and_costs_nothing(
    row: tuple[Fault, int, tuple[str, str], tuple[str, str]], path: str, tmp_path: Path
) -> None:
    fault, status, native, compat = row
    (tmp_path / "catalogue.toml").write_text(PRICED)
    models = Models(default=MODEL, catalogue=tmp_path / "catalogue.toml")
    broken = engine(failure=Failure(0, lambda: fault))
    async with running(settings(tmp_path, models=models), broken) as (client, app):
        response = await client.post(path, json=ask(path))
        refused(response, path, status, *(native if path == NATIVE else compat))
        record = (await records(app))[0]
        assert (record.outcome, record.cost_micros) == (native[0], 0)


@pytest.mark.parametrize("path", PATHS)
async def test_a_full_queue_is_told_as_documented(path: str, tmp_path: Path) -> None:
    full = engine(Say("a" * 40), delay_s=0.05, running_max=1, waiting_max=0)
    async with running(settings(tmp_path), full) as (client, _):
        first = asyncio.create_task(client.post(path, json=ask(path)))
        await asyncio.sleep(0.2)
        response = await client.post(path, json=ask(path))
        if path == NATIVE:
            refused(response, path, 429, "Throttling", "Too many requests in route. Please try again later.")
        else:
            refused(response, path, 429, "limit_requests", "You exceeded your current requests list.")
        await first


async def test_every_request_leaves_one_record_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(PRICED)
    models = Models(default=MODEL, catalogue=tmp_path / "catalogue.toml")
    async with running(settings(tmp_path, models=models)) as (client, app):
        begun = time.time()
        ids = []
        for path, body in (
            (CHAT, ask(CHAT, "hello you")),
            (NATIVE, ask(NATIVE, max_tokens=2)),
            (CHAT, ask(CHAT) | {"model": "gpt-5"}),
            (CHAT, ask(CHAT, temperature=9)),
            (NATIVE, {"model": "qwen-plus"}),
        ):
            ids.append((await client.post(path, json=body)).headers["x-request-id"])
        ids.append((await client.post(CHAT, content=b"no json")).headers["x-request-id"])
        await client.post(CHAT, json=ask(CHAT), headers={"Authorization": "Bearer sk-other"})
        await client.get("/compatible-mode/v1/models")
        left = await records(app)
        assert [record.id for record in left] == ids, "not for strangers, and not for what asks no model"
        assert [record.outcome for record in left] == [
            "stop",
            "length",
            "ModelNotFound",
            "InvalidParameter",
            "BadRequest.EmptyInput",
            "InvalidParameter",
        ]
        assert [record.endpoint for record in left[:2]] == ["compatible/chat", "native/generation"]
        assert [(record.model, record.served) for record in left[1:4]] == [
            ("qwen-plus", MODEL),
            ("", ""),  # refused before anybody was asked
            ("", ""),
        ]
        first = left[0]
        assert (first.workspace, first.key) == ("default", "key-env")
        assert first.input_tokens > 0
        assert first.output_tokens == len("hello you")
        assert first.cost_micros == 2 * first.input_tokens + 6 * first.output_tokens
        assert begun - 1 <= first.at <= time.time()
        assert first.first_ms is not None
        assert 0 <= first.first_ms <= first.total_ms
        assert left[2].cost_micros == left[2].input_tokens == 0


async def test_without_a_ledger_nothing_is_kept_and_all_is_served(tmp_path: Path) -> None:
    async with running(settings(tmp_path, usage=Usage(enabled=False))) as (client, app):
        assert (await client.post(CHAT, json=ask(CHAT))).status_code == 200
        assert app.state.accounts.clerk is None
        assert await app.state.accounts.ledger.records() == []


async def test_a_model_has_limits_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(f"[models.{MODEL}.limits]\nrequests_per_minute = 1\n")
    models = Models(default=MODEL, catalogue=tmp_path / "catalogue.toml")
    async with running(settings(tmp_path, models=models)) as (client, _):
        assert (await client.post(CHAT, json=ask(CHAT))).status_code == 200
        assert (await client.post(NATIVE, json=ask(NATIVE))).status_code == 429
        assert 'segue_limited_total{limit="requests_per_minute"} 1.0' in (await client.get("/metrics")).text


async def test_limits_and_prices_are_read_again(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text("")
    before = settings(tmp_path, models=Models(default=MODEL, catalogue=catalogue))
    async with running(before) as (client, app):
        for _ in range(3):
            assert (await client.post(CHAT, json=ask(CHAT))).status_code == 200
        catalogue.write_text(f"[models.{MODEL}.prices]\ninput = 1000000.0\n")
        after = replace(before, limits=Limits(requests_per_minute=1))
        assert [told for take in app.state.reloads for told in take(after)] == []
        assert (await client.post(CHAT, json=ask(CHAT))).status_code == 200
        assert (await client.post(CHAT, json=ask(CHAT))).status_code == 429
        await app.state.accounts.clerk.settle()
        assert [record.cost_micros > 0 for record in await app.state.accounts.ledger.records()].count(True) == 1


async def test_a_quota_counts_what_was_used_before_the_start(tmp_path: Path) -> None:
    limits = Limits(tokens_per_month=20)
    async with running(settings(tmp_path, limits=limits)) as (client, _):
        assert (await client.post(CHAT, json=ask(CHAT, "x" * 20))).status_code == 200
    async with running(settings(tmp_path, limits=limits)) as (client, _):
        assert (await client.post(CHAT, json=ask(CHAT))).status_code == 429


INPUT, OUTPUT = "Input data may contain inappropriate content.", "Output data may contain inappropriate content."
PREFIX = "<400> InternalError.Algo.DataInspectionFailed: "


def inspecting(folder: Path, **more: Any) -> Settings:
    (folder / "words").write_text("[input]\nforbidden\n[output]\nsecret plan\n")
    return settings(folder, moderation=Moderation(words=folder / "words", **more))


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_asked_is_refused_as_documented(path: str, tmp_path: Path) -> None:
    async with running(inspecting(tmp_path)) as (client, app):
        response = await client.post(path, json=ask(path, "a FORBIDDEN thing"))
        if path == NATIVE:
            refused(response, path, 400, "DataInspectionFailed", INPUT)
        else:
            refused(response, path, 400, "data_inspection_failed", PREFIX + INPUT)
        assert (await client.post(path, json=ask(path, "hello"))).status_code == 200
        assert [record.outcome for record in await records(app)] == ["DataInspectionFailed", "stop"]


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_answered_is_refused_as_documented(path: str, tmp_path: Path) -> None:
    async with running(inspecting(tmp_path), engine(Say("my Secret Plan", 3))) as (client, _):
        response = await client.post(path, json=ask(path))
        if path == NATIVE:
            refused(response, path, 400, "DataInspectionFailed", OUTPUT)
        else:
            refused(response, path, 400, "data_inspection_failed", PREFIX + OUTPUT)


@pytest.mark.parametrize("path", PATHS)
async def test_in_mid_stream_it_is_told_in_the_protocols_own_frame(path: str, tmp_path: Path) -> None:
    said = engine(Say("A long beginning, then my secret plan, and more.", 3))
    headers = {"X-DashScope-SSE": "enable"} if path == NATIVE else {}
    async with running(inspecting(tmp_path), said) as (client, app):
        response = await client.post(path, json=ask(path, stream=True), headers=headers)
        assert response.status_code == 200
        id = response.headers["x-request-id"]
        assert "A l" in response.text
        assert "secret" not in response.text
        assert "secr" not in response.text.replace('"', "")
        frames = response.text.split("\n\n")
        assert frames[-1] == ""
        if path == NATIVE:
            number = len(frames) - 1
            assert frames[-2] == (
                f"id:{number}\nevent:error\n:HTTP_STATUS/400\n"
                f'data:{{"code":"DataInspectionFailed","message":"{OUTPUT}","request_id":"{id}"}}'
            )
        else:
            error = '{"code":"data_inspection_failed","param":null,"message":"%s","type":"data_inspection_failed"}'
            assert frames[-2] == (
                f'data: {{"error":{error % (PREFIX + OUTPUT)},"id":"chatcmpl-{id}","request_id":"{id}"}}'
            )
        record = (await records(app))[0]
        assert record.outcome == "DataInspectionFailed"
        assert record.output_tokens > 0


@pytest.mark.parametrize(
    ("header", "inspected"),
    [
        (None, ""),
        ('{"input":"cip","output":"cip"}', "both"),
        ('{"input": "cip"}', "input"),
        ('{"output": "cip"}', "output"),
        ('{"input":"disable","output":null}', ""),
        ("enable", "both"),
        ("disable", ""),
        ("{broken", "both"),
        ("[1]", "both"),
    ],
)
def test_the_header_is_understood(header: str | None, inspected: str) -> None:
    found = wanted({} if header is None else {b"x-dashscope-datainspection": header.encode()})
    assert (found.input, found.output) == (inspected in ("both", "input"), inspected in ("both", "output"))


@pytest.mark.parametrize("path", PATHS)
async def test_the_header_is_honoured(path: str, tmp_path: Path) -> None:
    configured = inspecting(tmp_path, input="asked", output="asked")
    async with running(configured, engine(Say("my secret plan"))) as (client, _):
        for header, expected in (("disable", ""), ("enable", INPUT), ('{"output": "cip"}', OUTPUT)):
            headers = {"X-DashScope-DataInspection": header}
            response = await client.post(path, json=ask(path, "forbidden"), headers=headers)
            assert (response.status_code == 400) == bool(expected)
            assert expected in response.text


BANS = {
    "content": ("DataInspectionFailed", INPUT),
    "custom": ("CustomRoleBlocked", "Input or output data may contain inappropriate content with custom rule."),
    "faq": ("FaqRuleBlocked", "Input or output data is blocked by faq rule."),
    "infringement": ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement."),
}


@pytest.mark.parametrize("path", PATHS)
async def test_a_callout_over_http_decides(path: str, tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def judge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        asked.append(body)
        told = json.loads(body)
        rule = next((ban for ban in BANS if f"break {ban}" in told["text"]), None)
        said = json.dumps({"flagged": rule is not None, **({"rule": rule} if rule else {})}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(judge, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    moderation = Moderation(callout_url=f"http://127.0.0.1:{port}/", callout_wait_s=5)
    async with server, running(settings(tmp_path, moderation=moderation)) as (client, _):
        assert (await client.post(path, json=ask(path, "hello"))).status_code == 200
        assert len(asked) == 2, "what was asked, and what was answered"
        for ban, (code, message) in BANS.items():
            response = await client.post(path, json=ask(path, f"break {ban}"))
            if path == CHAT and ban == "content":
                code, message = "data_inspection_failed", PREFIX + message
            refused(response, path, 400, code, message)
    async with running(settings(tmp_path, moderation=moderation)) as (client, _):
        response = await client.post(path, json=ask(path))
        refused(response, path, 503, "ModelUnavailable", "Model is unavailable, please try again later.")
        assert response.headers["retry-after"] == "1"
    opened = replace(moderation, callout_closed=False)
    async with running(settings(tmp_path, moderation=opened)) as (client, _):
        assert (await client.post(path, json=ask(path))).status_code == 200
