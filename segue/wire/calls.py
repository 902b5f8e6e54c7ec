"""Calls of functions as both protocols write them.

Laws: `tool_calls` is absent where nothing is called, for clients test for the key; a fragment of a stream
has the call's id and name once, then an empty id and no name, so that a client may add fragments up.
"""

from __future__ import annotations

import msgspec

from segue.core.events import CallArguments, CallStarted, Choice
from segue.core.request import ToolCall

encode = msgspec.json.encode


def message(choice: Choice, thinks: bool) -> dict[str, object]:
    """An assistant's whole message; with its thought, be it empty, where the model `thinks`."""
    made: dict[str, object] = {"role": "assistant", "content": choice.text}
    if thinks:
        made["reasoning_content"] = choice.thought
    if choice.tool_calls:
        made["tool_calls"] = [entry(index, call) for index, call in enumerate(choice.tool_calls)]
    return made


def entry(index: int, call: ToolCall) -> dict[str, object]:
    """One whole call, or what is there of it so far."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def fragment(event: CallStarted | CallArguments) -> bytes | None:
    """A piece of a call; None for one that says nothing."""
    if isinstance(event, CallStarted):
        return encode(entry(event.index, ToolCall(event.id, event.name, "")))
    if not event.text:
        return None
    body = b'{"index":%d,"id":"","type":"function","function":{"arguments":%b}}'
    return body % (event.index, encode(event.text))
