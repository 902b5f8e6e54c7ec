"""The field tables are the truth: what they call ignored is listed, what they call used or refused is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.errors import Fault
from segue.core.request import Caller, Request
from segue.wire.dashscope import read as dashscope
from segue.wire.fields import IGNORED_MAX
from segue.wire.http import Limits
from segue.wire.openai import read as openai

CALLER = Caller("k", "w")
LIMITS = Limits()
USER = {"role": "user", "content": "hi"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
# Values close to right ones reach deeper than arbitrary ones do.
NEAR = JSON | st.sampled_from(
    [
        [USER],
        [USER, {"role": "assistant", "content": "a", "partial": True}],
        [{"role": "tool", "content": "x"}],
        {"type": "json_schema", "json_schema": {"schema": {}}},
        [{"type": "function", "function": {"name": "f"}}],
        [[1], [2]],
        "text",
        "message",
        10**400,
        1e308,
    ]
)


def top_level(table: Any, prefix: str = "") -> list[str]:
    names = [name.removeprefix(prefix) for name in table if name.startswith(prefix)]
    return [name for name in names if "." not in name and "[" not in name]


COMPAT = top_level(openai.FIELDS)
PARAMETERS = top_level(dashscope.FIELDS, "parameters.")
INPUT = top_level(dashscope.FIELDS, "input.")


def compat(body: dict[str, Any]) -> Request:
    return openai.read(body, "id", CALLER, LIMITS, 100)[0]


def native(body: dict[str, Any]) -> Request:
    return dashscope.read(body, False, "id", CALLER, LIMITS, 100)[0]


def ignored_or_fault(read: Any, body: dict[str, Any]) -> tuple[str, ...] | None:
    """What was listed; None when the body was refused."""
    try:
        ignored: tuple[str, ...] = read(body).ignored
    except Fault:
        return None
    return ignored


@pytest.mark.parametrize("name", COMPAT)
def test_every_compat_field_is_what_its_table_says(name: str) -> None:
    field = openai.FIELDS[name]
    body = {"model": "m", "messages": [USER]} | {name: object()}
    match field.status:
        case "ignored":
            assert field.reason
            assert ignored_or_fault(compat, body) == (name,)
        case "used":  # a used field cannot have any value whatever
            assert ignored_or_fault(compat, body) is None
        case "refused":
            assert field.reason
            assert ignored_or_fault(compat, body | {name: True}) is None


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_native_parameter_is_what_its_table_says(name: str) -> None:
    field = dashscope.FIELDS["parameters." + name]
    body = {"model": "m", "input": {"messages": [USER]}, "parameters": {name: object()}}
    match field.status:
        case "ignored":
            assert field.reason
            assert ignored_or_fault(native, body) == ("parameters." + name,)
        case "used":
            assert ignored_or_fault(native, body) is None
        case "refused":
            assert field.reason
            assert ignored_or_fault(native, body | {"parameters": {name: True}}) is None


def test_unknown_fields_are_listed_where_they_are() -> None:
    body = {"model": "m", "messages": [USER | {"odd": 1}], "strange": 1, "nothing": None, "stream_options": {"x": 1}}
    assert compat(body).ignored == ("stream_options.x", "messages.0.odd", "strange")
    body = {"model": "m", "input": {"prompt": "x", "a": 1}, "parameters": {"b": 1}, "tools": []}
    assert native(body).ignored == ("tools", "input.a", "parameters.b")


def test_the_list_of_ignored_fields_is_bounded() -> None:
    extra = {f"{'x' * 1000}{number}": 1 for number in range(1000)} | {str(number): 1 for number in range(1000)}
    ignored = compat({"model": "m", "messages": [USER]} | extra).ignored
    assert len(ignored) <= IGNORED_MAX
    assert all(len(name) <= 64 for name in ignored)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(COMPAT) | st.text(max_size=5), NEAR, max_size=5), st.booleans())
def test_no_compat_value_raises_anything_but_a_fault(fields: dict[str, Any], valid: bool) -> None:
    ignored_or_fault(compat, ({"model": "m", "messages": [USER]} if valid else {}) | fields)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from(INPUT), NEAR, max_size=2),
    st.dictionaries(st.sampled_from(PARAMETERS) | st.text(max_size=5), NEAR, max_size=5),
    st.none() | JSON,
)
def test_no_native_value_raises_anything_but_a_fault(
    source: dict[str, Any], parameters: dict[str, Any], stray: object
) -> None:
    ignored_or_fault(native, {"model": "m", "input": {"messages": [USER]} | source, "parameters": parameters})
    ignored_or_fault(native, {"model": "m", "input": stray, "parameters": stray})


MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["system", "user", "assistant", "tool", "function", "plugin", "x"]) | JSON,
        "content": st.text(max_size=9) | JSON,
        "partial": st.booleans() | JSON,
        "tool_calls": JSON | st.just([{"id": "a", "function": {"name": "f", "arguments": "{}"}}]),
        "tool_call_id": JSON,
        "name": JSON,
    },
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSAGE | JSON, max_size=5))
def test_no_message_raises_anything_but_a_fault(listed: list[Any]) -> None:
    first = ignored_or_fault(compat, {"model": "m", "messages": listed})
    ignored_or_fault(native, {"model": "m", "input": {"messages": listed}})
    if first is not None:
        request = compat({"model": "m", "messages": listed})
        assert len(request.messages) + (request.prefix is not None) == len(listed)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4),
    st.none() | st.text(),
    st.floats(0, 1.99) | st.none(),
    st.integers(0, 2**63 - 1) | st.none(),
)
def test_a_valid_body_is_read_word_for_word(
    turns: list[tuple[str, str]], prefix: str | None, temperature: float | None, seed: int | None
) -> None:
    listed: list[dict[str, Any]] = []
    for user, bot in turns:
        listed += [{"role": "user", "content": user}, {"role": "assistant", "content": bot}]
    if prefix is None:
        listed.pop()
    else:
        listed[-1] = {"role": "assistant", "content": prefix, "partial": True}
    parameters: dict[str, Any] = {"temperature": temperature, "seed": seed}
    request = compat({"model": "m", "messages": listed} | parameters)
    parameters["result_format"] = "message"
    assert request == native({"model": "m", "input": {"messages": listed}, "parameters": parameters})
    texts = [message.content for message in request.messages] + ([] if request.prefix is None else [request.prefix])
    assert texts == [message["content"] for message in listed]
    assert (request.sampling.temperature, request.sampling.seed) == (temperature, seed)
