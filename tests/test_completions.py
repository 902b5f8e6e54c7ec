"""Text completions over the whole house but the model, as the OpenAI SDK sees them: text, holes, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from segue.core.generation import ModelCard
from segue.engine.scripted import scripted_card
from segue.wire.openai.completions import FIELDS
from tests.test_calls import KEY, House
from tests.test_calls import house as served
from tests.test_thinking import Thinker

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
PATH = "/compatible-mode/v1/completions"


def coder(*control: str) -> ModelCard:
    made = scripted_card("segue-scripted")
    return replace(made, control_tokens=(*made.control_tokens, *control), unambiguous=False)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[House, Thinker]]:
    engine = Thinker("", answer=" and so on", size=4, served=coder(*FIM))
    with served("", engine=engine) as listening:
        yield listening, engine


@pytest.fixture
def client(both: tuple[House, Thinker]) -> Iterator[openai.OpenAI]:
    with both[0].openai() as client:
        yield client


def post(house: House, **body: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=20) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return client.post(house.base + PATH, headers=headers, json={"model": "qwen-plus"} | body)


def test_text_goes_on_as_it_stands(client: openai.OpenAI, both: tuple[House, Thinker]) -> None:
    for prompt in ("Once", ["Once"], " <|im_start|>Once\n"):
        answer = client.completions.create(model="qwen-plus", prompt=prompt, max_tokens=6)
        assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
            "text_completion",
            " and s",
            "length",
        )
        text = prompt if isinstance(prompt, str) else prompt[0]
        assert both[1].prompts[-1] == text, "no template, and nothing cut"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(text), 6)


def test_a_hole_is_filled(client: openai.OpenAI, both: tuple[House, Thinker]) -> None:
    wanted = "<|fim_prefix|>def f(<|fim_suffix|>):\n    pass<|fim_middle|>"
    answer = client.completions.create(model="qwen-plus", prompt="def f(", suffix="):\n    pass")
    assert answer.choices[0].text == " and so on"
    assert both[1].prompts[-1] == wanted
    client.completions.create(model="qwen-plus", prompt=wanted)
    assert both[1].prompts[-1] == wanted
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len("def f():\n    pass") + 3, "three of them are control tokens"
    # Marks that the caller spells are characters: as many tokens as they have.
    spelled = client.completions.create(model="qwen-plus", prompt="<|fim_suffix|>", suffix="<|fim_middle|>")
    assert spelled.usage is not None
    assert spelled.usage.prompt_tokens == len("<|fim_suffix|><|fim_middle|>") + 3
    empty = client.completions.create(model="qwen-plus", prompt="", suffix="")
    assert empty.choices[0].text == " and so on"


def test_streams_and_echoes(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "qwen-plus", "prompt": "Once", "n": 2, "echo": True}
    options: Any = {"include_usage": True}
    texts = {0: "", 1: ""}
    chunks = list(client.completions.create(stream=True, stream_options=options, **given))
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == {0: "Once and so on", 1: "Once and so on"}
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == [
        "stop"
    ] * 2
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    whole = client.completions.create(**given)
    assert [choice.text for choice in whole.choices] == [texts[0], texts[1]]


def test_log_probabilities(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="qwen-plus", prompt="Once", logprobs=2, max_tokens=4)
    logs = whole.choices[0].logprobs
    assert logs is not None
    assert (logs.tokens, logs.token_logprobs, logs.text_offset) == ([" ", "a", "n", "d"], [0.0] * 4, [0, 1, 2, 3])
    assert logs.top_logprobs is not None
    assert logs.top_logprobs[0] == {" ": 0.0, "!": -100.0}
    stream = client.completions.create(model="qwen-plus", prompt="Once", logprobs=0, stream=True)
    said = [choice.logprobs for chunk in stream for choice in chunk.choices if choice.logprobs]
    assert sum([each.tokens or [] for each in said], []) == list(" and so on")  # noqa: RUF017
    assert [each.text_offset for each in said] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_stop_is_of_the_answer(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="qwen-plus", prompt="so so", stop=["so", "ce a"])
    assert answer.choices[0].text == " and "


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "Field required: prompt"),
    ({"prompt": ""}, "Field required: prompt"),
    ({"prompt": [1, 2]}, "Input should be a valid string: prompt"),
    ({"prompt": ["a", "b"]}, "Input should be a valid string: prompt"),
    ({"prompt": "a", "suffix": 1}, "Input should be a valid string: suffix"),
    ({"prompt": "a", "logprobs": 6}, "Range of top_logprobs should be [0, 5]"),
    ({"prompt": "a", "best_of": 2}, "Input should be '1': best_of"),
    ({"prompt": "a", "echo": True, "logprobs": 1}, "Input should be 'false': echo"),
    ({"prompt": "a", "max_tokens": 0}, "Range of max_tokens should be [1, 8192]"),
    ({"prompt": "a" * 40_000}, "Range of input length should be [1, 32767]"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals(both: tuple[House, Thinker], body: dict[str, Any], said: str) -> None:
    answer = post(both[0], **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(said)


def test_a_model_without_marks_fills_no_hole() -> None:
    with served("", engine=Thinker("", answer="x", served=coder())) as listening:
        answer = post(listening, prompt="a", suffix="b")
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].endswith("The model segue-scripted does not support suffix.")
        spelled = post(listening, prompt="<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>")
        assert spelled.status_code == 400
        assert post(listening, prompt="a").json()["choices"][0]["text"] == "x"


@pytest.mark.parametrize("name", [name for name in FIELDS if "." not in name])
def test_every_field_is_what_its_table_says(both: tuple[House, Thinker], name: str) -> None:
    answer = post(both[0], **({"prompt": "a"} | {name: {"odd": 1}}))
    if FIELDS[name].status == "ignored":
        assert answer.headers["x-segue-ignored"] == name
    elif name == "stream_options":
        assert answer.headers["x-segue-ignored"] == "stream_options.odd"
    else:
        assert answer.status_code == 400, json.dumps(answer.json())
