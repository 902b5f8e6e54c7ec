"""Asking the same thing in both protocols, whole or as a stream, over plain HTTP.

Why: most tests are about an answer and not about its wrapping.  What is checked here in passing is
what every answer must keep: the status, the framing, the sum of the usage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import httpx

CHAT = "/compatible-mode/v1/chat/completions"
GENERATION = "/api/v1/services/aigc/text-generation/generation"
TOKENIZER = "/api/v1/tokenizer"
SSE = {"X-DashScope-SSE": "enable"}

Protocol = Literal["compatible", "native"]
PROTOCOLS: tuple[Protocol, ...] = ("compatible", "native")
Message = dict[str, Any]

A = TypeVar("A")
B = TypeVar("B")


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def said(content: str) -> Message:
    return {"role": "assistant", "content": content}


def begun(prefix: str) -> Message:
    """The open turn of Partial Mode."""
    return {"role": "assistant", "content": prefix, "partial": True}


@dataclass(frozen=True, slots=True)
class Ask:
    """A conversation and the parameters of its answer."""

    messages: tuple[Message, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    model: str = "qwen-plus"

    def but(self, **parameters: Any) -> Ask:
        """The same with other parameters."""
        return replace(self, parameters=self.parameters | parameters)

    def body(self, protocol: Protocol) -> dict[str, Any]:
        """As the protocol writes it."""
        messages = list(self.messages)
        if protocol == "compatible":
            return {"model": self.model, "messages": messages, **self.parameters}
        parameters = {"result_format": "message", **self.parameters}
        return {"model": self.model, "input": {"messages": messages}, "parameters": parameters}


def ask(*messages: Message, **parameters: Any) -> Ask:
    return Ask(messages, parameters)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, by choice."""

    texts: tuple[str, ...]
    finishes: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    """The tokens of the log probabilities; empty when not asked for."""
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def finish(self) -> str:
        return self.finishes[0]

    def said(self) -> object:
        """Everything that does not depend on what was asked before."""
        return self.texts, self.finishes, self.tokens, self.prompt_tokens, self.output_tokens


def post(client: httpx.Client, protocol: Protocol, asked: Ask, **headers: str) -> httpx.Response:
    """The response, whatever it is."""
    path = CHAT if protocol == "compatible" else GENERATION
    return client.post(path, json=asked.body(protocol), headers=headers)


def whole(client: httpx.Client, protocol: Protocol, asked: Ask) -> Answer:
    response = post(client, protocol, asked)
    assert response.status_code == 200, response.text
    body = response.json()
    inner = body if protocol == "compatible" else body["output"]
    choices = {choice["index"]: choice for choice in inner["choices"]}
    return _answer(
        protocol,
        [choices[index]["message"]["content"] for index in sorted(choices)],
        [choices[index]["finish_reason"] for index in sorted(choices)],
        [_tokens(choices[index]) for index in sorted(choices)],
        body["usage"],
    )


def streamed(client: httpx.Client, protocol: Protocol, asked: Ask) -> Answer:
    texts: dict[int, str] = {}
    finishes: dict[int, str] = {}
    tokens: dict[int, list[str]] = {}
    usage: dict[str, Any] = {}
    for body in pieces(client, protocol, asked):
        usage = body["usage"] or usage
        for choice in (body if protocol == "compatible" else body["output"])["choices"]:
            index = choice["index"]
            piece = choice["delta" if protocol == "compatible" else "message"]["content"]
            texts[index] = texts.get(index, "") + piece
            tokens.setdefault(index, []).extend(_tokens(choice))
            if choice["finish_reason"] not in (None, "null"):
                assert index not in finishes
                finishes[index] = choice["finish_reason"]
    order = sorted(texts)
    assert order == sorted(finishes)
    return _answer(protocol, [texts[n] for n in order], [finishes[n] for n in order], [tokens[n] for n in order], usage)


def pieces(client: httpx.Client, protocol: Protocol, asked: Ask) -> Generator[dict[str, Any], None, None]:
    """The bodies of a stream's frames, as they come."""
    if protocol == "compatible":
        body, headers = asked.body(protocol) | {"stream": True, "stream_options": {"include_usage": True}}, {}
    else:
        body, headers = asked.but(incremental_output=True).body(protocol), SSE
    done = False
    path = CHAT if protocol == "compatible" else GENERATION
    with client.stream("POST", path, json=body, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data:"):
                assert not done, line
                done = line == "data: [DONE]"
                if not done:
                    found: dict[str, Any] = json.loads(line[5:])
                    assert "error" not in found, line
                    assert "code" not in found, line
                    yield found
    assert done == (protocol == "compatible"), "only this protocol has a word for the end"


def _tokens(choice: dict[str, Any]) -> list[str]:
    return [entry["token"] for entry in (choice.get("logprobs") or {}).get("content") or ()]


def _answer(
    protocol: Protocol, texts: list[str], finishes: list[str], tokens: list[list[str]], usage: dict[str, Any]
) -> Answer:
    read, written = ("prompt_tokens", "completion_tokens")
    if protocol == "native":
        read, written = ("input_tokens", "output_tokens")
    assert usage["total_tokens"] == usage[read] + usage[written]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert 0 <= cached <= usage[read]
    return Answer(tuple(texts), tuple(finishes), tuple(map(tuple, tokens)), usage[read], usage[written], cached)


WAYS: tuple[Callable[[httpx.Client, Protocol, Ask], Answer], ...] = (whole, streamed)


def all_ways(client: httpx.Client, asks: Iterable[Ask]) -> list[Answer]:
    """Every ask in both protocols, whole and streamed, all at once; four answers an ask."""
    calls = [(way, protocol, asked) for asked in asks for protocol in PROTOCOLS for way in WAYS]
    return together(lambda call: call[0](client, call[1], call[2]), calls)


def together(function: Callable[[A], B], items: Iterable[A], abreast: int = 64) -> list[B]:
    """The results of all calls, made at the same time, at most `abreast`, in order.  Raises what the first failing
    one raised."""
    listed = list(items)
    with ThreadPoolExecutor(min(len(listed), abreast)) as threads:
        return list(threads.map(function, listed))


def ids_of(client: httpx.Client, text: str) -> list[int]:
    """What the tokenizer endpoint makes of a text."""
    response = client.post(TOKENIZER, json={"model": "qwen-plus", "input": {"prompt": text}})
    assert response.status_code == 200, response.text
    ids: list[int] = response.json()["output"]["token_ids"]
    return ids
