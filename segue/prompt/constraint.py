"""What the whole answer must look like: JSON mode, a schema, a regex or a grammar, as one kind of grammar.

    Request.format -> Constraint            what an engine is given
    Constraint, prefix -> nothing, or why   before any engine is asked

Laws: a constraint speaks of the whole answer, the caller's prefix included; what cannot be kept to, and a
prefix that no legal answer begins with, is refused before the answer begins, with the byte and what could
have stood there.  The check runs over bytes, so it knows no model and no token.  The grammars are those of
llguidance; it bounds its own work on them within `LIMITS`, and a compiled one is kept.  A schema that
compiles is kept to: what llguidance reads past or approximates is refused here, by its keyword.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, ValuesView
from functools import lru_cache
from math import lcm

import msgspec
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from segue.core.errors import FormatInvalid, PrefixIllegal
from segue.core.generation import LEXER_FUEL, Constraint
from segue.core.request import Format

SOURCE_BYTES_MAX = 256 * 1024
LITERAL_CHARACTERS_MAX = 16 * 1024
"""Of one string or regex: what is forced is worked out in one go, in the middle of other answers."""
GRAMMAR_CHARACTERS_MAX = 64 * 1024
COMPILED_MAX = 64
EXPECTED_MAX = 16
"""Bytes that a refusal names, at most."""
REASON_CHARACTERS_MAX = 300
BLANKS = r"[ \t\n\r]{0,64}"
"""Between the parts of a JSON text: enough for any indentation, not for an answer of nothing else."""

ESCAPES = 'nrbtf"\\'
"""Escapes in JSON strings where keys are told apart: `\\u0061` would be a key `a` that is not seen as one."""
DEPTH_MAX = 64
PROPERTIES_MAX = 1000
OPTIONAL_MAX = 250
"""In one object: they cost time that grows with the square of their number."""
PATTERNS_MAX = 50
"""`patternProperties` of one object: each is held against each."""
NESTED_MAX = 1500
"""Levels when all references, or all rules, hang on each other: llguidance recurses, and a stack has an end."""
BRANCHES_MAX = 500
VALUES_MAX = 2000
STEPS_MAX = 10_000
"""What all `multipleOf` together may count to: where several meet, their states multiply."""
LIMITS = LLParserLimits(initial_lexer_fuel=LEXER_FUEL)
STRETCH_BYTES = 256
"""Other threads run between stretches of a prefix, for consuming one holds the interpreter's lock."""
CHECK_S = 5.0

_BYTES = LLTokenizer("byte")
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required", "type", "x-guidance"})
_PARTS = re.compile(
    r'"(?:\\.|[^"\\])*"|(?:\#|//)[^\n]*|/(?:\\.|[^/\\])+/|[:(\[]|(<|%(?!ignore\b|import\b)\w*|&|~(?!\s*\d))', re.DOTALL
)
"""Of a grammar in Lark's form: strings, comments and regexes; then, outside of these, what is not served: tokens
of a model, options of the library, and regexes met or inverted, which may take it minutes to compile."""
_SIZES = {"properties": PROPERTIES_MAX, "required": PROPERTIES_MAX, "patternProperties": PATTERNS_MAX}
_SIZES |= {"anyOf": BRANCHES_MAX, "oneOf": BRANCHES_MAX, "allOf": BRANCHES_MAX, "enum": VALUES_MAX}
_MEANT = (
    ("patternProperty regexes", "patternProperties"),
    ("Current row has", "properties, enum, anyOf"),
    ("too many expressions", "enum, const, pattern"),
    ("Pointer '", "$ref"),
    ("Anchor '", "$ref"),
    ("Resource '", "$ref"),
    ("circular references", "$ref"),
    ("integer range", "minimum, maximum"),
    ("float range", "minimum, maximum"),
    ("regex parse error", "pattern"),
    ("lookarounds", "pattern"),
    ("incompatible types", "type"),
    ("schema too large", "allOf"),
    ("Regex is empty", "pattern"),
    ("lexer configuration", "enum, const, pattern"),
)
"""Sentences of llguidance that name no keyword, and the keywords that they come from."""


def constraint(format: Format) -> Constraint | None:
    """The constraint of a form; None for plain text.  Raises FormatInvalid."""
    match format.kind:
        case "text":
            return None
        case "json_object":
            return _json({"type": "object"})
        case "json_schema":
            return _json(format.schema or {})
        case "regex":
            return _bounded(LLMatcher.grammar_from_regex(_short("regex", _readable(format.source))))
        case "grammar":
            return _bounded(LLMatcher.grammar_from_lark(_plain(_readable(format.source))))


