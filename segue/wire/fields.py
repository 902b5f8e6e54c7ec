"""One JSON object, read field by field.

Why: both protocols have the same kinds of fields and differ only in how forgiving they are, so
the kinds are read here once.  Laws: null is absent; a boolean is never a number; nothing leaves
here but the documented type or a Fault; which fields were read past is remembered, within a
bound.  This file knows no field's name and no protocol's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from segue.core import frozen
from segue.core.errors import FieldMissing, FieldWrong

IGNORED_MAX = 20
NAME_CHARS_MAX = 64
VALUE_CHARS_MAX = 200

# What pydantic's lax mode takes for a number in a string, less the infinities.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_INTEGER = re.compile(r"([+-]?\d{1,64})(\.0*)?")


@dataclass(frozen=True, slots=True)
class Field:
    """What becomes of a documented request field, and why, when it is not simply used."""

    status: Literal["used", "refused", "ignored"]
    reason: str = ""


@dataclass(slots=True)
class Ignored:
    """The names of fields that were read past: at most `IGNORED_MAX`, cut at `NAME_CHARS_MAX`."""

    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Remember `name`, once."""
        name = name[:NAME_CHARS_MAX]
        if len(self.names) < IGNORED_MAX and name not in self.names:
            self.names.append(name)


@frozen
class Fields:
    """A JSON object of the request.

    `path` is its wire path, with a dot at the end unless empty; `coerces` is whether a number
    may come as a string.
    """

    values: Mapping[str, object]
    path: str
    coerces: bool
    ignored: Ignored

    def get(self, name: str) -> object | None:
        """The raw value; None when absent or null."""
        return self.values.get(name)

    def inside(self, name: str) -> Fields | None:
        """The object under `name`.  Raises FieldWrong."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise FieldWrong(self.path + name, "object")
        return Fields(value, f"{self.path}{name}.", self.coerces, self.ignored)

    def objects(self, name: str) -> Iterator[Fields]:
        """The objects of a list, which may be absent.  Raises FieldWrong."""
        value = self.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            raise FieldWrong(self.path + name, "list")
        for index, entry in enumerate(value):
            if not isinstance(entry, dict):
                raise FieldWrong(f"{self.path}{name}.{index}", "object")
            yield Fields(entry, f"{self.path}{name}.{index}.", False, self.ignored)

    def boolean(self, name: str) -> bool | None:
        """A real boolean.  Raises FieldWrong."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise FieldWrong(self.path + name, "boolean")

    def string(self, name: str) -> str | None:
        """A string.  Raises FieldWrong."""
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise FieldWrong(self.path + name, "string")

    def number(self, name: str) -> float | None:
        """A number; an integer too large for a float becomes an infinity, for the range check to refuse."""
        value = self.values.get(name)
        if value is None:
            return None
        if self.coerces and isinstance(value, str):
            if len(value) > VALUE_CHARS_MAX or not _NUMBER.fullmatch(value):
                raise FieldWrong(self.path + name, "number", "text", value[:VALUE_CHARS_MAX])
            return float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise FieldWrong(self.path + name, "number")
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")

    def integer(self, name: str) -> int | None:
        """An integer; 3.0 is one.  Raises FieldWrong."""
        value = self.values.get(name)
        if value is None:
            return None
        if self.coerces and isinstance(value, str):
            match = _INTEGER.fullmatch(value)
            if match is None:
                raise FieldWrong(self.path + name, "integer", "text", value[:VALUE_CHARS_MAX])
            return int(match[1])
        if isinstance(value, float):
            if not value.is_integer():
                raise FieldWrong(self.path + name, "integer", "fraction")
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldWrong(self.path + name, "integer")
        return value

    def note_unread(self, table: Mapping[str, Field], prefix: str = "") -> None:
        """List every present field that `table` ignores or has never heard of, under `prefix` + name."""
        for name, value in self.values.items():
            known = table.get(prefix + name)
            if value is not None and (known is None or known.status == "ignored"):
                self.ignored.add(self.path + name)


def model_name(values: Mapping[str, object]) -> str:
    """The model asked for.  Raises FieldMissing, FieldWrong."""
    name = values.get("model")
    if name is None or name == "":
        raise FieldMissing("model")
    if not isinstance(name, str):
        raise FieldWrong("model", "string")
    return name
