"""Thinking with a real model, on Qwen3's own template: a model that never learnt to think is held to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.server import KEY, Server, serving

QWEN3 = Path(__file__).parent.parent / "prompt" / "real" / "qwen3.jinja"
USER: Any = {"role": "user", "content": "What is 2 + 2?"}


@pytest.fixture(scope="module")
def thinker(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("thinker")
    own = folder / "own.toml"
    own.write_text(
        f'[models.thinker]\nfile = "{small_model.name}"\ntemplate = "{QWEN3}"\ncontext_tokens = 2048\n'
        "output_tokens_max = 1024\n"
    )
    with serving(small_model, "thinker", folder, SEGUE_MODELS_CATALOGUE=str(own)) as server:
        yield server


def asked(client: openai.OpenAI, *messages: Any, **fields: Any) -> Any:
    return client.chat.completions.create(
        model="thinker",
        messages=[USER, *messages],
        temperature=0,
        max_tokens=60,
        extra_body={"enable_thinking": True, "deterministic": True} | fields,
    )


def test_thoughts_of_a_real_model(thinker: Server) -> None:
    with openai.OpenAI(api_key=KEY, base_url=thinker.compatible, max_retries=0) as client:
        for budget in (1, 7):
            answer = asked(client, thinking_budget=budget)
            message, usage = answer.choices[0].message, answer.usage
            details = usage.completion_tokens_details
            assert details.reasoning_tokens <= budget
            assert message.content, "the answer follows its thought"
            assert details.reasoning_tokens + details.text_tokens == usage.completion_tokens <= 60
            assert asked(client, thinking_budget=budget).choices[0].message == message, "asked twice, told the same"
        # What was thought so far goes on as it did: the same tokens follow.
        long = asked(client, thinking_budget=12).choices[0].message.reasoning_content
        begun = asked(client, thinking_budget=7).choices[0].message.reasoning_content
        assert long.startswith(begun)
        given = "Let me add the two numbers. The first one"
        inside = {"role": "assistant", "content": "", "reasoning_content": given, "partial": True}
        rest = asked(client, inside, thinking_budget=5)
        assert rest.choices[0].message.reasoning_content, "it goes on inside the thought"
        assert rest.usage.completion_tokens_details.reasoning_tokens <= 5
        streamed: Any = client.chat.completions.create(
            model="thinker",
            messages=[USER],
            temperature=0,
            max_tokens=60,
            stream=True,
            extra_body={"enable_thinking": True, "thinking_budget": 7, "deterministic": True},
        )
        deltas = [chunk.choices[0].delta for chunk in streamed]
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == begun
        assert deltas[-1].content == ""
