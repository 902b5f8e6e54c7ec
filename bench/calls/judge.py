"""Is what came what was expected?  Lenient about words, strict about functions and types.

A call is read from the answer's `tool_calls`.  With `also_text` it is read from the text too, where there is none
of the former: every JSON object anywhere in it that has the name of an offered function and arguments.  So
two servers of one model can be compared by what the model chose, whoever reads it better.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema

from bench.calls.cases import Case, Wanted

_DECODER = json.JSONDecoder()
_KEYS = ("arguments", "parameters")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[,，](?=\d{3})")
_NUMBER = re.compile(r"[-\d.:]+")
_MARKS = ("<tool_call>", "<tools>", "<function=", "```json")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server answered.  `calls` are names with the text of their arguments; `error`: why there is no answer."""

    status: int
    text: str = ""
    calls: Sequence[tuple[str, str]] = ()
    finish: str = ""
    error: str = ""
    seconds: float = 0.0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a case that wants calls all count from `parsed` on, each for itself; of one that wants text, `called` is
    a mistake.  `leaked`: the text looks like a call."""

    answered: bool
    called: bool
    parsed: bool
    valid: bool
    functions: bool
    right: bool
    leaked: bool


def judge(case: Case, outcome: Outcome, also_text: bool = False) -> Verdict:
    """The verdict on one answer."""
    calls, text = list(outcome.calls), outcome.text
    if also_text and not calls:
        calls = [call for call in written(text) if call[0] in case.schemas]
    answered = outcome.status == 200
    objects = [_object(arguments) for _, arguments in calls]
    parsed = answered and bool(calls) and None not in objects
    given = [(name, each or {}) for (name, _), each in zip(calls, objects, strict=True)]
    leaked = answered and not calls and looks_called(text)
    if not case.calling:
        right = answered and not calls and not leaked and bool(text.strip()) and says(text, case.says)
        valid = parsed and all(fits(case, name, each) for name, each in given)
        return Verdict(answered, bool(calls), parsed, valid, False, right, leaked)
    names = sorted(name for name, _ in given) == sorted(wanted.name for wanted in case.calls)
    return Verdict(
        answered=answered,
        called=bool(calls),
        parsed=parsed,
        valid=parsed and all(fits(case, name, each) for name, each in given),
        functions=parsed and names,
        right=parsed and names and matched(given, case.calls),
        leaked=leaked,
    )


def written(text: str) -> list[tuple[str, str]]:
    """The calls in a text: JSON objects with a name and arguments, wherever they are."""
    found = []
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        key = next((key for key in _KEYS if isinstance(value.get(key), dict)), None)
        if isinstance(value.get("name"), str) and key:
            found.append((value["name"], json.dumps(value[key], ensure_ascii=False)))
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)
    return found


def looks_called(text: str) -> bool:
    """Whether a reader would take the text for a call, or its beginning."""
    begun = text.lstrip()
    bare = begun.startswith(("{", "[{")) and '"name"' in begun
    return bare or any(mark in text for mark in _MARKS[:-1]) or (_MARKS[-1] in text and bool(written(text)))


def fits(case: Case, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether arguments keep to the function's schema; what is no schema demands nothing but an object."""
    if name not in case.schemas:
        return False
    schema = case.schemas[name]
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return True
    return bool(jsonschema.Draft202012Validator(schema).is_valid(arguments))


def matched(given: Sequence[tuple[str, Mapping[str, Any]]], wanted: Sequence[Wanted]) -> bool:
    """Whether the calls are those that are wanted, in any order."""
    return any(
        all(call[0] == one.name and _members(call[1], one.arguments) for call, one in zip(given, order, strict=True))
        for order in itertools.permutations(wanted)
    )


def says(text: str, wanted: Sequence[Sequence[str]]) -> bool:
    """Whether of each member one alternative stands in the text; numbers as whole numbers."""
    said = _BETWEEN_DIGITS.sub("", text.replace("\u2212", "-").replace("：", ":"))
    return all(any(_stands(each, said) for each in alternatives) for alternatives in wanted)


def _stands(wanted: str, text: str) -> bool:
    if _NUMBER.fullmatch(wanted):
        return re.search(rf"(?<![\d.]){re.escape(wanted)}(?!\d)", text) is not None
    return _plain(wanted) in _plain(text)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _members(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for key, value in wanted.items():
        name = key.removesuffix("?")
        if key == "_any":
            everything = json.dumps(given, ensure_ascii=False)
            if not any(_plain(each) in _plain(everything) for each in value):
                return False
        elif name not in given:
            if not key.endswith("?"):
                return False
        elif not _equal(given[name], value):
            return False
    return True


def _equal(given: Any, wanted: Any) -> bool:
    match wanted:
        case list():
            return any(_equal(given, each) for each in wanted)
        case {"has": list() as members}:
            return isinstance(given, list) and all(any(_equal(one, each) for one in given) for each in members)
        case dict():
            return isinstance(given, dict) and _members(given, wanted)
        case bool():
            return given is wanted or str(given).lower() == str(wanted).lower()
        case int() | float():
            return _number(given) == wanted
        case "*":
            return bool(given)
        case _:
            return _plain(wanted) in _plain(given)


def _number(given: Any) -> float | None:
    if isinstance(given, bool):
        return None
    try:
        return float(given)
    except (TypeError, ValueError):
        return None


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"\s+", "", text).casefold()
