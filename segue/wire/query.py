"""The query of a request, read field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

from segue.core.errors import FieldWrong, TooLarge
from segue.wire.fields import VALUE_CHARS_MAX
from segue.wire.http import Exchange

QUERY_BYTES_MAX = 8 * 1024

# The service writes its dates in this time, also where it calls them GMT.
TIME_ZONE = timezone(timedelta(hours=8))
_DATES = {14: "%Y%m%d%H%M%S", 19: "%Y-%m-%d %H:%M:%S", 10: "%Y-%m-%d", 8: "%Y%m%d"}
_DIGITS = re.compile(r"[0-9]{1,9}")


def query_of(exchange: Exchange) -> Mapping[str, str]:
    """The first value of each field.  Raises TooLarge."""
    raw: bytes = exchange.scope["query_string"]
    if len(raw) > QUERY_BYTES_MAX:
        raise TooLarge("headers", QUERY_BYTES_MAX)
    return {name: values[0] for name, values in parse_qs(raw.decode("latin-1")).items()}


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of at most nine digits.  Raises FieldWrong."""
    value = query.get(name)
    if value is None:
        return default
    if not _DIGITS.fullmatch(value):
        raise FieldWrong(name, "integer", "text", value[:VALUE_CHARS_MAX])
    return int(value)


def moment(query: Mapping[str, str], name: str) -> int | None:
    """A date in any of the documented spellings, in unix seconds.  Raises FieldWrong."""
    value = query.get(name)
    if value is None:
        return None
    try:
        return int(datetime.strptime(value, _DATES[len(value)]).replace(tzinfo=TIME_ZONE).timestamp())
    except (KeyError, ValueError):
        raise FieldWrong(name, "value", "type", value[:VALUE_CHARS_MAX]) from None
