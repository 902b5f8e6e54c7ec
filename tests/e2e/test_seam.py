"""A prefix may end anywhere, also inside a token: what comes is what the model says to those bytes."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.talk import PROTOCOLS, WAYS, Message, Protocol, all_ways, ask, begun, post, user, whole

CAPITAL, FIBONACCI = user("What is the capital of France?"), user("Write a Fibonacci function in Python.")
HEAD = "def fib(n):\n    if n <= 1:\n        "
CUTS: tuple[tuple[Message, str, str], ...] = (
    (CAPITAL, "The capital of Fran", "ce"),
    (FIBONACCI, HEAD + "ret", "urn n"),
    (FIBONACCI, HEAD + "return n\n    else:\n    ", "    return"),
    (FIBONACCI, HEAD + "return n\n    else:\n", "        return"),
    (user("写一句话描写春天。"), "春天来了,大", "地"),
    (user("Give me a JSON object with the name and the age of a person."), '```json\n{\n  "na', 'me":'),
)


def test_a_word_cut_short_is_finished(http: httpx.Client) -> None:
    for answer, (_, prefix, rest) in zip(
        all_ways(http, [ask(said, begun(prefix), temperature=0, max_tokens=8) for said, prefix, _ in CUTS]),
        [cut for cut in CUTS for _ in range(4)],
        strict=True,
    ):
        assert answer.text.startswith(rest), (prefix, answer.text)


def test_a_blank_is_not_doubled(http: httpx.Client) -> None:
    prefix = "Spring has come, the earth "
    asks = [ask(user("Write about spring."), begun(prefix), seed=seed, max_tokens=6) for seed in range(4)]
    for answer in all_ways(http, asks):
        assert answer.text, "it has something to say"
        assert not answer.text.startswith(" "), answer.text


def test_indentation_goes_on_at_the_right_depth(http: httpx.Client) -> None:
    """Inside a function's body, in the middle of its blanks, however many are there already."""
    for blanks in range(9):
        prefix = f"{HEAD}return n\n    else:\n{' ' * blanks}"
        answer = whole(http, "compatible", ask(FIBONACCI, begun(prefix), temperature=0, max_tokens=8))
        assert (" " * blanks + answer.text).startswith("        return"), (blanks, answer.text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_how_it_was_joined_is_told(http: httpx.Client, protocol: Protocol) -> None:
    def seam(*messages: Message, **parameters: object) -> str | None:
        response = post(http, protocol, ask(*messages, max_tokens=4, **parameters))
        assert response.status_code == 200, response.text
        said: str | None = response.headers.get("x-segue-seam")
        return said

    assert seam(CAPITAL) is None
    found = seam(CAPITAL, begun("The capital of Fran"), temperature=0.2)  # else the answer just given is resumed
    assert found is not None
    mode, bound, nodes, back = found.split("; ")
    assert back == f"back={len(' Fran')}"
    assert mode == "exact"
    assert int(nodes.removeprefix("nodes=")) >= 1
    assert 0 <= float(bound.removeprefix("bound=")) < 0.02
    text = whole(http, protocol, ask(CAPITAL, max_tokens=4)).text
    assert seam(CAPITAL, begun(text)) == "resumed"


def test_choices_draw_their_own_joints(http: httpx.Client) -> None:
    prefix = "My favourite colour is bl"
    asked = ask(user("Name a colour."), begun(prefix), n=4, temperature=1.5, top_p=1.0, top_k=0, max_tokens=3)
    seen = {whole(http, "compatible", asked.but(seed=seed)).texts for seed in range(3)}
    assert len({text for texts in seen for text in texts}) > 3
    for seed in (7, 10):
        answers = [way(http, protocol, asked.but(seed=seed)).texts for protocol in PROTOCOLS for way in WAYS]
        assert answers == answers[:1] * 4


def test_the_first_token_s_log_probability_is_its_share(http: httpx.Client) -> None:
    asked = ask(CAPITAL, begun("The capital of Fran"), temperature=0, max_tokens=3, logprobs=True, top_logprobs=3)
    body = post(http, "compatible", asked).json()["choices"][0]
    first = body["logprobs"]["content"][0]
    assert first["token"] == "ce"
    assert -0.01 < first["logprob"] <= 0
    assert first["top_logprobs"][0]["token"] == "ce"
    assert "".join(entry["token"] for entry in body["logprobs"]["content"]) == body["message"]["content"]


@pytest.mark.parametrize(
    "prefix",
    [
        " " * 500,
        "\n" * 200,
        "\t" * 64 + " ",
        "<|im_end|>\n<|im_start|>assistant\n" * 20,
        "</think><think></tool_call><tool_call>",
        "👩‍",
        "\ufe0f",
        "e\u0301" * 40,
        "\u0000\u0001",
        "a" * 3000,
        "1" * 400 + "2",
        "𝒳" * 9,
        "ﷺ" * 30 + " \n\t ",
    ],
    ids=[
        "blanks",
        "lines",
        "tabs",
        "control",
        "tags",
        "joiner",
        "selector",
        "marks",
        "nul",
        "as",
        "digits",
        "math",
        "rtl",
    ],
)
def test_any_prefix_is_answered(http: httpx.Client, prefix: str) -> None:
    answer = whole(http, "compatible", ask(user("Go on."), begun(prefix), seed=3, max_tokens=3))
    assert "\ufffd" not in answer.text
    assert answer.output_tokens <= 3
