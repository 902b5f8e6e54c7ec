"""The Anthropic body of a message, read into a Request.

Laws: pure; every field is in `FIELDS` and is used, refused or listed; null is absent; the text of a block is never
trimmed or changed; an assistant's last turn leaves the list and becomes the prefix, word for word, and one that
is only a thought becomes that.  It does not know which model will answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from segue.core import frozen
from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    MessagesInvalid,
    NotSupported,
    OutOfRange,
    PartialWithThinking,
    TooLarge,
)
from segue.core.media import Placed
from segue.core.request import Caller, Delivery, Format, Message, Request, Tool, ToolCall, ToolChoice
from segue.wire import media, parameters
from segue.wire.anthropic.fields import FIELDS as FIELDS
from segue.wire.fields import VALUE_CHARS_MAX, Fields, Ignored, model_name
from segue.wire.limits import Limits

_SHARED = ("temperature", "top_p", "top_k", "max_tokens", "seed", "deterministic")
_THINKING = ("enabled", "adaptive", "disabled")
_CHOICES = ("auto", "any", "none", "tool")
_MEDIA = frozenset({"image", "document", "search_result", "container_upload"})


@frozen
class Turns:
    """The finished turns, and the open one: a prefix, a thought, or both."""

    messages: tuple[Message, ...]
    prefix: str | None
    thought: str | None


def read(
    values: Mapping[str, object],
    request_id: str,
    caller: Caller,
    limits: Limits,
    output_tokens_max: int,
    counting: bool = False,
) -> Request:
    """Read a decoded body; `counting`: its tokens are to be counted only.  Raises Refused."""
    ignored = Ignored()
    fields = Fields(values, "", False, ignored)
    model = model_name(values)
    if fields.get("max_tokens") is None and not counting:
        raise FieldMissing("max_tokens")
    stops = fields.get("stop_sequences")
    if stops is not None and not (isinstance(stops, list) and all(isinstance(stop, str) for stop in stops)):
        raise FieldWrong("stop_sequences", "list")
    shared = {name: values.get(name) for name in _SHARED} | {"stop": stops}
    given = parameters.read(Fields(shared, "", False, ignored), output_tokens_max, limits.stops)
    thinking, budget = _thinking(fields, output_tokens_max)
    tools = tuple(_tools(fields))
    choice, parallel = _choice(fields, tools)
    form = _format(fields)
    turns = _turns(fields, limits.messages_max)
    if turns.prefix is not None and turns.thought is None and thinking:
        raise PartialWithThinking
    stream = fields.boolean("stream") or False
    fields.note_unread(FIELDS)
    return Request(
        id=request_id,
        caller=caller,
        model=model,
        messages=turns.messages,
        prefix=turns.prefix,
        thought=turns.thought,
        delivery=Delivery(stream),
        sampling=given.sampling,
        stop=given.stop,
        output_tokens_max=given.output_tokens_max,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        format=form,
        thinking=thinking,
        thinking_budget=budget,
        deterministic=given.deterministic,
        ignored=tuple(ignored.names),
    )


def _one_of(fields: Fields, name: str, allowed: tuple[str, ...]) -> str:
    value = fields.string(name)
    if value is None:
        raise FieldMissing(fields.path + name)
    if value not in allowed:
        raise FieldWrong(fields.path + name, "value", "choice", value[:VALUE_CHARS_MAX], allowed)
    return value


def _thinking(fields: Fields, high: int) -> tuple[bool | None, int | None]:
    thinking = fields.inside("thinking")
    if thinking is None:
        return None, None
    on = _one_of(thinking, "type", _THINKING) != "disabled"
    budget = thinking.integer("budget_tokens")
    if budget is not None and not 1 <= budget <= high:
        raise OutOfRange("thinking_budget", budget, high)
    thinking.note_unread(FIELDS, "thinking.")
    return on, budget if on else None


def _tools(fields: Fields) -> Iterator[Tool]:
    for tool in fields.objects("tools"):
        if tool.get("type") not in (None, "custom"):  # those of the hosted service run there
            raise NotSupported("tools")
        name = tool.string("name")
        if not name:
            raise FieldMissing(tool.path + "name")
        for extra in tool.values.keys() - {"type", "name", "description", "input_schema", "cache_control"}:
            tool.ignored.add(tool.path + extra)
        schema = tool.inside("input_schema")
        yield Tool(name, tool.string("description") or "", {} if schema is None else schema.values)


def _choice(fields: Fields, tools: tuple[Tool, ...]) -> tuple[ToolChoice, bool]:
    if len(tools) > parameters.TOOLS_MAX:
        raise TooLarge("tools", parameters.TOOLS_MAX)
    choice = fields.inside("tool_choice")
    if choice is None:
        return ToolChoice(), True
    kind = _one_of(choice, "type", _CHOICES)
    parallel = not choice.boolean("disable_parallel_tool_use")
    choice.note_unread(FIELDS, "tool_choice.")
    if kind in ("any", "tool") and not tools:
        raise FieldMissing("tools")
    if kind != "tool":
        return ToolChoice("required" if kind == "any" else "none" if kind == "none" else "auto"), parallel
    name = choice.string("name")
    if name is None:
        raise FieldMissing("tool_choice.name")
    if all(tool.name != name for tool in tools):
        allowed = tuple(tool.name for tool in tools)
        raise FieldWrong("tool_choice.name", "value", "choice", name[:VALUE_CHARS_MAX], allowed)
    return ToolChoice("function", name), parallel


def _format(fields: Fields) -> Format:
    config = fields.inside("output_config")
    form = None if config is None else config.inside("format")
    if config is not None:
        config.note_unread(FIELDS, "output_config.")
    if form is None:
        return Format()
    _one_of(form, "type", ("json_schema",))
    schema = form.inside("schema")
    if schema is None:
        raise FieldMissing(form.path + "schema")
    return Format("json_schema", None, schema.values, True)


def _turns(fields: Fields, messages_max: int) -> Turns:
    listed = fields.get("messages")
    if listed is None:
        raise FieldMissing("messages")
    if isinstance(listed, list) and len(listed) > messages_max:
        raise TooLarge("messages", messages_max)
    messages: list[Message] = []
    if (system := _text(fields, "system")) is not None:
        messages.append(Message("system", system))
    role = ""
    for index, entry in enumerate(fields.objects("messages")):
        role = entry.string("role") or ""
        match role:
            case "user":
                messages += _said(entry)
            case "assistant":
                messages.append(_answered(entry))
            case "":
                raise FieldMissing(entry.path + "role")
            case _:
                raise MessagesInvalid("role", index, role[:VALUE_CHARS_MAX])
    if not role:
        raise MessagesInvalid("empty")
    if not any(message.role in ("user", "tool") for message in messages):
        raise MessagesInvalid("no_user")
    if role == "user":
        return Turns(tuple(messages), None, None)
    last = messages.pop()
    if last.tool_calls:
        raise FieldWrong("messages.partial", "boolean", "choice", "tool_use")
    prefix = last.content if last.content or last.reasoning is None else None
    return Turns(tuple(messages), prefix, last.reasoning)


def _text(fields: Fields, name: str) -> str | None:
    """A string, or text blocks."""
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    return "".join([_plain(block) for block in fields.objects(name)])


def _plain(block: Fields) -> str:
    kind = block.string("type")
    if kind in _MEDIA:
        raise NotSupported("media")
    if kind != "text":
        raise FieldWrong(block.path + "type", "value", "choice", str(kind)[:VALUE_CHARS_MAX], ("text",))
    text = block.string("text")
    if text is None:
        raise FieldMissing(block.path + "text")
    return text


def _said(entry: Fields) -> Iterator[Message]:
    """A user's turn: results of functions, and what the user says."""
    if isinstance(content := entry.get("content"), str):
        yield Message("user", content)
        return
    if content is None:
        raise FieldMissing(entry.path + "content")
    texts: list[str] = []
    placed: list[Placed] = []
    results = False
    for block in entry.objects("content"):
        match block.get("type"):
            case "tool_result":
                results = True
                answered = block.string("tool_use_id")
                yield Message("tool", _text(block, "content") or "", tool_call_id=answered)
            case "image":
                placed.append(Placed(sum(map(len, texts)), media.anthropic(block)))
            case _:
                texts.append(_plain(block))
    if texts or placed or not results:
        yield Message("user", "".join(texts), media=tuple(placed))


def _answered(entry: Fields) -> Message:
    """An assistant's turn: thoughts, text and calls."""
    if isinstance(content := entry.get("content"), str):
        return Message("assistant", content)
    if content is None:
        raise FieldMissing(entry.path + "content")
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in entry.objects("content"):
        match block.get("type"):
            case "thinking":
                thoughts.append(block.string("thinking") or "")
            case "redacted_thinking":
                continue
            case "tool_use":
                name, given = block.string("name"), block.inside("input")
                if not name or given is None:
                    raise FieldMissing(block.path + ("name" if not name else "input"))
                arguments = msgspec.json.encode(given.values).decode()
                calls.append(ToolCall(block.string("id") or "", name, arguments))
            case _:
                texts.append(_plain(block))
    thought = "".join(thoughts) or None
    return Message("assistant", "".join(texts), tool_calls=tuple(calls), reasoning=thought)
