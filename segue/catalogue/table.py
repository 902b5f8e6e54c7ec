"""A TOML table read field by field, collecting what is wrong instead of stopping at it.

Laws: every reader method returns a usable value, also after a mistake, so that all mistakes can be
told at once; `finish` names the fields nobody asked for.  It knows no field of any catalogue.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import cast


class CatalogueInvalid(Exception):
    """The catalogue cannot be used.  `problems` has one sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Table:
    """One table at `place`; mistakes go to the shared list `problems`."""

    def __init__(self, place: str, values: Mapping[str, object], problems: list[str]) -> None:
        self._place = place
        self._values = values
        self._problems = problems
        self._asked: set[str] = set()

    def names(self) -> list[str]:
        """The names in the table; all count as asked for."""
        self._asked.update(self._values)
        return list(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def wrong(self, name: str, what: str) -> None:
        """Note a mistake in field `name`."""
        self._problems.append(f"{self._place}.{name} {what}")

    def table(self, name: str) -> Table:
        """A table within; empty when absent."""
        value = self._value(name, {})
        if not isinstance(value, Mapping):
            self.wrong(name, "is not a table")
            value = {}
        return Table(f"{self._place}.{name}", cast(Mapping[str, object], value), self._problems)

    def tables(self, name: str) -> list[Table]:
        """A list of tables; empty when absent."""
        value = self._value(name, [])
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            self.wrong(name, "is not a list of tables")
            value = []
        return [Table(f"{self._place}.{name}.{at}", each, self._problems) for at, each in enumerate(value)]

    def truth(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self.wrong(name, "is not true or false")
            return default
        return value

    def text(self, name: str, default: str, required: bool = False) -> str:
        """A string; `required` ones must not be empty."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self.wrong(name, "is not text")
            return default
        if required and not value:
            self.wrong(name, "is missing")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of `choices`."""
        value = self.text(name, default)
        if value not in choices:
            self.wrong(name, f"is not one of {', '.join(choices)}")
            return default
        return value

    def texts(self, name: str, choices: tuple[str, ...] = (), default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings, each one of `choices` where there are any."""
        value = self._value(name, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.wrong(name, "is not a list of text")
            return default
        if choices and not set(value) <= set(choices):
            self.wrong(name, f"may only have {', '.join(choices)}")
            return default
        return tuple(value)

    def number(self, name: str, default: int, low: int = 0) -> int:
        """A whole number, `low` or more."""
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            self.wrong(name, f"is not a whole number from {low} up")
            return default
        return value

    def real(self, name: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self._value(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(name, f"is not a number from {low:g} to {high:g}")
            return default
        return float(value)

    def finish(self) -> None:
        """Note every field that was not asked for."""
        for name in self._values:
            if name not in self._asked:
                close = difflib.get_close_matches(name, self._asked, n=1)
                self.wrong(name, "is not a known field" + (f"; did you mean {close[0]}?" if close else ""))

    def _value(self, name: str, default: object) -> object:
        self._asked.add(name)
        return self._values.get(name, default)
