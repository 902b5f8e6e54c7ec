"""Batches over the whole house but the model, as the OpenAI SDK sees them; what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn

from segue.app import build
from segue.batches.lines import LineLimits, asked, checked
from segue.config import Auth, Files, Models, Settings
from segue.engine.scripted import Echo, Scripted, scripted_card
from tests.test_calls import KEY, House

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "cancelled", "expired")
OVER_S = 60.0


def line(number: int, **more: Any) -> dict[str, Any]:
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": f"said {number}"}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": CHAT, "body": body} | more


def written(*lines: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


@contextmanager
def house(folder: Path, delay_s: float = 0.0, files_max: int = 1000) -> Iterator[House]:
    files = Files(dir=folder, files_max=files_max, calls_per_s=10_000, uploads_per_s=1000, batch_lease_s=1.0)
    settings = Settings(auth=Auth(api_key=KEY), models=Models(default="segue-scripted"), files=files)
    card = scripted_card("segue-scripted")
    app = build(settings, {"segue-scripted": Scripted(Echo(64), card, delay_s=delay_s, running_max=64)})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        time.sleep(0.05)
        yield House(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with house(tmp_path_factory.mktemp("batches")) as listening, listening.openai() as client:
        yield client


def begun(client: openai.OpenAI, data: bytes, **fields: Any) -> Any:
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    given: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    return client.batches.create(**given | fields)


def shown(client: openai.OpenAI, id: str) -> Any:
    return client.batches.retrieve(id)


def ended(client: openai.OpenAI, batch: Any) -> Any:
    until = time.monotonic() + OVER_S
    while batch.status not in ENDED:
        assert time.monotonic() < until, batch
        time.sleep(0.05)
        batch = shown(client, batch.id)
    return batch


def answers(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    assert file is not None
    lines = [json.loads(each) for each in client.files.content(file).text.splitlines()]
    found = {each["custom_id"]: each for each in lines}
    assert len(found) == len(lines), "each line is answered once"
    return found


def test_lines_are_answered_and_those_that_fail_told_apart(client: openai.OpenAI) -> None:
    wrong = line(3)["body"] | {"temperature": 7}
    data = written(line(1), line(2), line(3, body=wrong)) + b"\n"
    batch = begun(client, data, metadata={"ds_name": "three", "a": "b"})
    assert (batch.object, batch.status, batch.endpoint, batch.completion_window) == ("batch", "validating", CHAT, "24h")
    assert batch.expires_at == batch.created_at + 86_400
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (3, 2, 1)
    assert batch.metadata == {"ds_name": "three", "a": "b"}
    assert 0 < batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    good = answers(client, batch.output_file_id)
    assert {id: each["response"]["body"]["choices"][0]["message"]["content"] for id, each in good.items()} == {
        "id-1": "said 1",
        "id-2": "said 2",
    }
    told = good["id-1"]["response"]
    assert (told["status_code"], told["body"]["id"]) == (200, f"chatcmpl-{told['request_id']}")
    bad = answers(client, batch.error_file_id)["id-3"]["response"]
    assert (bad["status_code"], bad["body"]["error"]["code"]) == (400, "invalid_parameter_error")
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"


def test_text_completions_in_a_batch(client: openai.OpenAI) -> None:
    url = "/v1/completions"
    body = {"model": "qwen-plus", "prompt": "a", "stream": True}
    batch = ended(client, begun(client, written(line(1, url=url, body=body)), endpoint=url))
    assert answers(client, batch.output_file_id)["id-1"]["response"]["body"]["object"] == "text_completion"


def test_batches_are_listed_and_searched(client: openai.OpenAI) -> None:
    made = [ended(client, begun(client, written(line(1)), metadata={"ds_name": f"n{n}"})) for n in range(3)]
    page = client.batches.list(limit=2)
    assert [each.id for each in page.data] == [made[2].id, made[1].id]
    assert page.has_more
    assert next(iter(client.batches.list(limit=1, after=made[1].id).data)).id == made[0].id
    for query, count in (
        ({"ds_name": "n1"}, 1),
        ({"status": "completed,failed", "input_file_ids": made[0].input_file_id}, 1),
        ({"status": "expired"}, 0),
        ({"create_after": "20990101"}, 0),
    ):
        found = client.batches.list(extra_query=query)
        assert len(found.data or []) == count, query
    with pytest.raises(openai.BadRequestError):
        client.batches.list(after="batch_none")


def test_a_file_that_is_no_batch_fails_with_its_lines(client: openai.OpenAI) -> None:
    other = line(5)["body"] | {"model": "qwen-max"}
    data = written(line(1), line(1), line(2, url="/v1/embeddings"), line(4, method="GET"), line(5, body=other)) + b"{\n"
    batch = ended(client, begun(client, data))
    assert batch.status == "failed"
    assert [(each.line, each.code) for each in batch.errors.data] == [
        (2, "duplicate_custom_id"),
        (3, "url_not_found"),
        (4, "invalid_method"),
        (5, "mismatched_model"),
        (6, "invalid_json_line"),
    ]
    assert batch.failed_at
    unknown = line(1)["body"] | {"model": "nobody"}
    assert ended(client, begun(client, written(line(1, body=unknown)))).errors.data[0].code == "model_not_found"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": "/v1/embeddings"}, "Input should be '/v1/chat/completions' or '/v1/completions': endpoint"),
    ({"completion_window": "1h"}, "Input should be '24h' or '336h': completion_window"),
    ({"completion_window": "15d"}, "Input should be '24h' or '336h': completion_window"),
    ({"input_file_id": "file-batch-none"}, "File not found."),
    ({"metadata": {"a": 1}}, "Input should be a valid string: metadata.a"),
    ({"metadata": {str(n): "" for n in range(17)}}, "Input should be a valid dictionary: metadata"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals(client: openai.OpenAI, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=r".") as told:
        begun(client, written(line(1)), **fields)
    assert said in str(told.value)


def test_what_is_not_there(client: openai.OpenAI) -> None:
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.BadRequestError, match=r"File not found"):
            call("batch_none")
    extract = client.files.create(file=("a.txt", b"text"), purpose="file-extract")  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match=r"File not found"):
        client.batches.create(input_file_id=extract.id, endpoint="/v1/chat/completions", completion_window="24h")


def test_a_cancelled_batch_keeps_what_was_answered(tmp_path: Path) -> None:
    with house(tmp_path, delay_s=0.05) as listening, listening.openai() as client:
        batch = begun(client, written(*(line(n) for n in range(200))))
        while shown(client, batch.id).request_counts.completed < 3:
            time.sleep(0.05)
        assert client.batches.cancel(batch.id).status == "cancelling"
        batch = ended(client, batch)
        assert batch.status == "cancelled"
        count = batch.request_counts.completed
        assert 3 <= count < 200
        assert len(answers(client, batch.output_file_id)) == count
        assert client.batches.cancel(batch.id).status == "cancelled"


def test_a_batch_expires_line_by_line(tmp_path: Path) -> None:
    with house(tmp_path, delay_s=0.2) as listening, listening.openai() as client:
        batch = begun(client, written(*(line(n) for n in range(300))))
        while shown(client, batch.id).request_counts.completed < 1:
            time.sleep(0.05)
        with sqlite3.connect(tmp_path / "files.sqlite", timeout=10) as rows:
            rows.execute("UPDATE batches SET expires_at = 1")
        batch = ended(client, batch)
        assert batch.status == "expired"
        counts = batch.request_counts
        assert counts.completed + counts.failed == 300
        late = answers(client, batch.error_file_id)
        assert {each["error"]["code"] for each in late.values()} == {"batch_expired"}
        assert len(late) == counts.failed


def test_a_batch_whose_output_finds_no_room_fails(tmp_path: Path) -> None:
    with house(tmp_path, files_max=1) as listening, listening.openai() as client:
        batch = ended(client, begun(client, written(line(1))))
        assert (batch.status, batch.errors.data[0].code) == ("failed", "output_not_kept")


def test_others_come_first(tmp_path: Path) -> None:
    with house(tmp_path, delay_s=0.02) as listening, listening.openai() as client:
        stream = client.chat.completions.create(
            model="qwen-plus", messages=[{"role": "user", "content": "x" * 64 * 100}], stream=True
        )
        next(iter(stream))
        batch = begun(client, written(line(1)))
        time.sleep(0.7)
        assert shown(client, batch.id).request_counts.completed == 0, "somebody is being answered"
        stream.close()
        assert ended(client, batch).status == "completed"


SERVE = """
import sys; sys.path[:0] = {paths!r}
from pathlib import Path
from tests.test_batches import house
with house(Path(sys.argv[1]), delay_s=0.01) as listening:
    print(listening.base, flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], openai.OpenAI]]:
    code = SERVE.format(paths=[str(Path(__file__).parent.parent)])
    made = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    try:
        base = made.stdout.readline().strip()
        with openai.OpenAI(api_key=KEY, base_url=f"{base}/compatible-mode/v1", max_retries=0) as client:
            yield made, client
    finally:
        made.kill()
        made.communicate()


