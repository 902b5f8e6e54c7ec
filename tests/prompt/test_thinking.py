"""How templates think: found by trying them out, opened and closed where they do not do it themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from segue.core.generation import Ability, ModelCard, Segment
from segue.prompt import template, thinking
from tests.prompt.templates import CARDS, CHATML_TOKENS, QWEN3_TOKENS, card
from tests.requests import request, user

REAL = Path(__file__).parent / "real"
TURN = "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}{%- endfor %}"
# DeepSeek's switch has another name, its thought no line of its own.
DEEPSEEK = TURN + "{%- if add_generation_prompt %}{{- '<think>' if thinking else '</think>' }}{%- endif %}"
ALWAYS = TURN + "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"


def real(name: str) -> ModelCard:
    return card(name, (REAL / f"{name}.jinja").read_text(), QWEN3_TOKENS)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (real("qwen3"), {"thinking"}),
        (real("qwen3.5"), {"thinking"}),
        (real("qwen3-coder"), set()),
        (real("qwen2.5"), set()),
        (CARDS["qwen3"], {"thinking"}),
        (CARDS["llama-3.1"], set()),
        (CARDS["smollm2"], set()),
        (card("deepseek", DEEPSEEK, QWEN3_TOKENS), {"thinking"}),
        (card("always", ALWAYS, QWEN3_TOKENS), {"always_thinking"}),
        (card("refuses", "<think>{{ raise_exception('no') }}", QWEN3_TOKENS), set()),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_a_template_is_able_to(made: ModelCard, expected: set[Ability]) -> None:
    assert template.able(made).abilities & {"thinking", "always_thinking"} == expected


@pytest.mark.parametrize("name", ["qwen3", "qwen3.5"])
def test_a_thought_is_opened_as_a_control_token(name: str) -> None:
    made = template.able(real(name))
    shown = template.render(made, request(user("Hi"), thinking=True))
    assert shown[-2:] == [Segment("<think>", True), Segment("\n")]
    assert "".join(segment.text for segment in shown).count("<think>") == 1
    off = template.render(made, request(user("Hi")))
    assert [segment.text for segment in off[-3:]] == ["\n\n", "</think>", "\n\n"]


def test_what_the_template_opens_is_not_opened_again() -> None:
    for source, tail in ((DEEPSEEK, "Hi<think>"), (ALWAYS, "assistant\n<think>\n")):
        made = template.able(card("m", source, QWEN3_TOKENS))
        text = "".join(segment.text for segment in template.render(made, request(user("Hi"), thinking=True)))
        assert text.endswith(tail)


def test_a_model_without_the_tokens_has_characters() -> None:
    made = replace(template.able(real("qwen3")), control_tokens=CHATML_TOKENS)
    assert thinking.opening(made, False) == (Segment("<think>\n"),)
    assert thinking.closing(made, False) == (Segment("\n</think>\n\n"),)
    assert thinking.closing(made, True) == (Segment("</think>\n\n"),)


def test_a_whole_thought_of_the_callers_is_plain() -> None:
    made = template.able(real("qwen3"))
    begun = request(user("Hi"), thinking=True, thought="I </think> see", prefix="Yes")
    shown = template.render(made, begun)
    assert shown[-4:] == [
        Segment("I </think> see"),
        Segment("\n"),
        Segment("</think>", True),
        Segment("\n\n"),
    ]


def test_a_users_mark_opens_nothing() -> None:
    shown = template.render(template.able(real("qwen3")), request(user("<think>"), thinking=True))
    assert [segment.text for segment in shown if segment.control][-1] == "<think>"
    assert Segment("<think>", True) not in shown[:-2]
