"""What is served at /console, byte by byte: its headers, its addresses, and what it tells a key."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path

import httpx
import pytest

from segue.app import build
from segue.config import Server
from segue.core.tenancy import NewKey, NewWorkspace
from segue.wire.console import assets
from tests.docs.tables import ROOT
from tests.test_tenancy import ADMIN, bearer, keys, running, settings

FIRST_PAINT_BYTES_MAX = 100 * 1024
FOLDER = resources.files("segue") / "console"
SOURCES = {item.name: item.read_text(encoding="utf-8") for item in FOLDER.iterdir() if item.is_file()}
SCRIPTS = {name: text for name, text in SOURCES.items() if name.endswith(".js")}
FILES = "/compatible-mode/v1/files"


@asynccontextmanager
async def visiting(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running(folder) as (_, client):
        yield client


async def test_every_file_is_guarded_and_kept_for_good(tmp_path: Path) -> None:
    async with visiting(tmp_path) as client:
        page = await client.get("/console")
        assert page.headers["cache-control"] == "no-cache"
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert linked
        assert all(re.match(r"/console/[0-9a-f]{16}/", address) for address in linked)
        place = linked[0].rpartition("/")[0]
        for name in SOURCES.keys() - {"index.html"}:
            told = await client.get(f"{place}/{name}")
            assert told.status_code == 200
            assert told.text == SOURCES[name]
            assert "immutable" in told.headers["cache-control"]
        for address in ("/console", "/console/", f"{place}/main.js"):
            told = await client.get(address)
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert told.headers["x-content-type-options"] == "nosniff"
            assert told.headers["referrer-policy"] == "no-referrer"
            assert told.headers["content-type"].endswith("charset=utf-8")
            again = await client.get(address, headers={"if-none-match": f'"other", W/{told.headers["etag"]}'})
            assert (again.status_code, again.content) == (304, b"")
            head = await client.head(address)
            assert (head.status_code, head.content) == (200, b"")


async def test_it_is_packed_for_who_takes_that(tmp_path: Path) -> None:
    async with visiting(tmp_path) as client, client.stream("GET", "/console") as told:
        assert told.headers["content-encoding"] == "gzip"
        packed = b"".join([piece async for piece in told.aiter_raw()])
        assert int(told.headers["content-length"]) == len(packed)
        plain = (await client.get("/console", headers={"accept-encoding": "identity"})).content
        assert gzip.decompress(packed) == plain


@pytest.mark.parametrize("path", ["/console/index.html", "/console/main.js", "/console/../app.py", "/console/x/%2e%2e"])
async def test_nothing_else_is_there(tmp_path: Path, path: str) -> None:
    async with visiting(tmp_path) as client:
        assert (await client.get(path)).status_code == 404
        assert (await client.post("/console")).status_code == 405


async def test_it_can_be_left_out(tmp_path: Path) -> None:
    app = build(replace(settings(tmp_path), server=Server(console=False)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
        for path in ("/console", "/console/session"):
            assert (await client.get(path)).status_code == 404


async def test_a_key_is_told_of_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, client):
        assert (await client.get("/console/session")).status_code == 401
        told = (await client.get("/console/session", headers=bearer(ADMIN))).json()
        assert (told["role"], told["workspace"], told["files"]) == ("admin", "default", True)
        assert {"name": "qwen-long", "model": "segue-scripted", "documents": True} in told["names"]
        assert told["models"]["segue-scripted"]["defaults"]["temperature"] == 0.7
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"qwen-plus"})))
        held = await keys(app, member=NewKey("one", "team"))
        answer = await client.get("/console/session", headers=held["member"])
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert (told["role"], told["workspace"]) == ("member", "team")
        assert [each["name"] for each in told["names"]] == ["qwen-plus"]


async def test_the_text_of_a_file_is_its_workspaces_own(tmp_path: Path) -> None:
    text = "Δelivery takes three weeks.\n" * 4000
    async with running(tmp_path) as (app, client):
        boss = bearer(ADMIN)
        sent = await client.post(
            FILES, headers=boss, files={"file": ("terms.txt", text.encode())}, data={"purpose": "file-extract"}
        )
        id = sent.json()["id"]
        while (await client.get(f"{FILES}/{id}", headers=boss)).json()["status"] == "processing":
            early = await client.get(f"/console/files/{id}/parts", headers=boss)
            assert early.status_code in (200, 400)
        parts = (await client.get(f"/console/files/{id}/parts", headers=boss)).json()
        assert parts == {"bytes": len(text.encode()), "parts": [{"start": 0, "label": ""}]}
        piece = await client.get(f"/console/files/{id}/text?start=0&end=40", headers=boss)
        assert piece.json() == {"text": text.encode()[:40].decode("utf-8", "ignore")}
        assert (await client.get(f"/console/files/{id}/text?end=65537", headers=boss)).status_code == 400
        assert (await client.get(f"/console/files/{id}/text?start=5&end=4", headers=boss)).status_code == 400
        await app.state.office.add_workspace("test", NewWorkspace("Team", "team", frozenset({"qwen-plus"})))
        other = (await keys(app, member=NewKey("one", "team")))["member"]
        for path in (f"/console/files/{id}/parts", f"/console/files/{id}/text", "/console/files/file-fe-none/parts"):
            assert (await client.get(path, headers=other)).status_code in (400, 404)
            assert "Δelivery" not in (await client.get(path, headers=other)).text


def test_nothing_is_asked_of_anybody_else() -> None:
    for name, text in SOURCES.items():
        strange = set(re.findall(r"https?://[\w.]+", text)) - {"http://www.w3.org"}
        assert strange == set(), name
        assert "innerHTML" not in text
        assert not re.search(r"\bstyle=|\son\w+=\"", text) or name == "style.css", name


def test_scripts_are_small() -> None:
    """Those of the first page, and of the one behind the door, before they are packed; all of them as they are sent."""
    imported = {"main.js"}
    while more := {other for name in imported for other in re.findall(r'from "\./([\w.]+)"', SCRIPTS[name])} - imported:
        imported |= more
    page = {"playground.js"}
    while more := {other for name in page for other in re.findall(r'from "\./([\w.]+)"', SCRIPTS[name])} - page:
        page |= more
    assert sum(len(SCRIPTS[name].encode()) for name in imported | page) < FIRST_PAINT_BYTES_MAX
    sent = [asset.packed for place, asset in assets().items() if place.endswith(".js")]
    assert len(sent) == len(SCRIPTS)
    assert sum(map(len, sent)) < FIRST_PAINT_BYTES_MAX / 2


def test_everything_is_said_in_both_languages() -> None:
    words = set(re.findall(r'(?:^|[{,]) *"((?:[^"\\]|\\.)+)": "', SCRIPTS["words.js"], re.MULTILINE))
    asked = {said for text in SCRIPTS.values() for said in re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', text)}
    asked |= set(re.findall(r': "(it [\w ]+)"', SCRIPTS["answer.js"]))
    asked |= set(re.findall(r'\["\w+", "(\w+)"\]', SCRIPTS["main.js"]))
    assert len(asked) > 150
    assert asked - words == set()
    for sentence in words:
        assert '"' not in sentence


def test_a_wheel_has_all_of_it(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")  # it is there wherever the project was installed by its Makefile
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if name.startswith("segue/console/")}
        assert held == {f"segue/console/{name}" for name in SOURCES}
        for name in held:
            assert packed.read(name).decode() == SOURCES[name.rpartition("/")[2]]
