"""Schemas, regexes and grammars made to cost: each comes back soon, and others run meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping

import pytest

from segue.core.errors import FormatInvalid, PrefixIllegal
from segue.core.generation import Constraint
from segue.core.request import Format
from segue.prompt.constraint import DEPTH_MAX, check, constraint

from .walks import walk

SECONDS = 2.0
GAP_S = 0.1
BUSY = 4.0
"""What a machine with other work may take more, at most; the measured ones are a fifth of the bounds."""


def schema(value: Mapping[str, object]) -> Format:
    return Format("json_schema", schema=value)


def nested(levels: int, around: Callable[[object], Mapping[str, object]]) -> Format:
    inner: Mapping[str, object] = {"type": "string"}
    for _ in range(levels):
        inner = around(inner)
    return schema(inner)


def chain(count: int, link: Callable[[str], object], end: object) -> Format:
    links = {f"a{at}": link(f"#/$defs/a{at + 1}") for at in range(count)}
    return schema({"$defs": {**links, f"a{count}": end}, "$ref": "#/$defs/a0"})


def both(ref: str) -> object:
    return {"type": "object", "properties": {"x": {"$ref": ref}, "y": {"$ref": ref}}, "required": ["x", "y"]}


def rules(count: int, rule: str, end: str) -> Format:
    lines = [rule.format(at, at + 1) for at in range(count)]
    return Format("grammar", source="\n".join(["start: " + rule[0] + "0", *lines, f"{rule[0]}{count}: {end}"]))


HOSTILE: dict[str, Format] = {
    "deepest properties": nested(DEPTH_MAX // 2 - 1, lambda s: {"properties": {"a": s}, "required": ["a"]}),
    "deeper properties": nested(300, lambda s: {"type": "object", "properties": {"a": s}}),
    "deeper items": nested(900, lambda s: {"type": "array", "items": s}),
    "deep values": schema({"const": [[[[{"a": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}]]]]}),
    "enum of 100,000": schema({"enum": [f"x{at}" for at in range(100_000)]}),
    "enum of 2,000 objects": schema({"enum": [{"a": [at]} for at in range(2_000)]}),
    "enum of long strings": schema({"enum": [f"{at:04}" + "word " * 22 for at in range(1_000)]}),
    "long constant": schema({"const": "abcd " * 50_000}),
    "longest constant": schema({"const": "abcd " * 3_276}),
    "many long constants": schema({"enum": [f"{at}" + "abcd " * 3_000 for at in range(16)]}),
    "self": schema({"$ref": "#"}),
    "self below": schema({"properties": {"a": {"$ref": "#"}}, "type": "object"}),
    "self, and all": schema({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
    "self, or": schema({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
    "exponential objects": chain(40, both, {"type": "null"}),
    "exponential allOf": chain(40, lambda ref: {"allOf": [{"$ref": ref}, {"$ref": ref}]}, {"type": "null"}),
    "exponential anyOf": chain(40, lambda ref: {"anyOf": [{"$ref": ref}, {"$ref": ref}]}, {"type": "null"}),
    "chain of references": chain(6_000, lambda ref: {"$ref": ref}, {"type": "null"}),
    "chain of arrays": chain(3_000, lambda ref: {"items": {"$ref": ref}}, {}),
    "longest chain of arrays": chain(330, lambda ref: {"items": {"$ref": ref}}, {}),
    "chain of allOf": chain(2_500, lambda ref: {"allOf": [{"$ref": ref}, {"minLength": 1}]}, {}),
    "product of allOf": schema({"allOf": [{"anyOf": [{"const": i}, {"const": -i}]} for i in range(1, 100)]}),
    "wide oneOf": schema({"oneOf": [{"type": "integer", "minimum": at} for at in range(4_000)]}),
    "oneOf of objects": schema({"oneOf": [{"required": [f"k{at}"]} for at in range(500)]}),
    "oneOf of constants": schema(
        {"oneOf": [{"type": "object", "properties": {"k": {"const": at}}, "required": ["k"]} for at in range(100)]}
    ),
    "properties": schema({"type": "object", "properties": {f"p{at}": {} for at in range(8_000)}}),
    "optional properties": schema({"type": "object", "properties": {f"p{at}": {} for at in range(1_000)}}),
    "most optional properties": schema({"type": "object", "properties": {f"p{at}": {} for at in range(250)}}),
    "many optional properties": schema(
        {"properties": {f"q{i}": {"properties": {f"p{at}": {} for at in range(250)}} for i in range(30)}}
    ),
    "patterns of properties": schema({"patternProperties": {f"^x{at:05}$": {} for at in range(1_000)}}),
    "patterns hard to tell apart": schema(
        {"patternProperties": {f"^.*{x}.{{{n}}}{x}$": {} for x, n in zip("abcdefgh", range(9, 17), strict=True)}}
    ),
    "items without end": nested(9, lambda s: {"type": "array", "minItems": 10**6, "maxItems": 10**9, "items": s}),
    "long strings": schema({"type": "string", "minLength": 10**9}),
    "multiples": schema({"type": "integer", "multipleOf": 9_973}),
    "multiples of many": schema({"properties": {f"p{at}": {"multipleOf": 9_900 + at} for at in range(99)}}),
    "multiples of two": schema({"allOf": [{"multipleOf": 9_999}, {"multipleOf": 9_998}]}),
    "pattern": schema({"type": "string", "pattern": "^(.*a.{15}|.*b.{14})c$"}),
    "patterns that meet": schema({"allOf": [{"pattern": p} for p in ("a.{12}$", "b.{11}$", "c.{10}$")]}),
    "pattern and length": schema({"pattern": "^(a|b)*a(a|b){12}$", "minLength": 500, "maxLength": 900}),
    "regex of repeats": Format("regex", source="((a{1,1000}){1,1000}){1,1000}"),
    "regex of one repeat": Format("regex", source="a{1000000}"),
    "regex that looks back": Format("regex", source="(.*a.{18})|(.*b.{17})"),
    "regex of doubles": Format("regex", source="(a|aa)+" * 50),
    "regex of options": Format("regex", source="a?" * 3_000 + "a" * 3_000),
    "regex of words": Format("regex", source="|".join(f"w{at}x" for at in range(30_000))),
    "regex of parentheses": Format("regex", source="(" * 20_000 + "a" + ")" * 20_000),
    "regex of scripts": Format("regex", source=r"(\p{L}\p{N}){500}"),
    "long regex": Format("regex", source="a" * 200_000),
    "longest regex": Format("regex", source="ab cd" * 3_000),
    "grammar of long words": Format("grammar", source="start: " + " ".join(f'"{"abc" * 5_000}"' for _ in range(4))),
    "grammar without end": Format("grammar", source='start: "a" start'),
    "ambiguous grammar": Format("grammar", source='start: s\ns: s s s | s s | "x" |'),
    "grammar of repeats": Format("grammar", source='start: (x{1,1000}){1,1000}\nx: y{1,1000}\ny: "a" | "b"'),
    "exponential rules": rules(60, "a{0}: a{1} a{1}", '"x"'),
    "exponential terminals": rules(60, "A{0}: A{1} A{1}", '"x"'),
    "chain of rules": rules(10_000, 'a{0}: a{1} "x"', '"x"'),
    "chain of terminals": rules(10_000, 'A{0}: A{1} "x"', '"x"'),
    "longest chain of rules": rules(1_400, 'a{0}: a{1} "x"', '"x"'),
    "parentheses": Format("grammar", source="start: " + "(" * 1_000 + '"a"' + ")" * 1_000),
    "terminals that meet": Format("grammar", source="start: T\nT: /.*a.{12}/ & /.*b.{11}/ & ~/.*d.{9}/"),
}  # fmt: skip


class Ticker:
    """A thread that wants to run every few milliseconds, and remembers the longest it had to wait."""

    def __init__(self) -> None:
        self.longest, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def _tick(self) -> None:
        last = time.perf_counter()
        while not self._done.wait(0.002):
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last), now

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    began = time.perf_counter()
    with Ticker() as ticker:
        wanted = compiled(HOSTILE[name])
    assert time.perf_counter() - began < SECONDS * BUSY
    assert ticker.longest < GAP_S * BUSY
    if wanted is not None:
        began = time.perf_counter()
        with contextlib.suppress(FormatInvalid, PrefixIllegal, AssertionError):  # too complex on the way
            check(wanted, walk(wanted, random.Random(1), 100, 0.0)[0])
        assert time.perf_counter() - began < SECONDS * BUSY


def compiled(form: Format) -> Constraint | None:
    """None where it is refused; else it is checked."""
    try:
        wanted = constraint(form)
        assert wanted is not None
        check(wanted, b"")
    except FormatInvalid:
        return None
    return wanted


def test_a_long_prefix_leaves_others_room() -> None:
    wanted = constraint(Format("json_object"))
    assert wanted is not None
    with Ticker() as ticker:
        check(wanted, b'{"a": [' + b'{"b": "some text of a person", "c": [1, 2]}, ' * 3_000)
    assert ticker.longest < GAP_S * BUSY
