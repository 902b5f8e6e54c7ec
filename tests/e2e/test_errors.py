"""What a broken or greedy request is told, how soon, and that nobody else notices."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from tests.e2e.server import KEY, Server
from tests.e2e.talk import CHAT, GENERATION, PROTOCOLS, TOKENIZER, Protocol, ask, begun, pieces, user, whole

SOON_S = 10.0
CONTEXT_TOKENS = 8192
HELLO = user("Say hello.")
PREFIX = "<400> InternalError.Algo.InvalidParameter: "
NOT_JSON = "Required body invalid, please check the request body format."
TOO_LONG = f"{PREFIX}Range of input length should be [1, {CONTEXT_TOKENS - 1}]"
STOP_MIXED = (
    f'{PREFIX}The "stop" parameter must be of type "str", "list[str]", "list[int]", or "list[list[int]]", '
    "and all elements within the list must be of the same type."
)
TOO_LARGE = ("BadRequest.TooLarge", "Payload Too Large.")
COMPAT_CODES = {"InvalidParameter": "invalid_parameter_error"}


def path(protocol: Protocol) -> str:
    return CHAT if protocol == "compatible" else GENERATION


def check(response: httpx.Response, protocol: Protocol, status: int, code: str, message: str) -> None:
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"].startswith("application/json")
    assert len(response.content) < 2000, "an error never gives back what was sent"
    body = response.json()
    identity = response.headers["x-request-id"]
    if protocol == "native":
        assert body == {"code": code, "message": message, "request_id": identity}
    else:
        assert (body["error"]["code"], body["error"]["message"]) == (COMPAT_CODES.get(code, code), message)
        assert body["request_id"] == identity


@contextmanager
def neighbour(server: Server) -> Iterator[None]:
    """A stream that runs meanwhile and must come to its proper end."""
    asked = ask(user("Tell me a long story about a dragon and a princess."), seed=3, max_tokens=150)
    finishes: list[object] = []
    running = threading.Event()

    def read() -> None:
        with server.client() as client, suppress(AssertionError, httpx.HTTPError):
            for frame in pieces(client, "compatible", asked):
                running.set()
                finishes.extend(choice["finish_reason"] for choice in frame["choices"])
            finishes.append("done")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert running.wait(60)
        yield
    finally:
        thread.join()
    assert finishes[-2:] in (["stop", "done"], ["length", "done"])


RAW: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "half of it": b'{"model": "qwen-plus", "messages": [',
    "a list": b"[]",
    "a string": b'"qwen-plus"',
    "null": b"null",
    "broken UTF-8": b'{"model": "\xff\xfe"}',
    "a raw NUL": b'{"model": "qwen-plus\x00"}',
    "ten megabytes of braces": b"{" * 10_000_000,
    "ten megabytes of brackets": b'{"model": "qwen-plus", "messages": ' + b"[" * 10_000_000,
    "two objects": b"{}{}",
    "a comma too many": b'{"model": "qwen-plus",}',
    "a lone surrogate": b'{"model": "qwen-plus", "messages": [{"role": "user", "content": "\\ud800"}]}',
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bodies_that_are_no_object(rough: Server, rough_http: httpx.Client, protocol: Protocol) -> None:
    with neighbour(rough):
        for name, content in RAW.items():
            begin = time.monotonic()
            response = rough_http.post(path(protocol), content=content)
            assert time.monotonic() - begin < SOON_S, name
            check(response, protocol, 400, "InvalidParameter", NOT_JSON)


Body = Callable[[Protocol], dict[str, Any]]


def lots(protocol: Protocol) -> dict[str, Any]:
    return ask(*[HELLO] * 100_000).body(protocol)


GREEDY: dict[str, tuple[Body, str, str]] = {
    "100,000 messages": (lots, *TOO_LARGE),
    "more than the limit of bytes": (lambda p: ask(user("a" * 17_000_000)).body(p), *TOO_LARGE),
    "a prompt past the context": (lambda p: ask(user("red " * 9000)).body(p), "InvalidParameter", TOO_LONG),
    "a prefix past the context": (lambda p: ask(HELLO, begun("blue " * 9000)).body(p), "InvalidParameter", TOO_LONG),
    "together past the context": (
        lambda p: ask(user("red " * 5000), begun("blue " * 5000)).body(p),
        "InvalidParameter",
        TOO_LONG,
    ),
    "a negative token id": (lambda p: ask(HELLO, stop=[-1]).body(p), "InvalidParameter", STOP_MIXED),
    "a huge token id": (lambda p: ask(HELLO, stop=[10**30]).body(p), "InvalidParameter", STOP_MIXED),
    "a negative token id in a run": (lambda p: ask(HELLO, stop=[[5, -1]]).body(p), "InvalidParameter", STOP_MIXED),
    "strings and ids": (lambda p: ask(HELLO, stop=["a", 5]).body(p), "InvalidParameter", STOP_MIXED),
    "true as a token id": (lambda p: ask(HELLO, stop=[True]).body(p), "InvalidParameter", STOP_MIXED),
    "a number to stop at": (
        lambda p: ask(HELLO, stop=123).body(p),
        "InvalidParameter",
        f"{PREFIX}Input should be a valid list: parameters.stop.list[any] "
        "& Input should be a valid string: parameters.stop.str",
    ),
    "a thousand things to stop at": (
        lambda p: ask(HELLO, stop=["a"] * 1000).body(p),
        "InvalidParameter",
        f"{PREFIX}Range of stop length should be [1, 64]",
    ),
    "more than the model ever gives": (
        lambda p: ask(HELLO, max_tokens=1_000_000).body(p),
        "InvalidParameter",
        f"{PREFIX}Range of max_tokens should be [1, 4096]",
    ),
    "five choices": (lambda p: ask(HELLO, n=5).body(p), "InvalidParameter", f"{PREFIX}Range of n should be [1, 4]"),
    "a heat of two": (
        lambda p: ask(HELLO, temperature=2).body(p),
        "InvalidParameter",
        f"{PREFIX}Temperature should be in [0.0, 2.0)",
    ),
    "a string that is no flag": (
        lambda p: ask(HELLO, logprobs="yes").body(p),
        "InvalidParameter",
        PREFIX + "Input should be a valid boolean, unable to interpret input: {path}logprobs",
    ),
    "messages that are none": (
        lambda p: {"model": "qwen-plus", "messages": "hello", "input": {"messages": "hello"}},
        "InvalidParameter",
        PREFIX + "Input should be a valid list: {input}messages",
    ),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_that_are_refused(rough: Server, rough_http: httpx.Client, protocol: Protocol) -> None:
    native = protocol == "native"
    with neighbour(rough):
        for name, (body, code, message) in GREEDY.items():
            content = json.dumps(body(protocol)).encode()
            begin = time.monotonic()
            response = rough_http.post(path(protocol), content=content)
            assert time.monotonic() - begin < SOON_S, name
            sentence = message.replace("{path}", "parameters." if native else "")
            check(response, protocol, 400, code, sentence.replace("{input}", "input." if native else ""))


def test_what_only_one_protocol_says(rough_http: httpx.Client) -> None:
    said = rough_http.post(GENERATION, json=ask(HELLO, top_p="high").body("native")).json()["message"]
    assert said == f"{PREFIX}Input should be a valid number, unable to parse string as a number: parameters.top_p"
    error = rough_http.post(CHAT, json=ask(HELLO, top_p="high").body("compatible")).json()["error"]
    assert (error["message"], error["param"]) == ("'top_p' must be Float", "top_p")
    error = rough_http.post(CHAT, json=ask(HELLO, seed=-1).body("compatible")).json()["error"]
    assert error["message"] == "-1 is lesser than the minimum of 0 - 'seed'"
    error = rough_http.post(CHAT, json={"messages": [HELLO]}).json()["error"]
    assert (error["message"], error["code"]) == ("you must provide a model parameter.", "missing_required_parameter")
    error = rough_http.post(CHAT, json={"model": "qwen-plus"}).json()["error"]
    assert (error["message"], error["param"]) == ("you must provide a messages parameter", "messages")
    for body, code in (({"input": {}}, "BadRequest.EmptyModel"), ({"model": "qwen-plus"}, "BadRequest.EmptyInput")):
        assert rough_http.post(GENERATION, json=body).json()["code"] == code
    both = {"model": "qwen-plus", "input": {"prompt": "a", "messages": [HELLO]}}
    said = rough_http.post(GENERATION, json=both).json()["message"]
    assert said.endswith('Only one of the parameters "prompt" and "messages" can be present')
    task = rough_http.post(GENERATION, json=ask(HELLO).body("native"), headers={"X-DashScope-Async": "enable"})
    assert (task.status_code, task.json()["code"]) == (403, "AccessDenied")


def test_strange_texts_are_texts(rough_http: httpx.Client) -> None:
    for content in ("a\u0000b", "\ufdd0\uffff", "😀" * 50, "\u202egnilleps", "", " "):
        for protocol in PROTOCOLS:
            assert whole(rough_http, protocol, ask(user(content), max_tokens=1)).output_tokens <= 1


def test_unknown_models(rough_http: httpx.Client) -> None:
    for name in ("gpt-5", "qwen-tts", "QWEN-PLUS", "../../etc/passwd", "x" * 100_000):
        for protocol in PROTOCOLS:
            response = rough_http.post(path(protocol), json=ask(HELLO).body(protocol) | {"model": name})
            assert response.status_code == 404
            assert len(response.content) < 2000
            code = response.json()["code"] if protocol == "native" else response.json()["error"]["code"]
            assert code == ("ModelNotFound" if protocol == "native" else "model_not_found")


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer sk-wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xe9"])
def test_without_its_key_nothing_is_open_but_the_probes(rough: Server, given: str | None) -> None:
    headers = [] if given is None else [(b"Authorization", given.encode("latin-1"))]
    with httpx.Client(base_url=rough.base, headers=headers, trust_env=False, timeout=30) as stranger:
        assert stranger.get("/healthz").status_code == 200
        assert stranger.get("/readyz").status_code == 200
        native = stranger.post(GENERATION, json=ask(HELLO).body("native"))
        check(native, "native", 401, "InvalidApiKey", "Invalid API-key provided.")
        compatible = stranger.post(CHAT, json=ask(HELLO).body("compatible"))
        error = compatible.json()["error"]
        assert (compatible.status_code, error["code"]) == (401, "invalid_api_key")
        assert error["message"].startswith("Incorrect API key provided.")
        for closed in ("/compatible-mode/v1/models", "/compatible-mode/v1/models/qwen-plus", "/api/v1/models"):
            assert stranger.get(closed).status_code == 401
        assert stranger.post(TOKENIZER, json={"model": "qwen-plus", "input": {"prompt": "a"}}).status_code == 401


def test_other_paths_and_methods(rough_http: httpx.Client) -> None:
    assert rough_http.get(CHAT).status_code == 405
    assert rough_http.get(GENERATION).headers["allow"] == "POST"
    assert rough_http.get("/compatible-mode/v1/nothing").json()["error"]["code"] == "NotFound"
    assert rough_http.get("/api/v1/nothing").json()["code"] == "NotFound"
    assert rough_http.post(f"{CHAT}/", json=ask(HELLO).body("compatible")).status_code == 404
