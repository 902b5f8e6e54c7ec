"""A template that cannot be continued is refused at start, in words; one that only has rules is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from segue.core.errors import EngineFailed
from segue.core.generation import ModelCard
from segue.core.request import Message
from segue.engine.house import House
from segue.engine.scripted import Echo, Scripted
from segue.prompt import template
from segue.prompt.caller import spellings
from segue.prompt.opening import Opening, find
from tests.prompt.templates import CARDS, CHATML_TOKENS, card

TURNS = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
ENDED = "{% if not add_generation_prompt %}{{ '<|endoftext|>' }}{% endif %}"
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('alternate') }}{% endif %}{% endfor %}"
)
HEADER, TRAILING = "<|im_start|>assistant\n", "<|im_end|>\n"
INSTRUCT = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}<|endoftext|>{% endif %}{% endfor %}"
)


def made(source: str) -> ModelCard:
    return card("m", source, CHATML_TOKENS)


@pytest.mark.parametrize(
    ("source", "header", "trailing"),
    [
        (TURNS + OPEN, HEADER, TRAILING),
        (ALTERNATE + TURNS + OPEN, HEADER, TRAILING),
        (TURNS + ENDED + OPEN, HEADER, TRAILING),  # what it adds is not behind what it prints else
        (TURNS + HEADER, "", TRAILING + "<|im_start|>"),  # always open
        (INSTRUCT, "", "<|endoftext|>"),  # the question's end is the answer's beginning
        (ALTERNATE + INSTRUCT, "", "<|endoftext|>"),
        ("{% if messages[0].role != 'system' %}{{ raise_exception('x') }}{% endif %}" + TURNS + OPEN, HEADER, TRAILING),
        ("{% if messages | length < 3 %}{{ raise_exception('x') }}{% endif %}" + TURNS + OPEN, HEADER, TRAILING),
        ("{% if messages[-1].role != 'user' %}{{ raise_exception('x') }}{% endif %}" + TURNS + OPEN, HEADER, ""),
        ("{{ strftime_now('%d') }}" + TURNS + OPEN, HEADER, TRAILING),
        ("User: {{ messages[-1].content }}\n\n" + OPEN, HEADER, ""),  # forgets what was said before
    ],
)
def test_found(source: str, header: str, trailing: str) -> None:
    template.check(made(source))
    assert template.opening(made(source)) == Opening(header, trailing)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (TURNS, "'m' opens no turn for the assistant: add_generation_prompt does not change what it prints"),
        (ALTERNATE + TURNS, "opens no turn for the assistant"),
        (TURNS + ENDED, "opens no turn for the assistant"),
        ("{{ messages[-1].content }}", "opens no turn for the assistant"),
        ("", "has no chat template"),
        ("{# nothing #}", "prints nothing of what the user says"),
        ("{% for m in messages %}{{ m.text }}{% endfor %}" + OPEN, "prints nothing of what the user says"),
        (
            "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}" + OPEN,
            "prints nothing of what the user says",
        ),
        (
            "{{ raise_exception('Only images') }}",
            "'m' refuses every conversation that was tried: Only images; give the model another one",
        ),
        ("{{ tools | length }}" + TURNS + OPEN, "refuses every conversation that was tried: object of type 'NoneType'"),
    ],
)
def test_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match="'m' ") as raised:
        template.check(made(source))
    assert reason in str(raised.value)


def test_no_control_token_is_cut() -> None:
    """Two texts that part inside a token part before it."""

    def rendered(messages: Sequence[Message], opened: bool) -> str:
        text = "".join(f"<|{m.role}|>{m.content}<|end|>" for m in messages)
        return text + ("<|assistant|>" if opened else "<|assist|>")

    known = spellings(("<|user|>", "<|assistant|>", "<|assist|>", "<|end|>", "<|system|>"))
    assert find(rendered, known) == Opening("<|assistant|>", "<|end|>")


@pytest.mark.parametrize("name", CARDS)
def test_templates_in_our_words(name: str) -> None:
    assert template.opening(CARDS[name]).header.strip()


async def test_the_operator_reads_it_at_start() -> None:
    engine = Scripted(Echo(), card=made(TURNS))
    house = House({"m": engine}, lambda name: name, 5, template.check)
    house.open()
    with pytest.raises(EngineFailed) as raised:
        await house.started()
    assert "m cannot be served: the chat template of model 'm' opens no turn" in str(raised.value.detail)
    await house.close()
