"""The parameters of an answer: how it is sampled, where it stops, what it may call, what form it has.

Why one file for two protocols: the fields have the same names and meanings in both, only their
place differs (`parameters.top_p`, `top_p`).  Laws: everything returned is within its documented
range; a field is used, refused or listed.  It does not know which model will answer: whether the
model has an ability is asked later, by policy.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import cast

from segue.core import frozen
from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    FormatInvalid,
    NotSupported,
    OutOfRange,
    Ranged,
    StopInvalid,
    TooLarge,
)
from segue.core.request import Caller, Delivery, Format, Request, Sampling, Stop, Tool, ToolChoice
from segue.wire.fields import VALUE_CHARS_MAX, Fields
from segue.wire.messages import Conversation

SEED_MAX = 2**63 - 1
TOKEN_ID_MAX = 2**31 - 1
CHOICES_MAX = 4
TOP_LOGPROBS_MAX = 5
TOOLS_MAX = 128
SCHEMA_NAME_CHARS_MAX = 64
CITATIONS = "segue_citations"
"""Asks for them, and has them in the answer."""
_SAMPLING = frozenset(wish.name for wish in dataclasses.fields(Sampling))  # they are called what the wire calls them


@dataclass(frozen=True, slots=True)
class StopLimits:
    """How many stop entries a request may have, and how long one may be, in characters or token ids."""

    entries_max: int = 64
    length_max: int = 1024


@frozen
class Parameters:
    """Everything about the answer that is not its conversation.  Fields as in `core.request.Request`."""

    sampling: Sampling
    stop: Stop
    output_tokens_max: int | None
    choices: int
    logprobs: bool
    top_logprobs: int
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    format: Format
    thinking: bool | None
    thinking_budget: int | None
    deterministic: bool | None
    citations: bool


def read(fields: Fields, output_tokens_max: int, stops: StopLimits) -> Parameters:
    """Read all parameters.  `output_tokens_max` is the model's own, told in a refusal.  Raises Refused."""
    sampling = _sampling(fields)
    length = _output_tokens(fields, output_tokens_max)
    logprobs = fields.boolean("logprobs") or False
    top_logprobs = _ranged(fields, "top_logprobs", 0, TOP_LOGPROBS_MAX) or 0
    tools = _tools(fields)
    tool_choice = _tool_choice(fields)
    _agree(tools, tool_choice, fields)
    choices = _ranged(fields, "n", 1, 1 if tools else CHOICES_MAX) or 1
    if fields.boolean("enable_search"):
        raise NotSupported("search")
    return Parameters(
        sampling=sampling,
        stop=_stop(fields.get("stop"), stops),
        output_tokens_max=length,
        choices=choices,
        logprobs=logprobs,
        top_logprobs=top_logprobs if logprobs else 0,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=fields.boolean("parallel_tool_calls") or False,
        format=_format(fields),
        thinking=fields.boolean("enable_thinking"),
        thinking_budget=_ranged(fields, "thinking_budget", 1, output_tokens_max),
        deterministic=fields.boolean("deterministic"),
        citations=fields.boolean(CITATIONS) or False,
    )


def _sampling(fields: Fields) -> Sampling:
    if fields.values.keys().isdisjoint(_SAMPLING):
        return Sampling()
    temperature = fields.number("temperature")
    if temperature is not None and not 0 <= temperature < 2:
        raise OutOfRange("temperature", temperature)
    top_p = fields.number("top_p")
    if top_p is not None and not 0 < top_p <= 1:
        raise OutOfRange("top_p", top_p)
    top_k = fields.integer("top_k")
    if top_k is not None and top_k < 0:
        raise OutOfRange("top_k", top_k)
    repetition = fields.number("repetition_penalty")
    if repetition is not None and not 0 < repetition < math.inf:
        raise OutOfRange("repetition_penalty", repetition)
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=None if top_k is None else min(top_k, TOKEN_ID_MAX),  # above 100 all mean the same: off
        repetition_penalty=repetition,
        presence_penalty=_penalty(fields, "presence_penalty"),
        frequency_penalty=_penalty(fields, "frequency_penalty"),
        seed=_ranged(fields, "seed", 0, SEED_MAX),
    )


