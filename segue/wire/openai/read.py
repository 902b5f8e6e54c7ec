"""The OpenAI-compatible body of a chat completion, read into a Request.

Laws: pure; every field is in `FIELDS` and is used, refused or listed; null is absent; numbers do
not come as strings here.  It does not know which model will answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.core import frozen
from segue.core.errors import FieldMissing, NotSupported, PartialUnclear, PartialWithThinking
from segue.core.request import Caller, Delivery, Request
from segue.wire import messages, parameters
from segue.wire.fields import Fields, Ignored, model_name
from segue.wire.limits import Limits
from segue.wire.openai.fields import FIELDS as FIELDS

DIALECT = messages.Dialect("", frozenset({"system", "user", "assistant", "tool", "function"}), ("partial", "prefix"))


@frozen
class Form:
    """How the caller wants the answer written."""

    stream: bool
    include_usage: bool


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
    goes_on, opens = _turn(fields)
    listed = fields.get("messages")
    fine = fields.boolean("vl_high_resolution_images") or False
    talk = messages.read(listed, DIALECT, limits.messages_max, ignored, documents, goes_on, fine)
    if opens is not None and opens is not (talk.prefix is None and talk.thought is None):
        last = len(listed) - 1 if isinstance(listed, list) else 0
        raise PartialUnclear("add_generation_prompt", f"messages.{last}.role")
    if talk.asked and given.thinking and talk.thought is None:
        raise PartialWithThinking
    fields.note_unread(FIELDS)
    delivery = Delivery(stream)
    request = parameters.request(request_id, caller, model, talk, given, delivery, tuple(ignored.names))
    return request, Form(stream, include_usage)


def _turn(fields: Fields) -> tuple[bool | None, bool | None]:
    """What vLLM and SGLang call a prefix: whether the last message is gone on with, and whether a turn is opened
    behind it.  Raises PartialUnclear."""
    goes_on, opens = fields.boolean(messages.GOES_ON), fields.boolean("add_generation_prompt")
    if goes_on and opens:
        raise PartialUnclear(messages.GOES_ON, "add_generation_prompt")
    return goes_on, opens
