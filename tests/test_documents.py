"""Conversations about documents through the composed app: no shape of a request is a mistake of ours."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.app import build
from segue.config import Auth, Documents, Files, Models, Moderation, Settings
from segue.core.documents import mark
from segue.engine.house import House

KEY = "sk-known"
CHAT = "/compatible-mode/v1/chat/completions"
NATIVE = "/api/v1/services/aigc/text-generation/generation"
SYSTEM = {"role": "system", "content": "You are a reader."}
LONG = "".join(f"Lighthouse number {n} stands on a rock.\n" for n in range(1200))

Clients = tuple[asyncio.Runner, httpx.AsyncClient]


@asynccontextmanager
async def served(
    documents: Documents, files: Files, moderation: Moderation | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    made = Settings(auth=Auth(api_key=KEY), models=Models(default="segue-scripted"), documents=documents, files=files)
    app = build(replace(made, moderation=moderation or Moderation()))
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        headers = {"Authorization": f"Bearer {KEY}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://segue", headers=headers) as client:
            yield client


@pytest.fixture(scope="module", params=["2024", "current"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    folder: Path = tmp_path_factory.mktemp("files")
    with asyncio.Runner() as runner:
        context = served(Documents(profile=request.param), Files(dir=folder))
        client = runner.run(context.__aenter__())
        yield runner, client
        runner.run(context.__aexit__(None, None, None))


contents = st.one_of(
    st.sampled_from(
        ["", " ", "fileid://", "fileid://file-fe-0", "fileid://a,fileid://b", "fileid://a x", "A text.", "?"]
    ),
    st.text(max_size=30),
    st.just([{"type": "text", "text": "fileid://a"}]),
    st.none(),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer"])},
    optional={"content": contents, "partial": st.booleans(), "name": st.text(max_size=5)},
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "segue_citations": st.one_of(st.booleans(), st.none(), st.just("yes")),
        "max_tokens": st.integers(-1, 9000),
        "n": st.integers(0, 5),
        "response_format": st.just({"type": "json_object"}),
        "enable_thinking": st.booleans(),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(messages, max_size=6), fields, st.booleans())
def test_every_shape_is_answered_or_refused(
    house: Clients, listed: list[Any], given: dict[str, Any], stream: bool
) -> None:
    runner, client = house
    body = {"model": "qwen-long", "messages": listed, "stream": stream, **given}
    native = {"model": "qwen-long", "input": {"messages": listed}, "parameters": {"result_format": "message", **given}}
    sse = {"X-DashScope-SSE": "enable"} if stream else {}
    one = runner.run(client.post(CHAT, content=json.dumps(body)))
    other = runner.run(client.post(NATIVE, content=json.dumps(native), headers=sse))
    assert one.status_code in (200, 400), one.text
    assert other.status_code in (200, 400), other.text
    if {message["role"] for message in listed} <= {"system", "user", "assistant", "tool"}:
        assert one.status_code == other.status_code, (one.text, other.text)
    for response in (one, other):
        assert "InternalError" not in response.text or "<400>" in response.text
        assert ("x-segue-documents" in response.headers) <= (response.status_code == 200)


def test_a_long_text_in_a_message_is_searched_and_kept(house: Clients) -> None:
    runner, client = house
    question = {"role": "user", "content": "Where is lighthouse number 777?"}
    body = {"model": "qwen-long", "messages": [SYSTEM, {"role": "system", "content": LONG}, question]}
    told = [runner.run(client.post(CHAT, json=body | {"segue_citations": True})) for _ in range(2)]
    assert [each.headers["x-segue-documents"].split(";")[0] for each in told] == ["retrieval"] * 2
    one, other = (each.json() for each in told)
    assert one["choices"] == other["choices"]
    assert one["segue_citations"] == other["segue_citations"]
    assert "Lighthouse number 777 stands" in one["choices"][0]["message"]["content"]
    for cited in one["segue_citations"]:
        assert LONG[cited["start"] : cited["end"]] == cited["text"]


def test_where_no_files_are_kept() -> None:
    async def asked() -> httpx.Response:
        async with served(Documents(), Files(enabled=False)) as client:
            talk = [SYSTEM, {"role": "system", "content": "fileid://a"}, {"role": "user", "content": "x"}]
            return await client.post(CHAT, json={"model": "qwen-long", "messages": talk})

    response = asyncio.run(asked())
    assert (response.status_code, response.json()["error"]["message"]) == (400, "Invalid file [id:a].")


async def test_a_deleted_file_is_forgotten_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard = asyncio.Event()

    async def forget(self: House, documents: Collection[str]) -> None:
        told.extend(documents)
        heard.set()

    monkeypatch.setattr(House, "forget", forget)
    files = "/compatible-mode/v1/files"
    async with served(Documents(), Files(dir=tmp_path)) as client, asyncio.timeout(60):
        sent = await client.post(files, files={"file": ("a.txt", b"Apples.")}, data={"purpose": "file-extract"})
        where = f"{files}/{sent.json()['id']}"
        while (await client.get(where)).json()["status"] == "processing":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        assert told == []
        assert (await client.delete(where)).json()["deleted"]
        await heard.wait()
        scraped = (await client.get("/metrics")).text
    assert told == [mark("default", hashlib.sha256(b"Apples.").hexdigest())]
    for line in ("files_uploaded_total", "files_read_total", "files_deleted_total"):
        assert f"segue_{line} 1.0" in scraped
    for step in ("parse", "count", "index"):
        assert f'segue_file_step_seconds_count{{step="{step}"}} 1.0' in scraped


async def test_a_file_whose_content_is_forbidden_is_not_shown_to_the_model(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("[input]\nforbidden fruit\n")
    files = "/compatible-mode/v1/files"
    moderation = Moderation(words=tmp_path / "words")
    async with served(Documents(), Files(dir=tmp_path / "files"), moderation) as client, asyncio.timeout(60):
        for content, status in ((b"Apples, a Forbidden Fruit.", 400), (b"Apples, as all fruit.", 200)):
            sent = await client.post(files, files={"file": ("a.txt", content)}, data={"purpose": "file-extract"})
            assert sent.status_code == 200
            talk = [SYSTEM, {"role": "system", "content": f"fileid://{sent.json()['id']}"}]
            talk.append({"role": "user", "content": "What is said of apples?"})
            answer = await client.post(CHAT, json={"model": "qwen-long", "messages": talk})
            assert answer.status_code == status, answer.text
            if status == 400:
                assert answer.json()["error"]["code"] == "data_inspection_failed"
