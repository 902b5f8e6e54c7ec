"""Forms of an answer that are made to cost: deep, huge, without end, or exponential when they are unfolded.

Some are refused and some are kept to; each request's is its own, so that none is found compiled.  Knows no
server; `bench/attack.py` sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

PLACE = "@number@"
"""Stands in every form once: eight digits in its stead make another form of the same length."""
_Schema = Mapping[str, object]


def hostile() -> dict[str, dict[str, object]]:
    """The parameters of a request, by what is hostile about them."""
    forms = {name: _wanted(schema) for name, schema in _schemas().items()}
    forms |= {name: {"regex": f"{source}|{PLACE}"} for name, source in _REGEXES.items()}
    return forms | {name: {"grammar": f"// {PLACE}\n{source}"} for name, source in _grammars().items()}


def harmless() -> dict[str, dict[str, object]]:
    """The same, of what anybody might ask for."""
    return {"three keys": _wanted(_object({name: {"type": "string"} for name in ("name", "town", "trade")}))}


def _wanted(schema: _Schema) -> dict[str, object]:
    named = {"name": "hostile", "schema": {**schema, "title": PLACE}}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _schemas() -> dict[str, _Schema]:
    leaf = {"type": "string"}
    return {
        "30 objects deep": _nested(30, lambda inner: _object({"a": inner})),
        "400 arrays deep": _nested(400, lambda inner: {"type": "array", "items": inner}),
        "enum of 2,000 objects": {"enum": [{"a": [number]} for number in range(2_000)]},
        "enum of 1,000 long strings": {"enum": [f"{number:04}" + "word " * 22 for number in range(1_000)]},
        "enum of 50,000": {"enum": [f"x{number}" for number in range(50_000)]},
        "250 optional properties": {"type": "object", "properties": {f"p{number}": {} for number in range(250)}},
        "1,000 optional properties": {"type": "object", "properties": {f"p{number}": {} for number in range(1_000)}},
        "constant of 16,000 characters": {"const": "abcd " * 3_276},
        "is itself": {"$ref": "#"},
        "holds itself": {"type": "object", "properties": {"a": {"$ref": "#"}}},
        "is any two of itself": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        "objects that double 40 times": _chain(40, lambda link: _object({"x": link, "y": link}), leaf),
        "allOf that doubles 40 times": _chain(40, lambda link: {"allOf": [link, link]}, leaf),
        "anyOf that doubles 40 times": _chain(40, lambda link: {"anyOf": [link, link]}, leaf),
        "arrays without end": _nested(
            9, lambda inner: {"type": "array", "minItems": 10**6, "maxItems": 10**9, "items": inner}
        ),
        "string without end": {"type": "string", "minLength": 10**9},
        "exponential pattern": {"type": "string", "pattern": "^(.*a.{15}|.*b.{14})c$"},
        "patterns that meet": {"allOf": [{"pattern": end} for end in ("a.{12}$", "b.{11}$", "c.{10}$")]},
        "100 allOf of anyOf": {"allOf": [{"anyOf": [{"const": n}, {"const": -n}]} for n in range(1, 100)]},
        "multiples of 9,973": {"type": "integer", "multipleOf": 9_973},
    }


_REGEXES = {
    "exponential regex": "(.*a.{18})|(.*b.{17})",
    "regex of doubles": "(a|aa)+" * 50,
    "regex of options": "a?" * 3_000 + "a" * 3_000,
    "regex of repeats": "((a{1,1000}){1,1000}){1,1000}",
}


def _grammars() -> dict[str, str]:
    doubled = [f"a{number}: a{number + 1} a{number + 1}" for number in range(60)]
    return {
        "ambiguous grammar": 'start: s\ns: s s s | s s | "x" |',
        "rules that double 60 times": "\n".join(["start: a0", *doubled, 'a60: "x"']),
    }


def _nested(levels: int, around: Callable[[_Schema], _Schema]) -> _Schema:
    inner: _Schema = {"type": "string"}
    for _ in range(levels):
        inner = around(inner)
    return inner


def _chain(count: int, link: Callable[[_Schema], _Schema], end: _Schema) -> _Schema:
    """Definitions, each of the next one."""
    links = {f"a{number}": link({"$ref": f"#/$defs/a{number + 1}"}) for number in range(count)}
    return {"$defs": {**links, f"a{count}": end}, "$ref": "#/$defs/a0"}


def _object(properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
