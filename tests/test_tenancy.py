"""Workspaces, keys and roles through the whole server: each refusal in both protocols, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from segue.app import build
from segue.config import Auth, Files, Models, Settings
from segue.core.tenancy import NewKey, NewWorkspace
from segue.tenancy.office import Office

ADMIN = "sk-administrator"
CHAT = "/compatible-mode/v1/chat/completions"
NATIVE = "/api/v1/services/aigc/text-generation/generation"
MESSAGES = [{"role": "user", "content": "hello"}]
NOT_AUTHORIZED = (
    "Access denied: Either you are not authorized to access this workspace, or the workspace does not exist. Please:\n"
    "Verify the workspace configuration.\n"
    "Check your API endpoint settings. Ensure you are targeting the correct environment."
)
KEY = "Incorrect API key provided. For details, see: https://help.aliyun.com/zh/model-studio/error-code#apikey-error"


def settings(folder: Path) -> Settings:
    return Settings(
        auth=Auth(admin_key=ADMIN, keys_file=folder / "keys.json"),
        models=Models(default="segue-scripted"),
        files=Files(dir=folder / "files", calls_per_s=0, uploads_per_s=0),
    )


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Starlette, httpx.AsyncClient]]:
    app = build(settings(folder))
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            yield app, client


async def keys(app: Starlette, **new: NewKey) -> dict[str, dict[str, str]]:
    """Headers by what each key is called here."""
    office: Office = app.state.office
    return {name: bearer((await office.add_key("test", each))[0]) for name, each in new.items()}


def bearer(secret: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", **more}


async def ask(client: httpx.AsyncClient, headers: dict[str, str], model: str = "qwen-plus") -> list[httpx.Response]:
    """The same question in both protocols: compatible, native."""
    return [
        await client.post(CHAT, json={"model": model, "messages": MESSAGES}, headers=headers),
        await client.post(NATIVE, json={"model": model, "input": {"messages": MESSAGES}}, headers=headers),
    ]


def refused(
    answers: list[httpx.Response], status: int, codes: tuple[str, str], said: tuple[str, str], kind: str
) -> None:
    """Byte for byte; the request's id is the header's."""
    compatible, native = answers
    assert [each.status_code for each in answers] == [status, status]
    error = {"code": codes[0], "param": None, "message": said[0], "type": kind}
    id = compatible.headers["x-request-id"]
    assert compatible.content == json.dumps({"error": error, "request_id": id}, separators=(",", ":")).encode()
    id = native.headers["x-request-id"]
    body = {"code": codes[1], "message": said[1], "request_id": id}
    assert native.content == json.dumps(body, separators=(",", ":")).encode()


async def test_what_a_caller_may_not(tmp_path: Path) -> None:
    """Each row of the service's table of who may not, that a server of one's own can produce."""
    async with running(tmp_path) as (app, client):
        office: Office = app.state.office
        await office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"qwen-max"})))
        await office.add_workspace("test", NewWorkspace("Other", "other"))
        held = await keys(
            app,
            home=NewKey("home"),
            team=NewKey("team", "team"),
            looks=NewKey("looks", "team", "read-only"),
            narrow=NewKey("narrow", models=frozenset({"qwen-max"})),
        )
        answers = await ask(client, held["team"])
        refused(answers, 403, ("Model.AccessDenied",) * 2, ("Model access denied.",) * 2, "Model.AccessDenied")
        answers = await ask(client, held["narrow"])
        refused(answers, 403, ("Model.AccessDenied",) * 2, ("Model access denied.",) * 2, "Model.AccessDenied")
        answers = await ask(client, held["looks"], "qwen-max")
        refused(answers, 403, ("access_denied", "AccessDenied"), ("Access denied.",) * 2, "access_denied")
        wrong = ("invalid_api_key", "InvalidApiKey")
        for headers in ({}, bearer("sk-wrong"), {"Authorization": "Basic x"}):
            answers = await ask(client, headers)
            refused(answers, 401, wrong, (KEY, "Invalid API-key provided."), "invalid_request_error")
        for named in ("other", "nowhere", "default"):
            answers = await ask(client, held["team"] | {"X-DashScope-WorkSpace": named}, "qwen-max")
            code = "Workspace.AccessDenied"
            refused(answers, 403, (code, code), ("Workspace access denied.",) * 2, code)
        answers = await ask(client, held["team"] | {"X-DashScope-WorkSpace": "no id!"}, "qwen-max")
        refused(answers, 401, ("NOT AUTHORIZED",) * 2, (NOT_AUTHORIZED,) * 2, "NOT AUTHORIZED")
        answers = await ask(client, bearer(ADMIN) | {"X-DashScope-WorkSpace": "nowhere"})
        code = "WorkSpaceNotFound"
        refused(answers, 404, (code, code), ("WorkSpace can not be found.",) * 2, code)
        for headers, model in (
            (held["home"], "qwen-plus"),
            (held["team"], "qwen-max"),
            (held["team"] | {"X-DashScope-WorkSpace": "team"}, "qwen-max"),
            (held["narrow"], "qwen-max"),
            (bearer(ADMIN), "qwen-plus"),
        ):
            assert [each.status_code for each in await ask(client, headers, model)] == [200, 200]


async def test_a_model_s_own_name_covers_all_its_names(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        office: Office = app.state.office
        await office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"segue-scripted"})))
        held = await keys(app, team=NewKey("team", "team"))
        for model in ("segue-scripted", "qwen-plus", "qwen-max-latest"):
            assert [each.status_code for each in await ask(client, held["team"], model)] == [200, 200]
        assert [each.status_code for each in await ask(client, held["team"], "gpt-4")] == [404, 404]


async def test_models_are_listed_for_those_who_may_use_them(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        office: Office = app.state.office
        await office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"qwen-max"})))
        headers = (await keys(app, team=NewKey("team", "team", "read-only")))["team"]
        listed = (await client.get("/compatible-mode/v1/models", headers=headers)).json()["data"]
        assert [each["id"] for each in listed] == ["qwen-max"]
        native = (await client.get("/api/v1/models", headers=headers)).json()["output"]
        assert native["total"] == 1
        assert (await client.get("/compatible-mode/v1/models/qwen-max", headers=headers)).status_code == 200
        assert (await client.get("/compatible-mode/v1/models/qwen-plus", headers=headers)).status_code == 403
        body = {"model": "qwen-plus", "input": {"messages": MESSAGES}}
        member = (await keys(app, team=NewKey("team", "team")))["team"]
        assert (await client.post("/api/v1/tokenizer", json=body, headers=member)).status_code == 403
        assert (await client.post("/api/v1/tokenizer", json=body | {"model": "qwen-max"}, headers=member)).is_success


async def test_who_may_only_look_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        headers = (await keys(app, looks=NewKey("looks", role="read-only")))["looks"]
        file = {"file": ("a.txt", b"text")}
        files = "/compatible-mode/v1/files"
        tries = [
            await client.post(files, files=file, data={"purpose": "file-extract"}, headers=headers),
            await client.delete(f"{files}/x", headers=headers),
            await client.post("/api/v1/tokenizer", json={}, headers=headers),
            await client.post("/admin/v1/keys", json={"name": "x"}, headers=headers),
            await client.get("/admin/v1/keys", headers=headers),
        ]
        assert [each.status_code for each in tries] == [403] * 5
        assert (await client.get(files, headers=headers)).json()["data"] == []
        assert (await client.get("/metrics", headers=headers)).status_code == 200


async def test_the_counters_are_for_those_who_run_the_server(tmp_path: Path) -> None:
    """They are sums over everybody: of two teams each could tell what the other does."""
    async with running(tmp_path) as (app, client):
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team"))
        held = await keys(app, team=NewKey("team", "team"), home=NewKey("home"))
        assert (await client.get("/metrics", headers=held["team"])).status_code == 403
        assert (await client.get("/metrics", headers=held["home"])).status_code == 200
        assert (await client.get("/metrics", headers=bearer(ADMIN))).status_code == 200


async def test_revoking_and_authorising_hold_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        boss = bearer(ADMIN)
        made = await client.post("/admin/v1/workspaces", json={"name": "Team", "id": "team"}, headers=boss)
        assert made.json()["models"] == []
        key = (await client.post("/admin/v1/keys", json={"name": "x", "workspace": "team"}, headers=boss)).json()
        headers = bearer(key["secret"])
        assert [each.status_code for each in await ask(client, headers)] == [403, 403]
        put = await client.put("/admin/v1/workspaces/team/models/qwen-plus", headers=boss)
        assert put.json()["models"] == ["qwen-plus"]
        assert [each.status_code for each in await ask(client, headers)] == [200, 200]
        await client.delete("/admin/v1/workspaces/team/models/qwen-plus", headers=boss)
        assert [each.status_code for each in await ask(client, headers)] == [403, 403]
        assert (await client.delete(f"/admin/v1/keys/{key['id']}", headers=boss)).json()["revoked_at"] > 0
        assert [each.status_code for each in await ask(client, headers)] == [401, 401]


async def test_a_workspace_that_is_removed_takes_its_files_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team"))
        held = await keys(app, team=NewKey("team", "team"), home=NewKey("home"))
        for headers in held.values():
            data = {"purpose": "batch"}
            sent = await client.post(
                "/compatible-mode/v1/files", files={"file": ("a.jsonl", b"{}")}, data=data, headers=headers
            )
            assert sent.is_success
        store = app.state.archive.store
        assert (await client.delete("/admin/v1/workspaces/team", headers=bearer(ADMIN))).json()["removed"]
        assert await store.numbered("team", 0, 9) == ([], 0)
        assert (await store.numbered("default", 0, 9))[1] == 1
        assert (await client.get("/compatible-mode/v1/files", headers=held["team"])).status_code == 401
        blobs = tmp_path / "files" / "blobs"
        for _ in range(500):
            with suppress(FileNotFoundError):  # a folder that went while it was walked
                if not any(path.is_file() for path in (blobs / "team").rglob("*")):
                    break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the bytes are still there")
        assert any(path.is_file() for path in (blobs / "default").rglob("*"))


async def test_a_key_file_goes_on_to_work(tmp_path: Path) -> None:
    from tests.tenancy.test_directory import old_file

    old_file(tmp_path / "keys.json", "sk-old")
    for _ in range(2):
        async with running(tmp_path) as (_, client):
            assert [each.status_code for each in await ask(client, bearer("sk-old"))] == [200, 200]
    assert not (tmp_path / "keys.json").exists()


async def test_one_key_set_by_hand_is_the_only_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, _):
        secret, _ = await app.state.office.add_key("test", NewKey("x"))
    known = settings(tmp_path)
    app = build(replace(known, auth=replace(known.auth, api_key="by hand", admin_key="")))
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            assert [each.status_code for each in await ask(client, bearer(secret))] == [401, 401]
            assert [each.status_code for each in await ask(client, bearer("by hand"))] == [200, 200]
            assert (await client.get("/admin/v1/keys", headers=bearer("by hand"))).status_code == 403


async def test_not_ready_while_the_store_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as (_, client):
        assert (await client.get("/readyz")).status_code == 200
        monkeypatch.setattr("segue.tenancy.directory.ASKED_MAX_S", -1.0)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