def _penalty(fields: Fields, name: Ranged) -> float | None:
    value = fields.number(name)
    if value is not None and not -2 <= value <= 2:
        raise OutOfRange(name, value)
    return value


def _ranged(fields: Fields, name: Ranged, low: int, high: int) -> int | None:
    value = fields.integer(name)
    if value is not None and not low <= value <= high:
        raise OutOfRange(name, value, high)
    return value


def _output_tokens(fields: Fields, high: int) -> int | None:
    """The smaller of the two names for it.  Above the model's own maximum is for the budget to judge."""
    given = [value for name in ("max_tokens", "max_completion_tokens") if (value := fields.integer(name)) is not None]
    for value in given:
        if value < 1:
            raise OutOfRange("max_tokens", value, high)
    return min(given) if given else None


def _stop(value: object, limits: StopLimits) -> Stop:
    """A string, strings, token ids (each a run of one) or runs of token ids.  Empty entries say nothing."""
    if value is None:
        return Stop()
    if isinstance(value, str):
        return Stop(strings=_stop_strings([value], limits))
    if not isinstance(value, list):
        raise StopInvalid(mixed=False)
    if len(value) > limits.entries_max:
        raise TooLarge("stop", limits.entries_max)
    if all(isinstance(entry, str) for entry in value):
        return Stop(strings=_stop_strings(cast(list[str], value), limits))
    if all(isinstance(entry, list) for entry in value):
        runs = cast(list[list[object]], value)
        if any(len(run) > limits.length_max for run in runs):
            raise TooLarge("stop", limits.length_max)
        return Stop(sequences=tuple(tuple(map(_token_id, run)) for run in runs if run))
    return Stop(sequences=tuple((_token_id(entry),) for entry in value))


def _stop_strings(entries: list[str], limits: StopLimits) -> tuple[str, ...]:
    if any(len(entry) > limits.length_max for entry in entries):
        raise TooLarge("stop", limits.length_max)
    return tuple(entry for entry in entries if entry)


def _token_id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOKEN_ID_MAX:
        raise StopInvalid(mixed=True)
    return value


def _tools(fields: Fields) -> tuple[Tool, ...]:
    value = fields.get("tools")
    if value is None:
        return ()
    path = fields.path + "tools"
    if not isinstance(value, list):
        raise FieldWrong(path, "list")
    if len(value) > TOOLS_MAX:
        raise TooLarge("tools", TOOLS_MAX)
    return tuple(_tool(entry, f"{path}.{index}", fields) for index, entry in enumerate(value))


def _tool(value: object, path: str, fields: Fields) -> Tool:
    if not isinstance(value, dict):
        raise FieldWrong(path, "object")
    kind = value.get("type")
    if kind is not None and kind != "function":
        raise FieldWrong(f"{path}.type", "value", "choice", str(kind)[:VALUE_CHARS_MAX], ("function",))
    entry = value.get("function")
    if not isinstance(entry, dict):
        raise FieldMissing(f"{path}.function")
    function = Fields(entry, f"{path}.function.", fields.coerces, fields.ignored)
    name = function.string("name")
    if not name:
        raise FieldMissing(f"{path}.function.name")
    if name == "search":
        raise FieldWrong(f"{path}.function.name", "value", "choice", name)
    for extra in entry.keys() - {"name", "description", "parameters", "strict"}:
        fields.ignored.add(f"{path}.function.{extra}")
    schema = function.get("parameters")
    # The service answers 200 to a schema that is none: such a tool takes no arguments.
    return Tool(name, function.string("description") or "", schema if isinstance(schema, dict) else {})


