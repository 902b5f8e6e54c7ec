"""What an answer that may call functions must look like, as a grammar.

    tools, the choice among them, the caller's prefix -> Constraint

Laws: a call has the name of a function the caller named, and arguments that fit its schema; where the choice
is left to the model, text is free until a call begins, marked or not (`core/callforms.py`), and from there
on it is a call.  Schemas are as loose as callers send them: what cannot be kept to in one is let go, the
keyword first, then the whole, so that no schema is refused.  Properties that are not named are not written.

Calls are spelled in one way only, the way that templates show, so that most of a call is forced; with a
prefix that is spelled otherwise, blanks are free.  Knows no model and no token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec
from llguidance import LLMatcher

from segue.core.callforms import BEGINNINGS, BLANKS, CLOSE, FENCES, FENCES_CLOSED, KEYS, OPEN, same
from segue.core.errors import FormatInvalid, PrefixIllegal, TooLarge
from segue.core.generation import Constraint
from segue.core.request import Message, Request, Tool, ToolChoice
from segue.prompt.constraint import SOURCE_BYTES_MAX, check, compiles, spelling

PARALLEL_MAX = 16
"""Calls in one answer."""
SCHEMAS_REMEMBERED = 512
SCHEMAS_BYTES_MAX = 64 * 1024
"""The parameters of all tools together."""

_TIGHT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_ANY: Mapping[str, object] = {"type": "object"}
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
_KINDS = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_RANGES: Mapping[str, type | tuple[type, ...]] = {
    "pattern": str,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), int),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (int, float)),
}
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
_OPEN_KEYS = frozenset({"additionalProperties", "patternProperties", "unevaluatedProperties"})
_COMBINED = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
# Unbounded, for bounds in many patterns at once are more than the lexer can hold.
_BLANK = f"[{BLANKS}]*".replace("\t", r"\t").replace("\r", r"\r").replace("\n", r"\n")


def constraint(request: Request, prefix: str, begins: bool = True) -> Constraint:
    """The constraint of an answer to a request with tools; `begins`: where the choice is the model's, the answer
    may begin with a call.  Raises PrefixIllegal, TooLarge.

    Takes up to a second for what is very large; to be called outside the event loop.
    """
    choice = request.tool_choice
    tools = [tool for tool in request.tools if choice.mode != "function" or tool.name == choice.name]
    if sum(len(_encoded(tool.parameters)) for tool in tools) > SCHEMAS_BYTES_MAX:
        raise TooLarge("schemas", SCHEMAS_BYTES_MAX)
    workspace = request.caller.workspace
    schemas = [_kept(_encoded(tool.parameters), workspace) for tool in tools]
    free = choice.mode == "auto"
    calls = PARALLEL_MAX if request.parallel_tool_calls else 1
    try:
        return _fitting(tools, schemas, free, calls, prefix, begins, workspace)
    except FormatInvalid:  # each can be kept to, all together cannot
        return _fitting(tools, [dict(_ANY) for _ in tools], free, calls, prefix, begins, workspace)


def probe() -> Constraint:
    """A call up to its name, any name, and anything behind it."""
    head = _quoted(f'{OPEN}\n{{"name": "')
    return Constraint(LLMatcher.grammar_from_lark(f'start: {head} /[^"\\\\]+/ "\\"" /(?s:.*)/'))


def answered(request: Request) -> frozenset[str]:
    """The calls whose results are the last that was said, as `callforms.same` compares them."""
    called: set[str] = set()
    for message in reversed(request.messages):
        if message.role == "user":
            break
        called |= {same(call.name, call.arguments) for call in message.tool_calls}
    return frozenset(called) if request.messages[-1].role == "tool" else frozenset()


def without(request: Request, template: str) -> Request:
    """The request without its functions.  Where their results are the last that was said, a line says what those
    are: templates do so only beside the functions."""
    bare = replace(request, tools=())
    if request.messages[-1].role != "tool":
        return bare
    where = "stands within <tool_response></tool_response> tags" if "<tool_response>" in template else "follows a call"
    said = f"What {where} was returned by a function that you called. Answer the user's question with it."
    first, *others = request.messages
    if first.role == "system":
        return replace(bare, messages=(replace(first, content=f"{first.content}\n\n{said}"), *others))
    return replace(bare, messages=(Message("system", said), *request.messages))


def begun(request: Request, calls: bool) -> Constraint:
    """The constraint of an answer of which it was decided whether it begins with a call; without a prefix."""
    if calls:
        return constraint(replace(request, tool_choice=ToolChoice("required")), "")
    return constraint(request, "", begins=False)


def _fitting(
    tools: Sequence[Tool],
    schemas: Sequence[Mapping[str, object]],
    free: bool,
    calls: int,
    prefix: str,
    begins: bool,
    workspace: str,
) -> Constraint:
    tight = _grammar(tools, schemas, free, calls, "", tight=True, begins=begins)
    try:
        check(tight, prefix.encode(), workspace)
        return tight
    except PrefixIllegal:
        loose = _grammar(tools, schemas, free, calls, "" if free else _before(prefix), tight=False, begins=begins)
        check(loose, prefix.encode(), workspace)
        return loose


def _grammar(
    tools: Sequence[Tool],
    schemas: Sequence[Mapping[str, object]],
    free: bool,
    calls: int,
    before: str,
    tight: bool,
    begins: bool,
) -> Constraint:
    blank, line, space = ("", '"\\n"', '" "') if tight else ("WS", "WS", "WS")
    first = "".join(map(_escaped, BEGINNINGS))
    text = "(?s:.*)" if begins else rf"{_BLANK}[^ \t\r\n{first}](?s:.*)"
    rules = [f"WS: /{_BLANK}/", f"TEXT: /{text}/"]
    names = [json.dumps(tool.name, ensure_ascii=False) for tool in tools]

    def objects(rule: str, blank: str, space: str, tight: bool, doubled: bool) -> None:
        """`{"name": ..., "arguments": ...}` of each tool; its braces may be doubled, as one template shows them."""
        rules.append(f"{rule}: " + " | ".join(f"{rule}_{place}" for place in range(len(tools))))
        for place, (name, schema) in enumerate(zip(names, schemas, strict=True)):
            arguments = "%json " + json.dumps({**schema, "x-guidance": _TIGHT if tight else spelling(schema)})
            rules.append(f"{rule}_{place}_args: {arguments}")
            parts = [blank, _quoted('"name"'), blank, '":"', space, _quoted(name), blank, '","', space]
            parts += [_quoted('"arguments"'), blank, '":"', space, f"{rule}_{place}_args", blank]
            inner = " ".join(part for part in parts if part)
            rules.append(f'{rule}_{place}: "{{" {inner} "}}"' + (f' | "{{{{" {inner} "}}}}"' if doubled else ""))

    objects("object", blank, space, tight, doubled=not tight)
    more = f" ({line} call){{0,{calls - 1}}}" if calls > 1 else ""
    body = f"{line} object {line} {_quoted(CLOSE)}"
    rules.append(f"call: {_quoted(OPEN)} {body}")
    end = " WS" if not tight else ""
    if not free:
        start = (_quoted(before) + " " if before else "") + f"call{more}{end}"
        return _made(start, rules)
    rules += [f"opened[lazy]: TEXT {_quoted(OPEN)}", f"marked: opened {body}{more}{end}"]
    if not begins:
        return _made("TEXT | marked", rules)
    if not tight:
        unmarked = "object"
    else:
        unmarked = "each"
        objects("each", "WS", "WS", tight=False, doubled=True)
    many = calls - 1
    then = f" (WS {unmarked}){{0,{many}}}" if many else ""
    listed = f' (WS "," WS {unmarked}){{0,{many}}}' if many else ""
    rules.append(f"close: (WS ({' | '.join(map(_quoted, FENCES_CLOSED))}))? WS")
    fences = "|".join(map(_escaped, FENCES))
    heads = []
    for place, name in enumerate(names):
        keys = "|".join(KEYS)
        head = rf'{_BLANK}"name"{_BLANK}:{_BLANK}{_escaped(name)}{_BLANK},{_BLANK}"({keys})"{_BLANK}:'
        rules.append(f"bare_{place}[lazy]: /{_BLANK}({fences})?{_BLANK}\\{{{head}/")
        rules.append(f"twice_{place}[lazy]: /{_BLANK}({fences})?{_BLANK}\\{{\\{{{head}/")
        rules.append(f"list_{place}[lazy]: /{_BLANK}({fences})?{_BLANK}\\[{_BLANK}\\{{{head}/")
        rest = f'WS {unmarked}_{place}_args WS "}}"'
        heads += [
            f"bare_{place} {rest}{then} close",
            f'twice_{place} {rest} "}}"{then} close',
            f'list_{place} {rest}{listed} WS "]" close',
        ]
    rules.append("unmarked: " + " | ".join(heads))
    return _made("TEXT | marked | unmarked", rules)


def _made(start: str, rules: Sequence[str]) -> Constraint:
    grammar = LLMatcher.grammar_from_lark("\n".join(["%llguidance {}", f"start: {start}", *rules]))
    if len(grammar.encode("utf-8", "surrogatepass")) > 2 * SOURCE_BYTES_MAX:
        raise TooLarge("schemas", SCHEMAS_BYTES_MAX)
    return Constraint(grammar)


def _before(prefix: str) -> str:
    """What a prefix says before its first call; of a mark that it breaks off in, nothing."""
    text, mark, _ = prefix.partition(OPEN)
    if mark:
        return text
    begun = next((size for size in range(len(OPEN) - 1, 0, -1) if text.endswith(OPEN[:size])), 0)
    return text[: len(text) - begun]


def _quoted(text: str) -> str:
    """As a Lark string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _escaped(text: str) -> str:
    """As a part of a regex that stands between slashes."""
    return "".join(
        f"\\{each}" if not each.isalnum() and each.isascii() and each not in ' "<>_' else each for each in text
    )


