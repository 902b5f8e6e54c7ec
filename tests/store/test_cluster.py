"""Two servers, one PostgreSQL, one bucket, a balancer: files, cut answers and restarts are nobody's trouble."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.balancer import Balancer, balanced
from tests.e2e.server import Server, serving
from tests.store.bucket_server import BucketServer
from tests.store.server import Server as Postgres

CHAT = "/compatible-mode/v1/chat/completions"
FILES = "/compatible-mode/v1/files"
RESPONSES = "/compatible-mode/v1/responses"
ADMIN = "sk-cluster-admin"
SMALL = "smollm2-135m-instruct"
WORDS = " ".join(f"word{number}" for number in range(400))
_PATIENCE_S = 60.0

Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def start(postgres: Postgres, buckets: BucketServer, tmp_path: Path) -> Start:
    """Starts a server of the cluster, under a name of its own."""
    place = buckets.place()
    shared = {
        "SEGUE_STORE_URL": postgres.database(),
        "SEGUE_FILES_BUCKET": f"s3://{place.bucket}/{place.prefix}",
        "SEGUE_FILES_BUCKET_ENDPOINT": place.endpoint,
        "SEGUE_FILES_BUCKET_KEY": place.key,
        "SEGUE_FILES_BUCKET_SECRET": place.secret,
        "SEGUE_FILES_CALLS_PER_S": "0",
        "SEGUE_SERVER_LEAVE_S": "1.5",
        "SEGUE_AUTH_ADMIN_KEY": ADMIN,
    }

    @contextmanager
    def started(name: str, model: Path | None = None, **more: str) -> Iterator[Server]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        named = "segue-scripted" if model is None else SMALL
        with serving(model or folder / "none", named, folder, **(shared | more)) as server:
            yield server

    return started


def uploaded(server: Server, text: str) -> str:
    with server.client() as http:
        sent = http.post(FILES, files={"file": ("a.txt", text.encode())}, data={"purpose": "file-extract"})
        id: str = sent.raise_for_status().json()["id"]
    return id


def processed(server: Server, id: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    with server.client() as http:
        while (status := http.get(f"{FILES}/{id}").raise_for_status().json()["status"]) == "processing":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert status == "processed"


def cut(server: Server, asked: Mapping[str, Any], pieces: int) -> str:
    """The beginning of an answer whose client leaves after so many pieces."""
    said, count = "", 0
    with server.client() as http, http.stream("POST", CHAT, json={**asked, "stream": True}) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                said += (choices[0]["delta"].get("content") or "") if choices else ""
                count += 1
            if count >= pieces:
                break
    return said


def gone_on(server: Server, asked: Mapping[str, Any], said: str) -> httpx.Response:
    messages = [*asked["messages"], {"role": "assistant", "content": said, "partial": True}]
    with server.client() as http:
        return http.post(CHAT, json={**asked, "messages": messages}).raise_for_status()


def content(response: httpx.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def resumed(a: Server, b: Server, asked: dict[str, Any], pieces: int) -> None:
    """An answer that is cut at one goes on at the other, as if it had never stopped."""
    with a.client() as http:
        whole = content(http.post(CHAT, json=asked).raise_for_status())
    said = cut(a, {**asked, "messages": asked["messages"]}, pieces)
    assert whole.startswith(said)
    assert 0 < len(said) < len(whole)
    deadline = time.monotonic() + 10
    while (rest := gone_on(b, asked, said)).headers["x-segue-seam"] != "resumed":
        # Until the one that was left has written down what it said, the other one searches for the seam instead.
        assert rest.headers["x-segue-seam"].startswith("exact")
        assert time.monotonic() < deadline
        time.sleep(0.05)
    joined = said + content(rest)
    assert joined.startswith(whole) or whole.startswith(joined)
    assert len(joined) >= len(whole)


class Load:
    """Clients that ask again and again, and never twice for the same thing."""

    def __init__(self, base: str, key: str, clients: int, asked: Mapping[str, Any]) -> None:
        self.base, self.key, self.asked = base, key, asked
        self.answers = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(250)

    def _ask(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.base, headers=headers, timeout=240, trust_env=False) as http:
            while not self._over.is_set():
                try:
                    if number % 2:
                        self._streamed(http)
                    else:
                        assert http.post(CHAT, json=self.asked).status_code == 200
                    self.answers += 1
                except (httpx.HTTPError, AssertionError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                time.sleep(0.01)

    def _streamed(self, http: httpx.Client) -> None:
        with http.stream("POST", CHAT, json={**self.asked, "stream": True}) as response:
            assert response.status_code == 200
            assert [line for line in response.iter_lines() if line][-1] == "data: [DONE]"


def rolled(
    balancer: Balancer, start: Start, load: Load, running: dict[str, ExitStack], bases: dict[str, str], **more: Any
) -> None:
    """Exchange each server for a new one, while clients ask."""
    for name in [*running]:
        before = load.answers
        old = running.pop(name)
        old.close()  # SIGTERM, and it must end with status 0
        balancer.servers.remove(bases[name])
        fresh = ExitStack()
        server = fresh.enter_context(start(name, **more))
        running[name], bases[name] = fresh, server.base
        balancer.servers.append(server.base)
        deadline = time.monotonic() + _PATIENCE_S
        while server.base not in balancer.ready:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert load.answers > before, "others answered meanwhile"


@pytest.mark.slow
def test_two_servers_are_one(start: Start) -> None:
    asked = {"model": "qwen-plus", "messages": [{"role": "user", "content": WORDS}], "max_tokens": 4000}
    running = {name: ExitStack() for name in ("a", "b")}
    try:
        a, b = (each.enter_context(start(name)) for name, each in running.items())
        bases = {"a": a.base, "b": b.base}

        id = uploaded(a, "Lighthouses stand on rocks.\n" * 40)
        processed(b, id)
        messages = [
            {"role": "system", "content": "You are a reader."},
            {"role": "system", "content": f"fileid://{id}"},
            {"role": "user", "content": "What stands on rocks?"},
        ]
        with b.client() as http:
            answer = http.post(CHAT, json={"model": "qwen-long", "messages": messages}).raise_for_status().json()
        assert answer["usage"]["prompt_tokens"] > 200, "the other one read the file"

        resumed(a, b, asked, 40)
        with a.client() as http:
            made = http.post(RESPONSES, json={"model": "qwen-plus", "input": "One."}).raise_for_status().json()
        with b.client() as http:
            body = {"model": "qwen-plus", "input": "Two.", "previous_response_id": made["id"]}
            assert http.post(RESPONSES, json=body).status_code == 200

        with balanced(a.base, b.base) as balancer, Load(balancer.base, "sk-end-to-end", 6, asked) as load:
            rolled(balancer, start, load, running, bases)
        assert load.failures == []
        assert load.answers > 20
    finally:
        for each in running.values():
            each.close()


@pytest.mark.slow
def test_two_servers_with_a_real_model_are_one(start: Start, small_model: Path) -> None:
    """The same with several processes each, and answers that take their time: those that run when a server is told to
    go are said to their end."""
    more: dict[str, Any] = {
        "model": small_model,
        "SEGUE_SERVER_WORKERS": "2",
        "SEGUE_ENGINE_THREADS": "1",
        "SEGUE_SERVER_LEAVE_S": "3",
    }
    asked = {
        "model": "qwen-plus",
        "messages": [{"role": "user", "content": "Tell me a story about a lighthouse keeper."}],
        "max_tokens": 40,
        "temperature": 0,
    }
    running = {name: ExitStack() for name in ("a", "b")}
    try:
        a, b = (each.enter_context(start(name, **more)) for name, each in running.items())
        bases = {"a": a.base, "b": b.base}
        resumed(a, b, {**asked, "max_tokens": 40}, 12)
        with balanced(a.base, b.base) as balancer, Load(balancer.base, "sk-end-to-end", 4, asked) as load:
            rolled(balancer, start, load, running, bases, **more)
        assert load.failures == []
        assert load.answers > 10
    finally:
        for each in running.values():
            each.close()