def check(wanted: Constraint, prefix: bytes, workspace: str = "") -> None:
    """Raise FormatInvalid where no answer can keep to it, PrefixIllegal where none can begin with `prefix`.  What was
    compiled for one workspace is not there for another: how long it takes would tell of its schemas.

    Takes up to a second for what is very large; to be called outside the event loop.
    """
    matcher = _compiled(wanted.grammar, workspace).deep_copy()
    legal, until = 0, time.monotonic() + CHECK_S
    while legal < len(prefix):
        stretch = prefix[legal : legal + STRETCH_BYTES]
        came = matcher.try_consume_tokens(list(stretch))
        legal += came
        if came < len(stretch):
            break
        if time.monotonic() > until:
            raise FormatInvalid("takes too long to follow")
    if matcher.is_error():  # not for a byte that may not come, but for what it took to find out
        raise FormatInvalid(_reason(matcher.get_error()))
    if legal < len(prefix):
        raise PrefixIllegal(legal, _expected(wanted.grammar, prefix[:legal], workspace))


def _json(schema: Mapping[str, object]) -> Constraint:
    steps, deepest = 1, 0
    targets: set[str] = set()
    for part, depth in _schemas(schema):
        _kept(part)
        deepest = max(deepest, depth)
        targets.add(str(part.get("$ref", "#")))
        if len(targets) * deepest > NESTED_MAX:
            raise FormatInvalid(f"$ref: more than {NESTED_MAX // deepest} targets, with schemas {deepest} levels deep")
        steps = lcm(steps, _step(part.get("multipleOf")))
        if steps > STEPS_MAX:
            raise FormatInvalid(f"multipleOf: all of them together are multiples of more than {STEPS_MAX}")
    try:
        source = msgspec.json.encode({**schema, "x-guidance": spelling(schema)}).decode()
    except (RecursionError, TypeError, ValueError) as error:
        raise FormatInvalid(f"the schema cannot be read: {error}"[:REASON_CHARACTERS_MAX]) from error
    return _bounded(LLMatcher.grammar_from_json_schema(source))


def spelling(schema: Mapping[str, object]) -> dict[str, object]:
    """How freely answers to a schema may be spelled: blanks everywhere, characters by their numbers where no names
    must be told apart."""
    named = [part for part, _ in _schemas(schema) if part.get("properties") or part.get("patternProperties")]
    apart = any(part.get("additionalProperties") is not False for part in named)
    escapes = {"json_allowed_escapes": ESCAPES} if apart else {"json_allow_general_unicode_escapes": True}
    return {"whitespace_pattern": BLANKS, **escapes}


