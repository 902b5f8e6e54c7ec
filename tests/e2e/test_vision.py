"""The service's own sample about a picture, with the official clients, against a real server with a real encoder: in
both protocols, whole and streamed, the continuation only.  The weights are random, so what is said is noise; that it is
about the pixels shows in that it changes with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dashscope
import pytest
from openai import OpenAI

from tests.e2e.server import KEY, Server, serving
from tests.media.pictures import Reply, Site, plain, saved, site

CATALOGUE = """
[models.tiny-vl]
file = "./{model}"
projector = {{ file = "./{projector}" }}
context_tokens = 2048
output_tokens_max = 64
"""
SAMPLE_HOST = "https://img.alicdn.com/"
SAMPLE_PATH = "imgextra/i3/O1CN01zFX2Bs1Q0f9pESgPC_!!6000000001914-2-tps-450-450.png"
PREFIX = "Today I discovered a hidden-gem café"
QUESTION = "I want to post this on social media. Help me write a caption."
SIDE = 448
TOKENS = (SIDE // 28) ** 2 + 2
HOW: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


@contextmanager
def pictures() -> Iterator[Site]:
    """A web server in a thread of its own."""
    began, loop = threading.Event(), asyncio.new_event_loop()
    sample = saved(plain(450, 450))
    replies = {
        "/" + SAMPLE_PATH: Reply(sample),
        "/a.png": Reply(sample),
        "/b.png": Reply(saved(plain(450, 450, colour=(0, 90, 0)))),
    }
    found: list[Site] = []
    end = asyncio.Event()

    async def serve() -> None:
        async with site(replies) as served:
            found.append(served)
            began.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert began.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def eyes(tiny_vl: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Site]]:
    model, projector = tiny_vl
    catalogue = model.parent / "catalogue.toml"
    catalogue.write_text(CATALOGUE.format(model=model.name, projector=projector.name))
    folder = tmp_path_factory.mktemp("eyes")
    variables = {"SEGUE_MODELS_CATALOGUE": str(catalogue), "SEGUE_ENGINE_KV_TOKENS": "4096"}
    with pictures() as shown:
        variables |= {"SEGUE_MEDIA_HOSTS": f"127.0.0.1:{shown.port}"}
        variables |= {"SEGUE_MEDIA_MIRRORS": f"{SAMPLE_HOST}={shown.url('/')}"}
        with serving(model, "tiny-vl", folder, **variables) as server:
            yield server, shown


def call(**how: Any) -> Any:
    return dashscope.MultiModalConversation.call(**how)


def sample(url: str, prefix: str = PREFIX) -> list[Any]:
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    return [{"role": "user", "content": content}, {"role": "assistant", "content": prefix, "partial": True}]


def test_the_sample_in_both_protocols(eyes: tuple[Server, Site]) -> None:
    server, shown = eyes
    url, other = shown.url("/a.png"), shown.url("/b.png")
    with OpenAI(api_key=KEY, base_url=server.compatible, max_retries=0) as client:
        create: Any = client.chat.completions.create
        whole = create(model="qwen3-vl-plus", messages=sample(url), **HOW)
        text = whole.choices[0].message.content
        assert text
        assert not text.startswith("Today")
        assert whole.usage is not None
        assert whole.usage.prompt_tokens_details.model_dump()["image_tokens"] == TOKENS
        stream = create(model="qwen3-vl-plus", messages=sample(url), stream=True, **HOW)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == text
        again = create(model="qwen3-vl-plus", messages=sample(url), **HOW)
        assert again.choices[0].message.content == text
        cached = again.usage.prompt_tokens_details.cached_tokens
        assert (cached or 0) > TOKENS
        verbatim = create(model="qwen3-vl-plus", messages=sample(SAMPLE_HOST + SAMPLE_PATH), **HOW)
        assert verbatim.choices[0].message.content == text
        differs = create(model="qwen3-vl-plus", messages=sample(other), **HOW)
        assert differs.choices[0].message.content != text
        rest = create(model="qwen3-vl-plus", messages=sample(url, PREFIX + text), **HOW)
        assert rest.usage.prompt_tokens_details.cached_tokens > TOKENS
    dashscope.base_http_api_url = server.native
    parts = [{"image": url}, {"text": QUESTION}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": PREFIX, "partial": True}]
    said: dict[str, Any] = {"api_key": KEY, "model": "qwen-vl-max", "messages": messages, **HOW}
    response = call(**said)
    assert response.status_code == 200, response
    assert response.output.choices[0].message.content == [{"text": text}]
    assert response.usage["image_tokens"] == TOKENS
    frames = list(call(**said, stream=True, incremental_output=True))
    pieces = [part["text"] for frame in frames for part in frame.output.choices[0].message.content]
    assert "".join(pieces) == text
    sums = list(call(**said, stream=True))
    assert sums[-1].output.choices[0].message.content == [{"text": text}]


def test_frames_of_a_video_and_a_local_file(eyes: tuple[Server, Site], tmp_path: Path) -> None:
    server, shown = eyes
    dashscope.base_http_api_url = server.native
    frames = [shown.url("/a.png"), shown.url("/b.png")] * 2
    local = tmp_path / "c.png"
    local.write_bytes(saved(plain(112, 112)))
    content = [{"video": frames, "fps": 1}, {"image": f"file://{local}"}, {"text": "?"}]
    response = call(api_key=KEY, model="qwen-vl-max", messages=[{"role": "user", "content": content}], **HOW)
    assert response.status_code == 200, response
    assert response.usage["image_tokens"] == 4 * 4 + 2
    assert response.usage["video_tokens"] == 2 * (SIDE // 28) ** 2 + 2


def test_an_internal_address_is_not_asked(eyes: tuple[Server, Site]) -> None:
    server, shown = eyes
    with server.client() as client:
        for address in (f"http://127.0.0.1:{shown.port + 1}/a.png", f"http://localhost:{shown.port}/a.png"):
            told = client.post(
                "/compatible-mode/v1/chat/completions", json={"model": "qwen-vl-max", "messages": sample(address)}
            )
            listed = address.startswith("http://localhost")  # it is the same address, and that is listed
            assert told.status_code == (200 if listed else 400)
