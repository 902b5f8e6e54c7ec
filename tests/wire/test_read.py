"""Bodies become Requests, or Faults: parameters and forms, golden cases for both protocols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from segue.core.errors import (
    Fault,
    FieldMissing,
    FieldWrong,
    MessagesInvalid,
    NotSupported,
    OutOfRange,
    StopInvalid,
    TooLarge,
)
from segue.core.request import Delivery, Format, Message, Sampling, Stop, Tool, ToolChoice
from segue.wire.dashscope import read as dashscope
from segue.wire.openai import read as openai

from .reading import LIMITS, PLAIN, TOOL, USER, any_of, assistant, both, compat, native, refused

READ = Tool("f", "d", {"type": "object"})
ACCEPTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"temperature": 0}, {"sampling": Sampling(temperature=0.0)}),
    ({"temperature": 1.99, "top_p": 1}, {"sampling": Sampling(temperature=1.99, top_p=1.0)}),
    ({"top_k": 0}, {"sampling": Sampling(top_k=0)}),
    ({"top_k": 1e300}, {"sampling": Sampling(top_k=2**31 - 1)}),
    ({"repetition_penalty": 1.1}, {"sampling": Sampling(repetition_penalty=1.1)}),
    (
        {"presence_penalty": -2, "frequency_penalty": 2},
        {"sampling": Sampling(presence_penalty=-2, frequency_penalty=2)},
    ),
    ({"seed": 0}, {"sampling": Sampling(seed=0)}),
    ({"seed": 2**63 - 1}, {"sampling": Sampling(seed=2**63 - 1)}),
    ({"max_tokens": 5.0}, {"output_tokens_max": 5}),
    ({"max_tokens": 7, "max_completion_tokens": 5}, {"output_tokens_max": 5}),
    ({"max_completion_tokens": 9}, {"output_tokens_max": 9}),
    ({"n": 4}, {"choices": 4}),
    ({"logprobs": True, "top_logprobs": 5}, {"logprobs": True, "top_logprobs": 5}),
    ({"top_logprobs": 5}, {}),
    ({"stop": "x"}, {"stop": Stop(("x",))}),
    ({"stop": ["a", "b"]}, {"stop": Stop(("a", "b"))}),
    ({"stop": [1, 2]}, {"stop": Stop((), ((1,), (2,)))}),
    ({"stop": [[1, 2], [3]]}, {"stop": Stop((), ((1, 2), (3,)))}),
    ({"stop": ["", "b"]}, {"stop": Stop(("b",))}),
    ({"stop": []}, {}),
    ({"stop": [[], [3]]}, {"stop": Stop((), ((3,),))}),
    ({"tools": [TOOL]}, {"tools": (READ,)}),
    ({"tools": [{"function": {"name": "f", "parameters": "not-a-schema"}}]}, {"tools": (Tool("f", "", {}),)}),
    ({"tools": []}, {}),
    ({"tool_choice": "none"}, {"tool_choice": ToolChoice("none")}),
    ({"tool_choice": "required", "tools": [TOOL]}, {"tool_choice": ToolChoice("required"), "tools": (READ,)}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [TOOL]},
        {"tool_choice": ToolChoice("function", "f"), "tools": (READ,)},
    ),
    ({"parallel_tool_calls": True}, {"parallel_tool_calls": True}),
    ({"response_format": {"type": "text"}}, {}),
    ({"response_format": {"type": "json_object"}}, {"format": Format("json_object")}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"x": 1}}, "strict": True}},
        {"format": Format("json_schema", "a", {"x": 1}, True)},
    ),
    ({"enable_thinking": False, "thinking_budget": 10}, {"thinking": False, "thinking_budget": 10}),
    ({"enable_thinking": True}, {"thinking": True}),
    ({"enable_search": False}, {}),
    ({"deterministic": True}, {"deterministic": True}),
]


@pytest.mark.parametrize(("fields", "expected"), ACCEPTED, ids=lambda value: str(value)[:50])
def test_parameters_are_read(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    request, other = both(fields)
    assert request == other == replace(PLAIN, **expected)


@pytest.mark.parametrize("name", sorted({name for fields, _ in ACCEPTED for name in fields} | {"stream"}))
def test_null_is_absent(name: str) -> None:
    assert both({name: None}) == (PLAIN, PLAIN)


def test_an_unused_stray_of_a_tool_is_listed() -> None:
    request, other = both({"tools": [{"type": "function", "function": {"name": "f", "required": ["x"]}}]})
    assert request.ignored == ("tools.0.function.required",)
    assert other.ignored == ("parameters.tools.0.function.required",)


REFUSED: list[tuple[dict[str, Any], type[Fault], dict[str, Any]]] = [
    *[({"temperature": value}, OutOfRange, {"field": "temperature"}) for value in (-0.1, 2, 10**400)],
    *[({"top_p": value}, OutOfRange, {"field": "top_p"}) for value in (0, 1.01)],
    ({"top_k": -1}, OutOfRange, {"field": "top_k"}),
    ({"top_k": 1.5}, FieldWrong, {"got": "fraction"}),
    *[({"repetition_penalty": value}, OutOfRange, {}) for value in (0, -1, 10**400)],
    *[({"presence_penalty": value}, OutOfRange, {}) for value in (-2.1, 2.1)],
    ({"frequency_penalty": 3}, OutOfRange, {}),
    *[({"seed": value}, OutOfRange, {"field": "seed"}) for value in (-1, 2**63)],
    *[({"max_tokens": value}, OutOfRange, {"high": 2048}) for value in (0, -1)],
    ({"max_completion_tokens": 0}, OutOfRange, {"field": "max_tokens"}),
    *[({"n": value}, OutOfRange, {"field": "n"}) for value in (0, 5)],
    ({"n": 2, "tools": [TOOL]}, OutOfRange, {"field": "n"}),
    *[({"top_logprobs": value}, OutOfRange, {}) for value in (-1, 6)],
    ({"thinking_budget": 0}, OutOfRange, {}),
    *[
        ({name: value}, FieldWrong, {"expected": "number"})
        for name in ("temperature", "top_p", "repetition_penalty", "presence_penalty")
        for value in any_of(True, "x", [], {})
    ],
    *[
        ({name: value}, FieldWrong, {"expected": "integer"})
        for name in ("seed", "top_k", "max_tokens", "n", "top_logprobs")
        for value in any_of(True, "x", 1.5, [])
    ],
    *[
        ({name: value}, FieldWrong, {"expected": "boolean"})
        for name in ("logprobs", "enable_thinking", "enable_search", "parallel_tool_calls", "deterministic")
        for value in any_of("true", 1, [])
    ],
    ({"enable_search": True}, NotSupported, {"feature": "search"}),
    *[({"stop": value}, StopInvalid, {"mixed": False}) for value in any_of(1, 1.5, {}, True)],
    *[
        ({"stop": value}, StopInvalid, {"mixed": True})
        for value in any_of(["a", 1], [1, [2]], [["a"]], [None], [True], [1.5], [-1], [2**31], [[2**31]], [{}])
    ],
    ({"stop": ["a"] * 4}, TooLarge, {"what": "stop", "limit": 3}),
    ({"stop": "a" * 9}, TooLarge, {"what": "stop", "limit": 8}),
    ({"stop": [[1] * 9]}, TooLarge, {"what": "stop", "limit": 8}),
    ({"tools": {}}, FieldWrong, {"field": "tools"}),
    ({"tools": [1]}, FieldWrong, {"field": "tools.0"}),
    ({"tools": [{"type": "function"}]}, FieldMissing, {"field": "tools.0.function"}),
    ({"tools": [{"type": "x", "function": {"name": "f"}}]}, FieldWrong, {"field": "tools.0.type"}),
    ({"tools": [{"function": {}}]}, FieldMissing, {"field": "tools.0.function.name"}),
    ({"tools": [{"function": {"name": "search"}}]}, FieldWrong, {"value": "search"}),
    ({"tools": [{"function": {"name": "f", "description": 1}}]}, FieldWrong, {"expected": "string"}),
    ({"tools": [TOOL] * 129}, TooLarge, {"what": "tools", "limit": 128}),
    ({"tool_choice": "any"}, FieldWrong, {"expected": "value"}),
    ({"tool_choice": "required"}, FieldMissing, {"field": "tools"}),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, FieldMissing, {"field": "tools"}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [TOOL]},
        FieldWrong,
        {"field": "tool_choice.function.name", "value": "g"},
    ),
    *[
        ({"tool_choice": value}, FieldWrong, {"expected": "object"})
        for value in any_of(1, {}, {"type": "function"}, [])
    ],
    *[
        ({"response_format": value}, FieldWrong, {"expected": "object"})
        for value in any_of("json", [], {}, {"type": 1})
    ],
    ({"response_format": {"type": "xml"}}, FieldWrong, {"value": "xml"}),
    ({"response_format": {"type": "json_object", "json_schema": {}}}, FieldWrong, {"expected": "value"}),
    ({"response_format": {"type": "json_schema"}}, FieldMissing, {}),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, FieldMissing, {}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a" * 65, "schema": {}}}},
        FieldWrong,
        {"expected": "string"},
    ),
]


@pytest.mark.parametrize(("fields", "fault", "facts"), REFUSED, ids=lambda value: str(value)[:50])
def test_parameters_are_refused(fields: dict[str, Any], fault: type[Fault], facts: dict[str, Any]) -> None:
    raised = refused(fields)
    assert type(raised) is fault
    assert {name: getattr(raised, name) for name in facts} == facts


def test_numbers_in_strings_are_native_only() -> None:
    fields = {"temperature": "0.5", "top_k": "7", "max_tokens": "8.0", "seed": "+3"}
    request = native({"model": "m", "input": {"messages": [USER]}, "parameters": fields})[0]
    assert request.sampling == Sampling(temperature=0.5, top_k=7, seed=3)
    assert request.output_tokens_max == 8
    for name, value in fields.items():
        with pytest.raises(FieldWrong):
            compat({"model": "m", "messages": [USER], name: value})


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "", " ", "0x1", "1e99999", "x" * 10**5])
def test_strings_that_are_no_numbers(text: str) -> None:
    for name in ("temperature", "top_k"):
        with pytest.raises(FieldWrong) as raised:
            native({"model": "m", "input": {"messages": [USER]}, "parameters": {name: text}})
        assert raised.value.got == "text"


def test_compat_form() -> None:
    body = {"model": "m", "messages": [USER]}
    assert compat(body)[1] == openai.Form(False, False)
    assert compat(body | {"stream": True})[1] == openai.Form(True, False)
    assert compat(body | {"stream": True, "stream_options": {"include_usage": True}})[1] == openai.Form(True, True)
    for wrong in any_of({"stream": 1}, {"stream_options": 1}, {"stream_options": {"include_usage": "x"}}):
        with pytest.raises(FieldWrong):
            compat(body | wrong)
    with pytest.raises(NotSupported):
        compat(body | {"web_search_options": {}})
    with pytest.raises(FieldMissing):
        compat({"model": "m"})
    with pytest.raises(FieldMissing):
        compat({"messages": [USER]})
    with pytest.raises(FieldWrong):
        compat({"model": 1, "messages": [USER]})


def test_native_form() -> None:
    def form(stream: bool = False, **fields: Any) -> dashscope.Form:
        return native({"model": "m", "input": {"prompt": "hi"}, "parameters": fields}, stream)[1]

    assert form() == dashscope.Form(False, False, None)
    assert native({"model": "m", "input": {"prompt": "hi"}})[1] == dashscope.Form(False, False, None)
    assert form(True, result_format="message", incremental_output=True) == dashscope.Form(True, True, True)
    for wrong in any_of({"result_format": "xml"}, {"result_format": 1}, {"incremental_output": "true"}, {"n": 2}):
        with pytest.raises(FieldWrong):
            form(**wrong)
    with pytest.raises(FieldWrong) as raised:
        form(tools=[TOOL])
    assert raised.value.field == "parameters.tools"


def test_prompt_and_history() -> None:
    history = [{"user": "a", "bot": "b"}, {"user": "c"}]
    request = native({"model": "m", "input": {"prompt": "hi", "history": history}})[0]
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("user", "hi"))
    bare = Delivery(bare=True)
    assert request == replace(PLAIN, messages=turns, delivery=bare)
    request = native({"model": "m", "input": {"messages": [USER], "history": history}})[0]
    assert request == replace(PLAIN, ignored=("input.history",), delivery=bare)


NATIVE_BAD: list[tuple[dict[str, Any], type[Fault], dict[str, Any]]] = [
    ({}, FieldMissing, {"field": "model"}),
    ({"model": ""}, FieldMissing, {"field": "model"}),
    ({"model": "m"}, FieldMissing, {"field": "input"}),
    ({"model": "m", "input": 1}, FieldWrong, {"field": "input"}),
    ({"model": "m", "input": {}}, MessagesInvalid, {"why": "neither_prompt_nor_messages"}),
    ({"model": "m", "input": {"prompt": "a", "messages": []}}, MessagesInvalid, {"why": "prompt_and_messages"}),
    ({"model": "m", "input": {"prompt": 1}}, FieldWrong, {"field": "input.prompt"}),
    ({"model": "m", "input": {"prompt": "a", "history": {}}}, FieldWrong, {"field": "input.history"}),
    ({"model": "m", "input": {"prompt": "a", "history": [1]}}, FieldWrong, {"field": "input.history.0"}),
    ({"model": "m", "input": {"prompt": "a", "history": [{}]}}, FieldMissing, {"field": "input.history.0.user"}),
    ({"model": "m", "input": {"prompt": "a"}, "parameters": []}, FieldWrong, {"field": "parameters"}),
    (
        {"model": "m", "input": {"prompt": "a"}, "parameters": {"top_p": "x"}},
        FieldWrong,
        {"field": "parameters.top_p", "got": "text"},
    ),
    (
        {"model": "m", "input": {"messages": [USER, assistant(content="a", partial=1)]}},
        FieldWrong,
        {"field": "input.messages.1.partial"},
    ),
]


@pytest.mark.parametrize(("body", "fault", "facts"), NATIVE_BAD, ids=lambda value: str(value)[:50])
def test_native_refusals(body: dict[str, Any], fault: type[Fault], facts: dict[str, Any]) -> None:
    with pytest.raises(fault) as raised:
        native(body)
    assert {name: getattr(raised.value, name) for name in facts} == facts


def test_tokenizer_texts() -> None:
    def texts(source: Any) -> list[str]:
        return dashscope.texts({"model": "m", "input": source}, LIMITS)

    assert texts({"prompt": "ab"}) == ["ab"]
    assert texts({"messages": [USER, assistant(content="b")]}) == ["hi", "b"]
    for wrong in any_of({}, None, 1, {"prompt": "a", "messages": [USER]}, {"messages": []}):
        with pytest.raises(Fault):
            texts(wrong)
