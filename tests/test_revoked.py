"""A key that is revoked while it is being answered: the answer ends, with the documented refusal in its own frame."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from segue.app import build
from segue.core.tenancy import NewKey, NewWorkspace
from segue.engine.scripted import Drone, Scripted, scripted_card
from segue.standing import office_of
from segue.store.sqlite import SqliteDatabase
from segue.tenancy.office import Office
from tests.test_tenancy import ADMIN, CHAT, KEY, MESSAGES, NATIVE, bearer, settings

MODEL = "segue-scripted"
WITHIN_S = 2.0
LONG = 5000
CODES = {CHAT: "invalid_api_key", NATIVE: "InvalidApiKey"}


@asynccontextmanager
async def running(folder: Path, delay_s: float = 0.02) -> AsyncIterator[tuple[Starlette, httpx.AsyncClient]]:
    """A server whose answers take minutes."""
    engine = Scripted(Drone(LONG), scripted_card(MODEL), delay_s=delay_s)
    app = build(settings(folder), {MODEL: engine})
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue", timeout=60) as client:
            yield app, client


def asking(client: httpx.AsyncClient, path: str, headers: dict[str, str], stream: bool) -> asyncio.Task[httpx.Response]:
    body: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream}
    if path == NATIVE:
        body = {"model": MODEL, "input": {"messages": MESSAGES}}
        headers = {**headers, "X-DashScope-SSE": "enable"} if stream else headers
    return asyncio.create_task(client.post(path, json=body, headers=headers))


async def elsewhere(folder: Path, revoke: str) -> None:
    """As another process does it: the server is not told, it asks."""
    database = SqliteDatabase(folder / "files" / "files.sqlite")
    await database.open()
    office = office_of(build(settings(folder)).state.names, database)
    await office.revoke_key("cli:test", revoke)
    await database.close()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_running_answer_ends(where: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        office: Office = app.state.office
        secret, key = await office.add_key("test", NewKey("x"))
        other, _ = await office.add_key("test", NewKey("y"))
        headers, begun = bearer(secret), time.monotonic()
        asked = {
            (path, stream): asking(client, path, headers, stream) for path in (CHAT, NATIVE) for stream in (True, False)
        }
        stays = asking(client, CHAT, bearer(other), True)
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in asked.values())
        revoked_at = time.monotonic()
        if where == "here":
            assert (await client.delete(f"/admin/v1/keys/{key.id}", headers=bearer(ADMIN))).is_success
        else:
            await elsewhere(tmp_path, key.id)
        done, _ = await asyncio.wait(asked.values(), timeout=WITHIN_S)
        took = time.monotonic() - revoked_at
        assert len(done) == len(asked), f"{took:.2f} s"
        for (path, stream), task in asked.items():
            answer = task.result()
            id = answer.headers["x-request-id"]
            if not stream:
                assert answer.status_code == 401
                told = answer.json()
                assert (told["error"]["code"] if path == CHAT else told["code"]) == CODES[path]
                continue
            assert answer.status_code == 200
            *frames, last = answer.text.strip().split("\n\n")
            assert len(frames) >= 3
            if path == CHAT:
                said = json.loads(last.removeprefix("data: "))
                assert said["error"] == {
                    "code": "invalid_api_key",
                    "param": None,
                    "message": KEY,
                    "type": said["error"]["type"],
                }
                assert said["request_id"] == id
            else:
                assert "\nevent:error\n:HTTP_STATUS/401\n" in last
                said = json.loads(last.rpartition("data:")[2])
                assert (said["code"], said["message"], said["request_id"]) == (
                    "InvalidApiKey",
                    "Invalid API-key provided.",
                    id,
                )
        assert not stays.done(), "nobody else is touched"
        await app.state.accounts.clerk.settle()
        records = await app.state.accounts.ledger.records()
        assert {(each.key, each.outcome) for each in records} == {(key.id, "InvalidApiKey")}
        assert all(0 < each.output_tokens < LONG for each in records), "what was answered is counted"
        assert all(each.total_ms < (time.monotonic() - begun) * 1000 for each in records)
        stays.cancel()
        await asyncio.gather(stays, return_exceptions=True)
        await asyncio.sleep(0)
        assert (await app.state.house.health())[MODEL].running == 0, "the engine has stopped"


async def test_one_that_has_yet_to_begin_is_refused(tmp_path: Path) -> None:
    """The engine says nothing for a minute: nobody waits for its first token."""
    async with running(tmp_path, delay_s=60) as (app, client):
        secret, key = await app.state.office.add_key("test", NewKey("x"))
        asked = [asking(client, path, bearer(secret), True) for path in (CHAT, NATIVE)]
        await asyncio.sleep(0.3)
        await app.state.office.revoke_key("test", key.id)
        done, _ = await asyncio.wait(asked, timeout=WITHIN_S)
        assert len(done) == 2
        assert [task.result().status_code for task in asked] == [401, 401]


async def test_a_workspace_that_is_removed_is_answered_no_further(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team", frozenset({MODEL})))
        secret, _ = await app.state.office.add_key("test", NewKey("x", "team"))
        asked = asking(client, CHAT, bearer(secret), True)
        await asyncio.sleep(0.3)
        await app.state.office.remove_workspace("test", "team")
        assert "invalid_api_key" in (await asyncio.wait_for(asked, WITHIN_S)).text


async def test_what_is_changed_of_a_key_ends_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        office: Office = app.state.office
        secret, key = await office.add_key("test", NewKey("x"))
        asked = asking(client, CHAT, bearer(secret), True)
        await asyncio.sleep(0.2)
        await office.change_key("test", key.id, lambda before: replace(before, name="y", role="read-only"))
        await asyncio.sleep(0.2)
        assert not asked.done()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
