"""The administration over HTTP: what each operation does, what it refuses, and that its document tells the truth."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.routing import Route

from segue.core.tenancy import NewKey
from segue.wire.admin.operations import BASE, OPERATIONS
from segue.wire.admin.schema import SHAPES, document
from tests.test_tenancy import ADMIN, bearer, keys, running

BOSS = bearer(ADMIN)


class Admin:
    """Asks, and holds each answer against the document."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.document: dict[str, Any] = document("test")

    async def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        answer = await self._client.request(method, BASE + path, content=content, headers=BOSS)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        told = self._told(method, path.partition("?")[0])
        schema = told["responses"][str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), schema | {"components": self.document["components"]})
        return answer.json()

    def _told(self, method: str, path: str) -> Any:
        for known, methods in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), BASE + path):
                return methods[method.lower()]
        raise AssertionError(path)


@asynccontextmanager
async def admin(folder: Path) -> AsyncIterator[Admin]:
    async with running(folder) as (_, client):
        yield Admin(client)


async def test_what_is_served_is_what_is_described(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        served = {
            (method, route.path)
            for route in app.routes
            if isinstance(route, Route) and route.path.startswith(BASE) and not route.path.endswith("openapi.json")
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
            if (await client.request(method, re.sub(r"\{\w+\}", "x", route.path), headers=BOSS)).status_code != 405
        }
        assert served == {(each.method, BASE + each.path) for each in OPERATIONS}
        shown = (await client.get(f"{BASE}/openapi.json", headers=BOSS)).json()
        assert shown["paths"].keys() == {path for _, path in served}
        for shape in SHAPES.values():
            jsonschema.Draft202012Validator.check_schema(shape)
        told = [each["operationId"] for path in shown["paths"].values() for each in path.values()]
        assert len(told) == len(set(told)) == len(OPERATIONS)


async def test_everything_is_for_administrators(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        held = await keys(app, member=NewKey("m"), looks=NewKey("r", role="read-only"), boss=NewKey("a", role="admin"))
        for each in OPERATIONS:
            path = BASE + re.sub(r"\{\w+\}", "x", each.path)
            assert (await client.request(each.method, path)).status_code == 401
            for name in ("member", "looks"):
                answer = await client.request(each.method, path, headers=held[name])
                assert answer.status_code == (200 if each.everybody else 403)
            assert (await client.request(each.method, path, headers=held["boss"])).status_code not in (401, 403)


async def test_a_workspace_from_beginning_to_end(tmp_path: Path) -> None:
    async with admin(tmp_path) as ask:
        limits = {"requests_per_minute": 60}
        made = await ask("POST", "/workspaces", {"name": "Team", "models": ["qwen-plus"], "limits": limits})
        assert made["limits"]["requests_per_minute"] == 60
        assert made["limits"]["concurrent"] is None
        path = f"/workspaces/{made['id']}"
        assert await ask("GET", path) == made
        changed = await ask("PATCH", path, {"limits": {"concurrent": 3}})
        assert (changed["limits"]["requests_per_minute"], changed["limits"]["concurrent"]) == (60, 3)
        assert (await ask("PATCH", path, {"limits": {"concurrent": None}}))["limits"]["concurrent"] is None
        assert (await ask("PATCH", path, {"limits": None}))["limits"]["requests_per_minute"] is None
        assert (await ask("PATCH", path, {"name": "Them", "models": ["qwen-max", "qwen-plus"]}))["name"] == "Them"
        assert (await ask("GET", f"{path}/models"))["models"] == ["qwen-max", "qwen-plus"]
        assert (await ask("DELETE", f"{path}/models/qwen-plus"))["models"] == ["qwen-max"]
        assert (await ask("PUT", f"{path}/models/segue-scripted"))["models"] == ["qwen-max", "segue-scripted"]
        assert [each["id"] for each in (await ask("GET", "/workspaces"))["data"]] == ["default", made["id"]]
        page = await ask("GET", "/workspaces?limit=1")
        assert page["has_more"]
        assert not (await ask("GET", f"/workspaces?limit=1&after={page['data'][0]['id']}"))["has_more"]
        assert await ask("DELETE", path) == {"object": "workspace", "id": made["id"], "removed": True}
        await ask("GET", path, status=404)
        acts = (await ask("GET", f"/audit?workspace={made['id']}"))["data"]
        assert [act["what"] for act in acts] == ["workspace.remove", *["workspace.change"] * 6, "workspace.create"]
        assert {act["who"] for act in acts} == {"key-admin"}


async def test_a_key_from_beginning_to_end(tmp_path: Path) -> None:
    async with admin(tmp_path) as ask:
        made = await ask("POST", "/keys", {"name": "x", "expires_in_s": 3600, "models": ["qwen-plus"]})
        secret = made.pop("secret")
        assert made["expires_at"] == made["created_at"] + 3600
        assert secret.startswith(made["hint"])
        path = f"/keys/{made['id']}"
        assert await ask("GET", path) == made
        changed = await ask("PATCH", path, {"expires_at": None, "models": None, "role": "read-only", "name": "y"})
        assert [changed[name] for name in ("expires_at", "models", "role", "name")] == [None, None, "read-only", "y"]
        assert (await ask("PATCH", path, {"limits": {"tokens_per_month": 5}}))["expires_at"] is None
        assert (await ask("DELETE", path))["revoked_at"] >= made["created_at"]
        listed = await ask("GET", "/keys?workspace=default")
        assert [each["id"] for each in listed["data"]] == [made["id"]]
        assert secret not in json.dumps([listed, await ask("GET", "/audit")])
        newest = await ask("GET", "/audit?limit=1")
        assert newest["has_more"]
        assert newest["data"][0]["what"] == "key.revoke"
        older = await ask("GET", f"/audit?before={newest['data'][0]['id']}")
        assert [act["what"] for act in older["data"]] == ["key.change", "key.change", "key.create"]


async def test_the_organisation(tmp_path: Path) -> None:
    async with admin(tmp_path) as ask:
        assert (await ask("GET", "/organisation"))["name"] == "default"
        assert (await ask("PATCH", "/organisation", {"name": "Us"}))["name"] == "Us"
        await ask("PATCH", "/organisation", {"name": ""}, status=400)
        await ask("PATCH", "/organisation", {}, status=400)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/keys", {}, 400, "name"),
        ("POST", "/keys", b"{", 400, "body"),
        ("POST", "/keys", [], 400, "body"),
        ("POST", "/keys", {"name": 5}, 400, "name"),
        ("POST", "/keys", {"name": "x", "expires": 5}, 400, "There is no field expires."),
        ("POST", "/keys", {"name": "x", "limits": {"concurent": 5}}, 400, "There is no field limits.concurent."),
        ("POST", "/keys", {"name": "x", "limits": {"concurrent": "5"}}, 400, "limits.concurrent"),
        ("POST", "/keys", {"name": "x", "limits": {"concurrent": True}}, 400, "limits.concurrent"),
        ("POST", "/keys", {"name": "x", "limits": {"concurrent": 1.5}}, 400, "limits.concurrent"),
        ("POST", "/keys", {"name": "x", "limits": {"concurrent": -1}}, 400, "limits.concurrent"),
        ("POST", "/keys", {"name": "x", "limits": {"concurrent": 10**30}}, 400, "limits.concurrent"),
        ("POST", "/keys", {"name": "x", "limits": []}, 400, "limits"),
        ("POST", "/keys", {"name": "x", "models": "qwen-plus"}, 400, "models"),
        ("POST", "/keys", {"name": "x", "models": [5]}, 400, "models.0"),
        ("POST", "/keys", {"name": "x", "models": ["gpt-9"]}, 404, "gpt-9"),
        ("POST", "/keys", {"name": "x", "role": "root"}, 400, "role: One of admin, member, read-only."),
        ("POST", "/keys", {"name": "x", "expires_at": 1}, 400, "expires_at"),
        ("POST", "/keys", {"name": "x", "expires_in_s": 0}, 400, "expires_in_s"),
        ("POST", "/keys", {"name": "x", "expires_in_s": 10**300}, 400, "expires_in_s"),
        ("POST", "/keys", {"name": "x", "expires_in_s": 5, "expires_at": 10**10}, 400, "expires_in_s"),
        ("POST", "/keys", {"name": "x", "workspace": "nowhere"}, 404, "WorkSpace can not be found."),
        ("POST", "/keys", {"name": "x", "workspace": "no id"}, 404, "WorkSpace can not be found."),
        ("POST", "/workspaces", {"name": "x", "id": "default"}, 400, "models"),
        ("POST", "/workspaces", {"name": "x", "id": "a/b"}, 400, "id"),
        ("PATCH", "/workspaces/default", {"models": ["qwen-plus"]}, 400, "models"),
        ("PUT", "/workspaces/default/models/qwen-plus", None, 400, "models"),
        ("DELETE", "/workspaces/default", None, 400, "id"),
        ("PATCH", "/workspaces/nowhere", {}, 404, "WorkSpace can not be found."),
        ("PATCH", "/keys/none", {}, 404, "Not found!"),
        ("DELETE", "/keys/none", None, 404, "Not found!"),
        ("GET", "/keys/%00", None, 404, "Not found!"),
        ("GET", "/keys?limit=0", None, 400, "limit"),
        ("GET", "/keys?limit=x", None, 400, "limit"),
        ("GET", "/keys?after=%00", None, 400, "after"),
        ("GET", "/audit?before=-1", None, 400, "before"),
    ],
)
async def test_refusals(method: str, path: str, body: object, status: int, said: str, tmp_path: Path) -> None:
    async with admin(tmp_path) as ask:
        assert said in (await ask(method, path, body, status))["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/models/nothing/replicas", None, 404, "nothing"),
        ("GET", "/models/segue-scripted/replicas", None, 400, "It runs here"),
        ("POST", "/models/qwen-plus/replicas", {"url": "http://one"}, 400, "It runs here"),
        ("POST", "/models/qwen-plus/replicas", {}, 400, "url"),
        ("POST", "/models/qwen-plus/replicas", {"url": "http://one", "key": "sk-x"}, 400, "There is no field key."),
        ("PATCH", "/models/qwen-plus/replicas/re-1", {"draining": 1}, 400, "draining"),
        ("DELETE", "/models/qwen-plus/replicas/re-1", None, 400, "It runs here"),
    ],
)
async def test_refusals_of_replicas(
    method: str, path: str, body: object, status: int, said: str, tmp_path: Path
) -> None:
    async with admin(tmp_path) as ask:
        assert said in (await ask(method, path, body, status))["error"]["message"]


async def test_a_workspace_is_made_once(tmp_path: Path) -> None:
    async with admin(tmp_path) as ask:
        await ask("POST", "/workspaces", {"name": "x", "id": "team"})
        await ask("POST", "/workspaces", {"name": "x", "id": "team"}, 409)
