"""Requests for tests, without the wire."""

from __future__ import annotations

from segue.core.request import Caller, Message, Request

CALLER = Caller("key-1", "space-1")


def user(content: str) -> Message:
    return Message("user", content)


def said(content: str) -> Message:
    return Message("assistant", content)


def request(*messages: Message, **fields: object) -> Request:
    """A request by `CALLER` to the model `scripted`; `fields` are those of `Request`."""
    known: dict[str, object] = {"id": "r1", "caller": CALLER, "model": "scripted"}
    return Request(**(known | {"messages": messages} | fields))  # type: ignore[arg-type]
