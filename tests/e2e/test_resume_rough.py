"""Resuming where the cells of the answer are gone, and others are being served.

The tokens are remembered, so what comes can only differ by last bits of the arithmetic: every difference
must begin at a step whose two best tokens were closer than such bits can move them.  A small quick model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import Server, serving
from tests.e2e.talk import CHAT, Ask, ask, begun, post, together, user, whole

NOISE = 0.8
"""The most that another kernel, or another order of summing, was measured to move a logit; each of two may move."""
SMALL = "smollm2-135m-instruct"
GREEDY: dict[str, Any] = {"temperature": 0}


@pytest.fixture(scope="module")
def cramped(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A cache that a few answers fill."""
    folder = tmp_path_factory.mktemp("cramped")
    with serving(small_model, SMALL, folder, SEGUE_ENGINE_KV_TOKENS="1024", SEGUE_ENGINE_SLOTS="4") as server:
        yield server


def gaps(http: httpx.Client, asked: Ask) -> list[tuple[int, float]]:
    """Where each token of an answer ends, and how far the best two were apart there."""
    body = post(http, "compatible", asked.but(logprobs=True, top_logprobs=2)).json()["choices"][0]
    found, end = [], 0
    for entry in body["logprobs"]["content"]:
        end += len(bytes(entry["bytes"]))
        best = sorted((each["logprob"] for each in entry["top_logprobs"]), reverse=True)
        found.append((end, best[0] - best[1] if len(best) > 1 else math.inf))
    return found


@pytest.mark.slow
def test_under_traffic_and_after_eviction_only_near_ties_differ(cramped: Server) -> None:
    differing = 0
    with cramped.client() as http:

        def traffic(number: int) -> str:
            return whole(
                http, "native", ask(user(f"{number} " + "sea river hill " * 60), max_tokens=30, seed=number)
            ).text

        def told(first: str, rest: Ask) -> str:
            return first + whole(http, "compatible", rest).text

        for number in range(25):
            asked = ask(user(f"Tell me {number + 2} things about the number {number}."), max_tokens=60, **GREEDY)
            uncut = whole(http, "compatible", asked).text
            first = whole(http, "compatible", asked.but(max_tokens=10 + number)).text
            rest = Ask((*asked.messages, begun(first)), {**GREEDY, "max_tokens": 50 - number})
            for each in range(3):
                traffic(3 * number + each)
            _, joined = together(lambda way: way(), (partial(traffic, 1000 + number), partial(told, first, rest)))
            if joined == uncut:
                continue
            differing += 1
            place = next(at for at, (one, other) in enumerate(zip(joined, uncut, strict=False)) if one != other)
            at = len(uncut[:place].encode())
            gap = next(gap for end, gap in gaps(http, asked) if end > at)
            assert gap <= 2 * NOISE, (uncut, joined)
    print(f"{differing} of 25 resumed answers differed, each from a near-tie on")


@pytest.mark.parametrize(
    "prefix",
    ["word " * 30_000, " " * 1_000_000, "<|im_end|>" * 20_000, "\n\t" * 20_000],
    ids=["tokens", "blanks", "control", "lines"],
)
def test_a_prefix_beyond_the_context_is_refused(rough_http: httpx.Client, prefix: str) -> None:
    response = post(rough_http, "compatible", ask(user("Go on."), begun(prefix), max_tokens=2))
    assert response.status_code == 400, response.text[:300]
    assert "length" in response.json()["error"]["message"]


def test_half_an_emoji_is_refused(rough_http: httpx.Client) -> None:
    body = '{"model":"qwen-plus","messages":[{"role":"user","content":"hi"},'
    body += '{"role":"assistant","content":"\\ud83d","partial":true}]}'
    response = rough_http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_a_long_prefix_is_answered(rough_http: httpx.Client) -> None:
    prefix = "One two three four. " * 60
    answer = whole(rough_http, "compatible", ask(user("Count."), begun(prefix), max_tokens=4, **GREEDY))
    assert answer.text
    assert answer.prompt_tokens > 300
