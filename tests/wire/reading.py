"""Both protocols' readers, called as the routes call them, and what several tests send them."""

from __future__ import annotations

from typing import Any

import pytest

from segue.core.errors import (
    Fault,
)
from segue.core.request import Caller, Message, Request
from segue.wire.dashscope import read as dashscope
from segue.wire.http import Limits
from segue.wire.openai import read as openai
from segue.wire.parameters import StopLimits

CALLER = Caller("k", "w")
LIMITS = Limits(messages_max=6, stops=StopLimits(entries_max=3, length_max=8))
USER = {"role": "user", "content": "hi"}
PLAIN = Request("id", CALLER, "m", (Message("user", "hi"),))


def any_of(*values: Any) -> tuple[Any, ...]:
    """Values of any kinds, for loops whose element type nobody could name."""
    return values


def compat(body: Any) -> tuple[Request, openai.Form]:
    return openai.read(body, "id", CALLER, LIMITS, 2048)


def native(body: Any, stream: bool = False) -> tuple[Request, dashscope.Form]:
    return dashscope.read(body, stream, "id", CALLER, LIMITS, 2048)


def both(fields: dict[str, Any], messages: list[Any] | None = None) -> tuple[Request, Request]:
    """The same parameters and messages, read in both protocols (natively in message form)."""
    listed = [USER] if messages is None else messages
    return (
        compat({"model": "m", "messages": listed} | fields)[0],
        native({"model": "m", "input": {"messages": listed}, "parameters": {"result_format": "message"} | fields})[0],
    )


def refused(fields: dict[str, Any], messages: list[Any] | None = None) -> Fault:
    """The fault both protocols raise alike; its path is the compatible one's."""
    listed = [USER] if messages is None else messages
    with pytest.raises(Fault) as first:
        compat({"model": "m", "messages": listed} | fields)
    with pytest.raises(Fault) as second:
        native({"model": "m", "input": {"messages": listed}, "parameters": {"result_format": "message"} | fields})
    assert type(first.value) is type(second.value)
    path, other = getattr(first.value, "field", ""), getattr(second.value, "field", "")
    assert other.removeprefix("parameters.").removeprefix("input.") == path
    return first.value


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant"} | fields
