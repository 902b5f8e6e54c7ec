"""Pictures from the official clients, over a real socket, to the composed app: both protocols, whole and streamed;
URLs, data URIs, local files and uploads; and what is refused, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError
from starlette.applications import Starlette

from segue.app import build
from segue.config import Auth, Files, Media, Models, Settings
from segue.config_read import SettingsInvalid
from segue.engine.scripted import Say, Scripted, scripted_card
from tests.media.pictures import SIGHT, Reply, Site, plain, saved, site, uri

KEY = "sk-known"
TEMPLATE = (Path(__file__).parent / "prompt" / "real" / "qwen2.5-vl.jinja").read_text()
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EYES = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SAID = " — the tiramisu here is pure bliss!"
NATIVE = "/api/v1/services/aigc/multimodal-generation/generation"
TEXTS = "/api/v1/services/aigc/text-generation/generation"
COMPAT = "/compatible-mode/v1/chat/completions"
PICTURE = saved(plain(450, 450))
IMAGE_TOKENS = 16 * 16 + 2
"""450 x 450 is shown as 448 x 448, and the marks around it count as its own."""


def engine(sees: bool = True) -> Scripted:
    card = scripted_card("segue-scripted")
    if sees:
        control = (*MARKS, *EYES)
        card = replace(card, template=TEMPLATE, control_tokens=control, vocabulary_size=256 + len(control), sight=SIGHT)
    return Scripted(Say(SAID), card)


def app_of(folder: Path, sees: bool = True, **media: Any) -> Starlette:
    settings = Settings(
        auth=Auth(api_key=KEY),
        models=Models(default="segue-scripted"),
        files=Files(dir=folder),
        media=replace(Media(hosts=("127.0.0.1",)), **media),
    )
    return build(settings, {"segue-scripted": engine(sees)})


@contextmanager
def listening(app: Starlette) -> Iterator[str]:
    """Serve in a thread of its own, as official clients block; gives the base URL."""
    import threading
    import time

    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="on", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(app_of(tmp_path_factory.mktemp("files"))) as base:
        yield base


@pytest.fixture
async def pictures() -> AsyncIterator[Site]:
    async with site(
        {"/a.png": Reply(PICTURE), "/bad": Reply(b"no picture"), "/slow": Reply(PICTURE, slow_s=30)}
    ) as served:
        yield served


@pytest.fixture
async def client(base: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=KEY, base_url=f"{base}/compatible-mode/v1", max_retries=0) as client:
        yield client


def asking(url: str) -> list[Any]:
    """The messages of the service's own sample."""
    return [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "I want to post this on social media. Help me write a caption."},
            ],
        },
        {"role": "assistant", "content": "Today I discovered a hidden-gem café", "partial": True},
    ]


async def test_the_sample_s_picture_with_the_openai_client(client: AsyncOpenAI, pictures: Site) -> None:
    whole = await client.chat.completions.create(model="qwen3-vl-plus", messages=asking(pictures.url("/a.png")))
    assert whole.choices[0].message.content == SAID
    assert whole.usage is not None
    details = whole.usage.model_dump()["prompt_tokens_details"]
    assert details["image_tokens"] == IMAGE_TOKENS
    assert details["text_tokens"] == whole.usage.prompt_tokens - IMAGE_TOKENS
    stream = await client.chat.completions.create(
        model="qwen3-vl-plus",
        messages=asking(uri(PICTURE)),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-1].usage == whole.usage


async def test_a_picture_with_the_anthropic_and_the_responses_client(
    base: str, client: AsyncOpenAI, pictures: Site
) -> None:
    block = {"type": "image", "source": {"type": "url", "url": pictures.url("/a.png")}}
    async with AsyncAnthropic(api_key=KEY, base_url=f"{base}/apps/anthropic") as other:
        said = await other.messages.create(
            model="qwen3-vl-plus",
            max_tokens=100,
            messages=[{"role": "user", "content": [block, {"type": "text", "text": "?"}]}],  # type: ignore[list-item,misc]
        )
    assert said.content[0].text == SAID  # type: ignore[union-attr]
    assert said.usage.input_tokens > IMAGE_TOKENS
    shown = {"type": "input_image", "image_url": uri(PICTURE), "detail": "auto"}
    first = await client.responses.create(
        model="qwen3-vl-plus",
        input=[{"role": "user", "content": [shown, {"type": "input_text", "text": "?"}]}],  # type: ignore[list-item,misc]
    )
    assert first.output_text == SAID
    second = await client.responses.create(model="qwen3-vl-plus", input="And?", previous_response_id=first.id)
    assert second.usage is not None
    assert second.usage.input_tokens > IMAGE_TOKENS


def native_client(base: str) -> Any:
    import dashscope

    dashscope.base_http_api_url = f"{base}/api/v1"
    dashscope.api_key = KEY
    return dashscope


def text_of(response: Any) -> str:
    content = response.output.choices[0].message.content
    return "".join(part["text"] for part in content)


