"""Whatever comes to the administration, to both chat endpoints, or in headers is answered, and never with 500."""

from __future__ import annotations

import asyncio
import copy
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette

from segue.app import build
from segue.core.tenancy import NewKey, NewWorkspace
from segue.wire.admin.schema import document
from tests.test_tenancy import ADMIN, CHAT, NATIVE, bearer
from tests.test_tenancy import settings as settings_in

QUICK_EXAMPLES = 6
SLOW_EXAMPLES = 560
"""For each of 18 operations, in either way: more than 20,000 in all."""

MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "user", "assistant", "tool"]},
        "content": {"type": "string"},
        "partial": {"type": "boolean"},
    },
    "required": ["role", "content"],
}
PARAMETERS: dict[str, object] = {
    "temperature": {"type": "number", "minimum": 0, "exclusiveMaximum": 2},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 0},
    "max_tokens": {"type": "integer", "minimum": 1},
    "seed": {"type": "integer", "minimum": 0},
    "n": {"type": "integer", "minimum": 1, "maximum": 4},
    "stop": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 5},
    "response_format": {"type": "object", "properties": {"type": {"enum": ["text", "json_object"]}}},
}
MODEL = {"anyOf": [{"enum": ["qwen-plus", "segue-scripted"]}, {"type": "string"}]}
TALK = {"type": "array", "items": MESSAGE}


def operation(path: str, body: dict[str, object]) -> dict[str, object]:
    content = {"application/json": {"schema": {"type": "object", "properties": body, "required": list(body)[:2]}}}
    return {
        path: {
            "post": {
                "requestBody": {"required": True, "content": content},
                "responses": {"default": {"description": "-"}},
            }
        }
    }


def described(key: str) -> dict[str, Any]:
    """The administration's own document, with ids that are there among those that may come, and the chat endpoints."""
    told: dict[str, Any] = copy.deepcopy(document("fuzz"))
    known = {"workspace": ["default", "team"], "key": [key], "model": ["qwen-plus", "qwen-max"], "replica": ["re-0"]}
    for methods in told["paths"].values():
        for each in methods.values():
            for parameter in each["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = {"anyOf": [{"enum": known[parameter["name"]]}, {"type": "string"}]}
    told["paths"] |= operation(CHAT, {"model": MODEL, "messages": TALK, "stream": {"type": "boolean"}, **PARAMETERS})
    inside = {"type": "object", "properties": {"messages": TALK, "prompt": {"type": "string"}}}
    told["paths"] |= operation(
        NATIVE, {"model": MODEL, "input": inside, "parameters": {"type": "object", "properties": PARAMETERS}}
    )
    return told


class Running:
    """A server and its client, for tests that are not of the event loop."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.app: Starlette = build(settings_in(folder))
        self.key = self._runner.run(self._begin())

    async def _begin(self) -> str:
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        await self.app.state.house.started()
        transport = httpx.ASGITransport(self.app)
        self._client = await self._stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://segue")
        )
        await self.app.state.office.add_workspace("test", NewWorkspace("Team", "team"))
        _, key = await self.app.state.office.add_key("test", NewKey("x", "team"))
        return str(key.id)

    def send(self, method: str, url: str, headers: Any, body: Any = None) -> httpx.Response:
        return self._runner.run(self._client.request(method, url, headers=headers, content=body))

    def raw(self, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        return self._runner.run(_raw(self.app, path, headers, b'{"model": "x"}'))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.close()


def often(examples: int) -> Callable[[Any], Any]:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=checks, phases=[Phase.generate], database=None
    )


@pytest.mark.parametrize("examples", [QUICK_EXAMPLES, pytest.param(SLOW_EXAMPLES, marks=pytest.mark.slow)])
def test_whatever_the_documents_allow_and_forbid(examples: int, server: Running) -> None:
    schema = schemathesis.openapi.from_dict(described(server.key))
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    asked: dict[int, int] = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        each = found.ok()
        wanted = checks if each.path.startswith("/admin/") else [not_a_server_error]
        for mode in GenerationMode:

            @often(examples)
            @given(case=each.as_strategy(generation_mode=mode))
            def one(case: Any) -> None:
                prepared = requests.Request(**case.as_transport_kwargs(base_url="http://segue")).prepare()
                headers = {**prepared.headers, **bearer(ADMIN)}
                answer = server.send(str(prepared.method), str(prepared.url), headers, prepared.body)
                asked[answer.status_code] = asked.get(answer.status_code, 0) + 1
                assert answer.status_code != 500, answer.text
                case.validate_response(answer, checks=wanted)  # noqa: B023 - it is called in this very round

            one()
    print(asked)
    assert asked[200] > examples
    assert asked[400] > examples
    assert sum(asked.values()) > 20 * examples


# Headers and keys

anything = st.binary(max_size=64).map(lambda raw: raw.replace(b"\0", b""))
keys = st.one_of(
    anything,
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([ADMIN.encode(), ADMIN.encode() + b"\r\nx-evil: 1", b"", b"Bearer", b"'; DROP TABLE keys", b"%00"]),
)
NAMES = (
    "authorization",
    "x-dashscope-workspace",
    "x-dashscope-sse",
    "accept",
    "content-type",
    "x-request-id",
    "x-segue-model",
    "host",
)


@pytest.mark.parametrize("examples", [40, pytest.param(4000, marks=pytest.mark.slow)])
def test_whatever_stands_in_headers(examples: int, server: Running) -> None:
    """No status line breaks, no header of ours holds what a caller sent, and nothing opens but a key."""

    @often(examples)
    @given(
        key=keys,
        scheme=st.sampled_from([b"Bearer ", b"bearer ", b"Basic ", b""]),
        more=st.lists(st.tuples(st.sampled_from(NAMES), keys), max_size=4),
        path=st.sampled_from([CHAT, NATIVE, "/admin/v1/keys", "/compatible-mode/v1/models", "/metrics", "/nowhere"]),
        model=st.text(max_size=20),
    )
    def one(key: bytes, scheme: bytes, more: list[tuple[str, bytes]], path: str, model: str) -> None:
        mark = b"mark" + os.urandom(4).hex().encode()
        headers = [(b"authorization", scheme + key), *((name.encode(), value + mark) for name, value in more)]
        status, told, body = server.raw(path, headers)
        assert status in (200, 400, 401, 403, 404, 405), body
        right = key.strip() == ADMIN.encode() and scheme.lower() == b"bearer "
        if not right and path not in ("/nowhere",):
            assert status in (401, 405)
        for name, value in told:
            assert mark not in value
            assert not re.search(rb"[\r\n\0]", name + value)
        assert [name for name, _ in told].count(b"x-request-id") == 1

    one()


async def _raw(
    app: Any, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Past any client, which would refuse to send what is no header."""
    heard: list[Any] = []
    sent = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return sent.pop() if sent else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        heard.append(message)

    scope = {
        "type": "http",
        "method": "GET" if path.endswith(("models", "keys", "metrics")) else "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    return heard[0]["status"], list(heard[0]["headers"]), b"".join(each.get("body", b"") for each in heard[1:])
