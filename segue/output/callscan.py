"""The forms of a call, as patterns over the text that a model has written so far.

Laws: every pattern is bounded but for what stands inside the arguments, which `Scan` goes over once; what
may yet become a call matches a pattern of its beginnings.
"""

from __future__ import annotations

import json
import re

from segue.core.callforms import BLANKS, BLANKS_MAX, FENCES, KEYS

NAME_CHARACTERS_MAX = 256

_BLANK = rf"[{BLANKS}]{{0,{BLANKS_MAX}}}"
_NAME = rf'[^"\\]{{0,{NAME_CHARACTERS_MAX}}}'
# Qwen2.5-Coder's template shows the object in doubled braces, and the model writes it so.
NAMED = re.compile(rf'{_BLANK}\{{\{{?{_BLANK}"name"{_BLANK}:{_BLANK}"({_NAME})"')
HEAD = re.compile(rf'{NAMED.pattern}{_BLANK},{_BLANK}"(?:arguments|parameters)"{_BLANK}:{_BLANK}(?=\{{)')
FUNCTION = re.compile(rf"<function=([^>]{{1,{NAME_CHARACTERS_MAX}}})>")
PARAMETER = re.compile(r"<parameter=([^>]+)>(.*?)</parameter>", re.DOTALL)
_IN_STRING, _OUTSIDE = re.compile(r'["\\]'), re.compile(r'["{}\[\]<]')


def _beginnings(*units: str) -> str:
    """What matches every beginning of the units in a row; each must match its own beginnings."""
    nested = ""
    for unit in reversed(units):
        nested = f"(?:{unit}{nested})?"
    return nested


def _literal(text: str) -> list[str]:
    return [re.escape(character) for character in text]


def _head(before: str, key: str) -> str:
    named = [r"\{", r"\{?", _BLANK, *_literal('"name"'), _BLANK, ":", _BLANK, '"', _NAME, '"', _BLANK, ",", _BLANK]
    return _beginnings(*_literal(before), _BLANK, *named, *_literal(f'"{key}"'), _BLANK, ":", _BLANK, r"\{")


HEAD_BEGUN = re.compile("|".join(_head("", key) for key in KEYS))
OPENING = re.compile(rf"(?:{'|'.join(map(re.escape, FENCES))})?{_BLANK}(\[?){_BLANK}")
OPENING_BEGUN = re.compile(
    "|".join(
        _beginnings(*_literal(fence), _BLANK, *_literal(listed), _head("", key))
        for fence in (*FENCES, "")
        for listed in ("", "[")
        for key in KEYS
    )
)


class Scan:
    """Goes over JSON, piece by piece, to the place where it is closed."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._string = self._escaped = False

    def over(self, text: str, at: int) -> tuple[int, bool]:
        """How far it gets, and whether it ended there: closed, or broken off by a mark."""
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_IN_STRING if self._string else _OUTSIDE).search(text, at)
            if found is None:
                return len(text), False
            match found.group():
                case "\\":
                    self._escaped = True
                case '"':
                    self._string = not self._string
                case "{" | "[":
                    self._depth += 1
                case "<":  # never in JSON outside a string
                    return found.start(), True
                case _:
                    self._depth -= 1
                    if self._depth <= 0:
                        return found.end(), True
            at = found.end()
        return at, False


def whole(text: str) -> tuple[str, str] | None:
    """Name and arguments of a call that is whole; None where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments: object = next((value[key] for key in KEYS if value.get(key) is not None), {})
    if isinstance(arguments, str):  # JSON within JSON
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return None
    return (value["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None
