"""The vocabulary every other folder speaks: frozen values, standard library only, no input or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass that nobody changes, for values that are made for every request or every piece of an answer.

    mypy refuses an assignment to it, as to a frozen one.  Nothing checks again while the server runs: for
    a frozen dataclass Python sets each field through `object.__setattr__`, which makes it four times as dear
    to make, and a short answer takes fifty of them.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
