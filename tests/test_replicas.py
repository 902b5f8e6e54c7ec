"""Replicas through the administration and the command line, to the answers that they give."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestServer

from segue.__main__ import main
from segue.app import build
from segue.config import Auth, Files
from tests.engine.remote.fake import Fake
from tests.engine.remote.test_fleet import listed, settings_of

ADMIN = {"Authorization": "Bearer sk-boss"}
PATH = "/admin/v1/models/big/replicas"
CHAT = "/compatible-mode/v1/chat/completions"
ASK = {"model": "big", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}


@pytest.fixture
async def fakes() -> AsyncIterator[list[tuple[Fake, TestServer]]]:
    made = [(fake := Fake(), TestServer(fake.app())) for _ in range(2)]
    for _, server in made:
        await server.start_server()
    yield made
    for _, server in made:
        await server.close()


async def test_from_the_administration_to_an_answer(tmp_path: Path, fakes: list[tuple[Fake, TestServer]]) -> None:
    made = settings_of(tmp_path, listed(fakes[:1]))
    settings = replace(
        made,
        auth=Auth(admin_key="sk-boss"),
        files=Files(dir=tmp_path / "files"),
        upstreams=replace(made.upstreams, added_hosts=("127.0.0.0/8",)),
    )
    app = build(settings)
    urls = [str(server.make_url("")) for _, server in fakes]
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://segue", headers=ADMIN) as http:

            async def until(**wanted: Any) -> None:
                async with asyncio.timeout(2):
                    while True:
                        data = (await http.get(PATH)).raise_for_status().json()["data"]
                        seen = {each["url"]: [each[name] for name in wanted] for each in data}
                        if seen.get(urls[1]) == [*wanted.values()]:
                            return
                        await asyncio.sleep(0.02)

            refused = await http.post(PATH, json={"url": "http://10.0.0.1:1"})
            assert refused.status_code == 400
            assert "upstreams.added_hosts" in refused.json()["error"]["message"]
            added = (await http.post(PATH, json={"url": urls[1], "weight": 2})).raise_for_status().json()
            await until(ready=True, origin="added", weight=2.0)
            assert (await http.post(PATH, json={"url": urls[1]})).status_code == 409
            (first,) = [each for each in (await http.get(PATH)).json()["data"] if each["origin"] == "configured"]
            drained = await http.patch(f"{PATH}/{first['id']}", json={"draining": True})
            assert drained.raise_for_status().json()["draining"]
            await fakes[0][1].close()  # what was drained may go
            for _ in range(3):
                assert (await http.post(CHAT, json=ASK)).status_code == 200
            await http.patch(f"{PATH}/{added['id']}", json={"weight": 0.5})
            await until(weight=0.5)
            gone = (await http.delete(f"{PATH}/{added['id']}")).raise_for_status().json()
            assert gone == {"object": "replica", "id": added["id"], "removed": True}
            assert (await http.delete(f"{PATH}/{first['id']}")).status_code == 400
            acts = (await http.get("/admin/v1/audit")).json()["data"]
            assert [act["what"] for act in reversed(acts)] == [
                "replica.add",
                "replica.change",
                "replica.change",
                "replica.remove",
            ]
            assert {act["who"] for act in acts} == {"key-admin"}


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_of(tmp_path, '[[models.big.upstreams]]\nurl = "http://one:8000"')
    monkeypatch.setenv("SEGUE_MODELS_CATALOGUE", str(tmp_path / "own.toml"))
    monkeypatch.setenv("SEGUE_MODELS_DEFAULT", "big")
    monkeypatch.setenv("SEGUE_FILES_DIR", str(tmp_path / "files"))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["replica", "add", "big", "http://two:8000", "--weight", "2"]) == 0
    id = capsys.readouterr().out.strip()
    assert main(["replica", "drain", "big", id]) == 0
    assert main(["replica", "list", "big"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{id}\s+http://two:8000\s+2\s+added\s+yes", shown), shown
    assert re.search(r"http://one:8000\s+1\s+configured", shown)
    for words in (["weigh", "big", id, "0.5"], ["resume", "big", id], ["rm", "big", id]):
        assert main(["replica", *words]) == 0
    capsys.readouterr()
    for words, told in (
        (["rm", "big", id], "there is no replica"),
        (["add", "big", "http://one:8000"], "is there"),
        (["add", "big", "nowhere"], "http://host:port"),
        (["list", "nothing"], "no served model answers"),
    ):
        assert main(["replica", *words]) in (1, 2)
        assert told in capsys.readouterr().err
