"""Events, written as the Responses API's stream events or one response.

Laws: the items of a whole response are put together from the same events, by the same steps, as those of a stream;
items are numbered in the order in which they begin, one is done before the next begins; events are numbered from
0; a response that is to be kept is kept when it is complete, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from segue.core.errors import Fault
from segue.core.events import CallArguments, CallStarted, Ended, Event, Failed, Finished, Started, Text, Thought
from segue.core.request import Message, Request, ToolCall
from segue.wire.responses.read import Form
from segue.wire.wording import compat

encode = msgspec.json.encode

Keep = Callable[[tuple[Message, ...], bytes], None]
Item = dict[str, object]


class Writer:
    """Writes one response.  `created` is in unix seconds; `keep` takes the conversation and the response."""

    heartbeat = b": keep-alive\n\n"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream_headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, request: Request, form: Form, created: int, keep: Keep) -> None:
        self._id, self._model = request.id, request.model
        self._created, self._form, self._keep = created, form, keep
        said = len(request.messages) - (0 if form.instructions is None else 1)
        self._before = request.messages[len(request.messages) - said :] if form.store else ()
        self._begun = request.prefix or ""
        self._thought = request.thought or ""
        self._temperature, self._top_p = request.sampling.temperature, request.sampling.top_p
        self._parallel = request.parallel_tool_calls
        self._items: list[Item] = []
        self._kind = ""
        self._text = ""
        self._calls: list[ToolCall] = []
        self._sequence = 0
        self._cut = False
        self._body = b""

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        match event:
            case Text():
                return self._said("message", event.text)
            case Thought():
                return self._said("reasoning", event.text)
            case CallStarted():
                closed = self._close()
                self._kind, self._text = "function_call", ""
                named = {"call_id": event.id, "name": event.name, "arguments": ""}
                return closed + self._added({"id": f"fc_{event.id}", "type": "function_call", **named})
            case CallArguments():
                return self._said("function_call", event.text)
            case Started():
                told: Item = {"response": self._response("in_progress", None)}
                return self._event("response.created", told) + self._event("response.in_progress", told)
            case Ended():
                self._cut = event.reason == "length"
                return self._close()
            case Finished():
                status = "incomplete" if self._cut else "completed"
                made = self._response(status, event)
                self._body = encode(made)
                if self._form.store:
                    self._keep((*self._before, self._message()), self._body)
                return self._event(f"response.{status}", {"response": made})
            case Failed():
                return self._failed(event.fault)

    def whole(self, events: Sequence[Event]) -> bytes:
        """One response.  Raises the Fault of a `Failed`."""
        for event in events:
            if isinstance(event, Failed):
                raise event.fault
            self.frame(event)
        return self._body

    def _message(self) -> Message:
        """The answer as the next response finds it, what it went on from included."""
        texts = {kind: "".join(_texts(item) for item in self._items if item["type"] == kind) for kind in _PARTS}
        reasoning = self._thought + texts["reasoning"]
        return Message(
            "assistant", self._begun + texts["message"], tool_calls=tuple(self._calls), reasoning=reasoning or None
        )

    def _said(self, kind: str, text: str) -> bytes:
        """A piece of the open item, or of a new one."""
        if not text:
            return b""
        opened = b""
        if self._kind != kind:
            opened = self._close()
            self._kind, self._text = kind, ""
            opened += self._added(_empty(kind, f"{self._id}_{len(self._items)}")) + self._part("added", "")
        self._text += text
        delta: Item = {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1, "delta": text}
        return opened + self._event(f"response.{_DELTAS[kind]}.delta", _placed(kind, delta))

    def _added(self, item: Item) -> bytes:
        self._items.append(item)
        told = item | {"status": "in_progress"}
        return self._event("response.output_item.added", {"output_index": len(self._items) - 1, "item": told})

    def _part(self, what: str, text: str) -> bytes:
        """The beginning or the end of an item's one part."""
        if self._kind not in _PARTS:
            return b""
        name, part = _PARTS[self._kind]
        told: Item = {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}
        told["part"] = part | {"text": text}
        return self._event(f"response.{name}.{what}", _placed(self._kind, told))

    def _close(self) -> bytes:
        """The end of the open item, if there is one."""
        kind = self._kind
        if not kind:
            return b""
        item, at = self._items[-1], len(self._items) - 1
        told: Item = {"item_id": item["id"], "output_index": at}
        if kind == "function_call":
            item["arguments"] = self._text
            self._calls.append(ToolCall(str(item["call_id"]), str(item["name"]), self._text))
            told |= {"arguments": self._text, "name": item["name"]}
        else:
            item["summary" if kind == "reasoning" else "content"] = [_PARTS[kind][1] | {"text": self._text}]
            told["text"] = self._text
        item["status"] = "completed"
        frames = self._event(f"response.{_DELTAS[kind]}.done", _placed(kind, told)) + self._part("done", self._text)
        self._kind = ""
        return frames + self._event("response.output_item.done", {"output_index": at, "item": item})

    def _event(self, kind: str, fields: Item) -> bytes:
        if not self._form.stream:
            return b""
        data = encode({"type": kind, "sequence_number": self._sequence} | fields)
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _response(self, status: str, finished: Finished | None) -> Item:
        form = self._form
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": form.instructions,
            "max_output_tokens": form.max_output_tokens,
            "model": self._model,
            "output": list(self._items) if finished is not None else [],
            "parallel_tool_calls": self._parallel,
            "previous_response_id": form.previous,
            "reasoning": {"effort": None, "summary": None},
            "store": form.store,
            "temperature": self._temperature,
            "text": form.text or {"format": {"type": "text"}},
            "tool_choice": form.tool_choice,
            "tools": form.tools,
            "top_p": self._top_p,
            "truncation": "disabled",
            "usage": None if finished is None else _usage(finished),
            "user": None,
            "metadata": form.metadata,
        }

    def _failed(self, fault: Fault) -> bytes:
        said = compat(fault)
        told: Item = {"code": said.code, "message": said.sentence, "param": said.param, "request_id": self._id}
        return self._event("error", told)


_DELTAS = {
    "message": "output_text",
    "reasoning": "reasoning_summary_text",
    "function_call": "function_call_arguments",
}
_PARTS: dict[str, tuple[str, Item]] = {
    "message": ("content_part", {"type": "output_text", "annotations": [], "logprobs": []}),
    "reasoning": ("reasoning_summary_part", {"type": "summary_text"}),
}


def _empty(kind: str, number: str) -> Item:
    if kind == "reasoning":
        return {"id": f"rs_{number}", "type": "reasoning", "summary": []}
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": []}


def _placed(kind: str, told: Item) -> Item:
    """With the number of the part, where the item has some."""
    if kind == "reasoning":
        return told | {"summary_index": 0}
    return told | {"content_index": 0, "logprobs": []} if kind == "message" else told


def _texts(item: Item) -> str:
    parts = item["summary" if item["type"] == "reasoning" else "content"]
    assert isinstance(parts, list)
    return "".join(str(part["text"]) for part in parts)


def _usage(event: Finished) -> Item:
    counts = {
        "input_tokens": event.prompt_tokens,
        "output_tokens": event.output_tokens,
        "total_tokens": event.prompt_tokens + event.output_tokens,
    }
    return counts | {
        "input_tokens_details": {"cached_tokens": event.cached_tokens},
        "output_tokens_details": {"reasoning_tokens": event.thought_tokens},
        "x_details": [counts | {"x_billing_type": "response_api"}],
    }


def deleted(id: str) -> bytes:
    """A response is forgotten."""
    return encode({"id": id, "object": "response", "deleted": True})
