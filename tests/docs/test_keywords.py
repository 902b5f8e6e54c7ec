"""Each keyword of JSON Schema does what the table says of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from segue.core.errors import FormatInvalid
from segue.core.request import Format
from segue.prompt.constraint import check, constraint
from tests.docs.keywords import KEYWORDS


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_does_what_the_table_says(keyword: str) -> None:
    here, _, schema = KEYWORDS[keyword]
    try:
        wanted = constraint(Format("json_schema", schema=schema))
        assert wanted is not None
        check(wanted, b"")
    except FormatInvalid as refusal:
        assert here in ("refused", "partly")
        named = refusal.reason
    else:
        assert here in ("kept", "read past")
        return
    part = {"exclusiveMinimum": "inimum", "exclusiveMaximum": "aximum", "allOf": "not"}.get(keyword, keyword)
    assert part in named


def test_what_the_table_says_of_another_use() -> None:
    schemas: list[Mapping[str, object]] = [
        {"type": "string", "pattern": "^[a-z]+\\d$"},
        {"type": "string", "format": "date-time"},
        {"type": "number", "multipleOf": 0.125},
        {"type": "object", "minProperties": 1},
        {"type": "object", "minProperties": 2, "required": ["a", "b"]},
        {"oneOf": [{"type": "null"}, {"type": "string"}]},
        {"allOf": [{"minLength": 1}, {"type": "string"}]},
        *(
            {"type": kind, key: sign * 10**17}
            for kind in ("integer", "number")
            for sign in (-1, 1)
            for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        ),
        {"patternProperties": {"^a": {}, "^b": {}}},
    ]
    for schema in schemas:
        wanted = constraint(Format("json_schema", schema=schema))
        assert wanted is not None
        check(wanted, b"")
