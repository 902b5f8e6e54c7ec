"""What was used, over HTTP: rows and lines, whose they are, pages, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.applications import Starlette

from segue.__main__ import main
from segue.cli import usage
from segue.core.tenancy import NewKey, NewWorkspace
from segue.store.ledger import Ledger
from segue.store.sqlite import SqliteDatabase
from segue.wire.admin.operations import BASE
from segue.wire.admin.schema import document
from segue.wire.admin.usage import wants_lines
from tests.store.test_ledger import record
from tests.test_tenancy import ADMIN, ask, bearer, keys, running

BOSS = bearer(ADMIN)
DOCUMENT: dict[str, Any] = document("test")


async def used(client: httpx.AsyncClient, query: str, headers: dict[str, str] = BOSS) -> Any:
    answer = await client.get(f"{BASE}/usage?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), DOCUMENT["components"]["schemas"]["Usage"])
    return answer.json()


async def entered(app: Starlette) -> None:
    await app.state.accounts.clerk.settle()


async def test_a_request_is_in_the_rows(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"qwen-plus"})))
        held = await keys(app, member=NewKey("m", "team"))
        assert [each.status_code for each in await ask(client, held["member"])] == [200, 200]
        assert [each.status_code for each in await ask(client, held["member"], "qwen-max")] == [403, 403]
        await entered(app)
        today = time.strftime("%Y-%m-%d", time.gmtime())
        told = await used(client, "by=day,workspace,model")
        assert told["next"] is None
        answered = next(row for row in told["rows"] if row["model"] == "segue-scripted")
        assert (answered["day"], answered["workspace"], answered["key"]) == (today, "team", None)
        assert (answered["requests"], answered["failed"], answered["cost"]) == (2, 0, "0.000000")
        assert answered["input_tokens"] > 0 < answered["output_tokens"]
        assert answered["total_ms"]["p95"] >= answered["total_ms"]["p50"] >= answered["first_token_ms"]["p50"] >= 0
        refused = next(row for row in told["rows"] if row["model"] == "")
        assert (refused["requests"], refused["failed"], refused["total_ms"]) == (2, 2, {"p50": None, "p95": None})


async def test_whoever_is_no_administrator_sees_their_own_workspace(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        for id in ("ours", "theirs"):
            await app.state.office.add_workspace("test", NewWorkspace(id, id))
        held = await keys(app, looks=NewKey("l", "ours", "read-only"), home=NewKey("h"), boss=NewKey("a", role="admin"))
        at = time.time()
        places = {"ours": 3, "theirs": 2, "default": 1}
        await app.state.accounts.ledger.enter(
            [
                record(f"{name}{number}", at=at, workspace=name, key=f"key-{name}")
                for name, count in places.items()
                for number in range(count)
            ]
        )

        async def seen(name: str, more: str = "") -> dict[str, int]:
            rows = (await used(client, f"by=workspace{more}", held[name]))["rows"]
            return {row["workspace"]: row["requests"] for row in rows}

        assert await seen("boss") == places
        assert await seen("boss", "&workspace=theirs") == {"theirs": 2}
        assert await seen("looks") == await seen("looks", "&workspace=ours") == {"ours": 3}
        assert await seen("looks", "&key=key-theirs") == {}
        assert await seen("home") == {"default": 1}
        for name in ("theirs", "nowhere"):
            answer = await client.get(f"{BASE}/usage?workspace={name}", headers=held["looks"])
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Workspace.AccessDenied")


async def test_lines(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        rows = [record("a", served='m,"x"', cost_micros=12_300), record("b", served="=1+1", first_ms=None)]
        await app.state.accounts.ledger.enter(rows)
        path = f"{BASE}/usage?by=model,day&from=2026-11-01&to=2026-11-30"
        answer = await client.get(path, headers={**BOSS, "Accept": "text/csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        first, second = csv.DictReader(io.StringIO(answer.text))
        assert (first["model"], first["first_token_ms_p50"]) == ("'=1+1", "")
        assert (second["model"], second["day"], second["cost"]) == ('m,"x"', "2026-11-20", "0.012300")
        assert (second["requests"], second["first_token_ms_p50"], second["total_ms_p95"]) == ("1", "12.0", "30.0")
        page = await client.get(f"{path}&limit=1", headers={**BOSS, "Accept": "text/csv"})
        rest = await client.get(
            f"{path}&page={page.headers['x-segue-next']}", headers={**BOSS, "Accept": "text/csv;q=1"}
        )
        assert page.text.splitlines() + rest.text.splitlines()[1:] == answer.text.splitlines()
        assert "x-segue-next" not in rest.headers


async def test_pages(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        await app.state.accounts.ledger.enter(
            [record(f"r{n}", key=f"key-{n}", served="模型" if n % 2 else "m") for n in range(25)]
        )
        query = "by=model,key&from=2026-11-20&to=2026-11-20"
        whole = await used(client, query)
        found, page = [], ""
        while True:
            told = await used(client, f"{query}&limit=4{page}")
            found += told["rows"]
            if told["next"] is None:
                break
            page = f"&page={told['next']}"
        assert len(found) == 25
        assert found == whole["rows"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("by=hour", "by: One or more of day, key, workspace, model"),
        ("by=day,day", "by:"),
        ("by=day,", "by:"),
        ("from=2026-13-01", "from: A day"),
        ("from=2026-1-1", "from: A day"),
        ("to=1969-12-31", "to: A day"),
        ("to=%00", "to: A day"),
        ("from=2026-11-02&to=2026-11-01", "from: No later than to."),
        ("workspace=%00", "workspace: An id."),
        ("key=a%20b", "key: An id."),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("page=x", "page"),
        ("page=WyJhIiwiYiJd", "page"),  # of two sides
        ("page=WyJcdTAwMDAiXQ", "page"),  # a zero
        ("page=WyJcdWQ4MDAiXQ", "page"),  # half a character
        ("page=%E6%A8%A1", "page"),
    ],
)
async def test_what_is_refused(query: str, said: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        answer = await client.get(f"{BASE}/usage?{query}", headers=BOSS)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]


def test_who_wants_lines() -> None:
    assert wants_lines("text/csv")
    assert wants_lines("Text/CSV; charset=utf-8, */*")
    assert not wants_lines("application/json, text/csv")
    assert not wants_lines("*/*")
    assert not wants_lines("")


def test_several_sides_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def enter() -> None:
        database = SqliteDatabase(tmp_path / "files.sqlite")
        await database.open()
        await Ledger(database).enter([record(f"r{n}", key=f"key-{n % 2}", served="m") for n in range(5)])
        await database.close()

    asyncio.run(enter())
    monkeypatch.setenv("SEGUE_FILES_DIR", str(tmp_path))
    monkeypatch.setattr(usage, "PAGE", 1)
    assert main(["usage", "--csv", "--by", "key,day"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("key,day,requests,failed,")
    assert [line.split(",")[:3] for line in lines] == [["key-0", "2026-11-20", "3"], ["key-1", "2026-11-20", "2"]]
    assert main(["usage", "--by", "key,day"]) == 0
    assert re.search(r"all +5 ", capsys.readouterr().out)
    for wrong in ("hour,day", "day,day", "week"):
        assert main(["usage", "--by", wrong]) == 2
