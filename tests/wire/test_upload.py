"""Uploads: in any pieces, any order, any state, and nothing left of those that fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.files.archives import BOUNDS, lying
from tests.wire.fakes import Client
from tests.wire.filing import BOUNDARY, COMPAT, LIMITS, NATIVE, Filing, Leaving, Part, Silent, filing, form, multipart

FILE, PURPOSE = (
    Part("file", b"hello\r\n--" + BOUNDARY[:-1].encode() + b"\r\n", "a.txt"),
    Part("purpose", b"file-extract"),
)
TOO_LARGE = "Payload Too Large."
BODY = "Required body invalid, please check the request body format."


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Filing]:
    async with filing(tmp_path) as desk:
        yield desk


async def count(desk: Filing) -> int:
    return (await desk.archive.desk.numbered("default", 0, 1))[1]


async def refused(desk: Filing, client: Client, message: str, status: int = 400) -> None:
    """It was told `message`, and nothing is left of it."""
    assert (client.status, client.json["error"]["message"]) == (status, message)
    await nothing(desk)


async def nothing(desk: Filing) -> None:
    assert await count(desk) == 0
    assert lying(desk.root) == []


@pytest.mark.parametrize("parts", [(FILE, PURPOSE), (PURPOSE, FILE)], ids=["file first", "purpose first"])
async def test_parts_in_any_order(desk: Filing, parts: tuple[Part, ...]) -> None:
    said = await desk.upload(COMPAT, *parts, Part("other", b"ignored"))
    assert said.status == 200
    assert said.json["bytes"] == len(FILE.data)
    content = await desk.ask("GET", f"{COMPAT}/{said.json['id']}/content")
    assert content.body == FILE.data


async def test_in_any_pieces(desk: Filing) -> None:
    body = multipart(PURPOSE, FILE)
    for seed in range(30):
        chance, chunks, rest = random.Random(seed), [], body
        while rest:
            size = chance.choice((1, 2, 3, 17, len(body)))
            chunks.append(rest[:size])
            rest = rest[size:]
        client = await Client(desk.app, COMPAT, headers={"content-type": form()}, chunks=chunks).run()
        assert client.json["bytes"] == len(FILE.data)
        content = await desk.ask("GET", f"{COMPAT}/{client.json['id']}/content")
        assert content.body == FILE.data


@pytest.mark.parametrize(
    "purpose", [b"", b"assistants", b"fine-tune", b"batch_output", b"FILE-EXTRACT", "目的".encode()]
)
async def test_other_purposes(desk: Filing, purpose: bytes) -> None:
    for parts in ((FILE, Part("purpose", purpose)), (Part("purpose", purpose), FILE), (FILE,)):
        said = await desk.upload(COMPAT, *parts)
        assert said.json["error"] == {
            "message": "'purpose' must be 'file-extract'",
            "type": "invalid_request_error",
            "param": "purpose",
            "code": None,
        }
        await refused(desk, said, "'purpose' must be 'file-extract'")


async def test_no_file(desk: Filing) -> None:
    said = await desk.upload(COMPAT, PURPOSE)
    await refused(desk, said, "<400> InternalError.Algo.InvalidParameter: Field required: file")
    said = await desk.upload(COMPAT, PURPOSE, Part("file", b"not a file: it has no name"))
    await refused(desk, said, "<400> InternalError.Algo.InvalidParameter: Field required: file")


WHOLE = multipart(FILE, PURPOSE)
BROKEN: dict[str, tuple[str, bytes]] = {
    "no content type": ("", WHOLE),
    "json": ("application/json", b"{}"),
    "no boundary": ("multipart/form-data", WHOLE),
    "an empty boundary": ('multipart/form-data; boundary=""', WHOLE),
    "another boundary": (form("other"), WHOLE),
    "a boundary without end": (form("x" * 5000), WHOLE),
    "nothing": (form(), b""),
    "only the end": (form(), b"--" + BOUNDARY.encode()),
    "no end": (form(), WHOLE[: -len(BOUNDARY) - 8]),
    "half": (form(), WHOLE[: len(WHOLE) // 2]),
    "in a header": (form(), WHOLE[:40]),
    "noise": (form(), random.Random(1).randbytes(5000)),
    "a header without a colon": (form(), multipart(replace(FILE, headers=[b"no colon"]), PURPOSE)),
    "many headers": (form(), multipart(replace(FILE, headers=[b"x-%d: y" % n for n in range(100)]), PURPOSE)),
    "a long header": (form(), multipart(replace(FILE, headers=[b"x: " + b"y" * 200_000]), PURPOSE)),
    "many parts": (form(), multipart(FILE, *[Part(str(n), b"") for n in range(100)], PURPOSE)),
    "a long field": (form(), multipart(FILE, Part("purpose", b"x" * 2000))),
    "two files": (form(), multipart(FILE, FILE, PURPOSE)),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_bodies(desk: Filing, case: str) -> None:
    kind, body = BROKEN[case]
    await refused(desk, await desk.ask("POST", COMPAT, body, content_type=kind), BODY)


async def test_every_way_to_be_cut_off(desk: Filing) -> None:
    """The client is gone after any number of bytes, or the body ends there."""
    for end in range(0, len(WHOLE) - 3, 7):
        client = Leaving(desk.app, COMPAT, headers={"content-type": form()}, chunks=[WHOLE[:end]])
        await client.run()
        assert client.heard == []
        await nothing(desk)
        await refused(desk, await desk.ask("POST", COMPAT, WHOLE[:end], content_type=form()), BODY)


async def test_a_client_who_falls_silent(desk: Filing) -> None:
    client = await Silent(desk.app, COMPAT, headers={"content-type": form()}, chunks=[WHOLE[:200]]).run()
    await refused(desk, client, "Request timed out, please try again later.", 500)


async def test_a_client_who_takes_too_long(tmp_path: Path) -> None:
    async with filing(tmp_path, limits=replace(LIMITS, silence_s=5.0, whole_s=0.2)) as desk:
        client = await Silent(desk.app, COMPAT, headers={"content-type": form()}, chunks=[WHOLE[:200]]).run()
        await refused(desk, client, "Request timed out, please try again later.", 500)


async def test_a_server_that_stops_in_mid_upload(desk: Filing) -> None:
    for chunks in ([WHOLE[:200]], [WHOLE[:300], b"x" * 3000]):
        client = Silent(desk.app, COMPAT, headers={"content-type": form()}, chunks=chunks)
        task = client.start()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await nothing(desk)


@pytest.mark.parametrize("first", ["file", "purpose"])
@pytest.mark.parametrize(
    ("name", "purpose", "limit"),
    [("a.txt", b"file-extract", 10_000), ("a.png", b"file-extract", 2_000), ("a.jsonl", b"batch", 20_000)],
)
async def test_sizes_to_the_byte(desk: Filing, first: str, name: str, purpose: bytes, limit: int) -> None:
    def parts(size: int) -> list[Part]:
        both = [Part("file", b"x" * size, name), Part("purpose", purpose)]
        return both if first == "file" else both[::-1]

    said = await desk.upload(COMPAT, *parts(limit + 1))
    assert said.json["error"]["code"] == "BadRequest.TooLarge"
    await refused(desk, said, TOO_LARGE)
    said = await desk.upload(COMPAT, *parts(limit))
    assert (said.status, said.json["bytes"]) == (200, limit)


async def test_what_is_far_too_large_is_not_read_to_its_end(desk: Filing) -> None:
    head = multipart(PURPOSE, Part("file", b"", "a.txt"))[: -len(BOUNDARY) - 8]
    chunks = [head, *[b"x" * 10_000] * 50]
    client = Client(desk.app, COMPAT, headers={"content-type": form()}, chunks=chunks)
    await client.run()
    await refused(desk, client, TOO_LARGE)
    assert 30 < len(client._chunks) < 45, "some of it was read past, so that the sender hears why"


async def test_who_has_no_key_is_told_before_anything_is_read(desk: Filing) -> None:
    client = Client(desk.app, COMPAT, headers={"content-type": form(), "authorization": "Bearer no"}, chunks=[WHOLE])
    await client.run()
    assert (client.status, len(client._chunks)) == (401, 1)


async def test_rates(tmp_path: Path) -> None:
    async with filing(tmp_path, replace(BOUNDS, uploads_per_s=3, calls_per_s=10)) as desk:
        for _ in range(3):
            assert (await desk.upload(COMPAT, FILE, PURPOSE)).status == 200
        said = await desk.upload(COMPAT, FILE, PURPOSE)
        assert (said.status, said.headers["retry-after"]) == (429, "1")
        assert said.json["error"] == {
            "message": "You exceeded your current requests list.",
            "type": "limit_requests",
            "param": None,
            "code": "limit_requests",
        }
        said = await desk.upload(NATIVE, replace(FILE, field="files"))
        assert (said.status, said.json["code"]) == (429, "Throttling.RateQuota")
        assert [(await desk.ask("GET", COMPAT)).status for _ in range(11)] == [200] * 10 + [429]
        assert (await desk.ask("GET", f"{NATIVE}/x")).status == 429
        assert (await desk.ask("DELETE", f"{COMPAT}/x", x_dashscope_workspace="other")).status == 400


async def test_a_quota(tmp_path: Path) -> None:
    async with filing(tmp_path, replace(BOUNDS, quota=replace(BOUNDS.quota, files_max=1))) as desk:
        await desk.added()
        said = await desk.upload(COMPAT, FILE, PURPOSE)
        assert (said.status, said.json["error"]["message"]) == (400, "Upload file number exceed limit.")
        said = await desk.upload(NATIVE, replace(FILE, field="files"))
        assert said.json["data"]["failed_uploads"] == [
            {
                "name": "a.txt",
                "code": "BadRequest.TooMany",
                "message": "Out of number, <1> of <1> files has been uploaded.",
            }
        ]
    async with filing(tmp_path / "other", replace(BOUNDS, quota=replace(BOUNDS.quota, bytes_max=9))) as desk:
        said = await desk.upload(COMPAT, FILE, PURPOSE)
        assert (said.status, said.json["error"]["message"]) == (400, "Upload file capacity exceed limit.")
        await nothing(desk)


async def test_a_disk_that_is_full(desk: Filing, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segue.files.desk.Arriving.write", full)
    said = await desk.upload(COMPAT, FILE, PURPOSE)
    assert (said.status, said.json["error"]["code"]) == (500, "internal_error")
    monkeypatch.undo()
    await nothing(desk)
