"""Events, written as DashScope-native frames or one response.

Laws: pure; a whole answer is the fold of the events a stream would have written; frames are
byte for byte the service's: no space after a colon, the string "null" for an unfinished
choice, usage so far in every frame, no [DONE].  A cumulative stream repeats the text so far,
which is the continuation only: the caller's prefix is never in it.  An answer that calls the one
function it was told to call ended, natively, with "stop".  Citations, where they are asked for, are in the output of
the last frame.  At the multimodal endpoint content is a list of parts, which is empty where a frame has no text.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from segue.core.generation import Citation, ModelCard
from segue.core.request import Request, ToolCall
from segue.wire import calls, citations, logprobs
from segue.wire.dashscope.read import Form
from segue.wire.parameters import CITATIONS
from segue.wire.reply import Reply
from segue.wire.seen import NOTHING, Seen
from segue.wire.wording import Wording, native

encode = msgspec.json.encode

GATEWAY = (b"x-dashscope-call-gateway", b"true")
WHOLE_HEADERS = (GATEWAY, (b"x-dashscope-finished", b"true"))
STREAM_HEADERS = (GATEWAY, (b"x-dashscope-finished", b"false"))


class Writer:
    """Writes one answer."""

    heartbeat = b":keep-alive\n\n"
    headers: tuple[tuple[bytes, bytes], ...] = WHOLE_HEADERS
    stream_headers: tuple[tuple[bytes, bytes], ...] = STREAM_HEADERS

    def __init__(self, request: Request, form: Form) -> None:
        self._id = request.id
        self._choices = request.choices
        self._logprobs = request.logprobs
        self._form = form
        self._forced = request.tool_choice.mode == "function"
        self._request_id = request.id.encode()
        # The JSON spelling of each choice's text and logprobs so far; used by cumulative streams.
        self._texts = [bytearray() for _ in range(request.choices)]
        self._logs = [bytearray() for _ in range(request.choices)]
        self._calls: list[list[ToolCall]] = [[] for _ in range(request.choices)]
        self._frames = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._output_tokens = 0
        self._thought_tokens = 0
        self._thinks = False
        self._seen = NOTHING
        self._incremental = form.incremental or False
        self._cites = request.citations
        self._citations: Sequence[Citation] = ()
        self._open = request.choices
        self._last: Ended | None = None

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        match event:
            case Text():
                self._output_tokens += event.tokens
                logs = logprobs.encoded(event.logprobs) if self._logprobs and event.logprobs else b""
                if not event.text and not logs:
                    return b""
                return self._result(event.choice, b"null", encode(event.text)[1:-1], logs)
            case Thought():
                self._output_tokens += event.tokens
                self._thought_tokens += event.tokens
                return self._result(event.choice, b"null", b"", b"", thought=event.text) if event.text else b""
            case Started():
                self._thinks = event.thinks
                self._seen = Seen(event.image_tokens, event.video_tokens)
                if event.thinks and self._form.incremental is None:
                    self._incremental = True
                self._prompt_tokens, self._cached_tokens = event.prompt_tokens, event.cached_tokens
                if event.reading is not None:
                    self._citations = event.reading.citations
                return b""
            case CallStarted():
                return self._called(event)
            case CallArguments():
                self._output_tokens += event.tokens
                return self._called(event) if event.text else b""
            case Ended():
                self._open -= 1
                if self._open:
                    return self._end(event)
                self._last = event  # waits for `Finished`, so that the last frame has the final usage
                return b""
            case Finished():
                self._prompt_tokens, self._cached_tokens = event.prompt_tokens, event.cached_tokens
                self._output_tokens, self._thought_tokens = event.output_tokens, event.thought_tokens
                return self._end(self._last, self._cited()) if self._last else b""
            case Failed():
                self._frames += 1
                said = native(event.fault)
                head = b"id:%d\nevent:error\n:HTTP_STATUS/%d\ndata:" % (self._frames, said.status)
                return head + _error(said, self._id) + b"\n\n"

    def _end(self, event: Ended, cited: bytes = b"") -> bytes:
        return self._result(event.choice, self._reason(event.reason).encode(), b"", b"", cited=cited)

    def _cited(self) -> bytes:
        if not self._cites:
            return b""
        return b',"%b":%b' % (CITATIONS.encode(), encode(citations.entries(self._citations)))

    def _reason(self, reason: EndReason | None) -> str:
        return "stop" if reason is None or (self._forced and reason == "tool_calls") else reason

    def _called(self, event: CallStarted | CallArguments) -> bytes:
        """A frame for a piece of a call."""
        fragment = b""
        if self._incremental:
            fragment = calls.fragment(event) or b""
        elif isinstance(event, CallStarted):
            self._calls[event.choice].append(ToolCall(event.id, event.name, ""))
        else:
            call = self._calls[event.choice][event.index]
            self._calls[event.choice][event.index] = ToolCall(call.id, call.name, call.arguments + event.text)
        return self._result(event.choice, b"null", b"", b"", fragment)

    def _result(
        self,
        choice: int,
        reason: bytes,
        text: bytes,
        logs: bytes,
        called: bytes = b"",
        cited: bytes = b"",
        thought: str = "",
    ) -> bytes:
        """One frame.  `text`, `logs` and `called` are new pieces as JSON, without quotes and brackets; `cited` is
        a field of the output more; `thought` a new piece of that."""
        if not self._incremental:
            so_far = self._texts[choice]
            so_far += text
            text = bytes(so_far)
            if self._logprobs:
                all_logs = self._logs[choice]
                if logs:
                    all_logs += b"," + logs if all_logs else logs
                logs = bytes(all_logs)
            called = b",".join(encode(calls.entry(index, call)) for index, call in enumerate(self._calls[choice]))
        if self._form.message:
            called = b',"tool_calls":[' + called + b"]" if called else b""
            if self._thinks:  # in every frame, so that a client may add it up
                called = b',"reasoning_content":' + encode(thought) + called
            logs = b',"logprobs":{"content":[' + logs + b"]}" if logs else b""
            output = (
                b'{"choices":[{"message":{"content":%b%b,"role":"assistant"},"index":%d%b,"finish_reason":"%b"}]%b}'
                % (
                    self._content(text),
                    called,
                    choice,
                    logs,
                    reason,
                    cited,
                )
            )
        else:
            output = b'{"finish_reason":"%b","text":"%b"%b}' % (reason, text, cited)
        self._frames += 1
        return (
            b'id:%d\nevent:result\n:HTTP_STATUS/200\ndata:{"output":%b,"usage":{"total_tokens":%d,"input_tokens":%d,'
            b'"output_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}%b},"request_id":"%b"}\n\n'
        ) % (
            self._frames,
            output,
            self._prompt_tokens + self._output_tokens,
            self._prompt_tokens,
            self._output_tokens,
            self._cached_tokens,
            self._details(),
            self._request_id,
        )

    def _content(self, text: bytes) -> bytes:
        if not self._form.parts:
            return b'"%b"' % text
        return b'[{"text":"%b"}]' % text if text else b"[]"

    def _details(self) -> bytes:
        """What else is told of usage: nothing, mostly."""
        if not self._form.parts:
            return b',"output_tokens_details":{"reasoning_tokens":%d}' % self._thought_tokens if self._thinks else b""
        thought = self._thought_tokens if self._thinks else None
        return b"," + encode(_parted(self._seen, self._prompt_tokens, self._output_tokens, thought))[1:-1]

    def whole(self, events: Sequence[Event]) -> bytes:
        """One response.  Raises the Fault of a `Failed`."""
        answer = fold(events, self._choices)
        output: dict[str, object]
        if self._form.message:
            choices: list[dict[str, object]] = []
            for index, choice in enumerate(answer.choices):
                written: dict[str, object] = {"finish_reason": self._reason(choice.reason), "index": index}
                if self._logprobs:
                    written["logprobs"] = {"content": logprobs.entries(choice.logprobs)}
                message = calls.message(choice, answer.thinks)
                written["message"] = message | {"content": [{"text": choice.text}]} if self._form.parts else message
                choices.append(written)
            output = {"choices": choices}
        else:
            output = {"finish_reason": answer.choices[0].reason, "text": answer.choices[0].text}
        if self._cites:
            output[CITATIONS] = citations.entries(answer.citations)
        usage: dict[str, object] = {
            "total_tokens": answer.prompt_tokens + answer.output_tokens,
            "output_tokens": answer.output_tokens,
            "input_tokens": answer.prompt_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        }
        if self._form.parts:
            seen, thought = Seen(answer.image_tokens, answer.video_tokens), answer.thought_tokens
            told = thought if answer.thinks else None
            usage |= _parted(seen, answer.prompt_tokens, answer.output_tokens, told)
        elif answer.thinks:
            usage["output_tokens_details"] = {"reasoning_tokens": answer.thought_tokens}
        return encode({"output": output, "usage": usage, "request_id": self._id})


def _parted(seen: Seen, input_tokens: int, output_tokens: int, thought: int | None) -> dict[str, object]:
    """What the multimodal endpoint tells of usage besides; `thought` is None where the model does not think."""
    spoken: dict[str, object] = {"text_tokens": output_tokens - (thought or 0)}
    if thought is not None:
        spoken["reasoning_tokens"] = thought
    return {**seen.alone(), "input_tokens_details": seen.beside(input_tokens), "output_tokens_details": spoken}


def _error(said: Wording, request_id: str) -> bytes:
    return encode({"code": said.code, "message": said.sentence, "request_id": request_id})


def error(fault: Fault, request_id: str) -> Reply:
    """A Fault before the first byte: its real status and a flat JSON body, which every SDK reads."""
    said = native(fault)
    return Reply(said.status, _error(said, request_id), WHOLE_HEADERS, said.retry_after_s)


def models(page: Sequence[tuple[str, ModelCard]], total: int, page_no: int, page_size: int, request_id: str) -> bytes:
    """One page of the list of models, by every name they answer to."""
    listed = [
        {"model": name, "name": name, "provider": "segue", "context_window": card.context_tokens} for name, card in page
    ]
    output = {"total": total, "page_no": page_no, "page_size": page_size, "models": listed}
    return encode({"output": output, "request_id": request_id})


def tokens(ids: Sequence[int], pieces: Sequence[bytes], request_id: str) -> bytes:
    """Token ids and each token's text, or its bytes spelled out when they are not whole characters."""
    output = {"token_ids": ids, "tokens": [logprobs.token_text(piece) for piece in pieces]}
    return encode({"output": output, "usage": {"input_tokens": len(ids)}, "request_id": request_id})