def _schemas(schema: Mapping[str, object]) -> Iterator[tuple[Mapping[str, object], int]]:
    """A schema and all within it, and how deep they are.  Raises FormatInvalid where they are nested too deep."""
    rest: list[tuple[object, int, bool]] = [(schema, 1, False)]
    while rest:
        part, depth, names = rest.pop()
        if depth > DEPTH_MAX:
            raise FormatInvalid(f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(part, list):
            rest += [(each, depth + 1, False) for each in part]
        elif isinstance(part, dict):
            if not names:
                yield part, depth
            inside = [(key, each) for key, each in part.items() if names or key not in _DATA]
            rest += [(each, depth + 1, not names and key in _NAMED) for key, each in inside]


def _kept(schema: Mapping[str, object]) -> None:
    """Raise FormatInvalid for what would be read past, only approximated, or take seconds."""
    for key, most in _SIZES.items():
        if _size(schema.get(key)) > most:
            raise FormatInvalid(f"{key}: more than {most}")
    properties, required = schema.get("properties"), schema.get("required")
    needed = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
    if isinstance(properties, dict) and len(properties.keys() - needed) > OPTIONAL_MAX:
        raise FormatInvalid(f"properties: more than {OPTIONAL_MAX} that may be left out")
    _literals([schema.get("enum"), schema.get("const"), schema.get("pattern")])
    least = schema.get("minProperties")
    if isinstance(least, (int, float)) and least > max(1, _size(required)):
        raise FormatInvalid("minProperties: above 1, and more than are required")  # a key may be said twice


def _step(value: object) -> int:
    """How many states it takes to count by this, about."""
    if not isinstance(value, (int, float)) or not 0 < value < 1e9:
        return 1 if not isinstance(value, (int, float)) or value <= 0 else STEPS_MAX + 1
    if value * 8 != int(value * 8):
        raise FormatInvalid("multipleOf: a fraction that binary numbers only approximate")
    return int(value) if value == int(value) else int(value * 1000)


def _size(value: object) -> int:
    return len(value) if isinstance(value, (dict, list)) else 0


def _literals(values: list[object]) -> None:
    for _ in range(DEPTH_MAX):
        for each in values:
            _short("enum, const, pattern", each if isinstance(each, str) else "")
        inner = [value.values() if isinstance(value, dict) else value for value in values]
        values = [each for value in inner if isinstance(value, (list, ValuesView)) for each in value]
        if not values:
            return
    raise FormatInvalid(f"enum, const: nested deeper than {DEPTH_MAX} levels")


def _plain(grammar: str) -> str:
    """A caller's grammar.  Raises FormatInvalid for what is not served in one."""
    if len(grammar) > GRAMMAR_CHARACTERS_MAX:
        raise FormatInvalid(f"grammar: more than {GRAMMAR_CHARACTERS_MAX} characters")
    if grammar.lstrip().startswith("{"):
        raise FormatInvalid("a grammar in Lark's form is wanted, not a JSON object")
    levels = 0
    for found in _PARTS.finditer(grammar):
        _short("grammar", found[0])
        levels += found[0] in ":(["
        if levels > NESTED_MAX:
            raise FormatInvalid(f"more than {NESTED_MAX} rules and groups")
        if found[1]:
            raise FormatInvalid(f"{found[1]}: not served in a grammar")
    return grammar


def _short(where: str, literal: str) -> str:
    if len(literal) > LITERAL_CHARACTERS_MAX:
        raise FormatInvalid(f"{where}: more than {LITERAL_CHARACTERS_MAX} characters in one piece")
    return literal


def _readable(source: str) -> str:
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise FormatInvalid(f"cannot be read: {error}"[:REASON_CHARACTERS_MAX]) from error
    return source


def _bounded(grammar: str) -> Constraint:
    if len(grammar.encode("utf-8", "surrogatepass")) > SOURCE_BYTES_MAX:
        raise FormatInvalid(f"more than {SOURCE_BYTES_MAX} bytes")
    return Constraint(grammar)


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(grammar: str, workspace: str = "") -> LLMatcher:
    """A matcher at its beginning; never moved, only copied.  One for each workspace."""
    matcher = LLMatcher(_BYTES, grammar, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise FormatInvalid(_reason(matcher.get_error()))
    begins = _next(matcher.deep_copy())
    if not begins and not matcher.deep_copy().is_accepting():
        raise FormatInvalid("no text can satisfy it")
    for byte in begins[:EXPECTED_MAX]:
        ahead = matcher.deep_copy()
        if not ahead.consume_token(byte):
            raise FormatInvalid(_reason(ahead.get_error()))
    return matcher


def _expected(grammar: str, legal: bytes, workspace: str) -> tuple[bytes, ...]:
    """Bytes that could have followed; none where the answer would have had to end."""
    matcher = _compiled(grammar, workspace).deep_copy()
    matcher.consume_tokens(list(legal))
    return tuple(bytes([byte]) for byte in _next(matcher)[:EXPECTED_MAX])


def compiles(schema: dict[str, object]) -> bool:
    """Whether some text keeps to a schema.  Takes as long as `check`; nothing is kept of it."""
    try:
        _compiled.__wrapped__(_json(schema).grammar)
    except FormatInvalid:
        return False
    return True


def _next(matcher: LLMatcher) -> list[int]:
    mask = allocate_token_bitmask(1, _BYTES.vocab_size)
    fill_next_token_bitmask(matcher, mask, 0)
    allowed = np.unpackbits(mask.view(np.uint8).ravel(), bitorder="little")[:256]
    return [int(byte) for byte in allowed.nonzero()[0]]


def _reason(message: str) -> str:
    """The library's own sentence, without its trace and its advice, and the keyword in front where it names none."""
    sentence = message.split("\n<state>")[0].split(" Enable '")[0].replace("\n", " ").strip()
    keyword = next((keyword for phrase, keyword in _MEANT if phrase in sentence), "")
    return f"{keyword}: {sentence}"[:REASON_CHARACTERS_MAX] if keyword else sentence[:REASON_CHARACTERS_MAX]