@pytest.mark.parametrize("lines", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_each_line_is_answered_once_whatever_kills_the_server(tmp_path: Path, lines: int) -> None:
    id = ""
    for share in (0.2, 0.6):
        with process(tmp_path) as (server, client):
            id = id or begun(client, written(*(line(n) for n in range(lines)))).id
            until = time.monotonic() + 300
            while shown(client, id).request_counts.completed < share * lines:
                assert time.monotonic() < until
                time.sleep(0.02)
            os.kill(server.pid, signal.SIGKILL)
    with process(tmp_path) as (_, client):
        batch = shown(client, id)
        until = time.monotonic() + 300
        while batch.status not in ENDED:
            assert time.monotonic() < until
            time.sleep(0.1)
            batch = shown(client, id)
        assert (batch.status, batch.request_counts.completed) == ("completed", lines)
        found = answers(client, batch.output_file_id)
        said = {id: each["response"]["body"]["choices"][0]["message"]["content"] for id, each in found.items()}
        assert said == {f"id-{n}": f"said {n}" for n in range(lines)}


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    limits = LineLimits(lines_max=3, line_bytes_max=200)
    path.write_bytes(written(line(1)) + b"\n" + written(line(2)).rstrip(b"\n"))
    assert checked(path, CHAT, limits, lambda name: True) == (2, ())
    assert [(each.number, each.custom_id) for each in asked(path, limits)] == [(1, "id-1"), (3, "id-2")]
    path.write_bytes(written(line(1, more="x" * 500), line(2)))
    assert [each.code for each in checked(path, CHAT, limits, lambda name: True)[1]] == ["line_too_long"]
    path.write_bytes(written(*(line(n) for n in range(4))))
    assert checked(path, CHAT, limits, lambda name: True)[1][0].code == "too_many_lines"
    path.write_bytes(b"\n")
    assert checked(path, CHAT, limits, lambda name: True)[1][0].code == "empty_file"
    path.write_bytes(b"\xff{}\n[]\n" + b"[" * 150)
    assert [each.code for each in checked(path, CHAT, limits, lambda name: True)[1]] == ["invalid_json_line"] * 3