def _encoded(schema: Mapping[str, object]) -> bytes:
    try:
        return msgspec.json.encode(schema)
    except (RecursionError, TypeError, ValueError):
        return b"{}"


@lru_cache(maxsize=SCHEMAS_REMEMBERED)
def _kept(source: bytes, workspace: str = "") -> Mapping[str, object]:
    """The schema of an object that can be kept to; each workspace's is found out for itself, see `check`."""
    schema: dict[str, object] = msgspec.json.decode(source)
    schema.pop("x-guidance", None)
    tries = (schema, _plain(schema, ranges=True), _plain(schema, ranges=False))
    return next((each for each in map(_object, tries) if compiles(each)), _ANY)


def _object(schema: Mapping[str, object]) -> dict[str, object]:
    """Of an object, whatever it says; if it names properties, of these only."""
    made: dict[str, object] = {**schema, "type": "object"}
    if not isinstance(made.get("properties"), dict):
        made.pop("properties", None)
    elif not made.keys() & (_OPEN_KEYS | _COMBINED):
        made["additionalProperties"] = False
    return made


def _plain(schema: object, ranges: bool) -> dict[str, object]:
    """What can be kept to of a schema, where all of it cannot; `ranges`: patterns and references too."""
    if not isinstance(schema, dict):
        return {}
    values = schema.get("enum")
    if isinstance(values, list) and values:
        return {"enum": values}
    made: dict[str, object] = {}
    kind = schema.get("type")
    kinds = [_TYPES.get(each, each) for each in (kind if isinstance(kind, list) else [kind]) if isinstance(each, str)]
    if kinds := [each for each in kinds if each in _KINDS]:
        made["type"] = kinds
    if isinstance(properties := schema.get("properties"), dict):
        made["properties"] = {name: _plain(each, ranges) for name, each in properties.items()}
        if isinstance(required := schema.get("required"), list):
            made["required"] = [name for name in required if isinstance(name, str) and name in properties]
    if "items" in schema:
        made["items"] = _plain(schema["items"], ranges)
    for key in ("anyOf", "oneOf"):
        if isinstance(several := schema.get(key), list) and several:
            made["anyOf"] = [_plain(each, ranges) for each in several]
    if isinstance(more := schema.get("additionalProperties"), bool):
        made["additionalProperties"] = more
    if ranges:
        made |= {key: schema[key] for key in _RANGES if isinstance(schema.get(key), _RANGES[key])}
        made |= {key: schema[key] for key in ("$ref",) if isinstance(schema.get(key), str)}
        if schema.get("format") in _FORMATS:
            made["format"] = schema["format"]
        for key in ("$defs", "definitions"):
            if isinstance(shared := schema.get(key), dict):
                made[key] = {name: _plain(each, ranges) for name, each in shared.items()}
    return made
