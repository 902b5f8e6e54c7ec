"""Text completions, the older endpoint: plain text gone on with, or a hole in it filled.

Laws: a reader and a writer like the others; every field is in `FIELDS`; the prompt is one text, never token ids,
which could steer; the spelling of a hole that the service documents for its code models (`<|fim_prefix|>` text
`<|fim_suffix|>` text `<|fim_middle|>`) is read as one, and its parts are plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from segue.core import frozen
from segue.core.errors import FieldMissing, FieldWrong, OutOfRange
from segue.core.events import Ended, Event, Failed, Finished, Started, Text, fold
from segue.core.generation import TokenLogprob
from segue.core.request import Caller, Delivery, Plain, Request
from segue.wire import logprobs, parameters
from segue.wire.fields import VALUE_CHARS_MAX, Field, Fields, Ignored, model_name
from segue.wire.limits import Limits
from segue.wire.openai.write import DONE, error_body, usage_of
from segue.wire.parameters import TOP_LOGPROBS_MAX

USED = Field("used")
HOSTED = Field("ignored", "accounting or storage of the hosted service")
CHAT = Field("ignored", "a field of chat completions")

FIELDS: Mapping[str, Field] = {
    "model": USED,
    "prompt": Field("used", "a string, or a list of one; token ids are refused"),
    "suffix": Field("used", "what stands behind the hole; refused for a model without tokens for it"),
    "max_tokens": Field("used", "the model's own default when absent"),
    "temperature": USED,
    "top_p": USED,
    "top_k": USED,
    "presence_penalty": USED,
    "frequency_penalty": USED,
    "repetition_penalty": USED,
    "n": Field("used", "up to 4"),
    "best_of": Field("used", "must be n: every answer is written"),
    "seed": USED,
    "stop": USED,
    "stream": USED,
    "stream_options": USED,
    "stream_options.include_usage": USED,
    "logprobs": Field("used", "0 to 5; of what is written, not with echo"),
    "echo": Field("used", "the prompt comes before each answer"),
    "deterministic": Field("used", "an extension: the same bytes whatever else the server is doing"),
    "user": HOSTED,
    "logit_bias": Field("ignored", "the hosted service ignores it as well"),
    "messages": CHAT,
    "response_format": CHAT,
    "tools": CHAT,
    "enable_thinking": CHAT,
}
_SAMPLED = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed")
_SHARED = (*_SAMPLED, "max_tokens", "n", "stop", "deterministic")
_HOLE = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_CHUNK = b'data: {"choices":[{"text":%b,"index":%d,"logprobs":%b,"finish_reason":%b}],"object":"text_completion",'


@frozen
class Form:
    """How the caller wants the answer written.  `echo` is what comes before it."""

    stream: bool
    include_usage: bool
    echo: str


def read(
    values: Mapping[str, object], request_id: str, caller: Caller, limits: Limits, output_tokens_max: int
) -> tuple[Request, Form]:
    """Read a decoded body; `output_tokens_max` is the model's own, told in refusals.  Raises Refused."""
    ignored = Ignored()
    fields = Fields(values, "", False, ignored)
    model = model_name(values)
    plain = _plain(fields)
    shared = Fields({name: values.get(name) for name in _SHARED}, "", False, ignored)
    given = parameters.read(shared, output_tokens_max, limits.stops)
    tops = fields.integer("logprobs")
    if tops is not None and not 0 <= tops <= TOP_LOGPROBS_MAX:
        raise OutOfRange("top_logprobs", tops, TOP_LOGPROBS_MAX)
    best = fields.integer("best_of")
    if best is not None and best != given.choices:
        raise FieldWrong("best_of", "value", "choice", str(best)[:VALUE_CHARS_MAX], (str(given.choices),))
    echo = fields.boolean("echo") or False
    if echo and tops is not None:
        raise FieldWrong("echo", "value", "choice", "true", ("false",))
    stream = fields.boolean("stream") or False
    options = fields.inside("stream_options")
    include_usage = (options.boolean("include_usage") if options else None) or False
    if options:
        options.note_unread(FIELDS, "stream_options.")
    fields.note_unread(FIELDS)
    request = Request(
        id=request_id,
        caller=caller,
        model=model,
        messages=(),
        plain=plain,
        delivery=Delivery(stream),
        sampling=given.sampling,
        stop=given.stop,
        output_tokens_max=given.output_tokens_max,
        choices=given.choices,
        logprobs=tops is not None,
        top_logprobs=tops or 0,
        deterministic=given.deterministic,
        ignored=tuple(ignored.names),
    )
    return request, Form(stream, include_usage, plain.text if echo else "")


