"""The ASGI side: bodies of any bytes, status lines at the right moment, clients that leave."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.errors import EngineLost, Fault, FileProcessing, Internal, PromptTooLong, QueueFull
from segue.core.events import Ended, Failed, Finished, Started, Text
from segue.wire.http import Limits
from segue.wire.limits import PATIENCE_S

from .fakes import COMPAT, ID, NATIVE, Client, House

USER = {"role": "user", "content": "hi"}
COMPAT_BODY = {"model": "qwen-plus", "messages": [USER]}
NATIVE_BODY = {"model": "qwen-plus", "input": {"messages": [USER]}, "parameters": {"result_format": "message"}}
SSE = {"x-dashscope-sse": "enable"}

# path, body and headers of a whole and of a streamed request in both protocols
WHOLE: list[tuple[str, Any, dict[str, str]]] = [(COMPAT, COMPAT_BODY, {}), (NATIVE, NATIVE_BODY, {})]
STREAMED: list[tuple[str, Any, dict[str, str]]] = [
    (COMPAT, COMPAT_BODY | {"stream": True}, {}),
    (NATIVE, NATIVE_BODY, SSE),
]
NAMES = ["compat", "native"]


def code(client: Client) -> str:
    body = client.json
    found: str = body.get("error", body)["code"]
    return found


@pytest.mark.parametrize(("path", "body", "headers"), WHOLE, ids=NAMES)
async def test_whole(path: str, body: Any, headers: dict[str, str]) -> None:
    house = House()
    client = await Client(house.app(), path, body | {"strange": 1, "b\n:d": 2}, headers).run()
    assert client.status == 200
    assert client.headers["content-type"] == "application/json"
    assert client.headers["x-request-id"] == ID
    assert client.headers["x-segue-model"] == "qwen-real"
    assert client.headers["x-segue-ignored"] == "strange"
    assert int(client.headers["content-length"]) == len(client.body)
    choices = client.json["choices"] if path == COMPAT else client.json["output"]["choices"]
    assert choices[0]["message"]["content"] == "Hey"
    assert client.json["id" if path == COMPAT else "request_id"] == ("chatcmpl-" if path == COMPAT else "") + ID
    assert client.headers.get("x-dashscope-finished") == (None if path == COMPAT else "true")
    assert house.requests[0].id == ID
    assert house.closed.is_set()


@pytest.mark.parametrize(("path", "body", "headers"), STREAMED, ids=NAMES)
async def test_streamed(path: str, body: Any, headers: dict[str, str]) -> None:
    client = await Client(House().app(), path, body, headers).run()
    assert client.status == 200
    assert client.complete
    assert client.headers["content-type"] == "text/event-stream;charset=UTF-8"
    assert client.headers["cache-control"] == "no-cache"
    assert client.headers["x-accel-buffering"] == "no"
    assert client.headers["x-request-id"] == ID
    assert client.headers.get("x-dashscope-finished") == (None if path == COMPAT else "false")
    end = b"data: [DONE]\n\n" if path == COMPAT else b'"request_id":"%b"}\n\n' % ID.encode()
    assert client.body.endswith(end)


async def test_what_makes_a_native_stream() -> None:
    for headers in ({"accept": "text/event-stream"}, {"accept": "a/b, Text/Event-Stream"}, SSE):
        client = await Client(House().app(), NATIVE, NATIVE_BODY, headers).run()
        assert client.body.startswith(b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:")
    whole = NATIVE_BODY | {"stream": True, "parameters": {"stream": True}}
    assert "output" in (await Client(House().app(), NATIVE, whole, {"accept": "*/*"}).run()).json
    # The OpenAI SDKs send any Accept; only the body counts there.
    client = await Client(House().app(), COMPAT, COMPAT_BODY, {"accept": "text/event-stream"}).run()
    assert client.json["object"] == "chat.completion"


@pytest.mark.parametrize(("path", "body", "headers"), WHOLE + STREAMED)
@pytest.mark.parametrize(
    ("house", "status"),
    [
        (House(refusal=PromptTooLong(9, 8)), 400),
        (House(events=(Failed(QueueFull()),)), 429),
        (House(events=(Started(1, 0), Failed(EngineLost()))), 503),
        (House(events=(Started(1, 0), Text(0, "", 1), Failed(EngineLost()))), 503),
        (House(events=(Failed(Internal()),)), 500),
        (House(events=(Started(1, 0),), crash=RuntimeError("a mistake")), 500),
        (House(events=(Started(1, 0), Text(0, "a", 1), Text(5, "choice that is none", 1))), 500),
    ],
)
async def test_a_failure_before_the_first_piece_has_its_status(
    path: str, body: Any, headers: dict[str, str], house: House, status: int
) -> None:
    house = replace(house, closed=asyncio.Event())
    client = await Client(house.app(), path, body, headers).run()
    if client.headers["content-type"].startswith("text/event-stream"):
        assert len(house.events) == 3  # only the mistake after the first piece may come as a frame
        assert b"internal_error" in client.body or b"event:error\n:HTTP_STATUS/500" in client.body
        assert client.complete
        return
    assert client.status == status
    assert client.headers["content-type"] == "application/json"
    assert client.headers["x-request-id"] == client.json["request_id"] == ID
    assert client.headers.get("retry-after") == ("1" if status in (429, 503) else None)
    assert house.closed.is_set() or house.refusal is not None


@pytest.mark.parametrize(("path", "body", "headers"), STREAMED, ids=NAMES)
async def test_a_failure_after_the_first_piece_is_a_frame(path: str, body: Any, headers: dict[str, str]) -> None:
    house = House(events=(Started(1, 0), Text(0, "a", 1), Failed(EngineLost())))
    client = await Client(house.app(), path, body, headers).run()
    assert client.status == 200
    assert client.complete
    assert b"ModelUnavailable" in client.body
    assert b"[DONE]" not in client.body


@pytest.mark.parametrize(("path", "body", "headers"), STREAMED, ids=NAMES)
async def test_the_status_line_waits_for_the_first_piece_and_then_beats(
    path: str, body: Any, headers: dict[str, str]
) -> None:
    beat = b": keep-alive\n\n" if path == COMPAT else b":keep-alive\n\n"
    gate = asyncio.Event()
    limits = Limits(first_event_wait_s=0.04, heartbeat_s=0.02)
    client = Client(House(gate=gate, gate_at=1, limits=limits).app(), path, body, headers)
    task = client.start()
    await asyncio.sleep(0.02)
    assert client.heard == []
    while len(client.heard) < 4:
        client.pulse.clear()
        await asyncio.wait_for(client.pulse.wait(), 1)
    assert client.status == 200
    assert client.body.startswith(beat * 2)
    gate.set()
    await asyncio.wait_for(task, 1)
    assert client.body.replace(beat, b"").startswith(b"data: {" if path == COMPAT else b"id:1\n")
    assert sum(message["type"] == "http.response.start" for message in client.heard) == 1
    assert client.complete


LONG = {"model": "qwen-long", "messages": [{"role": "system", "content": "fileid://a"}, USER]}
READS: list[tuple[str, Any, dict[str, str]]] = [
    (COMPAT, LONG | {"stream": True}, {}),
    (NATIVE, {"model": "qwen-long", "input": {"messages": LONG["messages"]}}, SSE),
]


@pytest.mark.parametrize("refusal", [None, FileProcessing("a")])
@pytest.mark.parametrize(("path", "body", "headers"), READS, ids=NAMES)
async def test_the_line_is_kept_while_documents_are_read(
    path: str, body: Any, headers: dict[str, str], refusal: Fault | None
) -> None:
    beat = b": keep-alive\n\n" if path == COMPAT else b":keep-alive\n\n"
    gate = asyncio.Event()
    limits = Limits(prepare_wait_s=0.04, first_event_wait_s=0.001, heartbeat_s=0.02)
    client = Client(House(reads=gate, refusal=refusal, limits=limits).app(), path, body, headers)
    task = client.start()
    await asyncio.sleep(0.02)
    assert client.heard == []
    while len(client.heard) < 4:
        client.pulse.clear()
        await asyncio.wait_for(client.pulse.wait(), 1)
    assert client.status == 200
    assert client.body.startswith(beat * 2)
    gate.set()
    await asyncio.wait_for(task, 1)
    rest = client.body.replace(beat, b"")
    assert (b"File parsing in progress" in rest) == (refusal is not None)
    assert (b"stop" in rest) == (refusal is None)
    assert sum(message["type"] == "http.response.start" for message in client.heard) == 1
    assert client.complete


@pytest.mark.parametrize(("path", "body", "headers"), READS, ids=NAMES)
async def test_what_is_refused_in_time_has_its_status(path: str, body: Any, headers: dict[str, str]) -> None:
    gate = asyncio.Event()
    limits = Limits(prepare_wait_s=5.0, first_event_wait_s=0.001, heartbeat_s=0.02)
    client = Client(House(reads=gate, refusal=FileProcessing("a"), limits=limits).app(), path, body, headers)
    task = client.start()
    await asyncio.sleep(0.03)
    gate.set()
    await asyncio.wait_for(task, 1)
    assert client.status == 400
    gone = Client(House(reads=asyncio.Event(), limits=limits).app(), path, body, headers)
    task = gone.start()
    await asyncio.sleep(PATIENCE_S * 2)
    gone.leave()
    await asyncio.wait_for(task, 1)
    assert gone.heard == []


@pytest.mark.parametrize(("path", "body", "headers"), STREAMED, ids=NAMES)
async def test_a_failure_after_the_heartbeat_is_a_frame(path: str, body: Any, headers: dict[str, str]) -> None:
    gate = asyncio.Event()
    house = House(events=(Failed(QueueFull()),), gate=gate, limits=Limits(first_event_wait_s=0.01))
    client = Client(house.app(), path, body, headers)
    task = client.start()
    await asyncio.wait_for(client.pulse.wait(), 1)
    gate.set()
    await asyncio.wait_for(task, 1)
    assert client.status == 200
    assert b"limit_requests" in client.body or b"event:error\n:HTTP_STATUS/429" in client.body


@pytest.mark.parametrize(("path", "body", "headers"), WHOLE + STREAMED)
@pytest.mark.parametrize("gate_at", [0, 1, 2])
async def test_leaving_closes_the_answer_at_once(path: str, body: Any, headers: dict[str, str], gate_at: int) -> None:
    house = House(gate=asyncio.Event(), gate_at=gate_at)
    client = Client(house.app(), path, body, headers)
    task = client.start()
    await asyncio.sleep(PATIENCE_S * 2)
    assert not house.closed.is_set()
    assert not task.done()
    client.leave()
    await asyncio.wait_for(house.closed.wait(), 1)  # though its gate is never opened
    await asyncio.wait_for(task, 1)
    assert not client.complete


async def test_leaving_before_anyone_looks_is_noticed_too() -> None:
    house = House(gate=asyncio.Event())
    client = Client(house.app(), COMPAT, COMPAT_BODY)
    task = client.start()
    client.leave()
    await asyncio.wait_for(house.closed.wait(), 1)
    await asyncio.wait_for(task, 1)
    assert not client.complete


async def test_cancellation_from_the_server_goes_through() -> None:
    house = House(gate=asyncio.Event())
    task = Client(house.app(), COMPAT, COMPAT_BODY).start()
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.closed.is_set()


@pytest.mark.parametrize(("path", "body", "headers"), WHOLE + STREAMED)
async def test_a_write_error_is_a_client_that_left(path: str, body: Any, headers: dict[str, str]) -> None:
    house = House()
    client = Client(house.app(), path, body, headers)
    client.broken = True
    await client.run()
    assert house.closed.is_set()


async def test_a_client_that_does_not_read_is_let_go() -> None:
    limits = Limits(first_event_wait_s=0.01, heartbeat_s=0.01, stalled_s=0.03)
    house = House(limits=limits)
    client = Client(house.app(), COMPAT, COMPAT_BODY | {"stream": True})
    full = asyncio.Event()

    async def blocked(message: Any) -> None:
        await full.wait()

    await asyncio.wait_for(house.app()(client.scope, client._receive, blocked), 2)
    assert house.closed.is_set()


HOSTILE = {
    "empty": b"",
    "not json": b"hello",
    "a list": b"[]",
    "null": b"null",
    "deep lists": b"[" * 10_000_000,
    "deep objects": b'{"a":' * 1_000_000,
    "lone surrogate": b'{"model":"\\ud800"}',
    "lone surrogate in the middle": b'{"model":"\\ud800aaaaaaaaaaaa"}',
    "swapped surrogates": b'{"model":"\\udc00\\ud800"}',
    "encoded surrogate": b'{"model":"\xed\xa0\x80"}',
    "invalid utf-8": b'{"model":"\xff"}',
    "latin-1 key": b'{"\xe4":1}',
    "nan": b'{"model":NaN}',
    "infinity": b'{"model":-Infinity}',
    "too large a float": b'{"seed":1e999}',
    "too long an integer": b'{"seed":' + b"1" * 5000 + b"}",
    "raw control character": b'{"model":"a\x00b"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"model":"m"}'.encode("utf-16"),
    "trailing": b"{} {}",
    "cut": b'{"model":"m"',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", [COMPAT, NATIVE, "/api/v1/tokenizer"])
async def test_hostile_bodies(path: str, name: str) -> None:
    client = await Client(House().app(), path, HOSTILE[name]).run()
    assert client.status == 400
    assert code(client) in ("invalid_parameter_error", "InvalidParameter")
    assert b"Required body invalid, please check the request body format." in client.body


async def test_a_nul_is_a_character() -> None:
    house = House()
    body = COMPAT_BODY | {"messages": [{"role": "user", "content": "a\x00b"}]}
    assert (await Client(house.app(), COMPAT, body).run()).status == 200
    assert house.requests[0].messages[0].content == "a\x00b"


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["model", "messages", "input", "parameters", "role", "content", "stream"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([COMPAT, NATIVE, "/api/v1/tokenizer", "/api/v1/models", "/compatible-mode/v1/models/x", "/x"]),
    st.sampled_from(["POST", "GET", "PUT"]),
)
def test_no_bytes_do_more_than_a_refusal(data: bytes, path: str, method: str) -> None:
    client = asyncio.run(Client(House().app(), path, data, method=method).run())
    assert client.status in (200, 400, 404, 405)
    assert client.headers["x-request-id"] == ID


@pytest.mark.parametrize("path", [COMPAT, NATIVE])
async def test_the_limit_counts_what_came(path: str) -> None:
    house = House(limits=Limits(body_bytes_max=100))
    client = await Client(house.app(), path, chunks=[b"x" * 60] * 3, headers={"content-length": "1"}).run()
    assert client.status == 400
    assert code(client) == "BadRequest.TooLarge"
    data = json.dumps(COMPAT_BODY).encode()
    house = House(limits=Limits(body_bytes_max=len(data)))
    assert (await Client(house.app(), COMPAT, chunks=[data[:9], b"", data[9:]]).run()).status == 200


async def test_headers_have_a_limit() -> None:
    client = await Client(House().app(), COMPAT, COMPAT_BODY, {f"x-{n}": "v" * 1000 for n in range(70)}).run()
    assert code(client) == "BadRequest.TooLarge"


async def test_a_body_that_does_not_come() -> None:
    house = House(limits=Limits(body_wait_s=0.02))
    client = Client(house.app(), COMPAT)
    client._chunks.clear()
    await client.run()
    assert (client.status, code(client)) == (500, "RequestTimeOut")


async def test_a_client_that_leaves_in_its_body() -> None:
    client = Client(House().app(), COMPAT)
    client._chunks.clear()
    client.leave()
    await client.run()
    assert client.heard == []


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer sk-wrong", "Basic sk-right", "sk-right"])
@pytest.mark.parametrize("path", [COMPAT, NATIVE, "/api/v1/tokenizer"])
async def test_keys(path: str, value: str) -> None:
    client = await Client(House().app(), path, COMPAT_BODY, {"authorization": value}).run()
    assert client.status == 401
    assert code(client) in ("invalid_api_key", "InvalidApiKey")
    # An error of the gateway has no completion's id.
    assert set(client.json) == ({"error", "request_id"} if path == COMPAT else {"code", "message", "request_id"})


async def test_the_workspace_reaches_the_caller() -> None:
    house = House()
    headers = {"authorization": "bearer  sk-right ", "x-dashscope-workspace": "ws-1"}
    assert (await Client(house.app(), COMPAT, COMPAT_BODY, headers).run()).status == 200
    assert house.requests[0].caller.workspace == "ws-1"


async def test_model_layer_errors_name_the_completion() -> None:
    client = await Client(House().app(), COMPAT, COMPAT_BODY | {"top_p": 2}).run()
    assert client.json == {
        "error": {
            "code": "invalid_parameter_error",
            "param": None,
            "message": "<400> InternalError.Algo.InvalidParameter: Range of top_p should be (0.0, 1.0]",
            "type": "invalid_request_error",
        },
        "id": f"chatcmpl-{ID}",
        "request_id": ID,
    }


async def test_unknown_models_paths_and_methods() -> None:
    app = House().app()
    client = await Client(app, COMPAT, COMPAT_BODY | {"model": "nope"}).run()
    assert (client.status, code(client)) == (404, "model_not_found")
    client = await Client(app, NATIVE, NATIVE_BODY | {"model": "nope"}).run()
    assert (client.status, code(client)) == (404, "ModelNotFound")
    client = await Client(app, "/compatible-mode/v1/nothing").run()
    assert (client.status, client.json["error"]["message"]) == (404, "Not found!")
    client = await Client(app, "/").run()
    assert (client.status, client.json["message"]) == (404, "Not found!")
    client = await Client(app, COMPAT, method="GET").run()
    assert (client.status, client.headers["allow"]) == (405, "POST")
    assert client.json["error"]["message"] == "Request method 'GET' is not supported."
    client = await Client(app, NATIVE, NATIVE_BODY, {"x-dashscope-async": "enable"}).run()
    assert (client.status, code(client)) == (403, "AccessDenied")


async def test_models() -> None:
    app = House().app()
    client = await Client(app, "/compatible-mode/v1/models", method="GET").run()
    one = {"id": "qwen-plus", "object": "model", "created": 1764500000, "owned_by": "system"}
    assert client.json == {"object": "list", "data": [one, one | {"id": "qwen-real"}]}
    client = await Client(app, "/compatible-mode/v1/models/qwen-plus", method="GET").run()
    assert client.json == one
    client = await Client(app, "/compatible-mode/v1/models/a/b", method="GET").run()
    assert client.status == 404
    client = await Client(app, "/api/v1/models?page_no=2&page_size=1", method="GET").run()
    listed = {"model": "qwen-real", "name": "qwen-real", "provider": "segue", "context_window": 4096}
    output = {"total": 2, "page_no": 2, "page_size": 1, "models": [listed]}
    assert client.json == {"output": output, "request_id": ID}
    client = await Client(app, "/api/v1/models?model=qwen-real", method="GET").run()
    assert client.json["output"] == output | {"total": 1, "page_no": 1, "page_size": 10}
    client = await Client(app, "/api/v1/models?page_no=x", method="GET").run()
    assert client.status == 400
    client = await Client(app, "/api/v1/models", method="GET", headers={"authorization": ""}).run()
    assert client.status == 401


async def test_tokenizer() -> None:
    body = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": "hé"}]}}
    client = await Client(House().app(), "/api/v1/tokenizer", body).run()
    assert client.json == {
        "output": {"token_ids": [104, 195, 169], "tokens": ["h", "bytes:\\xc3", "bytes:\\xa9"]},
        "usage": {"input_tokens": 3},
        "request_id": ID,
    }
    client = await Client(House().app(), "/api/v1/tokenizer", body | {"model": "nope"}).run()
    assert client.status == 404


async def test_ignored_fields_fit_a_header() -> None:
    extra = {f"{'x' * 50}{number}": 1 for number in range(30)} | {"bad\r\nname: x": 1, "ü": 1}
    client = await Client(House().app(), COMPAT, extra | COMPAT_BODY).run()
    value = client.headers["x-segue-ignored"]
    assert 400 < len(value) <= 512
    assert all(name in extra for name in value.split(","))


async def test_a_stream_costs_one_write_a_piece() -> None:
    pieces = [Text(0, "a", 1)] * 50
    house = House(events=(Started(1, 0), *pieces, Ended(0, "stop"), Finished(1, 0, 50)))
    client = await Client(house.app(), COMPAT, COMPAT_BODY | {"stream": True}).run()
    assert len(client.heard) == 1 + 50 + 1 + 1