async def test_the_dashscope_client_with_a_url_and_a_prefix(base: str, pictures: Site) -> None:
    sdk = native_client(base)
    messages = [
        {"role": "user", "content": [{"image": pictures.url("/a.png")}, {"text": "What?"}]},
        {"role": "assistant", "content": "It is", "partial": True},
    ]

    def call(**how: Any) -> Any:
        return sdk.MultiModalConversation.call(model="qwen-vl-plus", messages=messages, **how)

    whole = await asyncio.to_thread(call)
    assert (whole.status_code, text_of(whole)) == (200, SAID)
    assert whole.usage["image_tokens"] == IMAGE_TOKENS
    assert whole.usage["input_tokens_details"]["image_tokens"] == IMAGE_TOKENS
    assert whole.usage["output_tokens_details"] == {"text_tokens": len(SAID.encode())}
    pieces = await asyncio.to_thread(lambda: list(call(stream=True, incremental_output=True)))
    assert "".join(map(text_of, pieces)) == SAID
    sums = await asyncio.to_thread(lambda: list(call(stream=True)))
    assert text_of(sums[-1]) == SAID
    assert all(SAID.startswith(text_of(each)) for each in sums)
    assert sums[-1].output.choices[0].finish_reason == "stop"


async def test_the_dashscope_client_with_local_files(base: str, tmp_path: Path) -> None:
    sdk = native_client(base)
    path = tmp_path / "my picture é.png"
    path.write_bytes(PICTURE)
    other = tmp_path / "other.png"
    other.write_bytes(saved(plain(280, 280)))
    content = [{"image": f"file://{path}"}, {"image": str(other)}, {"text": "What?"}]
    messages = [{"role": "user", "content": content}]
    said = await asyncio.to_thread(lambda: sdk.MultiModalConversation.call(model="qwen-vl-plus", messages=messages))
    assert (said.status_code, text_of(said)) == (200, SAID)
    assert said.usage["image_tokens"] == IMAGE_TOKENS + 10 * 10 + 2
    async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
        assert (await http.get("/api/v1/files")).json()["data"]["total"] == 0
        assert (await http.get("/compatible-mode/v1/files")).json()["data"] == []


async def test_the_newer_dashscope_client_with_a_local_file(base: str, tmp_path: Path) -> None:
    from dashscope import Client

    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    messages = [{"role": "user", "content": [{"image": f"file://{path}"}, {"text": "What?"}]}]

    def call() -> list[str]:
        with Client(api_key=KEY, base_url=f"{base}/api/v1", max_retries=0) as sdk:
            whole = sdk.chat.completions.create(model="qwen-vl-plus", messages=messages)
            stream = sdk.chat.completions.create(model="qwen-vl-plus", messages=messages, stream=True)
            return [str(whole.choices[0].message.content), "".join(stream.text_stream)]

    assert await asyncio.to_thread(call) == [SAID, SAID]


async def test_uploads_are_their_workspace_s_and_their_ticket_s(base: str) -> None:
    async with httpx.AsyncClient(base_url=base) as http:
        key = {"authorization": f"Bearer {KEY}"}
        asked = await http.get("/api/v1/uploads?action=getPolicy&model=qwen-vl-plus", headers=key)
        data = asked.json()["data"]
        assert data.keys() == {
            "policy",
            "signature",
            "upload_dir",
            "upload_host",
            "expire_in_seconds",
            "max_file_size_mb",
            "capacity_limit_mb",
            "oss_access_key_id",
            "x_oss_object_acl",
            "x_oss_forbid_overwrite",
        }
        form = {"key": data["upload_dir"] + "/a.png", "policy": data["policy"], "Signature": data["signature"]}

        async def post(url: str = data["upload_host"], body: bytes = PICTURE, **other: str) -> int:
            return (await http.post(url, data=form | other, files={"file": ("a.png", body)})).status_code

        assert await post() == 200
        assert await post() == 200  # the same once more
        assert await post(body=b"other") == 409
        assert await post(key="elsewhere/a.png") == 401
        assert await post(key=data["upload_dir"] + "/../a.png") == 401
        assert await post(policy="AAAA") == 401
        assert await post(Signature="AAAA") == 401
        assert await post(url=data["upload_host"][:-2] + "AA") == 401
        assert await post(url=f"{base}/api/v1/uploads/AAAA") == 401
        assert (await http.post(data["upload_host"], data=form)).status_code == 400
        assert (await http.get("/api/v1/uploads?action=getPolicy")).status_code == 401
        assert (await http.get("/api/v1/uploads?action=x", headers=key)).status_code == 400
        body = {
            "model": "qwen-vl-plus",
            "input": {"messages": [{"role": "user", "content": [{"image": "oss://" + form["key"]}]}]},
        }
        assert (await http.post(NATIVE, json=body, headers=key)).status_code == 200
        body["input"]["messages"][0]["content"] = [{"image": "oss://" + form["key"] + "x"}]  # type: ignore[index]
        assert (await http.post(NATIVE, json=body, headers=key)).json()["code"] == "InvalidParameter.DataInspection"


