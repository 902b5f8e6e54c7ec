"""What becomes of each keyword of JSON Schema, with an example of which each table row is a claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Here = Literal["kept", "partly", "refused", "read past"]

_REFUSED: Mapping[str, Mapping[str, object]] = {
    "not": {"not": {"type": "null"}},
    "if": {"if": {}, "then": {"type": "null"}},
    "then": {"if": {}, "then": {"type": "null"}},
    "else": {"if": {}, "else": {"type": "null"}},
    "contains": {"type": "array", "contains": {}},
    "minContains": {"type": "array", "contains": {}, "minContains": 2},
    "maxContains": {"type": "array", "contains": {}, "maxContains": 2},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "unevaluatedItems": {"type": "array", "unevaluatedItems": False},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "propertyNames": {"type": "object", "propertyNames": {"maxLength": 1}},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "dependentSchemas": {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}},
    "dependencies": {"type": "object", "dependencies": {"a": ["b"]}},
    "$dynamicRef": {"$dynamicRef": "#a"},
    "$dynamicAnchor": {"$dynamicAnchor": "a"},
}

# By keyword: what becomes of it, the note, and a schema to try it with.
KEYWORDS: Mapping[str, tuple[Here, str, Mapping[str, object]]] = {
    "type": ("kept", "", {"type": ["string", "null"]}),
    "enum": ("kept", "up to 2,000 values", {"enum": [1, "a", None]}),
    "const": ("kept", "", {"const": {"a": [1]}}),
    "properties": (
        "kept",
        "in their order; up to 1,000 in one object, 250 of them not required",
        {"type": "object", "properties": {"a": {}}},
    ),
    "required": ("kept", "up to 1,000", {"type": "object", "required": ["a"]}),
    "additionalProperties": ("kept", "", {"type": "object", "additionalProperties": {"type": "null"}}),
    "patternProperties": (
        "partly",
        "up to 50, no two of which may fit the same key",
        {"type": "object", "patternProperties": {"^a": {"type": "null"}, "b$": {"type": "string"}}},
    ),
    "minProperties": (
        "partly",
        "not above 1 and the number of `required`",
        {"type": "object", "minProperties": 2},
    ),
    "maxProperties": ("kept", "", {"type": "object", "maxProperties": 1}),
    "items": ("kept", "", {"type": "array", "items": {"type": "null"}}),
    "prefixItems": ("kept", "", {"type": "array", "prefixItems": [{"type": "null"}]}),
    "additionalItems": ("kept", "", {"type": "array", "items": [{}], "additionalItems": False}),
    "minItems": ("kept", "", {"type": "array", "minItems": 2}),
    "maxItems": ("kept", "", {"type": "array", "maxItems": 2}),
    "minLength": ("kept", "", {"type": "string", "minLength": 2}),
    "maxLength": ("kept", "", {"type": "string", "maxLength": 2}),
    "pattern": (
        "partly",
        "as ECMA 262 reads it, without looking around or back; beside a length only simple ones",
        {"type": "string", "pattern": "(?=a)"},
    ),
    "format": (
        "partly",
        "the shape of `date-time`, `time`, `date`, `duration`, `email`, `hostname`, `ipv4`, `ipv6`, `uuid`, `uri`; "
        "29 February and a leap second may come at any time",
        {"type": "string", "format": "iri"},
    ),
    "minimum": ("partly", "between -10¹⁷ and 10¹⁷", {"type": "integer", "minimum": 10**30}),
    "maximum": ("partly", "between -10¹⁷ and 10¹⁷", {"type": "integer", "maximum": -(10**30)}),
    "exclusiveMinimum": ("partly", "between -10¹⁷ and 10¹⁷", {"type": "integer", "exclusiveMinimum": 10**30}),
    "exclusiveMaximum": ("partly", "between -10¹⁷ and 10¹⁷", {"type": "integer", "exclusiveMaximum": -(10**30)}),
    "multipleOf": (
        "partly",
        "integers and eighths; all of a schema together count to 10,000 at most",
        {"type": "number", "multipleOf": 0.01},
    ),
    "allOf": ("partly", "up to 500, within what can be put together", {"allOf": [{"pattern": "a"}, {"not": {}}]}),
    "anyOf": ("kept", "up to 500", {"anyOf": [{"type": "null"}, {"type": "string"}]}),
    "oneOf": (
        "partly",
        "up to 500, where no text can satisfy two of them",
        {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
    ),
    "$ref": (
        "partly",
        "within the schema; with deep schemas fewer: targets times levels up to 1,500",
        {"$ref": "https://example.com/schema"},
    ),
    "$defs": ("kept", "`definitions` too", {"$defs": {"a": {"type": "null"}}, "$ref": "#/$defs/a"}),
    **{name: ("refused", "", schema) for name, schema in _REFUSED.items()},
    **{
        name: ("read past", "says nothing of the text's form", {"type": "string", name: value})
        for name, value in {
            "title": "t",
            "description": "d",
            "default": "x",
            "examples": ["x"],
            "deprecated": True,
            "readOnly": True,
            "writeOnly": True,
            "$comment": "c",
            "contentEncoding": "base64",
            "contentMediaType": "text/plain",
        }.items()
    },
}


def rows() -> list[tuple[str, ...]]:
    """The table's."""
    return [(f"`{keyword}`", here, note) for keyword, (here, note, _) in KEYWORDS.items()]
