"""Events become exactly these bytes, and a whole answer is the fold of its stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.errors import EngineLost, QueueFull
from segue.core.events import CallArguments, CallStarted, Ended, Event, Failed, Finished, Started, Text
from segue.core.generation import Alternative, TokenLogprob
from segue.core.request import Caller, Message, Request, ToolChoice
from segue.wire import logprobs
from segue.wire.dashscope import read as native_read
from segue.wire.dashscope import write as native_write
from segue.wire.openai import read as compat_read
from segue.wire.openai import write as compat_write

HELLO: tuple[Event, ...] = (
    Started(22, 3),
    Text(0, "你", 1),
    Text(0, "", 1),
    Text(0, '"\n', 1),
    Ended(0, "length"),
    Finished(22, 3, 3),
)


def request(choices: int = 1, logprobs: bool = False) -> Request:
    return Request("U", Caller("k", "w"), "qwen-plus", (Message("user", "x"),), choices=choices, logprobs=logprobs)


def compat(events: Sequence[Event], choices: int = 1, usage: bool = False, logprobs: bool = False) -> bytes:
    writer = compat_write.Writer(request(choices, logprobs), compat_read.Form(True, usage), 1726132850)
    return b"".join(map(writer.frame, events))


def native(
    events: Sequence[Event], message: bool = True, incremental: bool = True, choices: int = 1, logprobs: bool = False
) -> bytes:
    writer = native_write.Writer(request(choices, logprobs), native_read.Form(True, message, incremental))
    return b"".join(map(writer.frame, events))


SERVICE = '"created":1726132850,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-U"}'


def chunk(choice: str) -> str:
    return f'data: {{"choices":[{choice}],"object":"chat.completion.chunk","usage":null,{SERVICE}\n\n'


def test_compat_stream_byte_for_byte() -> None:
    expected = (
        chunk('{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null,"finish_reason":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"你"},"index":0,"logprobs":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"\\"\\n"},"index":0,"logprobs":null}')
        + chunk('{"finish_reason":"length","delta":{"content":""},"index":0,"logprobs":null}')
    )
    assert compat(HELLO).decode() == expected + "data: [DONE]\n\n"
    details = '"prompt_tokens_details":{"cached_tokens":3}'
    usage = f'"usage":{{"prompt_tokens":22,"completion_tokens":3,"total_tokens":25,{details}}}'
    usage_chunk = f'data: {{"choices":[],"object":"chat.completion.chunk",{usage},{SERVICE}\n\n'
    assert compat(HELLO, usage=True).decode() == expected + usage_chunk + "data: [DONE]\n\n"


def frame(number: int, output: str, output_tokens: int) -> str:
    return (
        f"id:{number}\nevent:result\n:HTTP_STATUS/200\n"
        f'data:{{"output":{output},"usage":{{"total_tokens":{22 + output_tokens},"input_tokens":22,'
        f'"output_tokens":{output_tokens},"prompt_tokens_details":{{"cached_tokens":3}}}},"request_id":"U"}}\n\n'
    )


def choice(text: str, reason: str, index: int = 0, logs: str = "") -> str:
    return (
        f'{{"choices":[{{"message":{{"content":"{text}","role":"assistant"}},"index":{index}{logs},'
        f'"finish_reason":"{reason}"}}]}}'
    )


def test_native_streams_byte_for_byte() -> None:
    assert native(HELLO).decode() == (
        frame(1, choice("你", "null"), 1) + frame(2, choice('\\"\\n', "null"), 3) + frame(3, choice("", "length"), 3)
    )
    assert native(HELLO, incremental=False).decode() == (
        frame(1, choice("你", "null"), 1)
        + frame(2, choice('你\\"\\n', "null"), 3)
        + frame(3, choice('你\\"\\n', "length"), 3)
    )
    assert native(HELLO, message=False).decode() == (
        frame(1, '{"finish_reason":"null","text":"你"}', 1)
        + frame(2, '{"finish_reason":"null","text":"\\"\\n"}', 3)
        + frame(3, '{"finish_reason":"length","text":""}', 3)
    )


def test_the_last_native_frame_has_the_final_usage() -> None:
    events = (Started(22, 3), Text(0, "a", 1), Ended(0, "stop"), Finished(22, 3, 2))
    assert native(events).decode() == frame(1, choice("a", "null"), 1) + frame(2, choice("", "stop"), 2)


MANY: tuple[Event, ...] = (
    Started(22, 3),
    Text(1, "b", 1),
    Text(0, "a", 1),
    Ended(1, "length"),
    Text(0, "A", 1),
    Ended(0, "stop"),
    Finished(22, 3, 3),
)


def test_several_choices_interleave() -> None:
    assert compat(MANY, choices=2).decode() == (
        chunk('{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null,"finish_reason":null}')
        + chunk('{"delta":{"content":"","role":"assistant"},"index":1,"logprobs":null,"finish_reason":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"b"},"index":1,"logprobs":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"a"},"index":0,"logprobs":null}')
        + chunk('{"finish_reason":"length","delta":{"content":""},"index":1,"logprobs":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"A"},"index":0,"logprobs":null}')
        + chunk('{"finish_reason":"stop","delta":{"content":""},"index":0,"logprobs":null}')
        + "data: [DONE]\n\n"
    )
    assert native(MANY, incremental=False, choices=2).decode() == (
        frame(1, choice("b", "null", 1), 1)
        + frame(2, choice("a", "null"), 2)
        + frame(3, choice("b", "length", 1), 2)
        + frame(4, choice("aA", "null"), 3)
        + frame(5, choice("aA", "stop"), 3)
    )


HALF = TokenLogprob(b"\xe4\xbd", -0.5, (Alternative(b"a", float("-inf")),))
REST = TokenLogprob(b"\xa0", -0.25)
LOGGED: tuple[Event, ...] = (
    Started(22, 3),
    Text(0, "", 1, (HALF,)),
    Text(0, "你", 1, (REST,)),
    Ended(0, "stop"),
    Finished(22, 3, 2),
)
HALF_JSON = (
    '{"token":"bytes:\\\\xe4\\\\xbd","bytes":[228,189],"logprob":-0.5,'
    '"top_logprobs":[{"token":"a","bytes":[97],"logprob":-9999.0}]}'
)
REST_JSON = '{"token":"bytes:\\\\xa0","bytes":[160],"logprob":-0.25,"top_logprobs":[]}'


def test_logprobs_keep_every_byte() -> None:
    lines = compat(LOGGED, logprobs=True).decode().split("\n\n")
    assert f'"delta":{{"content":""}},"index":0,"logprobs":{{"content":[{HALF_JSON}]}}}}' in lines[1]
    assert f'"delta":{{"content":"你"}},"index":0,"logprobs":{{"content":[{REST_JSON}]}}}}' in lines[2]
    one, two = (f',"logprobs":{{"content":[{entry}]}}' for entry in (HALF_JSON, REST_JSON))
    assert native(LOGGED, logprobs=True).decode() == (
        frame(1, choice("", "null", logs=one), 1)
        + frame(2, choice("你", "null", logs=two), 2)
        + frame(3, choice("", "stop"), 2)
    )
    both = f',"logprobs":{{"content":[{HALF_JSON},{REST_JSON}]}}'
    assert native(LOGGED, logprobs=True, incremental=False).decode() == (
        frame(1, choice("", "null", logs=one), 1)
        + frame(2, choice("你", "null", logs=both), 2)
        + frame(3, choice("你", "stop", logs=both), 2)
    )


def test_logprobs_are_written_only_when_asked_for() -> None:
    assert "bytes" not in compat(LOGGED).decode() + native(LOGGED).decode()


@given(st.binary(max_size=6))
def test_no_token_text_is_ever_a_replacement(data: bytes) -> None:
    text = logprobs.token_text(data)
    assert "\ufffd" not in text or "\ufffd".encode() in data


def test_not_a_number_is_no_json() -> None:
    assert json.loads(b"[" + logprobs.encoded([TokenLogprob(b"a", float("nan"))]) + b"]")[0]["logprob"] == -9999.0


def test_a_failure_in_the_middle() -> None:
    events = (Started(22, 3), Text(0, "a", 1), Failed(EngineLost()))
    last = compat(events).decode().split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: ")) == {
        "error": {
            "code": "ModelUnavailable",
            "param": None,
            "message": "Model is unavailable, please try again later.",
            "type": "ModelUnavailable",
        },
        "id": "chatcmpl-U",
        "request_id": "U",
    }
    assert "[DONE]" not in compat(events).decode()
    assert native(events).decode() == (
        frame(1, choice("a", "null"), 1) + "id:2\nevent:error\n:HTTP_STATUS/503\n"
        'data:{"code":"ModelUnavailable","message":"Model is unavailable, please try again later.",'
        '"request_id":"U"}\n\n'
    )


def whole(protocol: str, events: Sequence[Event], message: bool = True, **fields: Any) -> Any:
    writer: compat_write.Writer | native_write.Writer
    if protocol == "compat":
        writer = compat_write.Writer(request(**fields), compat_read.Form(False, False), 1726132850)
    else:
        writer = native_write.Writer(request(**fields), native_read.Form(False, message, False))
    return json.loads(writer.whole(events))


def test_whole_answers() -> None:
    assert whole("compat", HELLO) == {
        "choices": [
            {
                "message": {"role": "assistant", "content": '你"\n'},
                "finish_reason": "length",
                "index": 0,
                "logprobs": None,
            }
        ],
        "object": "chat.completion",
        "usage": {
            "prompt_tokens": 22,
            "completion_tokens": 3,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
        "created": 1726132850,
        "system_fingerprint": None,
        "model": "qwen-plus",
        "id": "chatcmpl-U",
    }
    usage = {
        "total_tokens": 25,
        "output_tokens": 3,
        "input_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    assert whole("native", HELLO) == {
        "output": {
            "choices": [{"finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": '你"\n'}}]
        },
        "usage": usage,
        "request_id": "U",
    }
    assert whole("native", HELLO, message=False) == {
        "output": {"finish_reason": "length", "text": '你"\n'},
        "usage": usage,
        "request_id": "U",
    }


def test_whole_logprobs_and_choices() -> None:
    for protocol in ("compat", "native"):
        answer = whole(protocol, LOGGED, logprobs=True)
        choices = answer["choices"] if protocol == "compat" else answer["output"]["choices"]
        assert [entry["bytes"] for entry in choices[0]["logprobs"]["content"]] == [[228, 189], [160]]
        answer = whole(protocol, MANY, choices=2)
        choices = answer["choices"] if protocol == "compat" else answer["output"]["choices"]
        assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in choices] == [
            (0, "aA", "stop"),
            (1, "b", "length"),
        ]


@pytest.mark.parametrize("protocol", ["compat", "native"])
def test_a_whole_answer_that_failed_raises(protocol: str) -> None:
    with pytest.raises(QueueFull):
        whole(protocol, (Started(1, 0), Failed(QueueFull())))


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, list[Event]]:
    count = draw(st.integers(1, 3))
    events: list[Event] = [Started(5, 1)]
    total = 0
    for index, text in draw(st.lists(st.tuples(st.integers(0, count - 1), st.text(max_size=6)), max_size=12)):
        events.append(Text(index, text, 1))
        total += 1
    events += [Ended(index, draw(st.sampled_from(["stop", "length"]))) for index in draw(st.permutations(range(count)))]
    return count, [*events, Finished(5, 1, total)]


@settings(max_examples=150, deadline=None)
@given(answers())
def test_a_stream_adds_up_to_the_whole(answer: tuple[int, list[Event]]) -> None:
    count, events = answer
    expected = [
        (one["message"]["content"], one["finish_reason"]) for one in whole("compat", events, choices=count)["choices"]
    ]
    chunks = [json.loads(line[6:]) for line in compat(events, choices=count).decode().split("\n\n")[:-2]]
    texts, reasons = [""] * count, [""] * count
    for one in (entry for part in chunks for entry in part["choices"]):
        texts[one["index"]] += one["delta"]["content"]
        reasons[one["index"]] = one["finish_reason"] or reasons[one["index"]]
    assert list(zip(texts, reasons, strict=True)) == expected
    for incremental in (True, False):
        texts = [""] * count
        data = native(events, choices=count, incremental=incremental).decode()
        frames = [json.loads(part.split("\ndata:", 1)[1]) for part in data.split("\n\n")[:-1]]
        for one in (part["output"]["choices"][0] for part in frames):
            piece = one["message"]["content"]
            texts[one["index"]] = texts[one["index"]] + piece if incremental else piece
            reasons[one["index"]] = one["finish_reason"]
        assert list(zip(texts, reasons, strict=True)) == expected
        assert frames[-1]["usage"]["output_tokens"] == events[-1].output_tokens  # type: ignore[union-attr]


CALLED: tuple[Event, ...] = (
    Started(22, 3),
    Text(0, "Hm.", 1),
    CallStarted(0, 0, "call_a", "f"),
    CallArguments(0, 0, '{"a": ', 4),
    CallArguments(0, 0, "", 1),
    CallArguments(0, 0, "1}", 1),
    CallStarted(0, 1, "call_b", "g"),
    CallArguments(0, 1, "{}", 2),
    Ended(0, "tool_calls"),
    Finished(22, 3, 10),
)


def called(index: int, id: str, arguments: str, name: str = "") -> str:
    said = f'"name":"{name}",' if name else ""
    return f'{{"index":{index},"id":"{id}","type":"function","function":{{{said}"arguments":{json.dumps(arguments)}}}}}'


def test_calls_in_a_compat_stream_byte_for_byte() -> None:
    def delta(fragment: str) -> str:
        return chunk(
            f'{{"finish_reason":null,"delta":{{"content":"","tool_calls":[{fragment}]}},"index":0,"logprobs":null}}'
        )

    assert compat(CALLED).decode() == (
        chunk('{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null,"finish_reason":null}')
        + chunk('{"finish_reason":null,"delta":{"content":"Hm."},"index":0,"logprobs":null}')
        + delta(called(0, "call_a", "", "f"))
        + delta(called(0, "", '{"a": '))
        + delta(called(0, "", "1}"))
        + delta(called(1, "call_b", "", "g"))
        + delta(called(1, "", "{}"))
        + chunk('{"finish_reason":"tool_calls","delta":{"content":""},"index":0,"logprobs":null}')
        + "data: [DONE]\n\n"
    )


def test_calls_in_native_streams_byte_for_byte() -> None:
    def calling(text: str, *calls: str, reason: str = "null") -> str:
        listed = f',"tool_calls":[{",".join(calls)}]'
        return choice(text, reason).replace(',"role"', listed + ',"role"')

    assert native(CALLED).decode() == (
        frame(1, choice("Hm.", "null"), 1)
        + frame(2, calling("", called(0, "call_a", "", "f")), 1)
        + frame(3, calling("", called(0, "", '{"a": ')), 5)
        + frame(4, calling("", called(0, "", "1}")), 7)
        + frame(5, calling("", called(1, "call_b", "", "g")), 7)
        + frame(6, calling("", called(1, "", "{}")), 9)
        + frame(7, choice("", "tool_calls"), 10)
    )
    whole_call = called(0, "call_a", '{"a": 1}', "f")
    assert native(CALLED, incremental=False).decode() == (
        frame(1, choice("Hm.", "null"), 1)
        + frame(2, calling("Hm.", called(0, "call_a", "", "f")), 1)
        + frame(3, calling("Hm.", called(0, "call_a", '{"a": ', "f")), 5)
        + frame(4, calling("Hm.", whole_call), 7)
        + frame(5, calling("Hm.", whole_call, called(1, "call_b", "", "g")), 7)
        + frame(6, calling("Hm.", whole_call, called(1, "call_b", "{}", "g")), 9)
        + frame(7, calling("Hm.", whole_call, called(1, "call_b", "{}", "g"), reason="tool_calls"), 10)
    )


@pytest.mark.parametrize("protocol", ["compat", "native"])
def test_whole_calls(protocol: str) -> None:
    answer = whole(protocol, CALLED)
    (only,) = answer["choices"] if protocol == "compat" else answer["output"]["choices"]
    assert only["finish_reason"] == "tool_calls"
    assert only["message"] == {
        "role": "assistant",
        "content": "Hm.",
        "tool_calls": [
            {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_a_forced_call_ends_natively_with_stop() -> None:
    forced = replace(request(), tool_choice=ToolChoice("function", "f"))
    for stream in (True, False):
        writer = native_write.Writer(forced, native_read.Form(stream, True, True))
        said = b"".join(map(writer.frame, CALLED)) if stream else writer.whole(CALLED)
        assert b'"finish_reason":"stop"' in said
        assert b'"finish_reason":"tool_calls"' not in said
    compatible = compat_write.Writer(forced, compat_read.Form(False, False), 1)
    assert b'"finish_reason":"tool_calls"' in compatible.whole(CALLED)
