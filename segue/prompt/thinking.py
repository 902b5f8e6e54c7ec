"""How a model's template has it think, and where its thought stays open or is closed.

    <think>\\n ... \\n</think>\\n\\n answer

A template is asked once, by trying it out: does what it prints change with `enable_thinking` (a model that
can be asked to), does it end inside a thought whatever it is told (one that always thinks), or neither (one
without thoughts)?  Where the thought is wanted and the template does not open it, it is opened here, so
that an answer with thinking has a thought whatever the model likes.

Laws: the marks are control tokens where the model has them, else the same characters; a thought of the
caller's is one plain run, byte for byte.  Pure; knows no Jinja and no token.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.core import frozen
from segue.core.generation import Ability, ModelCard, Segment

OPEN, CLOSE = "<think>", "</think>"


@frozen
class Habit:
    """What a template does.  `abilities` as in `ModelCard`; `opens`: it opens the thought by itself."""

    abilities: frozenset[Ability] = frozenset()
    opens: bool = False


def habit(source: str, on: str, off: str, word: str) -> Habit:
    """The habit of a template `source`, which prints `on` and `off` with thinking on and off; both end behind
    `word`, the last that a user says."""
    if OPEN not in source or word not in on or word not in off:
        return Habit()
    opens = _inside(on.rpartition(word)[2])
    if _inside(off.rpartition(word)[2]):
        return Habit(frozenset({"always_thinking"}), opens)
    return Habit(frozenset({"thinking"}), opens) if on != off else Habit()


def _inside(tail: str) -> bool:
    return tail.rfind(OPEN) > tail.rfind(CLOSE)


def opening(card: ModelCard, opens: bool) -> Sequence[Segment]:
    """What stands between the opened turn and the thought."""
    return () if opens else _marked(card, "", OPEN, "\n")


def closing(card: ModelCard, ended: bool) -> Sequence[Segment]:
    """What stands between a thought and its answer; `ended`: the thought ends with its line."""
    return _marked(card, "" if ended else "\n", CLOSE, "\n\n")


def _marked(card: ModelCard, before: str, mark: str, behind: str) -> Sequence[Segment]:
    if mark not in card.control_tokens:
        return (Segment(before + mark + behind),)
    return tuple(segment for segment in (Segment(before), Segment(mark, True), Segment(behind)) if segment.text)
