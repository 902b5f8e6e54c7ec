"""What docs/compatibility.md says was decided about files is what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from segue.core.errors import FileGone, FileUnknown
from segue.files.desk import Sizes
from segue.wire.names import file_name, parameters
from tests.docs.test_tables import rows
from tests.files.archives import BOUNDS, settled, uploaded
from tests.wire.filing import COMPAT, NATIVE, Filing, Leaving, Part, filing, form, multipart

FILE = Part("files", b"hello", "a.txt")
OF_TEN = 10


async def ids(desk: Filing, query: str = "") -> list[str]:
    return [each["id"] for each in (await desk.ask("GET", f"{COMPAT}?{query}")).json["data"]]


async def natively(desk: Filing, *parts: Part) -> Any:
    return (await desk.upload(NATIVE, *parts)).json["data"]


async def shown(desk: Filing, id: str) -> Any:
    return (await desk.ask("GET", f"{NATIVE}/{id}")).json["data"]


async def order(desk: Filing) -> None:
    made = [(await desk.added(name=f"{n}.txt"))["id"] for n in range(3)]
    assert await ids(desk) == made[::-1]


async def after_deleted(desk: Filing) -> None:
    made = [(await desk.added(name=f"{n}.txt"))["id"] for n in range(3)]
    await desk.ask("DELETE", f"{COMPAT}/{made[1]}")
    assert await ids(desk, f"after={made[1]}") == made[:1]


async def after_unknown(desk: Filing) -> None:
    assert (await desk.ask("GET", f"{COMPAT}?after=file-fe-0")).status == 400


async def limits(desk: Filing) -> None:
    for limit in (0, 2001):
        assert (await desk.ask("GET", f"{COMPAT}?limit={limit}")).status == 400


async def dates(desk: Filing) -> None:
    made = await desk.added()
    there = (await shown(desk, made["id"]))["gmt_create"]
    written = datetime.strptime(there + " +0800", "%Y-%m-%d %H:%M:%S %z")
    assert written.astimezone(UTC).timestamp() == made["created_at"]
    assert await ids(desk, f"create_after={there.replace(' ', '+')}&create_before={there}") == [made["id"]]


async def no_purpose(desk: Filing) -> None:
    made = await natively(desk, FILE, replace(FILE, name="a.jsonl"))
    assert [each["file_id"].rpartition("-")[0] for each in made["uploaded_files"]] == ["file-fe", "file-batch"]


async def other_purpose(desk: Filing) -> None:
    made = await natively(desk, FILE, Part("purpose", b"fine-tune"))
    assert (made["uploaded_files"], len(made["failed_uploads"])) == ([], 1)


async def several(desk: Filing) -> None:
    made = await natively(desk, FILE, replace(FILE, data=b"x" * 10_001), FILE)
    assert (len(made["uploaded_files"]), len(made["failed_uploads"])) == (2, 1)
    assert (await desk.upload(NATIVE, *[FILE] * OF_TEN)).status == 200
    assert (await desk.upload(NATIVE, *[FILE] * (OF_TEN + 1))).status == 400


async def several_compatibly(desk: Filing) -> None:
    one = replace(FILE, field="file")
    assert (await desk.upload(COMPAT, one, one, Part("purpose", b"batch"))).status == 400


async def names(desk: Filing) -> None:
    assert (await desk.added(name="../a\x07b.txt"))["filename"] == "ab.txt"
    assert (await desk.added(name="x" * 999 + ".txt"))["filename"] == "x" * 251 + ".txt"


async def extended_names(desk: Filing) -> None:
    assert file_name(parameters(b"form-data; filename=\"a\"; filename*=UTF-8''b")) == "b"


async def sizes(desk: Filing) -> None:
    assert Sizes().document_bytes_max == 157_286_400
    assert (await desk.upload(NATIVE, replace(FILE, data=b"x" * 10_000))).json["data"]["failed_uploads"] == []
    assert (await natively(desk, replace(FILE, data=b"x" * 10_001)))["uploaded_files"] == []


async def identical(desk: Filing) -> None:
    made = [await desk.archive.desk.find("default", (await desk.added())["id"]) for _ in range(2)]
    await settled(desk.archive, *made)
    assert made[0].id != made[1].id
    assert len(desk.reader.parsed) == 1
    await settled(desk.archive, await uploaded(desk.archive.desk, b"hello", workspace="other"))
    assert len(desk.reader.parsed) == 2


async def trouble(desk: Filing) -> None:
    made = await desk.added(b"blank")
    await settled(desk.archive, await desk.archive.desk.find("default", made["id"]))
    assert (await desk.ask("GET", f"{COMPAT}/{made['id']}")).json["status"] == "error"
    assert (await shown(desk, made["id"]))["trouble"] == "blank"


async def progress(desk: Filing) -> None:
    found = await shown(desk, (await desk.added(b"slow"))["id"])
    assert found["status"] == "processing"
    assert 0.0 <= found["progress"] < 1.0


async def invented(desk: Filing) -> None:
    found = await shown(desk, (await desk.added())["id"])
    assert found["id"] == int(found["file_id"][8:20], 16) < 2**48
    assert (found["region"], found["user_id"], found["api_key_id"]) == ("local", "default", "key-1")
    assert found["url"].endswith(f"{COMPAT}/{found['file_id']}/content")


async def content(desk: Filing) -> None:
    made = await desk.added(b"as it came")
    assert (await desk.ask("GET", f"{COMPAT}/{made['id']}/content")).body == b"as it came"


async def deleted_while_read(desk: Filing) -> None:
    made = await desk.added()
    await settled(desk.archive, await desk.archive.desk.find("default", made["id"]))
    async with desk.archive.library.reading("default", [made["id"]], 0) as (readable,):
        await desk.ask("DELETE", f"{COMPAT}/{made['id']}")
        assert readable.text.read_bytes() == b"hello"


async def deleted(desk: Filing) -> None:
    made = await desk.added()
    await desk.ask("DELETE", f"{COMPAT}/{made['id']}")
    with pytest.raises(FileGone):
        async with desk.archive.library.reading("default", [made["id"]], 0):
            pass
    later = (await desk.added())["id"]
    await desk.archive.store.remove("default", later, 1e12, BOUNDS.removed_kept_s)
    with pytest.raises(FileUnknown):
        async with desk.archive.library.reading("default", [made["id"]], 0):
            pass


async def drained(desk: Filing) -> None:
    body = multipart(Part("purpose", b"file-extract"), Part("file", b"x" * 10_001, "a.txt"))
    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    client = Leaving(desk.app, COMPAT, headers={"content-type": form()}, chunks=chunks)
    await client.run()
    assert client._chunks == []


CHOICES: dict[str, Callable[[Filing], Awaitable[None]]] = {
    "a file in the list": order,
    "`after` names a file that was deleted": after_deleted,
    "`after` names a file that never was": after_unknown,
    "`limit` out of range": limits,
    "dates": dates,
    "no purpose, natively (the SDK sends none)": no_purpose,
    "any other purpose, natively": other_purpose,
    "several files in one upload, natively": several,
    "several files in one upload, in the other protocol": several_compatibly,
    "a file's name": names,
    "`filename*` beside `filename`": extended_names,
    "sizes": sizes,
    "identical bytes": identical,
    "a file that cannot be read": trouble,
    "how far the reading is": progress,
    "`id`, `region`, `url`, `user_id`, `api_key_id`, natively": invented,
    "`GET .../content` of an uploaded file": content,
    "a file that is deleted while an answer reads it": deleted_while_read,
    "a deleted file": deleted,
    "an upload beyond its size": drained,
}


@pytest.mark.parametrize("case", CHOICES)
async def test_what_was_decided_is_what_happens(case: str, tmp_path: Path) -> None:
    async with filing(tmp_path) as desk:
        await CHOICES[case](desk)


def test_every_decision_is_checked() -> None:
    told = [case for case, _ in rows("docs/compatibility.md", "Files: where the documents are silent")]
    assert told == list(CHOICES)
