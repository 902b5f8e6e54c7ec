"""`X-DashScope-DataInspection`: what the caller wants inspected.

The documents write `{"input": "cip", "output": "cip"}`, the SDK `enable`.  What is neither asks for both sides: whoever
sends the header wants something inspected, and too much is the lesser mistake.  It does not know what is inspected
anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from segue.core.request import UNASKED, Inspection

HEADER = b"x-dashscope-datainspection"
_OFF = ("", "disable", "false", "none", "off")


def wanted(headers: Mapping[bytes, bytes]) -> Inspection:
    """Which sides are to be inspected."""
    value = headers.get(HEADER)
    if value is None:
        return UNASKED
    said = value.decode("latin-1").strip()
    if said.lower() in _OFF:
        return UNASKED
    try:
        sides = msgspec.json.decode(said)
    except msgspec.DecodeError:
        sides = None
    if not isinstance(sides, dict):
        return Inspection(True, True)
    return Inspection(_on(sides.get("input")), _on(sides.get("output")))


def _on(value: object) -> bool:
    return value is not None and str(value).strip().lower() not in _OFF
