"""Events, written as OpenAI-compatible chunks or one chat completion.

Laws: pure; a whole answer is the fold of the events a stream would have written; a delta always has
string content, since the official samples add it up unseen, but for a thought's, which is null as documented;
`tool_calls` is there only where a function is called, and what a stream says of a call once (id, name) is not
said again; `choices` is empty in the usage chunk only, and that is sent only when asked for.  Citations, where they
are asked for, come with the last chunk that has a choice.  What is the same in every frame is
encoded once a stream, and not for a whole answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec

from segue.core.errors import Fault
from segue.core.events import CallArguments, CallStarted, Ended, Event, Failed, Finished, Started, Text, Thought, fold
from segue.core.generation import Citation, ModelCard
from segue.core.request import Request
from segue.wire import calls, citations, logprobs
from segue.wire.openai.read import Form
from segue.wire.parameters import CITATIONS
from segue.wire.reply import Reply
from segue.wire.seen import NOTHING, Seen
from segue.wire.wording import Wording, compat

encode = msgspec.json.encode

DONE = b"data: [DONE]\n\n"
_THOUGHT = b'data: {"choices":[{"finish_reason":null,"delta":{"content":null,"reasoning_content":'
_DELTA = b'data: {"choices":[{"finish_reason":null,"delta":{"content":'


class Writer:
    """Writes one answer.  `created` is in unix seconds."""

    heartbeat = b": keep-alive\n\n"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream_headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, request: Request, form: Form, created: int) -> None:
        self._id = request.id
        self._model = request.model
        self._created = created
        self._choices = request.choices
        self._logprobs = request.logprobs
        self._include_usage = form.include_usage
        self._cites = request.citations
        self._citations: Sequence[Citation] = ()
        self._open = request.choices
        self._thinks = False
        self._seen = NOTHING

    @cached_property
    def _service(self) -> bytes:
        return b'"created":%d,"system_fingerprint":null,"model":%b,"id":"chatcmpl-%b"}\n\n' % (
            self._created,
            encode(self._model),
            self._id.encode(),
        )

    @cached_property
    def _no_usage(self) -> bytes:
        return b'"object":"chat.completion.chunk","usage":null,' + self._service

    @cached_property
    def _tails(self) -> list[bytes]:
        return [b'},"index":%d,"logprobs":null}],' % index + self._no_usage for index in range(self._choices)]

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        if type(event) is Text:  # nearly all of them, so first and without a match
            if event.logprobs and self._logprobs:
                return self._with_logprobs(event)
            return _DELTA + encode(event.text) + self._tails[event.choice] if event.text else b""
        match event:
            case Text():
                return b""
            case Thought():
                return _THOUGHT + encode(event.text) + self._tails[event.choice] if event.text else b""
            case Started():
                self._thinks = event.thinks
                self._seen = Seen(event.image_tokens, event.video_tokens)
                if event.reading is not None:
                    self._citations = event.reading.citations
                return b"".join(map(self._opening, range(self._choices)))
            case CallStarted() | CallArguments():
                return self._call(event)
            case Ended():
                self._open -= 1
                body = b'data: {"choices":[{"finish_reason":"%b","delta":{"content":""},"index":%d,"logprobs":null}],'
                return body % (event.reason.encode(), event.choice) + self._cited() + self._no_usage
            case Finished():
                return (self._usage(event) if self._include_usage else b"") + DONE
            case Failed():
                return b"data: " + error_body(event.fault, self._id, in_stream=True) + b"\n\n"

    def whole(self, events: Sequence[Event]) -> bytes:
        """One chat completion.  Raises the Fault of a `Failed`."""
        answer = fold(events, self._choices)
        thought = answer.thought_tokens if answer.thinks else None
        choices = [
            {
                "message": calls.message(choice, answer.thinks),
                "finish_reason": choice.reason,
                "index": index,
                "logprobs": {"content": logprobs.entries(choice.logprobs)} if self._logprobs else None,
            }
            for index, choice in enumerate(answer.choices)
        ]
        body: dict[str, object] = {
            "choices": choices,
            "object": "chat.completion",
            "usage": usage_of(
                answer.prompt_tokens,
                answer.cached_tokens,
                answer.output_tokens,
                thought,
                Seen(answer.image_tokens, answer.video_tokens),
            ),
            "created": self._created,
            "system_fingerprint": None,
            "model": self._model,
            "id": f"chatcmpl-{self._id}",
        }
        if self._cites:
            body[CITATIONS] = citations.entries(answer.citations)
        return encode(body)

    def _cited(self) -> bytes:
        """The citations, for the chunk that ends the last choice."""
        if not self._cites or self._open:
            return b""
        return b'"%b":%b,' % (CITATIONS.encode(), encode(citations.entries(self._citations)))

    def _call(self, event: CallStarted | CallArguments) -> bytes:
        fragment = calls.fragment(event)
        if fragment is None:
            return b""
        body = b'data: {"choices":[{"finish_reason":null,"delta":{"content":"","tool_calls":[%b]},"index":%d,'
        return body % (fragment, event.choice) + b'"logprobs":null}],' + self._no_usage

    def _opening(self, index: int) -> bytes:
        head = b'data: {"choices":[{"delta":{"content":"","role":"assistant"},"index":%d,"logprobs":null,' % index
        return head + b'"finish_reason":null}],' + self._no_usage

    def _with_logprobs(self, event: Text) -> bytes:
        tail = b'},"index":%d,"logprobs":{"content":[%b]}}],' % (event.choice, logprobs.encoded(event.logprobs))
        return _DELTA + encode(event.text) + tail + self._no_usage

    def _usage(self, event: Finished) -> bytes:
        thought = event.thought_tokens if self._thinks else None
        used = usage_of(event.prompt_tokens, event.cached_tokens, event.output_tokens, thought, self._seen)
        usage = encode(used)
        return b'data: {"choices":[],"object":"chat.completion.chunk","usage":' + usage + b"," + self._service


def usage_of(
    prompt_tokens: int, cached_tokens: int, output_tokens: int, thought: int | None, seen: Seen = NOTHING
) -> dict[str, object]:
    """`thought`: the thought's tokens, None where the model does not think."""
    details: dict[str, object] = {"cached_tokens": cached_tokens}
    usage: dict[str, object] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": details | seen.beside(prompt_tokens) if seen else details,
    }
    if thought is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought, "text_tokens": output_tokens - thought}
    elif seen:
        usage["completion_tokens_details"] = {"text_tokens": output_tokens}
    return usage


def error_body(fault: Fault, request_id: str, in_stream: bool = False) -> bytes:
    """The error object.  Errors of the model's layer, and all within a stream, name the completion too."""
    return _error(compat(fault), request_id, in_stream)


def _error(said: Wording, request_id: str, in_stream: bool) -> bytes:
    body: dict[str, object] = {
        "error": {"code": said.code or None, "param": said.param, "message": said.sentence, "type": said.type}
    }
    if said.prefixed or in_stream:
        body["id"] = f"chatcmpl-{request_id}"
    body["request_id"] = request_id
    return encode(body)


def error(fault: Fault, request_id: str) -> Reply:
    """A Fault before the first byte: its real status and a plain JSON body."""
    said = compat(fault)
    return Reply(said.status, _error(said, request_id, False), retry_after_s=said.retry_after_s)


def models(names: Sequence[tuple[str, ModelCard]], created: int) -> bytes:
    """The list of models, by every name they answer to."""
    return encode({"object": "list", "data": [_model(name, created) for name, _ in names]})


def model(name: str, created: int) -> bytes:
    """One model."""
    return encode(_model(name, created))


def _model(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "system"}
