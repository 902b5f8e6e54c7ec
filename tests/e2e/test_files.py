"""The Files API with the real clients over a real socket; files are read as they are when served."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashscope
import httpx
import openai
import pytest
from dashscope.api_entities.http_request import close_shared_sync_session

from segue.__main__ import main
from tests.e2e.server import KEY, Server, serving

COMPAT, NATIVE = "/compatible-mode/v1/files", "/api/v1/files"
Files: Any = dashscope.Files


def started(folder: Path, **settings: str) -> Any:
    return serving(folder / "none", "segue-scripted", folder, **settings)


@pytest.fixture(scope="module")
def serving_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"SEGUE_FILES_UPLOADS_PER_S": "0", "SEGUE_FILES_CALLS_PER_S": "0"}
    with started(tmp_path_factory.mktemp("desk"), **limits) as server:
        yield server


@pytest.fixture
def desk(serving_files: Server) -> Server:
    """Without files, and without anything that is left of them."""
    with serving_files.client() as http:
        for file in http.get(COMPAT).json()["data"]:
            http.delete(f"{COMPAT}/{file['id']}")
    swept(serving_files)
    return serving_files


@pytest.fixture
def client(desk: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=desk.compatible, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def native(desk: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(dashscope, "api_key", KEY)
    monkeypatch.setattr(dashscope, "base_http_api_url", desk.native)
    yield Files
    close_shared_sync_session()


def awaited(client: openai.OpenAI, id: str) -> openai.types.FileObject:
    deadline = time.monotonic() + 60
    while (file := client.files.retrieve(id)).status not in ("processed", "error"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return file


def lying(server: Server) -> set[str]:
    """The blobs, and what is half written."""
    root = server.log.parent / "files"
    folders = [os.walk(root / name) for name in ("blobs", "scratch")]
    return {name for found in folders for _, _, names in found for name in names if name != "life"}


def swept(server: Server) -> None:
    """Wait until there is nothing."""
    deadline = time.monotonic() + 30
    while left := lying(server):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_openai(client: openai.OpenAI, desk: Server, tmp_path: Path) -> None:
    path = tmp_path / "名字.txt"
    path.write_text("Ein Text.\n" * 50)
    made = client.files.create(file=path, purpose="file-extract")  # type: ignore[arg-type]
    assert (made.filename, made.bytes, made.purpose) == ("名字.txt", 500, "file-extract")
    assert awaited(client, made.id).status == "processed"
    assert client.files.content(made.id).read() == path.read_bytes()
    assert [file.id for file in client.files.list()] == [made.id]
    assert [file.id for file in client.files.list(purpose="batch")] == []
    deleted = client.files.delete(made.id)
    assert (deleted.id, deleted.deleted) == (made.id, True)
    with pytest.raises(openai.BadRequestError, match="File not found"):
        client.files.retrieve(made.id)
    swept(desk)


def test_openai_pages(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", b"{}"), purpose="batch").id for n in range(5)]
    page = client.files.list(limit=2, purpose="batch")
    assert (page.has_more, [file.id for file in page.data]) == (True, made[:2:-1])
    assert [file.id for file in client.files.list(limit=2, purpose="batch")] == made[::-1], "the client turns the pages"
    for id in made:
        client.files.delete(id)


def test_openai_refusals(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'purpose' must be 'file-extract'") as caught:
        client.files.create(file=("a.txt", b"x"), purpose="assistants")
    assert (caught.value.code, caught.value.param, caught.value.type) == (None, "purpose", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="Payload Too Large"):
        client.files.create(file=("a.png", b"x" * (20 * 1024**2 + 1)), purpose="file-extract")  # type: ignore[arg-type]
    assert client.files.list().data == []


async def test_openai_async(desk: Server) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=desk.compatible, max_retries=0) as client:
        made = await client.files.create(file=("a.md", b"# A\n\ntext"), purpose="file-extract")  # type: ignore[arg-type]
        assert (await client.files.wait_for_processing(made.id, poll_interval=0.1)).status == "processed"
        await client.files.delete(made.id)


def test_dashscope(native: Any, client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "报告.md"
    path.write_text("# Bericht\n\nEin Text.")
    said = native.upload(file_path=str(path), purpose="file-extract", description="第一")
    assert said.status_code == 200
    (uploaded,) = said.output["uploaded_files"]
    assert uploaded["name"] == "报告.md"
    shown = native.get(uploaded["file_id"]).output
    assert (shown["name"], shown["description"], shown["size"]) == ("报告.md", "第一", len(path.read_bytes()))
    assert awaited(client, uploaded["file_id"]).status == "processed"
    listed = native.list(page=1, page_size=10).output
    assert [file["file_id"] for file in listed["files"]] == [uploaded["file_id"]]
    assert native.delete(uploaded["file_id"]).status_code == 200
    gone = native.get(uploaded["file_id"])
    assert (gone.status_code, gone.code, gone.message) == (400, "InvalidParameter", "File not found.")


def test_dashscope_lines_are_for_batches(native: Any, client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n')
    said = native.upload(file_path=str(path), purpose="batch")
    (uploaded,) = said.output["uploaded_files"]
    assert uploaded["file_id"].startswith("file-batch-")
    assert client.files.retrieve(uploaded["file_id"]).purpose == "batch"
    client.files.delete(uploaded["file_id"])


def test_a_file_of_any_other_kind(client: openai.OpenAI) -> None:
    made = client.files.create(file=("a.rar", b"Rar!\x1a\x07" * 50), purpose="file-extract")  # type: ignore[arg-type]
    assert awaited(client, made.id).status == "error"
    client.files.delete(made.id)


@pytest.mark.parametrize("sent", [0, 10, 200, 5_000_000])
def test_a_client_that_is_cut_off(desk: Server, sent: int) -> None:
    """The connection is reset in mid-upload: nothing is left, and nothing is heard of it."""
    head = (
        f"POST {COMPAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 10000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + b"x" * 9_000_000
    host, _, port = desk.base.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + body[:sent])
        time.sleep(0.2)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    swept(desk)
    with desk.client() as http:
        assert http.get(COMPAT).json()["data"] == []


def test_chunked_bodies(desk: Server) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + b"x" * 3_000_000
    body += b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    with desk.client() as http:
        pieces = (body[at : at + 70_001] for at in range(0, len(body), 70_001))
        said = http.post(COMPAT, content=pieces, headers={"content-type": "multipart/form-data; boundary=b"})
        assert said.json()["bytes"] == 3_000_000
        http.delete(f"{COMPAT}/{said.json()['id']}")


def test_a_size_to_the_byte(desk: Server) -> None:
    """150 MB are taken, and one byte more is not; the server takes none of it into its memory."""
    size = 150 * 1024**2
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    tail = b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n--b--\r\n'

    def pieces(extra: int) -> Iterator[bytes]:
        yield head
        for _ in range(150):
            yield b"\0" * 1024**2
        yield b"\0" * extra + tail

    peak = resident(desk)
    with desk.client() as http:
        said = http.post(COMPAT, content=pieces(1), headers={"content-type": "multipart/form-data; boundary=b"})
        assert (said.status_code, said.json()["error"]["message"]) == (400, "Payload Too Large.")
        swept(desk)
        said = http.post(COMPAT, content=pieces(0), headers={"content-type": "multipart/form-data; boundary=b"})
        assert (said.status_code, said.json()["bytes"]) == (200, size)
        with http.stream("GET", f"{COMPAT}/{said.json()['id']}/content") as content:
            assert sum(len(piece) for piece in content.iter_bytes()) == size
        http.delete(f"{COMPAT}/{said.json()['id']}")
    assert resident(desk) - peak < 64 * 1024
    swept(desk)


def resident(server: Server) -> int:
    """The most memory it ever took, in KiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_answers_go_on_while_files_come(desk: Server) -> None:
    """An upload of 60 MB holds no other request up for long."""
    import threading

    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + b"x" * 60_000_000
    body += b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    with desk.client() as http:

        def upload() -> None:
            said = http.post(COMPAT, content=body, headers={"content-type": "multipart/form-data; boundary=b"})
            http.delete(f"{COMPAT}/{said.json()['id']}")

        thread, waits = threading.Thread(target=upload), []
        thread.start()
        while thread.is_alive():
            before = time.monotonic()
            assert http.get("/healthz").status_code == 200
            waits.append(time.monotonic() - before)
        thread.join()
    assert sorted(waits)[len(waits) // 2] < 0.25


def test_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """`kill -9` while files are uploaded and read: at the next start all that was promised is read.

    A second server has the same folder meanwhile: it sees what is uploaded to the first, and what is deleted.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    shared = {
        "SEGUE_FILES_DIR": str(tmp_path / "files"),
        "SEGUE_FILES_UPLOADS_PER_S": "0",
        "SEGUE_FILES_CALLS_PER_S": "0",
    }
    with started(tmp_path / "one", **shared) as one, openai.OpenAI(api_key=KEY, base_url=one.compatible) as first:
        with started(tmp_path / "two", **shared) as two, two.client() as http:
            made = []
            for number in range(4):
                sent = {"file": (f"{number}.txt", f"{number}\n".encode() * 1000)}
                made.append(http.post(COMPAT, data={"purpose": "file-extract"}, files=sent).json()["id"])
            two.process.send_signal(signal.SIGKILL)
            two.process.wait()
        assert [file.id for file in first.files.list()] == made[::-1]
        with started(tmp_path / "two", **shared) as again, again.client() as http:
            for id in made:
                assert awaited(first, id).status == "processed"
                assert http.delete(f"{COMPAT}/{id}").json()["deleted"]
            with pytest.raises(openai.BadRequestError):
                first.files.retrieve(made[0])


def test_a_server_without_files(tmp_path: Path) -> None:
    with started(tmp_path, SEGUE_FILES_ENABLED="false") as server, server.client() as http:
        assert http.get(COMPAT).status_code == 404
        assert http.get(NATIVE).status_code == 404
    assert not (tmp_path / "files" / "blobs").exists()


def test_a_folder_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], log_kept: None
) -> None:
    (tmp_path / "files").write_text("no folder")
    monkeypatch.setenv("SEGUE_FILES_DIR", str(tmp_path / "files"))
    monkeypatch.setenv("SEGUE_API_KEY", KEY)
    assert main(["serve", "--port", "0", "--model", "segue-scripted"]) == 1
    assert "SEGUE_FILES_DIR" in capfd.readouterr().err


def test_the_command(
    desk: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.rar").write_bytes(b"Rar!\x1a\x07" * 50)
    here = ["--url", desk.base]
    assert main(["file", "add", str(tmp_path / "a.txt"), *here]) == 0
    id = capfd.readouterr().out.strip()
    assert id.startswith("file-fe-")
    assert main(["file", "add", str(tmp_path / "b.rar"), *here]) == 1
    out, err = capfd.readouterr()
    assert "format" in err
    assert main(["file", "list", *here]) == 0
    listed = capfd.readouterr().out
    assert id in listed
    assert "error: format" in listed
    assert main(["file", "show", id, *here]) == 0
    assert "processed" in capfd.readouterr().out
    assert main(["file", "rm", id, out.strip(), *here]) == 0
    capfd.readouterr()
    assert main(["file", "show", id, *here]) == 1
    assert "File not found." in capfd.readouterr().err
    assert main(["file", "list", "--url", "http://127.0.0.1:9"]) == 1
    assert "cannot be reached" in capfd.readouterr().err
    with httpx.Client(base_url=desk.base) as http:
        assert http.get(COMPAT).status_code == 401
