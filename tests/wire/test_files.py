"""Both protocols' Files API: shapes, lists, dates, what is not there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Router

from segue.wire.desk import UploadLimits
from segue.wire.http import Limits
from segue.wire.openai import files as openai
from tests.files.archives import settled
from tests.wire.fakes import ID, Client, House
from tests.wire.filing import COMPAT, NATIVE, Filing, Part, door_of, filing

FILES = Part("files", b"hello", "a.txt")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Filing]:
    async with filing(tmp_path) as desk:
        yield desk


async def test_the_life_of_a_file(desk: Filing) -> None:
    made = await desk.added(b"hello", "名.txt")
    assert list(made) == ["id", "object", "bytes", "filename", "purpose", "status", "created_at"]
    assert re.fullmatch(r"file-fe-[0-9a-f]{24}", made["id"])
    assert made["object"] == "file"
    assert (made["bytes"], made["filename"], made["purpose"]) == (5, "名.txt", "file-extract")
    assert made["status"] == "processing"
    await settled(desk.archive, await desk.archive.desk.find("default", made["id"]))
    shown = await desk.ask("GET", f"{COMPAT}/{made['id']}")
    assert shown.json == made | {"status": "processed"}
    assert shown.headers["x-request-id"] == ID
    listed = await desk.ask("GET", COMPAT)
    assert listed.json == {"object": "list", "data": [shown.json], "has_more": False}
    content = await desk.ask("GET", f"{COMPAT}/{made['id']}/content")
    assert content.body == b"hello"
    assert content.headers["content-length"] == "5"
    assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''%E5%90%8D.txt"
    assert content.headers["content-type"] == "application/octet-stream"
    removed = await desk.ask("DELETE", f"{COMPAT}/{made['id']}")
    assert removed.json == {"id": made["id"], "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        gone = await desk.ask(method, f"{COMPAT}/{made['id']}{path}")
        assert gone.status == 400
        assert gone.json["error"]["message"] == "File not found."
    assert (await desk.ask("GET", COMPAT)).json["data"] == []


@pytest.mark.parametrize("id", ["file-fe-x", "x" * 5000, "%2e%2e", "%00", "file-fe-" + "0" * 24, quote("名")])
async def test_ids_that_are_none(desk: Filing, id: str) -> None:
    for method, path in (("GET", COMPAT), ("DELETE", COMPAT), ("GET", NATIVE), ("DELETE", NATIVE)):
        said = await desk.ask(method, f"{path}/{id}")
        assert said.status == 400
        if path == NATIVE:
            assert said.json == {"code": "InvalidParameter", "message": "File not found.", "request_id": ID}


async def test_another_workspace_sees_nothing(desk: Filing) -> None:
    made = await desk.added()

    async def theirs(method: str, path: str) -> Client:
        return await desk.ask(method, path, x_dashscope_workspace="other")

    for method, path in (
        ("GET", f"{COMPAT}/{made['id']}"),
        ("GET", f"{COMPAT}/{made['id']}/content"),
        ("DELETE", f"{COMPAT}/{made['id']}"),
        ("GET", f"{NATIVE}/{made['id']}"),
        ("DELETE", f"{NATIVE}/{made['id']}"),
        ("GET", f"{COMPAT}?after={made['id']}"),
    ):
        assert (await theirs(method, path)).status == 400
    assert (await theirs("GET", COMPAT)).json["data"] == []
    assert (await theirs("GET", NATIVE)).json["data"]["total"] == 0
    assert (await desk.ask("GET", f"{COMPAT}/{made['id']}")).status == 200


async def test_pages(desk: Filing) -> None:
    ids = [(await desk.added(name=f"{number}.txt"))["id"] for number in range(5)][::-1]

    async def page(query: str) -> tuple[list[str], bool]:
        said = await desk.ask("GET", f"{COMPAT}?{query}")
        assert said.status == 200, said.body
        return [each["id"] for each in said.json["data"]], said.json["has_more"]

    assert await page("") == (ids, False)
    assert await page("limit=2") == (ids[:2], True)
    assert await page(f"limit=2&after={ids[1]}") == (ids[2:4], True)
    assert await page(f"limit=2&after={ids[3]}") == (ids[4:], False)
    await desk.ask("DELETE", f"{COMPAT}/{ids[1]}")
    assert await page(f"limit=2&after={ids[1]}") == (ids[2:4], True), "behind a file that is deleted meanwhile"
    assert await page("purpose=batch") == ([], False)
    lines = (await desk.added(b"{}", "a.jsonl", "batch"))["id"]
    assert lines.startswith("file-batch-")
    assert await page("purpose=batch") == ([lines], False)
    assert await page("purpose=file-extract&limit=1") == (ids[:1], True)
    assert await page("purpose=batch_output") == ([], False)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "<400> InternalError.Algo.InvalidParameter: Range of limit should be [1, 2000]"),
        ("limit=2001", "<400> InternalError.Algo.InvalidParameter: Range of limit should be [1, 2000]"),
        ("limit=-1", "'limit' must be Integer"),
        ("limit=many", "'limit' must be Integer"),
        ("limit=" + "9" * 5000, "'limit' must be Integer"),
        ("purpose=assistants", "'purpose' must be 'file-extract'"),
        ("after=file-fe-never", "File not found."),
        (
            "create_after=yesterday",
            "<400> InternalError.Algo.InvalidParameter: Input should be a valid value: create_after",
        ),
        (
            "create_before=20251301",
            "<400> InternalError.Algo.InvalidParameter: Input should be a valid value: create_before",
        ),
        ("after=" + "x" * 9000, "Payload Too Large."),
    ],
)
async def test_wishes_that_cannot_be_met(desk: Filing, query: str, message: str) -> None:
    said = await desk.ask("GET", f"{COMPAT}?{query}")
    assert (said.status, said.json["error"]["message"]) == (400, message)


@pytest.mark.parametrize(
    ("at", "written"),
    [
        ("20251130184245", 1764499365),
        ("2025-11-30 18:42:45", 1764499365),
        ("2025-11-30", 1764432000),
        ("20251130", 1764432000),
    ],
)
async def test_dates_in_every_spelling(desk: Filing, at: str, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are China's time, as all the service's are."""
    made = []
    for moment in (written - 1, written, written + 1):
        monkeypatch.setattr(desk.archive.desk, "_clock", lambda moment=moment: moment + 0.9)
        made.append((await desk.added(name=f"{moment}.txt"))["id"])

    async def ids(query: str) -> list[str]:
        return [each["id"] for each in (await desk.ask("GET", f"{COMPAT}?{query}")).json["data"]]

    assert await ids(f"create_after={quote(at)}") == [made[2], made[1]]
    assert await ids(f"create_before={at.replace(' ', '+')}") == [made[1], made[0]]
    assert await ids(f"create_after={quote(at)}&create_before={quote(at)}") == [made[1]]


