"""Two whole servers over one PostgreSQL and one bucket, asked through their doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from segue.app import build
from segue.config import Auth, Files, Models, Settings, Store
from tests.store.bucket_server import BucketServer
from tests.store.server import Server

KEY = "sk-known"
FILES = "/compatible-mode/v1/files"
RESPONSES = "/compatible-mode/v1/responses"
CHAT = "/compatible-mode/v1/chat/completions"
TEXT = "".join(f"Lighthouse number {n} stands on a rock.\n" for n in range(50))
_PATIENCE_S = 120.0

Serve = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(postgres: Server, buckets: BucketServer, tmp_path: Path) -> Serve:
    url, place = postgres.database(), buckets.place()

    @asynccontextmanager
    async def served(name: str) -> AsyncIterator[httpx.AsyncClient]:
        files = Files(
            dir=tmp_path / name,
            bucket=f"s3://{place.bucket}/{place.prefix}",
            bucket_endpoint=place.endpoint,
            bucket_key=place.key,
            bucket_secret=place.secret,
            calls_per_s=0,
        )
        app = build(
            Settings(auth=Auth(api_key=KEY), models=Models(default="segue-scripted"), files=files, store=Store(url, 4))
        )
        async with app.router.lifespan_context(app):
            await app.state.house.started()
            headers = {"Authorization": f"Bearer {KEY}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://segue", headers=headers) as client:
                yield client

    return served


async def uploaded(client: httpx.AsyncClient, text: str) -> str:
    files, data = {"file": ("a.txt", text.encode())}, {"purpose": "file-extract"}
    id: str = (await client.post(FILES, files=files, data=data)).raise_for_status().json()["id"]
    return id


async def processed(client: httpx.AsyncClient, id: str) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while (seen := (await client.get(f"{FILES}/{id}")).json())["status"] == "processing":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert seen["status"] == "processed", seen


async def test_a_file_is_uploaded_to_one_and_asked_of_the_other(serve: Serve, postgres: Server) -> None:
    async with serve("a") as a, serve("b") as b:
        id = await uploaded(a, TEXT)
        await processed(b, id)
        assert (await b.get(f"{FILES}/{id}/content")).text == TEXT
        messages = [
            {"role": "system", "content": "You are a reader."},
            {"role": "system", "content": f"fileid://{id}"},
            {"role": "user", "content": "What stands on a rock?"},
        ]
        ask = {"model": "qwen-long", "messages": messages}
        answers = [(await client.post(CHAT, json=ask)).raise_for_status().json() for client in (a, b)]
        tokens = [answer["usage"]["prompt_tokens"] for answer in answers]
        assert tokens[0] == tokens[1] > 500, "both read the file"
        await asyncio.to_thread(postgres.stop)
        waiting = asyncio.create_task(b.get(f"{FILES}/{id}"))
        uploading = asyncio.create_task(uploaded(a, "Another text."))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(postgres.start)
        assert (await waiting).status_code == 200, "it waits while the database is started again"
        assert (await a.delete(f"{FILES}/{await uploading}")).status_code == 200
        assert (await b.delete(f"{FILES}/{id}")).status_code == 200
        assert (await a.get(f"{FILES}/{id}")).status_code == 400
    async with serve("a") as a:
        assert (await a.get(FILES)).json()["data"] == []


async def test_what_one_has_said_the_other_goes_on_with(serve: Serve) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    ask: dict[str, Any] = {"model": "qwen-plus", "messages": [{"role": "user", "content": words}]}
    async with serve("a") as a, serve("b") as b:
        said = ""
        async with a.stream("POST", CHAT, json={**ask, "stream": True, "max_tokens": 40}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {") and (choices := json.loads(line[6:])["choices"]):
                    said += choices[0]["delta"].get("content") or ""
        assert 0 < len(said) < len(words)
        body = {**ask, "messages": [*ask["messages"], {"role": "assistant", "content": said, "partial": True}]}
        async with asyncio.timeout(10):
            while (rest := (await b.post(CHAT, json=body)).raise_for_status()).headers["x-segue-seam"] != "resumed":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert said + rest.json()["choices"][0]["message"]["content"] == words
        first = (await a.post(RESPONSES, json={"model": "qwen-plus", "input": "One."})).raise_for_status().json()
        more = {"model": "qwen-plus", "input": "Two.", "previous_response_id": first["id"]}
        assert (await b.post(RESPONSES, json=more)).status_code == 200, "at once, however long it took to write down"
        assert (await b.delete(f"{RESPONSES}/{first['id']}")).status_code == 200
        for id in (first["id"], "resp_\x00", "x" * 5000):
            assert (await a.get(f"{RESPONSES}/{quote(id, safe='')}")).status_code == 404
