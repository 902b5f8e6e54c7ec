"""The DashScope-native body of a text or multimodal generation, read into a Request.

Laws: pure; every field is in `FIELDS` and is used, refused or listed; null is absent; a number
may come as a string, as the service's own validator lets it.  It does not know which model will
answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.core import frozen
from segue.core.errors import EndpointWrong, FieldMissing, FieldWrong, MessagesInvalid, PartialWithThinking, TooLarge
from segue.core.request import Caller, Delivery, Message, Request
from segue.wire import messages, parameters
from segue.wire.dashscope.fields import FIELDS as FIELDS
from segue.wire.fields import VALUE_CHARS_MAX, Fields, Ignored, model_name
from segue.wire.limits import Limits

DIALECT = messages.Dialect("input.", frozenset({"system", "user", "assistant", "tool", "function", "plugin"}))
RESULT_FORMATS = ("text", "message")


@frozen
class Form:
    """How the caller wants the answer written.  `incremental` is of streams only; `None`: as the model's answers
    usually are, which is in increments where it thinks.  `parts`: content is a list, as the multimodal endpoint has
    it."""

    stream: bool
    message: bool
    incremental: bool | None
    parts: bool = False


def read(
    values: Mapping[str, object],
    stream: bool,
    request_id: str,
    caller: Caller,
    limits: Limits,
    output_tokens_max: int,
    documents: bool = False,
    parts: bool = False,
) -> tuple[Request, Form]:
    """Read a decoded body; `stream` is what the headers say, `documents` whether the name that is asked for reads
    some, `parts` whether it came to the multimodal endpoint.  Raises Refused."""
    ignored = Ignored()
    top = Fields(values, "", True, ignored)
    model = model_name(values)
    source = top.inside("input")
    if source is None:
        raise FieldMissing("input")
    chosen = top.inside("parameters") or Fields({}, "parameters.", True, ignored)
    given = parameters.read(chosen, output_tokens_max, limits.stops)
    form = _form(chosen, stream, given, parts)
    fine = chosen.boolean("vl_high_resolution_images") or False
    talk = _conversation(source, limits, ignored, documents, fine)
    if not parts and any(message.media for message in talk.messages):
        raise EndpointWrong
    if talk.asked and given.thinking and talk.thought is None:
        raise PartialWithThinking
    top.note_unread(FIELDS)
    source.note_unread(FIELDS, "input.")
    chosen.note_unread(FIELDS, "parameters.")
    delivery = Delivery(stream, None if form.incremental is None else not form.incremental, not form.message)
    return parameters.request(request_id, caller, model, talk, given, delivery, tuple(ignored.names)), form


def _form(chosen: Fields, stream: bool, given: parameters.Parameters, parts: bool) -> Form:
    incremental = chosen.boolean("incremental_output")
    result_format = chosen.string("result_format")
    if parts:
        return Form(stream, True, incremental, True)
    if result_format is None:
        result_format = "text"
    elif result_format not in RESULT_FORMATS:
        raise FieldWrong("parameters.result_format", "value", "choice", result_format[:VALUE_CHARS_MAX], RESULT_FORMATS)
    if result_format == "text":
        if given.tools:
            raise FieldWrong("parameters.tools", "value", "choice", "text", ("message",))
        if given.choices > 1:  # the text form has no place for a second choice
            raise FieldWrong("parameters.result_format", "value", "choice", "text", ("message",))
    return Form(stream, result_format == "message", incremental)


def _conversation(
    source: Fields, limits: Limits, ignored: Ignored, documents: bool, fine: bool
) -> messages.Conversation:
    prompt, listed = source.get("prompt"), source.get("messages")
    if prompt is not None and listed is not None:
        raise MessagesInvalid("prompt_and_messages")
    if listed is not None:
        if source.get("history") is not None:
            ignored.add("input.history")
        return messages.read(listed, DIALECT, limits.messages_max, ignored, documents, high_resolution=fine)
    if prompt is None:
        raise MessagesInvalid("neither_prompt_nor_messages")
    text = source.string("prompt") or ""
    turns = _history(source, limits.messages_max)
    return messages.Conversation((*turns, Message("user", text)), None, False, () if documents else None)


def _history(source: Fields, messages_max: int) -> list[Message]:
    """The turns before `prompt`: pairs of `user` and `bot`, the last of which may lack its `bot`."""
    value = source.get("history")
    if value is None:
        return []
    if not isinstance(value, list):
        raise FieldWrong("input.history", "list")
    if len(value) > messages_max:
        raise TooLarge("messages", messages_max)
    turns: list[Message] = []
    for index, pair in enumerate(value):
        if not isinstance(pair, dict):
            raise FieldWrong(f"input.history.{index}", "message")
        entry = Fields(pair, f"input.history.{index}.", False, source.ignored)
        user, bot = entry.string("user"), entry.string("bot")
        if user is None:
            raise FieldMissing(f"input.history.{index}.user")
        turns.append(Message("user", user))
        if bot is not None:
            turns.append(Message("assistant", bot))
    return turns


def texts(values: Mapping[str, object], limits: Limits) -> list[str]:
    """What a tokenizer request wants counted: the prompt, or each message's content.  Raises Refused."""
    source = Fields(values, "", True, Ignored()).inside("input")
    if source is None:
        raise FieldMissing("input")
    prompt, listed = source.string("prompt"), source.get("messages")
    if prompt is not None and listed is not None:
        raise MessagesInvalid("prompt_and_messages")
    if prompt is not None:
        return [prompt]
    if listed is None:
        raise MessagesInvalid("neither_prompt_nor_messages")
    return messages.contents(listed, DIALECT, limits.messages_max)
