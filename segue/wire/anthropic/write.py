"""Events, written as Anthropic's stream events or one message.

Laws: pure; a whole answer is the fold of the events a stream would have written; blocks are numbered in the order in
which they begin, one is closed before the next begins; an answer that met a stop sequence ended its turn, as the
service's do; a thought's signature is empty.  `input_tokens` are those that had to be read: what was remembered is
`cache_read_input_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from segue.core.errors import Fault
from segue.core.events import (
    CallArguments,
    CallStarted,
    Ended,
    EndReason,
    Event,
    Failed,
    Finished,
    Started,
    Text,
    Thought,
    fold,
)
from segue.core.request import Request
from segue.wire.reply import Reply
from segue.wire.wording import compat

encode = msgspec.json.encode

_REASONS: Mapping[EndReason, str] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_TEXT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'


class Writer:
    """Writes one answer."""

    heartbeat = b": keep-alive\n\n"

    def __init__(self, request: Request) -> None:
        self._id, self._model = request.id, request.model
        self.headers: tuple[tuple[bytes, bytes], ...] = (_named(request.id),)
        self.stream_headers: tuple[tuple[bytes, bytes], ...] = self.headers
        self._block = -1
        self._kind = ""
        self._reason: EndReason | None = None

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        match event:
            case Text():
                if not event.text:
                    return b""
                return self._open("text", {"text": ""}) + self._delta({"type": "text_delta", "text": event.text})
            case Thought():
                if not event.text:
                    return b""
                head = self._open("thinking", {"thinking": "", "signature": ""})
                return head + self._delta({"type": "thinking_delta", "thinking": event.text})
            case CallStarted():
                if self._kind == "tool_use":
                    self._kind = "another"
                return self._open("tool_use", {"id": event.id, "name": event.name, "input": {}})
            case CallArguments():
                if not event.text:
                    return b""
                return self._delta({"type": "input_json_delta", "partial_json": event.text})
            case Started():
                read = {"input_tokens": event.prompt_tokens - event.cached_tokens, "output_tokens": 0}
                return _event("message_start", {"message": self._message([], None, read)})
            case Ended():
                self._reason = event.reason
                return self._close()
            case Finished():
                usage = _usage(event.prompt_tokens, event.cached_tokens, event.output_tokens)
                told = {"stop_reason": _REASONS[self._reason or "stop"], "stop_sequence": None}
                return _event("message_delta", {"delta": told, "usage": usage}) + _event("message_stop", {})
            case Failed():
                return b"event: error\ndata: " + _error(event.fault, self._id)[1] + b"\n\n"

    def _open(self, kind: str, empty: dict[str, object]) -> bytes:
        """A block's beginning, unless one of its kind is open."""
        if self._kind == kind:
            return b""
        closed = self._close() if self._block >= 0 and self._kind else b""
        self._block, self._kind = self._block + 1, kind
        return closed + _event("content_block_start", {"index": self._block, "content_block": {"type": kind} | empty})

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return _event("content_block_stop", {"index": self._block})

    def _delta(self, delta: dict[str, object]) -> bytes:
        return _TEXT % (self._block, encode(delta))

    def _message(self, content: object, reason: str | None, usage: object) -> dict[str, object]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def whole(self, events: Sequence[Event]) -> bytes:
        """One message.  Raises the Fault of a `Failed`."""
        answer = fold(events, 1)
        (choice,) = answer.choices
        content: list[dict[str, object]] = []
        if choice.thought:
            content.append({"type": "thinking", "thinking": choice.thought, "signature": ""})
        if choice.text:
            content.append({"type": "text", "text": choice.text})
        for call in choice.tool_calls:
            given = _object(call.arguments)
            content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
        usage = _usage(answer.prompt_tokens, answer.cached_tokens, answer.output_tokens)
        return encode(self._message(content, _REASONS[choice.reason or "stop"], usage))


def _object(arguments: str) -> object:
    """A call's arguments; of a call that was cut short none can be told."""
    try:
        value: object = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(prompt_tokens: int, cached_tokens: int, output_tokens: int) -> dict[str, object]:
    return {
        "input_tokens": prompt_tokens - cached_tokens,
        "output_tokens": output_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached_tokens,
    }


def _event(kind: str, fields: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind} | fields))


def _named(request_id: str) -> tuple[bytes, bytes]:
    """The header in which Anthropic's clients look for the request's id."""
    return b"request-id", request_id.encode("ascii")


def _error(fault: Fault, request_id: str) -> tuple[int, bytes, int | None]:
    said = compat(fault)
    told = {"type": _TYPES.get(said.status, "api_error"), "message": said.message}
    return said.status, encode({"type": "error", "error": told, "request_id": request_id}), said.retry_after_s


def error(fault: Fault, request_id: str) -> Reply:
    """A Fault before the first byte: its real status and the protocol's own shape."""
    status, body, retry_after_s = _error(fault, request_id)
    return Reply(status, body, (_named(request_id),), retry_after_s)


def counted(tokens: int) -> bytes:
    """How many tokens a message would cost to read."""
    return encode({"input_tokens": tokens})
