"""What Partial Mode refuses, in the words of either protocol, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e.talk import CHAT, GENERATION, PROTOCOLS, SSE, Message, Protocol, ask, begun, post, said, user, whole

PREFIX = "<400> InternalError.Algo.InvalidParameter: "
ROLE = (
    'Role must be in ["user", "assistant", "system", "function", "plugin", "tool"] '
    'and the role in last message must be in ["user", "function", "tool"]'
)
THINKING = "Partial mode is not supported when enable_thinking is true"
HELLO = user("Say hello.")
SYSTEM: Message = {"role": "system", "content": "Be brief."}


@dataclass(frozen=True)
class Refusal:
    """A request and what it is told; `{path}` in `message` is where the protocol keeps its messages."""

    messages: tuple[Message, ...]
    message: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def sentence(self, protocol: Protocol) -> str:
        return PREFIX + self.message.format(path="input." if protocol == "native" else "")


def open_turn(content: object, **others: object) -> Message:
    return {"role": "assistant", "content": content, "partial": True, **others}


REFUSALS = {
    "thinking": Refusal((HELLO, begun("He")), THINKING, {"enable_thinking": True}),
    "thinking, the flag on an earlier message": Refusal(
        (HELLO, begun("He"), user("Go on.")), THINKING, {"enable_thinking": True}
    ),
    "a last assistant without the flag": Refusal((HELLO, said("He")), ROLE),
    "a last assistant with the flag down": Refusal((HELLO, said("He") | {"partial": False}), ROLE),
    "a last assistant with the flag null": Refusal((HELLO, said("He") | {"partial": None}), ROLE),
    "a last system message": Refusal((HELLO, SYSTEM), ROLE),
    "a last system message with the flag": Refusal((HELLO, SYSTEM | {"partial": True}), ROLE),
    "the flag on an earlier message only": Refusal((HELLO, begun("He"), user("Go on."), said("llo")), ROLE),
    "no user": Refusal((begun("He"),), "The input messages do not contain elements with the role of user"),
    "no content": Refusal((HELLO, {"role": "assistant", "partial": True}), "The content field is a required field."),
    "null content": Refusal((HELLO, open_turn(None)), "The content field is a required field."),
    "content of a wrong type": Refusal((HELLO, open_turn(5)), "input content must be a string."),
    "a flag in a string": Refusal(
        (HELLO, said("He") | {"partial": "true"}),
        "Input should be a valid boolean, unable to interpret input: {path}messages.1.partial",
    ),
    "a number as the flag": Refusal(
        (HELLO, said("He") | {"partial": 1}),
        "Input should be a valid boolean, unable to interpret input: {path}messages.1.partial",
    ),
    "a message that is none": Refusal(
        (HELLO, "He"),  # type: ignore[arg-type]
        "Input should be a valid dictionary or instance of GPT3Message: {path}messages.1",
    ),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", REFUSALS)
def test_refused(http: httpx.Client, name: str, protocol: Protocol, streams: bool) -> None:
    refusal = REFUSALS[name]
    asked = ask(*refusal.messages, **refusal.parameters)
    if protocol == "compatible":
        response = post(http, protocol, asked.but(stream=streams))
    else:
        response = post(http, protocol, asked, **(SSE if streams else {}))
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/json"), "a refused stream never begins"
    body = response.json()
    identity = response.headers["x-request-id"]
    assert body["request_id"] == identity
    if protocol == "native":
        expected = {"code": "InvalidParameter", "message": refusal.sentence(protocol), "request_id": identity}
        assert body == expected
    else:
        error = body["error"]
        assert error["message"] == refusal.sentence(protocol)
        assert (error["code"], error["type"]) == ("invalid_parameter_error", "invalid_request_error")
        assert body["id"] == f"chatcmpl-{identity}"


def test_an_empty_conversation(http: httpx.Client) -> None:
    response = http.post(CHAT, json={"model": "qwen-plus", "messages": []})
    error = response.json()["error"]
    assert (response.status_code, error["message"]) == (400, "[] is too short - 'messages'")
    assert (error["code"], error["type"], error["param"]) == ("invalid_value", "invalid_request_error", "messages")
    response = http.post(GENERATION, json={"model": "qwen-plus", "input": {"messages": []}})
    assert (response.status_code, response.json()["message"]) == (400, PREFIX + ROLE)


ALLOWED = {
    "thinking said to be off": ask(HELLO, begun("He"), enable_thinking=False),
    "the flag on a question": ask(HELLO | {"partial": True}),
    "the flag on a finished turn": ask(HELLO, begun("Hello."), user("And now goodbye.")),
    "a system message before": ask(SYSTEM, HELLO, begun("He")),
    "no parameters but null ones": ask(HELLO, begun("He"), temperature=None, stop=None, tools=None),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(http: httpx.Client, name: str, protocol: Protocol) -> None:
    answer = whole(http, protocol, ALLOWED[name].but(max_tokens=2, seed=1))
    assert answer.finish in ("stop", "length")
    assert answer.output_tokens <= 2


def test_a_model_that_thinks_aloud_is_not_stood_in_for(http: httpx.Client) -> None:
    for protocol in PROTOCOLS:
        response = http.post(
            CHAT if protocol == "compatible" else GENERATION,
            json=ask(HELLO, begun("He")).body(protocol) | {"model": "qwen3-30b-a3b-thinking-2507"},
        )
        assert response.status_code == 404
