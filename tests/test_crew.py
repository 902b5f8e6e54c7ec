"""Several processes that serve on one port: they die, are told, count and forget together."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.server import Server, serving

ADMIN = "sk-crew-admin"
CHAT = "/compatible-mode/v1/chat/completions"
RESPONSES = "/compatible-mode/v1/responses"
ASK = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 8}
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("crew")
    with serving(
        folder / "none",
        "segue-scripted",
        folder,
        SEGUE_SERVER_WORKERS="2",
        SEGUE_AUTH_ADMIN_KEY=ADMIN,
        SEGUE_API_KEY="",
        SEGUE_FILES_CALLS_PER_S="0",
    ) as server:
        eventually(
            lambda: len(members(server)) == 2 and all(asked(server, each, "/readyz") for each in members(server))
        )
        yield server


def eventually(true: Any, why: str = "") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def members(server: Server) -> list[int]:
    """The processes that serve."""
    return sorted(pid for pid in server.engines() if b"serve-member" in Path(f"/proc/{pid}/cmdline").read_bytes())


@contextmanager
def only(server: Server, member: int) -> Iterator[None]:
    """Meanwhile nobody else of them takes a connection."""
    others = [pid for pid in members(server) if pid != member]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def client(server: Server, key: str = ADMIN) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.base, headers=headers, timeout=60, trust_env=False)


@contextmanager
def at(server: Server, member: int, key: str = ADMIN) -> Iterator[httpx.Client]:
    """A client whose one connection this one of them has taken; nobody is held up any more."""
    with client(server, key) as http:
        with only(server, member):
            assert http.get("/healthz").status_code == 200
        yield http


def asked(server: Server, member: int, path: str, body: object = None, key: str = ADMIN) -> httpx.Response:
    """What this one of them answers."""
    with at(server, member, key) as http:
        return http.get(path) if body is None else http.post(path, json=body)


def numbers(response: httpx.Response) -> dict[str, float]:
    families = text_string_to_metric_families(response.raise_for_status().text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_whoever_is_asked_for_the_numbers_tells_those_of_all(crew: Server) -> None:
    first, second = members(crew)
    before = numbers(asked(crew, first, "/metrics"))["segue_requests_finished_total"]
    for member, times in ((first, 2), (second, 3)):
        for _ in range(times):
            assert asked(crew, member, CHAT, ASK).status_code == 200
    time.sleep(0.6)  # until both have written it down
    for member in (first, second):
        found = numbers(asked(crew, member, "/metrics"))
        assert found["segue_requests_finished_total"] == before + 5
        assert found["segue_answer_seconds_count"] == found["segue_requests_finished_total"]
    os.kill(second, signal.SIGKILL)
    eventually(lambda: len(members(crew)) == 2 and second not in members(crew))
    third = next(pid for pid in members(crew) if pid != first)
    eventually(lambda: asked(crew, third, "/readyz").status_code == 200)
    assert numbers(asked(crew, third, "/metrics"))["segue_requests_finished_total"] == before + 5, "none goes back"


def test_nobody_is_refused_while_one_dies(crew: Server) -> None:
    def ask(number: int) -> int:
        time.sleep(number * 0.01)
        with client(crew) as http:
            return http.post(CHAT, json=ASK).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(60)]
        told = members(crew)[0]
        os.kill(told, signal.SIGTERM)  # in order: what it has taken it answers
        assert {each.result() for each in answers} == {200}
    eventually(lambda: len(members(crew)) == 2 and told not in members(crew))


def test_a_key_that_is_revoked_at_one_opens_nothing_at_the_other(crew: Server) -> None:
    first, second = members(crew)
    made = asked(crew, first, "/admin/v1/keys", {"name": "x"}).json()
    eventually(lambda: asked(crew, second, CHAT, ASK, made["secret"]).status_code == 200)
    with at(crew, first) as http:
        assert http.delete(f"/admin/v1/keys/{made['id']}").status_code == 200
    begun = time.monotonic()
    eventually(lambda: asked(crew, second, CHAT, ASK, made["secret"]).status_code == 401)
    assert time.monotonic() - begun < 2


def test_limits_are_counted_together(crew: Server) -> None:
    first, second = members(crew)
    body = {"name": "few", "limits": {"requests_per_minute": 6}}
    key = asked(crew, first, "/admin/v1/keys", body).json()["secret"]
    eventually(lambda: asked(crew, second, "/compatible-mode/v1/models", None, key).status_code == 200)
    with at(crew, first, key) as one, at(crew, second, key) as other:
        found = [http.post(CHAT, json=ASK).status_code for _ in range(6) for http in (one, other)]
    assert found.count(200) == 6, found
    assert set(found) == {200, 429}


def test_a_response_of_one_is_gone_on_with_by_the_other(crew: Server) -> None:
    first, second = members(crew)
    made = asked(crew, first, RESPONSES, {"model": "qwen-plus", "input": "One."}).json()
    again = asked(crew, second, RESPONSES, {"model": "qwen-plus", "input": "Two.", "previous_response_id": made["id"]})
    assert again.status_code == 200, again.text
    assert again.json()["usage"]["input_tokens"] > made["usage"]["input_tokens"] * 1.5
    with at(crew, second) as http:
        assert http.get(f"{RESPONSES}/{made['id']}").json() == made
        assert http.delete(f"{RESPONSES}/{made['id']}").status_code == 200
    gone = asked(crew, first, f"{RESPONSES}/{made['id']}")
    assert gone.status_code == 404, gone.text


def test_settings_are_read_again_by_all(crew: Server) -> None:
    crew.process.send_signal(signal.SIGHUP)
    eventually(lambda: crew.log.read_text().count("settings and catalogue were read again") == 2)


@pytest.mark.slow
def test_who_starts_them_may_be_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "none", "segue-scripted", tmp_path, SEGUE_SERVER_WORKERS="2") as server:
        eventually(lambda: len(members(server)) == 2)
        pids = members(server)
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(_alive(pid) for pid in pids), "they end by themselves")


@pytest.mark.slow
def test_those_that_serve_go_on_while_none_can_be_started(crew: Server) -> None:
    before = members(crew)
    parent = crew.process.pid
    limits = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: "cannot be started" in crew.log.read_text())
        assert asked(crew, before[1], "/readyz").status_code == 200
    finally:
        resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: len(members(crew)) == 2 and all(asked(crew, each, "/readyz") for each in members(crew)))


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.slow
def test_what_cannot_start_ends_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("no folder")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    done = subprocess.run(
        [sys.executable, "-m", "segue", "serve", "--workers", "2", "--port", "0", "--model", "segue-scripted"],
        env=environment | {"SEGUE_FILES_DIR": str(tmp_path / "files")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "SEGUE_FILES_DIR" in done.stderr
    assert "Traceback" not in done.stderr