async def test_an_uploaded_file_is_named_by_its_id(client: AsyncOpenAI) -> None:
    file = await client.files.create(file=("a.png", PICTURE), purpose="file-extract")  # type: ignore[arg-type]
    said = await client.chat.completions.create(model="qwen-plus", messages=asking(f"fileid://{file.id}"))
    assert said.choices[0].message.content == SAID
    with pytest.raises(BadRequestError, match=r"Invalid file \[id:file-fe-000\]"):
        await client.chat.completions.create(model="qwen-plus", messages=asking("fileid://file-fe-000"))


async def test_temporary_uploads_expire(tmp_path: Path) -> None:
    app = app_of(tmp_path, upload_kept_s=1.0, upload_wait_s=1.0)
    with listening(app) as base:
        path = tmp_path / "a.png"
        path.write_bytes(PICTURE)
        from dashscope.utils.oss_utils import OssUtils

        address, certificate = await asyncio.to_thread(
            lambda: OssUtils.upload(
                model="qwen-vl-plus", file_path=str(path), api_key=KEY, base_address=f"{base}/api/v1"
            )
        )
        await asyncio.sleep(2.2)
        body = {"model": "qwen-vl-plus", "input": {"messages": [{"role": "user", "content": [{"image": address}]}]}}
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
            assert (await http.post(NATIVE, json=body)).status_code == 400
            late = await http.post(certificate["upload_host"], data={"key": "k"}, files={"file": ("a", b"a")})
            assert (late.status_code, late.json()["code"]) == (401, "InvalidApiKey")


LOST = "Unable to download the media resource during the data inspection process."
WRONG: list[tuple[Any, str, str, str]] = [
    ("http://10.0.0.1/a.png", "InvalidParameter.DataInspection", LOST, "Failed to download multimodal content"),
    (
        uri(b"hello"),
        "InvalidParameter.DataInspection",
        "The media format is not supported or incorrect for the data inspection.",
        "The file format is illegal and cannot be opened.",
    ),
    (
        uri(saved(plain(1, 1))),
        "InvalidParameter",
        "<400> InternalError.Algo.InvalidParameter: The image length and width do not meet the model restrictions. "
        "[height:1 or width:1 must be larger than 10]",
        "The image length and width do not meet the model restrictions. [height:1 or width:1 must be larger than 10]",
    ),
]


@pytest.mark.parametrize(("address", "code", "native", "compat"), WRONG, ids=["internal", "text", "1 x 1"])
async def test_refusals_byte_for_byte(base: str, address: str, code: str, native: str, compat: str) -> None:
    async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
        asked = {"model": "qwen-vl-plus", "input": {"messages": [{"role": "user", "content": [{"image": address}]}]}}
        for headers in ({}, {"x-dashscope-sse": "enable"}):
            told = await http.post(NATIVE, json=asked, headers=headers)
            id = told.headers["x-request-id"]
            assert told.status_code == 400
            assert (
                told.content
                == json.dumps({"code": code, "message": native, "request_id": id}, separators=(",", ":")).encode()
            )
        for stream in (False, True):
            body = {"model": "qwen-vl-plus", "messages": asking(address), "stream": stream}
            told = await http.post(COMPAT, json=body)
            id = told.headers["x-request-id"]
            error = {
                "code": "invalid_parameter_error",
                "param": None,
                "message": "<400> InternalError.Algo.InvalidParameter: " + compat,
                "type": "invalid_request_error",
            }
            expected = {"error": error, "id": f"chatcmpl-{id}", "request_id": id}
            assert told.content == json.dumps(expected, separators=(",", ":")).encode()


async def test_a_model_without_sight(tmp_path: Path) -> None:
    with listening(app_of(tmp_path, sees=False)) as base:
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
            body: Any = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}
            told = await http.post(NATIVE, json=body)
            assert (told.status_code, told.json()["message"]) == (400, "url error, please check url！")
            told = await http.post(COMPAT, json={"model": "qwen-plus", "messages": asking(uri(PICTURE))})
            assert told.json()["error"]["message"].endswith("input content must be a string.")


async def test_texts_at_the_multimodal_endpoint_and_pictures_at_that_of_texts(base: str) -> None:
    async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
        body: Any = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": "hi"}]}}
        told = (await http.post(NATIVE, json=body)).json()
        assert told["output"]["choices"][0]["message"]["content"] == [{"text": SAID}]
        assert "image_tokens" not in told["usage"]
        assert (await http.post(TEXTS, json=body)).json()["output"]["text"] == SAID
        body["input"]["messages"][0]["content"] = [{"image": uri(PICTURE)}]
        told = await http.post(TEXTS, json=body)
        assert (told.status_code, told.json()["message"]) == (400, "url error, please check url！")
        assert (await http.post(NATIVE, json=body, headers={"x-dashscope-async": "enable"})).status_code == 403


def test_a_list_of_hosts_that_cannot_be_read_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"media\.hosts"):
        app_of(tmp_path, hosts=("http://a",))
