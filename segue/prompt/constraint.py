"""What the whole answer must look like: JSON mode, a schema, a regex or a grammar, as one kind of grammar.

    Request.format -> Constraint            what an engine is given
    Constraint, prefix -> nothing, or why   before any engine is asked

Laws: a constraint speaks of the whole answer, the caller's prefix included; what cannot be kept to, and a
prefix that no legal answer begins with, is refused before the answer begins, with the byte and what could
have stood there.  The check runs over bytes, so it knows no model and no token.  The grammars are those of
llguidance; it bounds its own work on them, and a compiled one is kept.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from segue.core.errors import FormatInvalid, PrefixIllegal
from segue.core.generation import Constraint
from segue.core.request import Format

SOURCE_BYTES_MAX = 256 * 1024
COMPILED_MAX = 64
EXPECTED_MAX = 16
"""Bytes that a refusal names, at most."""
REASON_CHARACTERS_MAX = 300
BLANKS = r"[ \t\n\r]{0,64}"
"""Between the parts of a JSON text: enough for any indentation, not for an answer of nothing else."""

_BYTES = LLTokenizer("byte")


def constraint(format: Format) -> Constraint | None:
    """The constraint of a form; None for plain text.  Raises FormatInvalid."""
    match format.kind:
        case "text":
            return None
        case "json_object":
            return _json({"type": "object"})
        case "json_schema":
            return _json(dict(format.schema or {}))
        case "regex":
            return _bounded(LLMatcher.grammar_from_regex(format.source))
        case "grammar":
            return _bounded(LLMatcher.grammar_from_lark(format.source))


def check(wanted: Constraint, prefix: bytes) -> None:
    """Raise FormatInvalid where no answer can keep to it, PrefixIllegal where none can begin with `prefix`.

    Takes up to a second for what is very large; to be called outside the event loop.
    """
    matcher = _compiled(wanted.grammar).deep_copy()
    legal = matcher.try_consume_tokens(list(prefix))
    if legal < len(prefix):
        raise PrefixIllegal(legal, _expected(wanted.grammar, prefix[:legal]))


def _json(schema: dict[str, object]) -> Constraint:
    own = schema.get("x-guidance")
    guidance = {"whitespace_pattern": BLANKS, **(own if isinstance(own, dict) else {})}
    try:
        source = msgspec.json.encode({**schema, "x-guidance": guidance}).decode()
    except (RecursionError, TypeError, ValueError) as error:
        raise FormatInvalid(f"the schema cannot be read: {error}"[:REASON_CHARACTERS_MAX]) from error
    return _bounded(LLMatcher.grammar_from_json_schema(source))


def _bounded(grammar: str) -> Constraint:
    if len(grammar.encode("utf-8", "surrogatepass")) > SOURCE_BYTES_MAX:
        raise FormatInvalid(f"more than {SOURCE_BYTES_MAX} bytes")
    return Constraint(grammar)


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(grammar: str) -> LLMatcher:
    """A matcher at its beginning; never moved, only copied."""
    matcher = LLMatcher(_BYTES, grammar, log_level=0)
    if matcher.is_error():
        raise FormatInvalid(_reason(matcher.get_error()))
    probe = matcher.deep_copy()
    if not _next(probe) and not probe.is_accepting():
        raise FormatInvalid("no text can satisfy it")
    return matcher


def _expected(grammar: str, legal: bytes) -> tuple[bytes, ...]:
    """Bytes that could have followed; none where the answer would have had to end."""
    matcher = _compiled(grammar).deep_copy()
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
    """The library's own sentence, without its trace."""
    return message.split("\n<state>")[0].replace("\n", " ").strip()[:REASON_CHARACTERS_MAX]
