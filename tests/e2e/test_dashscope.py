"""The `dashscope` package for Python, its first and its second generation, against a running server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dashscope
import pytest
import pytest_asyncio
from dashscope.aigc.chat_completion import Completions
from dashscope.aigc.generation import AioGeneration
from dashscope.api_entities.aio_session import close_shared_aio_session
from dashscope.api_entities.http_request import close_shared_sync_session
from dashscope.v2.errors import NotFoundError

from tests.e2e.server import KEY, Server
from tests.e2e.talk import begun, user

# Its own types are narrower than what it takes.
Generation: Any = dashscope.Generation
Models: Any = dashscope.Models
Tokenization: Any = dashscope.Tokenization
Client: Any = dashscope.Client

SUM = user("What is 2 + 3? Answer with the number alone.")
COUNT = [user("Count from 1 to 20, separated by commas."), begun("1, 2, 3,")]
SHORT: dict[str, Any] = {"model": "qwen-plus", "max_tokens": 8, "temperature": 0}
MESSAGE: dict[str, Any] = {**SHORT, "result_format": "message"}


@pytest.fixture(autouse=True)
def _address(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dashscope, "base_http_api_url", server.native)
    monkeypatch.setattr(dashscope, "base_compatible_api_url", server.compatible)
    monkeypatch.setattr(dashscope, "api_key", KEY)
    yield
    close_shared_sync_session()


@pytest_asyncio.fixture
async def _session() -> AsyncIterator[None]:
    yield
    await close_shared_aio_session()


def test_a_whole_answer() -> None:
    response = Generation.call(messages=[SUM], **MESSAGE)
    assert response.status_code == 200, response
    choice = response.output.choices[0]
    assert "5" in choice.message.content
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert "tool_calls" not in choice.message
    assert response.request_id
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_text_form_is_what_comes_unasked() -> None:
    response = Generation.call(messages=COUNT, **SHORT)
    assert response.output.text == " 4, 5, 6"
    assert response.output.choices is None
    assert response.output.finish_reason == "length"


def test_a_prompt_and_its_history() -> None:
    history = [{"user": "My cat is called Minka.", "bot": "What a lovely name!"}]
    response = Generation.call(prompt="What is my cat called? Say the name alone.", history=history, **SHORT)
    assert "Minka" in response.output.text
    alone = Generation.call(prompt="What is my cat called? Say the name alone.", **SHORT)
    assert alone.usage.input_tokens < response.usage.input_tokens


def test_an_incremental_stream() -> None:
    events = list(Generation.call(messages=COUNT, stream=True, incremental_output=True, **MESSAGE))
    assert all(event.status_code == 200 for event in events)
    whole = Generation.call(messages=COUNT, **MESSAGE)
    text = "".join(event.output.choices[0].message.content for event in events)
    assert text == whole.output.choices[0].message.content
    assert events[0].output.choices[0].finish_reason == "null"
    assert events[-1].output.choices[0].finish_reason == "length"
    assert [event.usage.output_tokens for event in events] == sorted(event.usage.output_tokens for event in events)
    assert events[-1].usage.output_tokens == 8


@pytest.mark.parametrize("asked", [{}, {"incremental_output": False}], ids=["unasked", "merged by the package"])
def test_a_cumulative_stream_has_the_continuation_only(asked: dict[str, bool]) -> None:
    events = list(Generation.call(messages=COUNT, stream=True, **asked, **MESSAGE))
    texts = [event.output.choices[0].message.content for event in events]
    for earlier, later in itertools.pairwise(texts):
        assert later.startswith(earlier)
    assert len(texts) > 2
    assert texts[-1].startswith(" 4, 5")


def test_several_choices_in_a_stream() -> None:
    texts = {0: "", 1: ""}
    for event in Generation.call(messages=COUNT, n=2, stream=True, incremental_output=True, **MESSAGE):
        for choice in event.output.choices:
            texts[choice["index"]] += choice.message.content
    assert texts[0] == texts[1]
    assert texts[0].startswith(" 4, 5")


@pytest.mark.usefixtures("_session")
async def test_several_at_once() -> None:
    async def one(first: int) -> str:
        prompt = f"What is {first} + 2? Answer with the number alone."
        text: str = (await AioGeneration.call(prompt=prompt, **SHORT)).output.text
        return text

    for expected, answer in zip("357", await asyncio.gather(*(one(first) for first in (1, 3, 5))), strict=True):
        assert expected in answer
    stream = await AioGeneration.call(messages=COUNT, stream=True, incremental_output=True, **MESSAGE)
    assert "".join([event.output.choices[0].message.content async for event in stream]).startswith(" 4, 5")
    refused = await AioGeneration.call(messages=COUNT, stream=True, **MESSAGE, top_p=7)
    events = [event async for event in refused]
    assert [(event.status_code, event.code) for event in events] == [(400, "InvalidParameter")]


def test_errors_are_values() -> None:
    denied = Generation.call(messages=[SUM], api_key="sk-wrong", **SHORT)
    assert (denied.status_code, denied.code, denied.output) == (401, "InvalidApiKey", None)
    unknown = Generation.call(messages=[SUM], **(SHORT | {"model": "gpt-5"}))
    assert (unknown.status_code, unknown.code) == (404, "ModelNotFound")
    assert unknown.request_id
    for response in Generation.call(messages=COUNT, stream=True, enable_thinking=True, **MESSAGE):
        assert (response.status_code, response.code) == (400, "InvalidParameter")
        assert response.message.endswith("Partial mode is not supported when enable_thinking is true")


def test_completions() -> None:
    answer = Completions.create(model="qwen-plus", messages=COUNT, max_tokens=6, temperature=0)
    assert answer.choices[0].message.content == " 4, 5,"
    assert answer.usage.completion_tokens == 6
    refused = Completions.create(model="gpt-5", messages=COUNT)
    assert refused.status_code == 404


def test_models() -> None:
    first = Models.list(page=1, page_size=3).output
    second = Models.list(page=2, page_size=3).output
    assert len(first["models"]) == len(second["models"]) == 3
    assert first["models"] != second["models"]
    assert Models.get("qwen-plus").output["model"] == "qwen-plus"
    assert Models.get("no-such-model").status_code == 404


def test_the_tokenizer() -> None:
    response = Tokenization.call(model="qwen-plus", prompt="春天来了,大地 <|im_end|>")
    assert response.status_code == 200
    assert response.usage["input_tokens"] == len(response.output["token_ids"]) == len(response.output["tokens"])
    assert "".join(response.output["tokens"]).endswith(" <|im_end|>")
    listed = Tokenization.call(model="qwen-plus", messages=[SUM])
    assert "".join(listed.output["tokens"]) == SUM["content"]


@pytest.mark.parametrize("protocol", ["native", "openai"])
def test_the_second_generation(server: Server, protocol: str) -> None:
    base = server.native if protocol == "native" else server.compatible
    with Client(api_key=KEY, base_url=base, protocol=protocol, max_retries=0) as client:
        answer = client.chat.completions.create(model="qwen-plus", messages=[SUM], max_tokens=8, temperature=0)
        assert "5" in answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.output_tokens
        chunks = list(
            client.chat.completions.create(model="qwen-plus", messages=[SUM], max_tokens=8, temperature=0, stream=True)
        )
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == answer.choices[0].message.content
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="gpt-5", messages=[SUM])
        if protocol == "native":  # the other one takes the flag out of the message
            begun = client.chat.completions.create(model="qwen-plus", messages=COUNT, max_tokens=6, temperature=0)
            assert begun.choices[0].message.content == " 4, 5,"
            assert client.tokenization.count(model="qwen-plus", prompt="a b").input_tokens == 2
            assert len(client.models.list(page_size=5).models) == 5
