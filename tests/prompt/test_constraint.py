"""What the whole answer must look like: what is refused before it begins, with which byte, for which reason."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.errors import FormatInvalid, PrefixIllegal
from segue.core.generation import Constraint
from segue.core.request import Format
from segue.prompt.constraint import EXPECTED_MAX, SOURCE_BYTES_MAX, _compiled, _next, check, constraint

from .walks import accepts, validator, walk

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def made(form: Format) -> Constraint:
    wanted = constraint(form)
    assert wanted is not None
    return wanted


def of(schema: Mapping[str, object]) -> Constraint:
    return made(Format("json_schema", schema=schema))


OBJECT = made(Format("json_object"))
DATE = made(Format("regex", source=r"\d{4}-\d{2}"))
ANSWER = made(Format("grammar", source='start: ("yes" | "no") /[.!]{1,3}/'))


def test_plain_text_is_not_held_to_anything() -> None:
    assert constraint(Format("text")) is None


@pytest.mark.parametrize(
    ("wanted", "prefix"),
    [
        (OBJECT, ""),
        (OBJECT, "{"),
        (OBJECT, '{"na'),
        (OBJECT, '{"name": "张'),
        (OBJECT, '{"name": "张三 👍🏽 é", "b": [tr'),
        (OBJECT, '{"a": -1.5e'),
        (OBJECT, '{"a": "x\\'),
        (OBJECT, '{"a": "\\u5f'),
        (OBJECT, '{"a": "\\ud83d\\ude00'),
        (OBJECT, '{\n  "a": [\n    {}, [] ,null'),
        (OBJECT, '{"a": 1}'),
        (OBJECT, "{}"),
        (of(PERSON), '{"name": "\\u5f20", "age": 12'),
        (of(PERSON), '{ "name":"x"\n,'),
        (DATE, ""),
        (DATE, "202"),
        (DATE, "2024-01"),
        (ANSWER, "ye"),
        (ANSWER, "no!!."),
    ],
)
def test_legal_beginnings(wanted: Constraint, prefix: str) -> None:
    check(wanted, prefix.encode())


@pytest.mark.parametrize(
    ("wanted", "prefix", "at", "expected"),
    [
        (OBJECT, "[", 0, b"{"),
        (OBJECT, "```json", 0, b"{"),
        (OBJECT, " {", 0, b"{"),
        (OBJECT, "{a", 1, b'"'),
        (OBJECT, '{"name" "', 8, b":"),
        (OBJECT, '{"张": x', 8, b"t"),
        (OBJECT, '{"a": 01', 7, b"."),
        (OBJECT, '{"a": 1,}', 8, b'"'),
        (OBJECT, '{"a": "\\x', 8, b"n"),
        (OBJECT, '{"a": "\n', 7, b'"'),
        (OBJECT, '{"a": 1} x', 8, None),
        (OBJECT, "{}\n", 2, None),
        (OBJECT, "{" + " " * 65, 65, b'"'),
        (of(PERSON), '{"age', 2, b"n"),
        (of(PERSON), '{"name": "x", "age": 1.', 22, b"}"),
        (of(PERSON), '{"name": "x", "age": 131', 23, b"}"),
        (of(PERSON), '{"name": "x"}', 12, b","),
        (DATE, "2024/", 4, b"-"),
        (DATE, "2024-012", 7, None),
        (ANSWER, "maybe", 0, b"y"),
        (ANSWER, "yes", 3, b"."),
    ],
)
def test_illegal_beginnings(wanted: Constraint, prefix: str, at: int, expected: bytes | None) -> None:
    if prefix == "yes":  # which is a beginning
        check(wanted, prefix.encode())
        prefix += "?"
    with pytest.raises(PrefixIllegal) as refusal:
        check(wanted, prefix.encode())
    assert refusal.value.at == at
    assert len(refusal.value.expected) <= EXPECTED_MAX
    if expected is None:
        assert refusal.value.expected == ()
    else:
        assert prefix.encode()[at : at + 1] not in refusal.value.expected
        assert expected in refusal.value.expected or len(refusal.value.expected) == EXPECTED_MAX


def test_text_that_is_no_utf8_is_illegal_at_its_byte() -> None:
    with pytest.raises(PrefixIllegal) as refusal:
        check(OBJECT, b'{"a": "\xff')
    assert refusal.value.at == 7


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    # DEL may stand in JSON; a text that is written for a terminal does not have it, and no answer has.
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"],
        exclude_characters="\x7f"), max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\x7f"), max_size=5), VALUES)


@settings(max_examples=40)
@given(OBJECTS, st.booleans(), st.sampled_from([None, 1, 4, "\t"]))
def test_every_beginning_of_an_object_is_legal(value: Any, ascii: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    check(OBJECT, text)  # byte after byte
    for size in (0, len(text) // 2, len(text) - 1):
        check(OBJECT, text[:size])


@settings(max_examples=40)
@given(OBJECTS, st.data())
def test_a_refusal_is_of_a_byte_and_names_some_that_could_stand_there(value: Any, data: st.DataObject) -> None:
    """One byte is changed.  Either an object still begins so, or it is refused no earlier than that byte; what
    stands before the byte named is legal, with it it is not, and with each expected byte it is again."""
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255))
    refusal = refused(bytes(text))
    if refusal is None:
        assert accepts(OBJECT, bytes(text) + ending(bytes(text)))
        return
    assert at <= refusal.at < len(text)
    check(OBJECT, bytes(text[: refusal.at]))
    for byte in refusal.expected:
        check(OBJECT, bytes(text[: refusal.at]) + byte)
    assert bytes(text[refusal.at : refusal.at + 1]) not in refusal.expected
    assert refusal.expected or accepts(OBJECT, bytes(text[: refusal.at]))


def refused(prefix: bytes) -> PrefixIllegal | None:
    """Why it is refused, if it is."""
    try:
        check(OBJECT, prefix)
    except PrefixIllegal as refusal:
        return refusal
    return None


def ending(prefix: bytes) -> bytes:
    """A way to a whole object, found by always taking what closes."""
    matcher = _compiled(OBJECT.grammar).deep_copy()
    assert matcher.consume_tokens(list(prefix))
    text = bytearray()
    while not matcher.is_accepting():
        allowed = _next(matcher)
        text.append(([byte for byte in b'"}]:0truefalsn' if byte in allowed] or allowed)[0])
        assert matcher.consume_token(text[-1])
    return bytes(text)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("schema", [PERSON, {"type": "array", "items": PERSON, "minItems": 2}, {"enum": [1, "é", {}]}])
def test_random_texts_validate(schema: dict[str, Any], seed: int) -> None:
    rng, wanted, judge = random.Random(seed), of(schema), validator(schema)
    whole = [text for text, done in (walk(wanted, rng) for _ in range(20)) if done]
    assert len(whole) >= 10
    for text in whole:
        assert judge.is_valid(json.loads(text)), text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Format("json_schema", schema={"$ref": "#"}), "no text"),
        (Format("json_schema", schema={"enum": []}), "anyOf"),
        (Format("json_schema", schema={"anyOf": []}), "anyOf"),
        (Format("json_schema", schema={"$ref": "#/$defs/no", "$defs": {"no": False}}), "schema is false"),
        (Format("json_schema", schema={"properties": {"a": False}, "required": ["a"], "type": "object"}), "'a'"),
        (Format("json_schema", schema={"type": "string", "minLength": 3, "maxLength": 2}), "minLength"),
        (Format("json_schema", schema={"type": "integer", "minimum": 3, "maximum": 2}), "minimum"),
        (Format("json_schema", schema={"type": "array", "minItems": 3, "maxItems": 2}), "minItems"),
        (Format("json_schema", schema={"allOf": [{"type": "string"}, {"type": "null"}]}), "type"),
        (Format("json_schema", schema={"required": ["a"], "additionalProperties": False, "type": "object"}), "'a'"),
        (Format("grammar", source="start: a\na: a"), "no text"),
    ],
    ids=str,
)
def test_what_no_text_can_satisfy_is_refused(form: Format, words: str) -> None:
    with pytest.raises(FormatInvalid, match=words):
        check(made(form), b"")


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"if": {}, "then": False}, "if"),
        ({"type": "object", "dependentSchemas": {"a": {}}}, "dependentSchemas"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"type": "object", "propertyNames": {"maxLength": 3}}, "propertyNames"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, "oneOf"),
        ({"type": "object", "minProperties": 2}, "minProperties"),
        ({"type": "number", "multipleOf": 0.01}, "multipleOf"),
        ({"type": "string", "format": "iri"}, "format"),
        ({"type": "string", "pattern": "(?=a)"}, "pattern"),
        ({"type": "string", "pattern": "("}, "pattern"),
        ({"type": "integer", "minimum": 10**40}, "minimum"),
        ({"$ref": "#/nowhere"}, r"\$ref"),
        ({"$ref": "https://example.com/schema"}, r"\$ref"),
        ({"$ref": "file:///etc/passwd"}, r"\$ref"),
        ({"properties": {"not": {"not": {}}}}, "not"),
        ({"type": "text"}, "type"),
        ({"properties": []}, "properties"),
    ],
    ids=str,
)
def test_a_refusal_names_the_keyword(schema: dict[str, object], keyword: str) -> None:
    with pytest.raises(FormatInvalid, match=keyword) as refusal:
        check(of(schema), b"")
    assert "\n" not in refusal.value.reason
    assert len(refusal.value.reason) <= 300


def test_names_of_properties_are_no_keywords() -> None:
    names = ("not", "minProperties", "format", "pattern", "multipleOf", "enum", "x-guidance", "properties")
    wanted = of({"type": "object", "properties": {name: {"type": "integer"} for name in names}, "required": [*names]})
    check(wanted, b'{"not": 1, "minProperties": 2, "format": 3')


@pytest.mark.parametrize(
    "guidance", [{"lenient": True}, {"coerce_one_of": True}, {"item_separator": ";"}, {"whitespace_pattern": ".*"}, 7]
)
def test_options_of_the_library_are_not_the_callers(guidance: object) -> None:
    wanted = of({**PERSON, "x-guidance": guidance})
    check(wanted, b'{ "name" : "a", "age": 3}')
    assert wanted == of(PERSON)
    schemas: list[dict[str, object]] = [{"not": {}}, {"oneOf": [{"minimum": 1}, {"minimum": 2}]}]
    for schema in schemas:
        with pytest.raises(FormatInvalid):
            check(of({**schema, "x-guidance": guidance}), b"")


@pytest.mark.parametrize("key", ["\\u0061", "\\u0061b"])
def test_a_key_has_one_spelling(key: str) -> None:
    """Else a value could come under a name that is held to something else."""
    text = '{"%s": "x"}' % key  # noqa: UP031
    open_ended = of({"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "integer"}}})
    with pytest.raises(PrefixIllegal):
        check(open_ended, text.encode())
    assert not accepts(of({**PERSON, "properties": {"ab": {"type": "integer"}}, "required": []}), text.encode())


@pytest.mark.parametrize(
    "source",
    [
        'start: "a" <[*]>',
        "start: <|im_end|>",
        'start: /"/ <[0-9]> /"/',
        'start: "a" // a comment"\n | <[1]> "b"',
        'start: %json {"not": {}}',
        '%llguidance {"allow_invalid_utf8": true}\nstart: "a"',
        "start: T\nT: /a/ & /b/",
        "start: T\nT: ~/a/",
        '{"grammars": [{"lark_grammar": "start: <[*]>"}]}',
        'begin: "a"',
        "start: (",
        "",
    ],
)
def test_grammars_that_are_not_served(source: str) -> None:
    with pytest.raises(FormatInvalid):
        check(made(Format("grammar", source=source)), b"")


@pytest.mark.parametrize(
    "source",
    [
        'start: "<b>" /[<&~%]+/ "</b>" // with <these> and %json',
        '# <x>\nstart: "&" NUMBER\n%import common.NUMBER\n%ignore / +/',
        'start: "a"~3 "b"?',
    ],
)
def test_grammars_that_are_served(source: str) -> None:
    check(made(Format("grammar", source=source)), b"")


@pytest.mark.parametrize("kind", ["regex", "grammar"])
def test_sources_that_cannot_be_read(kind: Any) -> None:
    for source in ("\ud800", "[", "a" * (SOURCE_BYTES_MAX + 1)):
        with pytest.raises(FormatInvalid):
            check(made(Format(kind, source=source)), b"")
    with pytest.raises(FormatInvalid):
        of({"const": "\ud800"})
    with pytest.raises(FormatInvalid, match="bytes"):
        of({"description": "x" * SOURCE_BYTES_MAX})


@pytest.mark.parametrize("bound", [{"maxLength": 100_000}, {"pattern": "^[a-z ]{1,90000}$"}], ids=str)
def test_a_bounded_string_may_be_as_long_as_an_answer(bound: dict[str, object]) -> None:
    check(of({"type": "string", **bound}), b'"' + b"some text " * 4_000)


def test_a_prefix_that_takes_too_much_is_the_grammars_fault() -> None:
    """Not the prefix's: it may well be legal."""
    wanted = of({"type": "string", "maxLength": 10**6})
    with pytest.raises(FormatInvalid, match="too many"):
        check(wanted, b'"' + b"some text " * 40_000)


def test_what_one_workspace_has_compiled_is_not_there_for_another() -> None:
    """How long it takes would tell that another has sent this schema."""
    wanted = constraint(Format("json_schema", schema={"type": "string", "const": "of nobody else"}))
    assert wanted is not None
    made = []
    for workspace in ("a", "b", "a", "b"):
        before = _compiled.cache_info().misses
        check(wanted, b"", workspace)
        made.append(_compiled.cache_info().misses - before)
    assert made == [1, 1, 0, 0]
