"""The cases: what is asked, which functions are offered, what is expected.

They are in `data/`, half English, half Chinese, and written for this benchmark.  Each kind is numbered from 1
in each language: what is tuned is tuned on the even numbers, and what is reported of it is of the odd ones.

    simple      one function is offered, and fits
    multiple    one of several fits
    parallel    two or three calls are wanted
    nested      objects, lists, choices, numbers, booleans
    loose       schemas that say little, as callers send them
    chain       a result, or an earlier answer, is there, and a call is wanted
    irrelevant  nothing that is offered fits
    missing     a function fits, but what it needs was not said
    result      the result is there, and is to be said
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

CALLED = ("simple", "multiple", "parallel", "nested", "loose", "chain")
"""Kinds that want calls."""
SAID = ("irrelevant", "missing", "result")
"""Kinds that want text."""
KINDS = (*CALLED, *SAID)
LANGUAGES = ("en", "zh")
HALVES = ("tune", "held")
CALL_TOKENS, TEXT_TOKENS = 256, 160
_DATA = Path(__file__).parent / "data"
_TYPES = ("string", "integer", "number", "boolean")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is expected; what the data's head says of arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One question.  `says`: of each member, one alternative stands in the answer."""

    name: str
    kind: str
    half: str
    messages: Sequence[Json]
    tools: Sequence[Json]
    calls: Sequence[Wanted]
    says: Sequence[Sequence[str]]

    @property
    def calling(self) -> bool:
        """Whether calls are expected."""
        return self.kind in CALLED

    @property
    def schemas(self) -> dict[str, object]:
        """The parameters of each function that is offered."""
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in self.tools}

    def body(self, model: str) -> Json:
        """The request, for either server."""
        body: Json = {"model": model, "messages": list(self.messages), "tools": list(self.tools), "temperature": 0}
        body["max_tokens"] = CALL_TOKENS if self.calling else TEXT_TOKENS
        return body | {"parallel_tool_calls": self.kind == "parallel"}

    def mark(self) -> str:
        """Differs when what is asked differs."""
        return blake2b(json.dumps(self.body("")).encode(), digest_size=6).hexdigest()


@cache
def cases() -> tuple[Case, ...]:
    """All of them: the kinds in order, the languages in turns.  Raises ValueError for one that contradicts itself."""
    found: list[Case] = []
    for language in LANGUAGES:
        functions = {name: _tool(name, each) for name, each in _read(f"functions_{language}").items()}
        read = [_read(f"{part}_{language}") for part in ("calls", "texts")]
        for kind in KINDS:
            listed = [entry for part in read for entry in part.get(kind, ())]
            found += [_case(f"{kind}-{language}-{n:02}", kind, n, each, functions) for n, each in enumerate(listed, 1)]
    return tuple(sorted(found, key=lambda case: (KINDS.index(case.kind), case.name[-2:], case.name)))


def chosen(kinds: Sequence[str], half: str | None, limit: int | None) -> list[Case]:
    """Some of them; `limit` of all kinds alike."""
    listed = [case for case in cases() if case.kind in kinds and half in (None, case.half)]
    if limit is None or limit >= len(listed):
        return listed
    by_kind = [[case for case in listed if case.kind == kind] for kind in kinds]
    rows = max(map(len, by_kind))
    drawn = [column[row] for row in range(rows) for column in by_kind if row < len(column)]
    kept = {case.name for case in drawn[:limit]}
    return [case for case in listed if case.name in kept]


def _read(name: str) -> Json:
    return tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))


def _case(name: str, kind: str, number: int, entry: Json, functions: Mapping[str, Json]) -> Case:
    offered = entry["tools"].split()
    messages: list[Json] = []
    for turn, text in enumerate(entry.get("before", ())):
        messages.append({"role": ("user", "assistant")[turn % 2], "content": text})
    messages.append({"role": "user", "content": entry["ask"]})
    if "called" in entry:
        messages += _history(entry)
    calls = [Wanted(*_only(each)) for each in entry.get("calls", ())]
    known = {name: functions[name]["function"]["parameters"].get("properties", {}) for name in offered}
    for wanted in [*calls, *(Wanted(*_only(each)) for each in entry.get("called", ()))]:
        unknown = [key for key in wanted.arguments if key.removesuffix("?") not in (*known[wanted.name], "_any")]
        if unknown:
            raise ValueError(f"{name}: {wanted.name} has no {unknown}")
    if (kind in CALLED) != bool(calls) or (kind == "result") != ("called" in entry and "says" in entry):
        raise ValueError(f"{name}: not of its kind")
    tools = [functions[each] for each in offered]
    return Case(name, kind, HALVES[number % 2], messages, tools, calls, entry.get("says", ()))


def _history(entry: Json) -> Iterator[Json]:
    """The calls that were made, and what came of them."""
    made = []
    for number, each in enumerate(entry["called"]):
        name, arguments = _only(each)
        function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        made.append({"id": f"call_{number}", "type": "function", "index": number, "function": function})
    yield {"role": "assistant", "content": "", "tool_calls": made}
    for call, result in zip(made, entry["results"], strict=True):
        yield {"role": "tool", "tool_call_id": call["id"], "content": result}


def _only(call: Json) -> tuple[str, Json]:
    ((name, arguments),) = call.items()
    return name, arguments


def _tool(name: str, entry: Json) -> Json:
    entry = dict(entry)
    about, stray = entry.pop("about"), entry.pop("stray", {})
    parameters = entry["schema"] if "schema" in entry else _schema(entry)
    function = {"name": name, "description": about, "parameters": parameters, **stray}
    return {"type": "function", "function": function}


def _schema(value: object) -> Json:
    """The JSON schema of the data's short notation."""
    match value:
        case str():
            kind, _, meaning = value.partition(", ")
            return _typed(kind) | ({"description": meaning} if meaning else {})
        case [inner]:
            return {"type": "array", "items": _schema(inner)}
        case dict():
            properties = {key.removesuffix("?"): _schema(each) for key, each in value.items()}
            required = [key for key in value if not key.endswith("?")]
            return {"type": "object", "properties": properties, "required": required}
    raise ValueError(f"no schema: {value!r}")


def _typed(kind: str) -> Json:
    if kind.endswith("[]"):
        return {"type": "array", "items": _typed(kind.removesuffix("[]"))}
    return {"type": kind} if kind in _TYPES else {"type": "string", "enum": kind.split("|")}
