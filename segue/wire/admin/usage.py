"""Use, as the administration is asked about it and as it answers: rows of JSON, or lines of CSV.

Laws: pure but for the asking; an administrator sees everybody's, whoever else that of their own workspace, and is told
nothing of others, not even whether they are there; an answer has at most `ROWS_MAX` rows, and says where the next one
begins; days are those of UTC.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import csv
import io
import re
import time
from collections.abc import Mapping, Sequence
from typing import cast, get_args

import msgspec

from segue.core import frozen
from segue.core.errors import ValueRefused, WorkspaceDenied
from segue.core.request import Caller
from segue.core.usage import Range, Side, Spread, Use, money
from segue.wire.query import number

ROWS = 1000
ROWS_MAX = 10_000
SIDES: tuple[Side, ...] = get_args(Side)
DAYS = 30
"""How many days are shown where nothing is said of the first."""
_DAY_S = 86_400
_NAME_CHARS_MAX = 256
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
COUNTED = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "failed")
TIMES = ("first_token_ms", "total_ms", "tokens_per_second")


@frozen
class Question:
    """What is asked: by which sides, about what, behind which row, how many."""

    by: tuple[Side, ...]
    range: Range
    after: tuple[str, ...]
    limit: int


def question(query: Mapping[str, str], caller: Caller, now: float) -> Question:
    """What the query asks, as far as this caller may.  Raises FieldWrong, ValueRefused, WorkspaceDenied."""
    said = query.get("by", "day").split(",")
    if len(set(said)) != len(said) or not set(said) <= set(SIDES):
        raise ValueRefused("by", f"One or more of {', '.join(SIDES)}, each once, with commas between.")
    by = cast("tuple[Side, ...]", tuple(said))
    until = _day(query, "to") or _named(now)
    since = _day(query, "from") or _named(max(0.0, _moment(until) - (DAYS - 1) * _DAY_S))
    if since > until:
        raise ValueRefused("from", "No later than to.")
    workspace, key = _id(query, "workspace"), _id(query, "key")
    if caller.role != "admin":
        if workspace not in ("", caller.workspace):
            raise WorkspaceDenied
        workspace = caller.workspace
    limit = number(query, "limit", ROWS)
    if not 1 <= limit <= ROWS_MAX:
        raise ValueRefused("limit", f"1 to {ROWS_MAX}.")
    return Question(by, Range(since, until, workspace, key), _place(query, by), limit)


def rows(asked: Question, found: Sequence[Use], currency: str) -> dict[str, object]:
    """The answer; one more was asked for, to see whether there are more."""
    shown = found[: asked.limit]
    return {
        "rows": [_row(asked.by, use, currency) for use in shown],
        "next": _told(shown[-1].of) if len(found) > len(shown) else None,
    }


def lines(asked: Question, found: Sequence[Use], currency: str) -> bytes:
    """The same as CSV, with a line of names first."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    spreads = [f"{name}_{rank}" for name in TIMES for rank in ("p50", "p95")]
    writer.writerow([*asked.by, *COUNTED, "cost", "currency", *spreads])
    for use in found[: asked.limit]:
        times = [time for spread in _times(use).values() for time in (spread["p50"], spread["p95"])]
        writer.writerow([*map(_cell, use.of), *_counted(use).values(), money(use.cost_micros), currency, *times])
    return written.getvalue().encode()


def following(asked: Question, found: Sequence[Use]) -> str | None:
    """Where the next page begins, as `page` takes it."""
    return _told(found[asked.limit - 1].of) if len(found) > asked.limit else None


def wants_lines(accept: str) -> bool:
    """Whether CSV is wanted: it is named, and JSON is not named before it."""
    for kind in accept.lower().split(","):
        match kind.partition(";")[0].strip():
            case "text/csv":
                return True
            case "application/json":
                return False
    return False


def _row(by: Sequence[Side], use: Use, currency: str) -> dict[str, object]:
    about = dict(zip(by, use.of, strict=True))
    return {
        **{side: about.get(side) for side in SIDES},
        **_counted(use),
        "cost": money(use.cost_micros),
        "currency": currency,
        **_times(use),
    }


def _counted(use: Use) -> dict[str, int]:
    return {name: getattr(use, name) for name in COUNTED}


def _times(use: Use) -> dict[str, dict[str, float | None]]:
    found = (use.first_ms, use.total_ms, use.tokens_per_s)
    return {name: _spread(spread) for name, spread in zip(TIMES, found, strict=True)}


def _spread(spread: Spread) -> dict[str, float | None]:
    return {"p50": _rounded(spread.p50), "p95": _rounded(spread.p95)}


def _rounded(took: float | None) -> float | None:
    return None if took is None else round(took, 3)


def _cell(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def _day(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if value is None:
        return ""
    try:
        if not _DAY.fullmatch(value) or value < "1970-01-01":
            raise ValueError
        _moment(value)
    except ValueError:
        raise ValueRefused(name, "A day, such as 2026-11-01.") from None
    return value


def _moment(day: str) -> float:
    return calendar.timegm(time.strptime(day, "%Y-%m-%d"))


def _named(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _id(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if value and not _ID.fullmatch(value):
        raise ValueRefused(name, "An id.")
    return value


def _told(of: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(of)).decode("ascii").rstrip("=")


def _place(query: Mapping[str, str], by: Sequence[Side]) -> tuple[str, ...]:
    said = query.get("page")
    if said is None:
        return ()
    try:
        padded = said.encode("ascii") + b"=" * (-len(said) % 4)
        of = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=tuple[str, ...])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        of = ()
    if len(of) != len(by) or not all(len(name) <= _NAME_CHARS_MAX and name.isprintable() for name in of):
        raise ValueRefused("page", "What next of the page before it said.")
    return of
