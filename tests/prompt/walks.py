"""Random legal texts: byte after byte, drawn from what may come next, with a bias to the end.

And a validator that reads patterns as JSON Schema means them: ECMA 262's `\\d`, `\\w`, `\\D`, `\\W` know ASCII only,
those of Python know all scripts.
"""

from __future__ import annotations

import random
from typing import Any

from jsonschema import Draft7Validator, Draft202012Validator

from segue.core.generation import Constraint
from segue.prompt import constraint

BLANK, CLOSING = frozenset(b" \t\n\r"), frozenset(b'"}]')
DRAFTS = {"draft2020-12": Draft202012Validator, "draft7": Draft7Validator}


def walk(wanted: Constraint, rng: random.Random, bytes_max: int = 400, to_end: float = 0.3) -> tuple[bytes, bool]:
    """A legal text, and whether it is whole; `to_end` is how often what closes is preferred."""
    matcher = constraint._compiled(wanted.grammar).deep_copy()
    text = bytearray()
    while len(text) < bytes_max:
        if matcher.is_accepting() and (matcher.is_stopped() or rng.random() < to_end):
            return bytes(text), True
        allowed = constraint._next(matcher)
        assert not matcher.is_error(), matcher.get_error()
        assert allowed or matcher.is_accepting(), "a dead end"
        if not allowed:
            break
        closing = [byte for byte in allowed if byte in CLOSING]
        solid = [byte for byte in allowed if byte not in BLANK] or allowed
        text.append(rng.choice(closing if closing and rng.random() < to_end else solid))
        assert matcher.consume_token(text[-1])
    return bytes(text), bool(matcher.is_accepting())


def accepts(wanted: Constraint, text: bytes) -> bool:
    """Is this a whole legal text?"""
    matcher = constraint._compiled(wanted.grammar).deep_copy()
    return matcher.try_consume_tokens(list(text)) == len(text) and matcher.is_accepting()


def ascii_only(pattern: str) -> str:
    """What is no digit or letter, said so that Python means the same."""
    return pattern.replace(r"\W", "[^A-Za-z0-9_]").replace(r"\D", "[^0-9]")


def in_ascii(schema: Any, names: bool = False) -> Any:
    """The schema with its patterns as Python has to read them."""
    if isinstance(schema, list):
        return [in_ascii(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "pattern" and not names and isinstance(value, str):
            made[key] = ascii_only(value)
        elif key == "patternProperties" and not names and isinstance(value, dict):
            made[key] = {ascii_only(pattern): in_ascii(each) for pattern, each in value.items()}
        elif key in ("enum", "const") and not names:
            made[key] = value
        else:
            made[key] = in_ascii(value, not names and key in ("properties", "$defs", "definitions"))
    return made


def validator(schema: Any, draft: str = "draft2020-12") -> Any:
    """Of the `jsonschema` package."""
    return DRAFTS[draft](in_ascii(schema))