async def test_natively(desk: Filing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.archive.desk, "_clock", lambda: 1764499365.5)
    said = await desk.upload(NATIVE, FILES, Part("descriptions", "说明".encode()), host="here:8000")
    id = said.json["data"]["uploaded_files"][0]["file_id"]
    assert said.json == {
        "data": {"uploaded_files": [{"name": "a.txt", "file_id": id}], "failed_uploads": []},
        "request_id": ID,
    }
    await settled(desk.archive, await desk.archive.desk.find("default", id))
    shown = await desk.ask("GET", f"{NATIVE}/{id}", host="here:8000")
    expected: dict[str, Any] = {
        "id": int(id[8:20], 16),
        "name": "a.txt",
        "description": "说明",
        "purpose": "file-extract",
        "size": 5,
        "md5": base64.b64encode(hashlib.md5(b"hello").digest()).decode(),
        "region": "local",
        "file_id": id,
        "url": f"http://here:8000/compatible-mode/v1/files/{id}/content",
        "user_id": "default",
        "api_key_id": "key-1",
        "gmt_create": "2025-11-30 18:42:45",
        "status": "processed",
        "trouble": None,
        "progress": 1.0,
    }
    assert shown.json == {"data": expected, "request_id": ID}
    listed = await desk.ask("GET", NATIVE, host="here:8000")
    assert listed.json == {
        "data": {"total": 1, "page_no": 1, "page_size": 10, "files": [expected]},
        "request_id": ID,
    }
    assert (await desk.ask("GET", f"{COMPAT}/{id}")).json["created_at"] == 1764499365
    assert (await desk.ask("DELETE", f"{NATIVE}/{id}")).json == {"request_id": ID}
    assert (await desk.ask("GET", f"{NATIVE}/{id}")).status == 400


async def test_several_files_natively(desk: Filing) -> None:
    said = await desk.upload(
        NATIVE,
        FILES,
        replace(FILES, data=b"x" * 20_001, name="b.txt"),
        replace(FILES, data=b"x" * 2_001, name="c.png"),
        replace(FILES, data=b'{"a": 1}', name="d.JSONL"),
        Part("descriptions", b"first"),
        Part("descriptions", b"second"),
    )
    data = said.json["data"]
    assert [each["name"] for each in data["uploaded_files"]] == ["a.txt", "d.JSONL"]
    assert data["failed_uploads"] == [
        {"name": name, "code": "BadRequest.TooLarge", "message": "Payload Too Large."} for name in ("b.txt", "c.png")
    ]
    files = (await desk.ask("GET", NATIVE)).json["data"]["files"]
    assert [(each["purpose"], each["description"]) for each in files] == [("batch", ""), ("file-extract", "first")]


