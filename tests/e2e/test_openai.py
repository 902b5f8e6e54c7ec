"""The `openai` package for Python against a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.server import KEY, Server
from tests.e2e.talk import begun, user

SUM = user("What is 2 + 3? Answer with the number alone.")
COUNT: Any = [user("Count from 1 to 20, separated by commas."), begun("1, 2, 3,")]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=server.compatible, max_retries=0, timeout=150) as client:
        yield client


def ask(client: openai.OpenAI, **parameters: Any) -> Any:
    return client.chat.completions.create(**{"model": "qwen-plus", "messages": [SUM], "max_tokens": 8, **parameters})


def test_a_whole_answer(client: openai.OpenAI) -> None:
    completion = ask(client, temperature=0)
    assert "5" in completion.choices[0].message.content
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.tool_calls is None
    assert completion.id == f"chatcmpl-{completion._request_id}"
    assert (completion.model, completion.object) == ("qwen-plus", "chat.completion")
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_prefix_in_extra_fields_and_plain(client: openai.OpenAI) -> None:
    plain = ask(client, messages=COUNT, max_tokens=6, temperature=0)
    extra = ask(client, messages=COUNT, max_tokens=None, temperature=0, extra_body={"top_k": 1, "max_tokens": 6})
    assert plain.choices[0].message.content == extra.choices[0].message.content == " 4, 5,"


def test_a_stream_adds_up_without_a_check(client: openai.OpenAI) -> None:
    text = ""
    chunks = 0
    for chunk in ask(client, messages=COUNT, temperature=0, max_tokens=12, stream=True):
        text += chunk.choices[0].delta.content
        chunks += 1
    assert text == " 4, 5, 6, 7,"
    assert chunks > 3


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        ask(client, messages=COUNT, temperature=0, max_tokens=6, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 6
    assert not any(chunk.usage for chunk in chunks[:-1])


async def test_several_at_once(server: Server) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=server.compatible, max_retries=0, timeout=150) as client:

        async def one(first: int) -> str:
            messages: Any = [user(f"What is {first} + 2? Answer with the number alone.")]
            completion = await client.chat.completions.create(
                model="qwen-plus", messages=messages, max_tokens=8, temperature=0
            )
            return completion.choices[0].message.content or ""

        answers = await asyncio.gather(*(one(first) for first in (1, 3, 5)))
        for expected, answer in zip("357", answers, strict=True):
            assert expected in answer
        stream = await client.chat.completions.create(
            model="qwen-plus", messages=COUNT, max_tokens=6, temperature=0, stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == " 4, 5,"


def test_a_stream_left_early(client: openai.OpenAI) -> None:
    with ask(client, messages=COUNT, max_tokens=500, stream=True) as stream:
        next(iter(stream))
    assert ask(client, max_tokens=1).usage.completion_tokens == 1


def test_models(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"qwen2.5-coder-1.5b-instruct", "qwen-plus", "qwen-max-latest"} <= names
    assert client.models.retrieve("qwen-plus").id == "qwen-plus"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_errors_have_their_classes(client: openai.OpenAI, server: Server) -> None:
    with (
        openai.OpenAI(api_key="sk-wrong", base_url=server.compatible, max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as denied,
    ):
        ask(stranger)
    assert denied.value.code == "invalid_api_key"
    assert denied.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client, model="gpt-5")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, top_p=2, stream=True)
    assert "Range of top_p should be (0.0, 1.0]" in refused.value.message
    assert refused.value.type == "invalid_request_error"
