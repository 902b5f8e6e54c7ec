"""What an answer that may call functions must look like, as a grammar.

    tools, the choice among them, the caller's prefix -> Constraint

Laws: a call has the name of a function the caller named, and arguments that fit its schema; where the choice
is left to the model, text is free until a call begins, marked or not (`core/callforms.py`), and from there
on it is a call.  Schemas are as loose as callers send them: what cannot be kept to in one is let go, the
property first, then the whole, so that no schema is refused.  Properties that are not named are not written.

Calls are spelled in one way only, the way that templates show, so that most of a call is forced; with a
prefix that is spelled otherwise, blanks are free.  Knows no model and no token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec
from llguidance import LLMatcher

from segue.core.callforms import BLANKS, BLANKS_MAX, CLOSE, FENCES, FENCES_CLOSED, KEYS, OPEN
from segue.core.errors import FormatInvalid, PrefixIllegal, TooLarge
from segue.core.generation import Constraint
from segue.core.request import Request, Tool
from segue.prompt.constraint import BLANKS as JSON_BLANKS
from segue.prompt.constraint import SOURCE_BYTES_MAX, check, compiles

PARALLEL_MAX = 16
"""Calls in one answer."""
SCHEMAS_REMEMBERED = 512

_TIGHT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_LOOSE = {"whitespace_pattern": JSON_BLANKS}
_ANY: Mapping[str, object] = {"type": "object"}
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
_OPEN_KEYS = frozenset({"additionalProperties", "patternProperties", "unevaluatedProperties"})
_COMBINED = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_BLANK = f"[{BLANKS}]{{0,{2 * BLANKS_MAX}}}".replace("\t", r"\t").replace("\r", r"\r").replace("\n", r"\n")


def constraint(request: Request, prefix: str) -> Constraint:
    """The constraint of an answer to a request with tools.  Raises PrefixIllegal, TooLarge.

    Takes up to a second for what is very large; to be called outside the event loop.
    """
    choice = request.tool_choice
    tools = [tool for tool in request.tools if choice.mode != "function" or tool.name == choice.name]
    if sum(len(_encoded(tool.parameters)) for tool in tools) > SOURCE_BYTES_MAX // 2:
        raise TooLarge("schemas", SOURCE_BYTES_MAX // 2)
    schemas = [_kept(_encoded(tool.parameters)) for tool in tools]
    free = choice.mode == "auto"
    calls = PARALLEL_MAX if request.parallel_tool_calls else 1
    try:
        return _fitting(tools, schemas, free, calls, prefix)
    except FormatInvalid:  # each can be kept to, all together cannot
        return _fitting(tools, [dict(_ANY) for _ in tools], free, calls, prefix)


def _fitting(
    tools: Sequence[Tool], schemas: Sequence[Mapping[str, object]], free: bool, calls: int, prefix: str
) -> Constraint:
    tight = _grammar(tools, schemas, free, calls, "", tight=True)
    try:
        check(tight, prefix.encode())
        return tight
    except PrefixIllegal:
        loose = _grammar(tools, schemas, free, calls, "" if free else _before(prefix), tight=False)
        check(loose, prefix.encode())
        return loose


def _grammar(
    tools: Sequence[Tool],
    schemas: Sequence[Mapping[str, object]],
    free: bool,
    calls: int,
    before: str,
    tight: bool,
) -> Constraint:
    blank, line, space = ("", '"\\n"', '" "') if tight else ("WS", "WS", "WS")
    rules = [f"WS: /{_BLANK}/", "TEXT: /(?s:.*)/"]
    names = [json.dumps(tool.name, ensure_ascii=False) for tool in tools]

    def objects(rule: str, blank: str, space: str, guidance: Mapping[str, object]) -> None:
        """`{"name": ..., "arguments": ...}` of each tool."""
        rules.append(f"{rule}: " + " | ".join(f"{rule}_{place}" for place in range(len(tools))))
        for place, (name, schema) in enumerate(zip(names, schemas, strict=True)):
            arguments = "%json " + json.dumps({**schema, "x-guidance": guidance})
            rules.append(f"{rule}_{place}_args: {arguments}")
            parts = ['"{"', blank, _quoted('"name"'), blank, '":"', space, _quoted(name), blank, '","', space]
            parts += [_quoted('"arguments"'), blank, '":"', space, f"{rule}_{place}_args", blank, '"}"']
            rules.append(f"{rule}_{place}: " + " ".join(part for part in parts if part))

    objects("object", blank, space, _TIGHT if tight else _LOOSE)
    more = f" ({line} call){{0,{calls - 1}}}" if calls > 1 else ""
    body = f"{line} object {line} {_quoted(CLOSE)}"
    rules.append(f"call: {_quoted(OPEN)} {body}")
    end = " WS" if not tight else ""
    if not free:
        start = (_quoted(before) + " " if before else "") + f"call{more}{end}"
        return _made(start, rules)
    rules += [f"opened[lazy]: TEXT {_quoted(OPEN)}", f"marked: opened {body}{more}{end}"]
    if not tight:
        unmarked = "object"
    else:
        unmarked = "each"
        objects("each", "WS", "WS", _LOOSE)
    many = calls - 1
    then = f" (WS {unmarked}){{0,{many}}}" if many else ""
    listed = f' (WS "," WS {unmarked}){{0,{many}}}' if many else ""
    rules.append(f"close: (WS ({' | '.join(map(_quoted, FENCES_CLOSED))}))? WS")
    fences = "|".join(map(_escaped, FENCES))
    heads = []
    for place, name in enumerate(names):
        keys = "|".join(KEYS)
        head = rf'\{{{_BLANK}"name"{_BLANK}:{_BLANK}{_escaped(name)}{_BLANK},{_BLANK}"({keys})"{_BLANK}:'
        rules.append(f"bare_{place}[lazy]: /{_BLANK}({fences})?{_BLANK}{head}/")
        rules.append(f"list_{place}[lazy]: /{_BLANK}({fences})?{_BLANK}\\[{_BLANK}{head}/")
        rest = f'WS {unmarked}_{place}_args WS "}}"'
        heads += [f"bare_{place} {rest}{then} close", f'list_{place} {rest}{listed} WS "]" close']
    rules.append("unmarked: " + " | ".join(heads))
    return _made("TEXT | marked | unmarked", rules)


def _made(start: str, rules: Sequence[str]) -> Constraint:
    grammar = LLMatcher.grammar_from_lark("\n".join(["%llguidance {}", f"start: {start}", *rules]))
    if len(grammar.encode("utf-8", "surrogatepass")) > 2 * SOURCE_BYTES_MAX:
        raise TooLarge("schemas", SOURCE_BYTES_MAX // 2)
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
    return json.dumps(text, ensure_ascii=False)


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
def _kept(source: bytes) -> Mapping[str, object]:
    """The schema of an object that can be kept to."""
    schema: dict[str, object] = msgspec.json.decode(source)
    schema.pop("x-guidance", None)
    schema["type"] = "object"
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        schema.pop("properties", None)
    elif not schema.keys() & (_OPEN_KEYS | _COMBINED):
        schema["additionalProperties"] = False
    if compiles(schema):
        return schema
    if not isinstance(properties, dict):
        return _ANY
    shared: dict[str, object] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    required = schema.get("required")
    known: dict[str, object] = {
        **shared,
        "type": "object",
        "properties": {name: _property(value, shared) for name, value in properties.items()},
        "required": [name for name in required if name in properties] if isinstance(required, list) else [],
        "additionalProperties": False,
    }
    return next((each for each in (known, _bare(known)) if compiles(each)), _ANY)


def _bare(schema: Mapping[str, object]) -> dict[str, object]:
    """The same without definitions, which may be what is at fault, and with any values."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    return {
        "type": "object",
        "properties": {name: {} for name in properties},
        "required": schema["required"],
        "additionalProperties": False,
    }


def _property(value: object, shared: Mapping[str, object]) -> object:
    """A property's schema if it can be kept to, else its type, else anything."""
    if not isinstance(value, dict):
        return {}
    if compiles({**shared, "type": "object", "properties": {"x": value}}):
        return value
    kind = value.get("type")
    plain: dict[str, object] = {"type": _TYPES.get(kind, kind) if isinstance(kind, str) else kind}
    if isinstance(value.get("enum"), list):
        plain = {"enum": value["enum"]}
    return plain if compiles({"type": "object", "properties": {"x": plain}}) else {}
