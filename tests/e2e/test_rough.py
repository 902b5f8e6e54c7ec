"""Clients that leave or come all at once, an engine that is killed, a server that is told to stop."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import SMALL
from tests.e2e.server import Server, serving
from tests.e2e.talk import CHAT, PROTOCOLS, Answer, Ask, Protocol, ask, begun, pieces, streamed, together, user, whole

WORDS = ("river", "mountain", "cloud", "stone", "light", "winter", "garden", "engine", "letter", "music")
# A text that this model does not end by itself.
ENDLESS = ask(
    user("Count upwards, one number after the other."), begun("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"), temperature=0
)
SLOTS = 16
# Sixteen endless answers of 4,000 tokens take minutes.
PROMPT_S = 30.0
PATIENT_S = 550.0


def crowd(count: int, seed: int) -> list[tuple[Protocol, bool, Ask]]:
    """Requests of all lengths, a few of them long."""
    chance = random.Random(seed)
    found: list[tuple[Protocol, bool, Ask]] = []
    for _ in range(count):
        length = chance.choice((1, 5, 10, 20, 60, 300))
        messages = [user("Write about: " + " ".join(chance.choice(WORDS) for _ in range(length)))]
        if chance.random() < 0.5:
            messages.append(begun("Once upon a time"))
        asked = ask(*messages, seed=chance.randrange(1000), max_tokens=chance.choice((1, 8, 24)))
        found.append((chance.choice(PROTOCOLS), chance.random() < 0.5, asked))
    return found


def serve_all(server: Server, requests: list[tuple[Protocol, bool, Ask]]) -> None:
    with server.client(PATIENT_S) as client:

        def one(request: tuple[Protocol, bool, Ask]) -> Answer:
            protocol, streams, asked = request
            return (streamed if streams else whole)(client, protocol, asked)

        answers = together(one, requests)
    for (_, _, asked), answer in zip(requests, answers, strict=True):
        limit = asked.parameters["max_tokens"]
        assert (answer.finish, answer.output_tokens) == ("length", limit) or answer.finish == "stop"
        assert answer.output_tokens <= limit


def test_twenty_four_at_once(rough: Server) -> None:
    serve_all(rough, crowd(24, 1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_sixty_four_at_once(rough: Server, seed: int) -> None:
    serve_all(rough, crowd(64, seed))


def leave_streams(server: Server) -> None:
    """Take every slot, read the first piece of each answer, hang up."""
    with server.client() as client:
        streams = [pieces(client, PROTOCOLS[number % 2], ENDLESS.but(max_tokens=4000)) for number in range(SLOTS)]
        together(next, streams)
        for stream in streams:
            stream.close()


def leave_unanswered(server: Server) -> None:
    """Take every slot, lose patience."""

    def leave(number: int) -> None:
        with server.client(timeout_s=1.0) as client, pytest.raises(httpx.ReadTimeout):
            client.post(CHAT, json=ENDLESS.but(max_tokens=4000).body("compatible"))

    together(leave, range(SLOTS))


@pytest.mark.parametrize("leave", [leave_streams, leave_unanswered])
def test_who_leaves_frees_the_slot(rough: Server, rough_http: httpx.Client, leave: Callable[[Server], None]) -> None:
    leave(rough)
    begin = time.monotonic()
    whole(rough_http, "compatible", ask(user("Say hello."), max_tokens=4))
    assert time.monotonic() - begin < PROMPT_S


def running_streams(server: Server, asked: Ask, count: int, then: Callable[[], None]) -> list[tuple[str, str]]:
    """Open `count` streams, do `then` once all of them run; the text and the end of each."""
    all_run = threading.Barrier(count + 1, timeout=60)

    def read(number: int) -> tuple[str, str]:
        text = finish = ""
        waited = False
        protocol = PROTOCOLS[number % 2]
        with server.client() as client:
            for frame in pieces(client, protocol, asked):
                for choice in (frame if protocol == "compatible" else frame["output"])["choices"]:
                    text += choice["delta" if protocol == "compatible" else "message"]["content"]
                    finish = choice["finish_reason"] or ""
                if text and not waited:
                    waited = True
                    all_run.wait()
        return text, finish

    def act(number: int) -> tuple[str, str]:
        all_run.wait()
        then()
        return "", ""

    return together(lambda number: act(number) if number == count else read(number), range(count + 1))[:count]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the engine's process is found in /proc")
def test_a_killed_engine_comes_back(rough: Server, rough_http: httpx.Client) -> None:
    """Every answer goes on where it was, and later ones are served."""
    asked = ENDLESS.but(max_tokens=50)
    expected = whole(rough_http, "compatible", asked)
    (engine,) = rough.engines()
    ends = running_streams(rough, asked, 8, lambda: os.kill(engine, signal.SIGKILL))
    assert ends == [(expected.text, "length")] * 8
    assert whole(rough_http, "native", asked).text == expected.text
    (another,) = rough.engines()
    assert another != engine
    assert rough_http.get("/readyz").status_code == 200


def test_told_to_stop_it_ends_what_it_began(small_model: Path, tmp_path: Path) -> None:
    with serving(small_model, SMALL, tmp_path) as server:
        asked = ENDLESS.but(max_tokens=50)
        with server.client() as client:
            expected = whole(client, "compatible", asked)
        statuses: list[int] = []
        ends = running_streams(server, asked, 4, lambda: statuses.append(server.terminate()))
        assert ends == [(expected.text, "length")] * 4
        assert statuses == [0]
        with server.client() as client, pytest.raises(httpx.ConnectError):
            client.get("/healthz")
