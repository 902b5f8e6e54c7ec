"""What stands around the text: its usage and where it stops."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.talk import PROTOCOLS, all_ways, ask, begun, ids_of, post, streamed, user, whole

COUNT = user("Count from 1 to 20, separated by commas.")


def test_usage_is_the_same_in_both_protocols(http: httpx.Client) -> None:
    asks = [ask(COUNT, temperature=0, max_tokens=3), ask(COUNT, begun("1, 2,"), temperature=0, max_tokens=3)]
    answers = all_ways(http, asks)
    for answer in answers:
        assert answer.output_tokens == 3
    bare, begun_ = answers[:4], answers[4:]
    assert len({answer.prompt_tokens for answer in bare}) == 1
    assert len({answer.prompt_tokens for answer in begun_}) == 1
    assert begun_[0].prompt_tokens == bare[0].prompt_tokens + len(ids_of(http, "1, 2,"))


def test_what_was_read_before_is_not_read_again(http: httpx.Client) -> None:
    asked = ask(user("Which of apples, pears, plums and cherries are red? One word."), temperature=0, max_tokens=2)
    for protocol in PROTOCOLS:
        first = whole(http, protocol, asked)
        for way in (whole, streamed):
            again = way(http, protocol, asked)
            assert again.cached_tokens > first.prompt_tokens // 2
            assert again.said() == first.said()


def test_choices_are_summed(http: httpx.Client) -> None:
    for answer in all_ways(http, [ask(COUNT, n=2, temperature=0, max_tokens=6)]):
        assert answer.finishes == ("length", "length")
        assert answer.output_tokens == 12


def test_log_probabilities_spell_the_text(http: httpx.Client) -> None:
    asked = ask(COUNT, temperature=0, max_tokens=6, logprobs=True, top_logprobs=2)
    for answer in all_ways(http, [asked]):
        assert "".join(answer.tokens[0]) == answer.text
        assert len(answer.tokens[0]) == answer.output_tokens == 6


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (", 5", "1, 2, 3, 4"),
        (["nothing", " 4"], "1, 2, 3,"),
        (["4,", " 4"], "1, 2, 3,"),
    ],
    ids=["a string", "strings", "the earlier of two"],
)
def test_stop_strings(http: httpx.Client, entries: object, text: str) -> None:
    for answer in all_ways(http, [ask(COUNT, temperature=0, max_tokens=24, stop=entries)]):
        assert (answer.text, answer.finish) == (text, "stop")


def test_stop_ids(http: httpx.Client) -> None:
    (five,), run = ids_of(http, "5"), ids_of(http, ", 4")
    assert len(run) > 1
    asked = ask(COUNT, temperature=0, max_tokens=24)
    # A run that never comes in this order stops nothing.
    asks = [asked.but(stop=[five]), asked.but(stop=[run]), asked.but(stop=[run[::-1], [five]])]
    answers = all_ways(http, asks)
    for text, found in (("1, 2, 3, 4, ", answers[:4]), ("1, 2, 3", answers[4:8]), ("1, 2, 3, 4, ", answers[8:])):
        for answer in found:
            assert (answer.text, answer.finish) == (text, "stop")


def test_a_request_has_one_name(http: httpx.Client) -> None:
    asked = ask(COUNT, max_tokens=1)
    response = post(http, "compatible", asked)
    answer = response.json()
    assert answer["id"] == f"chatcmpl-{response.headers['x-request-id']}"
    assert (answer["model"], answer["object"]) == ("qwen-plus", "chat.completion")
    response = post(http, "native", asked)
    answer = response.json()
    assert answer["request_id"] == response.headers["x-request-id"]
    assert answer.keys() == {"output", "usage", "request_id"}, "a success has no code and no message"
