"""How models spell a call of a function: what the prompt asks for, the constraint keeps to and the reader reads.

Marked, in the form of Hermes that Qwen's templates ask for: `<tool_call>` around one JSON object with `name`
and `arguments`.  Without the mark, as small models write it: the same object, fenced or bare.
"""

from __future__ import annotations

import json
import re

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_MARKS = re.compile(f"({OPEN}|{CLOSE})")
KEYS = ("arguments", "parameters")
"""Of the arguments; the first is the form's own."""
FENCES, FENCES_CLOSED = ("```json", "```", "<tools>"), ("```", "</tools>")
"""What may stand around a call without a mark."""
BEGINNINGS = "`{[<"
"""A text that begins with none of these, blanks aside, does not begin with a call."""
BLANKS = " \t\r\n"
BLANKS_MAX = 64
"""In a row, in the head of a call without a mark."""


def same(name: str, arguments: str) -> str:
    """A call for comparison with others: the order of its keys and its blanks do not count."""
    try:
        value: object = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = arguments
    return json.dumps([name, value], sort_keys=True)


def parts(text: str) -> list[str]:
    """The text, cut around its marks."""
    return [part for part in _MARKS.split(text) if part]
