"""What is made of a file's bytes, and what it is called.

Laws: one kind of blob for each thing, version and form of file, so that nothing of an older version is ever taken for
the new; what is made twice from the same bytes is the same.  Raise a version when what is made changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import msgspec

from segue.core.documents import Part

TEXT = "text-1"
PARTS = "parts-1"
TOKENS = "tokens-1"
INDEX = "index-1"

NO_FORM = "none"
_FORM = re.compile(r"[a-z0-9]{1,16}")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[tuple[int, str]])


def form(name: str) -> str:
    """What a file's name says it is: its ending, without the dot."""
    ending = PurePath(name).suffix[1:].lower()
    return ending if _FORM.fullmatch(ending) else NO_FORM


def kind(thing: str, of: str) -> str:
    """The kind of blob that holds `thing`, made of a file of this form."""
    return f"{thing}.{of}"


def parts_to(parts: Sequence[Part]) -> bytes:
    """Parts as a JSON list of `[start, label]`."""
    return _encoder.encode([(part.start, part.label) for part in parts])


def parts_of(data: bytes) -> tuple[Part, ...]:
    """And back."""
    return tuple(Part(start, label) for start, label in _decoder.decode(data))