async def test_a_purpose_natively(desk: Filing) -> None:
    said = await desk.upload(NATIVE, Part("purpose", b"batch"), FILES)
    assert said.json["data"]["uploaded_files"][0]["file_id"].startswith("file-batch-")
    said = await desk.upload(NATIVE, FILES, Part("purpose", b"fine-tune"))
    assert said.json["data"] == {
        "uploaded_files": [],
        "failed_uploads": [
            {"name": "a.txt", "code": "InvalidParameter", "message": "'purpose' must be 'file-extract'"}
        ],
    }
    said = await desk.upload(NATIVE, Part("purpose", b"batch"))
    assert (said.status, said.json["code"]) == (400, "InvalidParameter")


async def test_too_many_files_in_one_request(tmp_path: Path) -> None:
    async with filing(tmp_path, limits=UploadLimits(files_max=2)) as desk:
        assert (await desk.upload(NATIVE, FILES, FILES)).status == 200
        assert (await desk.upload(NATIVE, FILES, FILES, FILES)).status == 400
        assert (await desk.ask("GET", NATIVE)).json["data"]["total"] == 2


@pytest.mark.parametrize(
    ("query", "page_no", "page_size", "found"),
    [
        ("", 1, 10, 3),
        ("page_no=2&page_size=2", 2, 2, 1),
        ("page_no=3&page_size=2", 3, 2, 0),
        ("page_no=0&page_size=0", 1, 1, 1),
        ("page_size=5000", 1, 100, 3),
    ],
)
async def test_pages_natively(desk: Filing, query: str, page_no: int, page_size: int, found: int) -> None:
    for number in range(3):
        await desk.added(name=f"{number}.txt")
    data = (await desk.ask("GET", f"{NATIVE}?{query}")).json["data"]
    assert (data["page_no"], data["page_size"], data["total"]) == (page_no, page_size, 3)
    assert len(data["files"]) == found


async def test_progress_and_trouble_are_shown_natively(desk: Filing) -> None:
    slow = (await desk.added(b"slow"))["id"]
    blank = (await desk.added(b"blank"))["id"]
    await settled(desk.archive, await desk.archive.desk.find("default", blank))
    shown = (await desk.ask("GET", f"{NATIVE}/{blank}")).json["data"]
    assert (shown["status"], shown["trouble"], shown["progress"]) == ("error", "blank", 1.0)
    assert (await desk.ask("GET", f"{COMPAT}/{blank}")).json["status"] == "error"
    shown = (await desk.ask("GET", f"{NATIVE}/{slow}")).json["data"]
    assert shown["status"] == "processing"
    assert 0.0 <= shown["progress"] < 1.0


async def test_a_large_file_is_handed_back_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.wire.openai.files.CONTENT_PIECE_BYTES", 1000)
    async with filing(tmp_path) as desk:
        data = bytes(range(256)) * 39
        made = await desk.added(data)
        said = await desk.ask("GET", f"{COMPAT}/{made['id']}/content")
        assert said.body == data
        assert len(said.heard) == 12
        assert said.complete


async def test_a_client_who_leaves_a_content_unread(desk: Filing) -> None:
    made = await desk.added()
    house = House(limits=Limits(stalled_s=0.05))
    routes = openai.routes(door_of(house), desk.archive.desk, UploadLimits())

    class Full(Client):
        async def _send(self, message: Any) -> None:
            await super()._send(message)
            if message.get("body"):
                await asyncio.sleep(60)

    said = await Full(Router(routes), f"{COMPAT}/{made['id']}/content", method="GET").run()
    assert said.status == 200
    assert not said.complete


async def test_names_that_hurt_elsewhere(desk: Filing) -> None:
    for name in ("../../etc/passwd", 'a";x="b.txt', "x" * 5000 + ".txt", "\r\nx-evil: 1.txt", "名" * 5000 + ".txt"):
        made = await desk.added(b"data", name)
        assert len(made["filename"]) <= 255
        assert "/" not in made["filename"]
        said = await desk.ask("GET", f"{COMPAT}/{made['id']}/content")
        assert "x-evil" not in said.headers
        assert said.body == b"data"
    below = {path.name for path in desk.root.iterdir()}
    assert below == {"blobs", "scratch", "changing", "holding", "files.sqlite", "files.sqlite-wal", "files.sqlite-shm"}


@pytest.mark.parametrize("path", [COMPAT, f"{COMPAT}/x", f"{COMPAT}/x/content", NATIVE, f"{NATIVE}/x"])
async def test_other_methods(desk: Filing, path: str) -> None:
    assert (await desk.ask("PATCH", path)).status == 405
