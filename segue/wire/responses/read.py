"""The body of a request for a response, read into a Request.

Laws: pure; every field is in `FIELDS` and is used, refused or listed; null is absent; the text of an item is never
trimmed or changed; what is gone on from stands before the input, its instructions do not.  It does not know which
model will answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from segue.core import frozen
from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    LastRoleInvalid,
    MessagesInvalid,
    NotSupported,
    PartialWithThinking,
    TooLarge,
)
from segue.core.media import Placed
from segue.core.request import Caller, Delivery, Format, Message, Request, Tool, ToolCall, ToolChoice
from segue.wire import media, parameters
from segue.wire.fields import VALUE_CHARS_MAX, Fields, Ignored, model_name
from segue.wire.limits import Limits
from segue.wire.responses.fields import FIELDS as FIELDS

_SHARED = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "deterministic",
    "enable_thinking",
    "thinking_budget",
)
_ROLES = ("user", "assistant", "system", "developer")
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_CHOICES = ("auto", "none", "required")
_REFUSED = ("conversation", "prompt")
METADATA_MAX = 16


@frozen
class Form:
    """How the response is written: what comes back of the request, and whether it is kept."""

    stream: bool
    store: bool
    previous: str | None
    instructions: str | None
    metadata: Mapping[str, object]
    max_output_tokens: int | None
    tools: object
    tool_choice: object
    text: object


def previous_id(values: Mapping[str, object]) -> str | None:
    """The response to go on from.  Raises FieldWrong."""
    return Fields(values, "", False, Ignored()).string("previous_response_id")


def read(
    values: Mapping[str, object],
    request_id: str,
    caller: Caller,
    limits: Limits,
    output_tokens_max: int,
    before: tuple[Message, ...] = (),
) -> tuple[Request, Form]:
    """Read a decoded body; `before` is the conversation that is gone on with, `output_tokens_max` the model's own,
    told in refusals.  Raises Refused."""
    ignored = Ignored()
    fields = Fields(values, "", False, ignored)
    model = model_name(values)
    for name in _REFUSED:
        if fields.get(name) is not None:
            raise FieldWrong(name, "value", "choice", "", ("null",))
    if fields.boolean("background"):
        raise FieldWrong("background", "value", "choice", "true", ("false",))
    longest = fields.integer("max_output_tokens")
    shared = {name: values.get(name) for name in _SHARED} | {"max_tokens": longest}
    given = parameters.read(Fields(shared, "", False, ignored), output_tokens_max, limits.stops)
    tools = tuple(_tools(fields))
    choice = _choice(fields, tools)
    parallel = fields.boolean("parallel_tool_calls")
    text = fields.inside("text")
    form = Format() if text is None else _format(text)
    items, partial = _items(fields, limits.messages_max)
    instructions = fields.string("instructions")
    messages = [*before, *items]
    if len(messages) > limits.messages_max:
        raise TooLarge("messages", limits.messages_max)
    prefix, thought = _begun(messages, partial, given.thinking)
    if instructions is not None:
        messages.insert(0, Message("system", instructions))
    metadata = fields.inside("metadata")
    store, stream = fields.boolean("store"), fields.boolean("stream") or False
    previous = fields.string("previous_response_id")
    fields.note_unread(FIELDS)
    request = Request(
        id=request_id,
        caller=caller,
        model=model,
        messages=tuple(messages),
        prefix=prefix,
        thought=thought,
        delivery=Delivery(stream),
        sampling=given.sampling,
        stop=given.stop,
        output_tokens_max=given.output_tokens_max,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=True if parallel is None else parallel,
        format=form,
        thinking=given.thinking,
        thinking_budget=given.thinking_budget,
        deterministic=given.deterministic,
        ignored=tuple(ignored.names),
    )
    told = {} if metadata is None else dict(list(metadata.values.items())[:METADATA_MAX])
    echoed = (fields.get("tools") or [], fields.get("tool_choice") or "auto", fields.get("text"))
    return request, Form(stream, store is not False, previous, instructions, told, longest, *echoed)


def _begun(messages: list[Message], partial: bool, thinking: bool | None) -> tuple[str | None, str | None]:
    """The prefix and the thought that the last message is, if it is one; it leaves the list.  Raises Refused."""
    if not any(message.role == "user" for message in messages):
        raise MessagesInvalid("no_user")
    if not partial:
        if messages[-1].role not in ("user", "tool"):
            raise LastRoleInvalid
        return None, None
    last = messages.pop()
    thought = last.reasoning or None
    if thinking and thought is None:
        raise PartialWithThinking
    return (last.content if last.content or thought is None else None), thought


def _items(fields: Fields, messages_max: int) -> tuple[list[Message], bool]:
    """The input as messages, and whether the last is a prefix."""
    value = fields.get("input")
    if value is None:
        raise FieldMissing("input")
    if isinstance(value, str):
        return [Message("user", value)], False
    if isinstance(value, list) and len(value) > messages_max:
        raise TooLarge("messages", messages_max)
    messages: list[Message] = []
    thought: str | None = None
    partial = False
    for item in fields.objects("input"):
        partial = False
        match item.get("type"):
            case None | "message":
                message, partial = _message(item, thought)
                messages.append(message)
                thought = None
            case "reasoning":
                thought = _plain(item, "content" if item.get("content") else "summary", optional=True)
            case "function_call":
                call = ToolCall(*(_required(item, name) for name in ("call_id", "name", "arguments")))
                last = messages[-1] if messages else None
                if last is not None and last.role == "assistant" and thought is None:
                    calls = (*last.tool_calls, call)
                    messages[-1] = Message("assistant", last.content, tool_calls=calls, reasoning=last.reasoning)
                else:
                    messages.append(Message("assistant", "", tool_calls=(call,), reasoning=thought))
                thought = None
            case "function_call_output":
                answered = _required(item, "call_id")
                messages.append(Message("tool", _plain(item, "output"), tool_call_id=answered))
            case kind:
                allowed = ("message", "reasoning", "function_call", "function_call_output")
                raise FieldWrong(item.path + "type", "value", "choice", str(kind)[:VALUE_CHARS_MAX], allowed)
    if not messages:
        raise MessagesInvalid("empty")
    return messages, partial


def _required(item: Fields, name: str) -> str:
    value = item.string(name)
    if value is None:
        raise FieldMissing(item.path + name)
    return value


def _message(item: Fields, thought: str | None) -> tuple[Message, bool]:
    role = item.string("role")
    if role not in _ROLES:
        raise FieldWrong(item.path + "role", "value", "choice", str(role)[:VALUE_CHARS_MAX], _ROLES)
    partial = item.boolean("partial") or False
    content, placed = _text(item, "content", optional=partial and thought is not None)
    if placed and role != "user":
        raise NotSupported("media")
    if role == "assistant":
        return Message("assistant", content, reasoning=thought), partial
    return Message("user" if role == "user" else "system", content, media=placed), False


def _text(item: Fields, name: str, optional: bool = False) -> tuple[str, tuple[Placed, ...]]:
    """A string, or text parts, and the pictures among them."""
    value = item.get(name)
    if isinstance(value, str):
        return value, ()
    if value is None:
        if optional:
            return "", ()
        raise FieldMissing(item.path + name)
    texts: list[str] = []
    placed: list[Placed] = []
    for part in item.objects(name):
        kind = part.string("type")
        if kind == "input_image":
            placed.append(Placed(sum(map(len, texts)), media.responses(part)))
        elif kind not in _TEXTS:
            raise NotSupported("media")
        else:
            texts.append(_required(part, "text"))
    return "".join(texts), tuple(placed)


def _plain(item: Fields, name: str, optional: bool = False) -> str:
    """A string, or text parts only."""
    text, placed = _text(item, name, optional)
    if placed:
        raise NotSupported("media")
    return text


def _tools(fields: Fields) -> Iterator[Tool]:
    for tool in fields.objects("tools"):
        if tool.get("type") != "function":  # those of the hosted service run there
            raise NotSupported("tools")
        name = _required(tool, "name")
        if not name:
            raise FieldMissing(tool.path + "name")
        for extra in tool.values.keys() - {"type", "name", "description", "parameters", "strict"}:
            tool.ignored.add(tool.path + extra)
        schema = tool.inside("parameters")
        yield Tool(name, tool.string("description") or "", {} if schema is None else schema.values)


def _choice(fields: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    if len(tools) > parameters.TOOLS_MAX:
        raise TooLarge("tools", parameters.TOOLS_MAX)
    match fields.get("tool_choice"):
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice("none")
        case "required" | {"type": "function"} if not tools:
            raise FieldMissing("tools")
        case "required":
            return ToolChoice("required")
        case {"type": "function", "name": str(name)}:
            if all(tool.name != name for tool in tools):
                raise FieldWrong("tool_choice.name", "value", "choice", name[:VALUE_CHARS_MAX])
            return ToolChoice("function", name)
        case str(value):
            raise FieldWrong("tool_choice", "value", "choice", value[:VALUE_CHARS_MAX], _CHOICES)
        case _:
            raise FieldWrong("tool_choice", "object")


def _format(text: Fields) -> Format:
    form = text.inside("format")
    text.note_unread(FIELDS, "text.")
    if form is None:
        return Format()
    match form.string("type"):
        case "text":
            return Format()
        case "json_object":
            return Format("json_object")
        case "json_schema":
            schema = form.inside("schema")
            if schema is None:
                raise FieldMissing(form.path + "schema")
            return Format("json_schema", form.string("name"), schema.values, form.boolean("strict") or False)
        case kind:
            allowed = ("text", "json_object", "json_schema")
            raise FieldWrong(form.path + "type", "value", "choice", str(kind)[:VALUE_CHARS_MAX], allowed)
