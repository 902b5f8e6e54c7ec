"""The OpenAI-compatible body of a chat completion, read into a Request.

Laws: pure; every field is in `FIELDS` and is used, refused or listed; null is absent; numbers do
not come as strings here.  It does not know which model will answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.core import frozen
from segue.core.errors import FieldMissing, FieldWrong, NotSupported, PartialWithThinking
from segue.core.request import Caller, Request
from segue.wire import messages, parameters
from segue.wire.fields import Fields, Ignored
from segue.wire.limits import Limits
from segue.wire.openai.fields import FIELDS as FIELDS

DIALECT = messages.Dialect("", frozenset({"system", "user", "assistant", "tool", "function"}))


@frozen
class Form:
    """How the caller wants the answer written."""

    stream: bool
    include_usage: bool


def model_name(values: Mapping[str, object]) -> str:
    """The model asked for.  Raises FieldMissing, FieldWrong."""
    name = values.get("model")
    if name is None or name == "":
        raise FieldMissing("model")
    if not isinstance(name, str):
        raise FieldWrong("model", "string")
    return name


def read(
    values: Mapping[str, object],
    request_id: str,
    caller: Caller,
    limits: Limits,
    output_tokens_max: int,
    documents: bool = False,
) -> tuple[Request, Form]:
    """Read a decoded body.  `output_tokens_max` is the model's own, told in refusals; `documents`: the name that is
    asked for reads some.  Raises Refused."""
    ignored = Ignored()
    fields = Fields(values, "", False, ignored)
    model = model_name(values)
    if fields.get("messages") is None:
        raise FieldMissing("messages")
    stream = fields.boolean("stream") or False
    options = fields.inside("stream_options")
    include_usage = (options.boolean("include_usage") if options else None) or False
    if options:
        options.note_unread(FIELDS, "stream_options.")
    if fields.get("web_search_options") is not None:
        raise NotSupported("search")
    given = parameters.read(fields, output_tokens_max, limits.stops)
    talk = messages.read(fields.get("messages"), DIALECT, limits.messages_max, ignored, documents)
    if talk.asked and given.thinking:
        raise PartialWithThinking
    fields.note_unread(FIELDS)
    request = parameters.request(request_id, caller, model, talk, given, tuple(ignored.names))
    return request, Form(stream, include_usage)