def _tool_choice(fields: Fields) -> ToolChoice:
    value = fields.get("tool_choice")
    match value:
        case None | "auto":
            return ToolChoice("auto")
        case "none":
            return ToolChoice("none")
        case "required":
            return ToolChoice("required")
        case str():
            raise FieldWrong(fields.path + "tool_choice", "value", "choice", value[:VALUE_CHARS_MAX], ("none", "auto"))
        case {"type": "function", "function": {"name": str(name)}} if name:
            return ToolChoice("function", name)
        case _:
            raise FieldWrong(fields.path + "tool_choice", "object")


def _agree(tools: tuple[Tool, ...], choice: ToolChoice, fields: Fields) -> None:
    """A call can be demanded of a function that is there only."""
    if choice.mode in ("required", "function") and not tools:
        raise FieldMissing(fields.path + "tools")
    if choice.mode == "function" and all(tool.name != choice.name for tool in tools):
        named = (choice.name or "")[:VALUE_CHARS_MAX]
        raise FieldWrong(f"{fields.path}tool_choice.function.name", "value", "choice", named)


def _format(fields: Fields) -> Format:
    form = _response_format(fields)
    regex, grammar = fields.string("regex"), fields.string("grammar")
    if regex is None and grammar is None:
        return form
    if form.kind != "text" or (regex is not None and grammar is not None):
        raise FormatInvalid("regex, grammar and response_format exclude each other")
    return Format("regex", source=regex) if regex is not None else Format("grammar", source=grammar or "")


def _response_format(fields: Fields) -> Format:
    value = fields.get("response_format")
    if value is None:
        return Format()
    path = fields.path + "response_format"
    if not isinstance(value, dict):
        raise FieldWrong(path, "object", value=type(value).__name__)
    form = Fields(value, path + ".", fields.coerces, fields.ignored)
    match form.get("type"):
        case "text":
            return Format("text")
        case "json_object":
            if form.get("json_schema") is not None:
                raise FieldWrong(path + ".json_schema", "value", "choice", "json_object")
            return Format("json_object")
        case "json_schema":
            return _schema(form, path)
        case str(kind):
            raise FieldWrong(path + ".type", "value", "choice", kind[:VALUE_CHARS_MAX], ("json_object", "text"))
        case kind:
            raise FieldWrong(path, "object", value=type(kind).__name__)


def _schema(form: Fields, path: str) -> Format:
    holder = form.inside("json_schema")
    schema = holder.inside("schema") if holder else None
    if holder is None or schema is None:
        raise FieldMissing(path + (".json_schema" if holder is None else ".json_schema.schema"))
    name = holder.string("name")
    if name is not None and len(name) > SCHEMA_NAME_CHARS_MAX:
        raise FieldWrong(path + ".json_schema.name", "string", "text", name[:VALUE_CHARS_MAX])
    # The documents' short form has `strict` beside `json_schema`, the reference has it inside.
    strict = holder.boolean("strict") or form.boolean("strict") or False
    return Format("json_schema", name, schema.values, strict)


def request(
    request_id: str,
    caller: Caller,
    model: str,
    talk: Conversation,
    given: Parameters,
    delivery: Delivery,
    ignored: tuple[str, ...],
) -> Request:
    """Conversation and parameters, put together."""
    return Request(
        id=request_id,
        caller=caller,
        model=model,
        messages=talk.messages,
        prefix=talk.prefix,
        thought=talk.thought,
        delivery=delivery,
        sampling=given.sampling,
        stop=given.stop,
        output_tokens_max=given.output_tokens_max,
        choices=given.choices,
        logprobs=given.logprobs,
        top_logprobs=given.top_logprobs,
        tools=given.tools,
        tool_choice=given.tool_choice,
        parallel_tool_calls=given.parallel_tool_calls,
        format=given.format,
        thinking=given.thinking,
        thinking_budget=given.thinking_budget,
        deterministic=given.deterministic,
        documents=talk.documents,
        citations=given.citations,
        ignored=ignored,
    )