def _plain(fields: Fields) -> Plain:
    value = fields.get("prompt")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        if value is None:
            raise FieldMissing("prompt")
        raise FieldWrong("prompt", "string")
    suffix = fields.string("suffix")
    prefix, middle, end = _HOLE
    if suffix is None and value.startswith(prefix) and value.endswith(end) and middle in value:
        value, _, suffix = value[len(prefix) : -len(end)].partition(middle)
    elif not value and suffix is None:
        raise FieldMissing("prompt")
    return Plain(value, suffix)


class Writer:
    """Writes one answer.  `created` is in unix seconds."""

    heartbeat = b": keep-alive\n\n"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stream_headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, request: Request, form: Form, created: int) -> None:
        self._id, self._model, self._created = request.id, request.model, created
        self._choices, self._logprobs = request.choices, request.logprobs
        self._form = form
        self._offsets = [0] * request.choices

    def frame(self, event: Event) -> bytes:
        """The event's frames; empty when it has none."""
        match event:
            case Text():
                logs: dict[str, object] | None = None
                if self._logprobs and event.logprobs:
                    logs = _logs(event.logprobs, self._offsets[event.choice])
                self._offsets[event.choice] += len(event.text)
                return self._chunk(event.choice, event.text, logs) if event.text or logs else b""
            case Started():
                if not self._form.echo:
                    return b""
                return b"".join(self._chunk(index, self._form.echo) for index in range(self._choices))
            case Ended():
                return self._chunk(event.choice, "", reason=event.reason)
            case Finished():
                return (self._usage(event) if self._form.include_usage else b"") + DONE
            case Failed():
                return b"data: " + error_body(event.fault, self._id, in_stream=True) + b"\n\n"
            case _:  # a plain text neither calls nor thinks
                return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        """One completion.  Raises the Fault of a `Failed`."""
        answer = fold(events, self._choices)
        choices = [
            {
                "text": self._form.echo + choice.text,
                "index": index,
                "logprobs": _logs(choice.logprobs, 0) if self._logprobs else None,
                "finish_reason": choice.reason,
            }
            for index, choice in enumerate(answer.choices)
        ]
        used = usage_of(answer.prompt_tokens, answer.cached_tokens, answer.output_tokens, None)
        return msgspec.json.encode({"choices": choices, "object": "text_completion", "usage": used, **self._service})

    @property
    def _service(self) -> dict[str, object]:
        return {
            "created": self._created,
            "system_fingerprint": None,
            "model": self._model,
            "id": f"cmpl-{self._id}",
        }

    def _tail(self, usage: object) -> bytes:
        return msgspec.json.encode({"usage": usage, **self._service})[1:] + b"\n\n"

    def _chunk(self, choice: int, text: str, logs: object = None, reason: str | None = None) -> bytes:
        encode = msgspec.json.encode
        return _CHUNK % (encode(text), choice, encode(logs), encode(reason)) + self._tail(None)

    def _usage(self, event: Finished) -> bytes:
        used = usage_of(event.prompt_tokens, event.cached_tokens, event.output_tokens, None)
        return b'data: {"choices":[],"object":"text_completion",' + self._tail(used)


def _logs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, object]:
    """Log probabilities as this endpoint writes them; `offset` is where the text of the first token begins."""
    entries = logprobs.entries(tokens)
    offsets: list[int] = []
    for entry in entries:
        offsets.append(offset)
        offset += len(str(entry["token"]))
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {logprobs.token_text(other.data): max(other.logprob, logprobs.FLOOR) for other in token.top}
            for token in tokens
        ],
        "text_offset": offsets,
    }
