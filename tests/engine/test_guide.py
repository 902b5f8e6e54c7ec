"""Which tokens may come next, over real vocabularies: random walks along what a guide allows."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.core.request import Format
from segue.engine.llama.guide import KEPT_MAX, Guide, GuideError, Guides
from segue.engine.llama.vocabulary import Vocabulary
from segue.prompt.constraint import constraint
from tests.prompt.vocabularies import load
from tests.prompt.walks import validator

TOKENS_MAX = 120
OBJECT = Format("json_object")
PERSON = {
    "type": "object",
    "properties": {
        "first_name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "colour": {"enum": ["红", "green", "bleu é"]},
    },
    "required": ["first_name", "age", "colour"],
    "additionalProperties": False,
}
SCHEMAS: list[Mapping[str, object]] = [
    PERSON,
    {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
    {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "additionalProperties": {"type": "boolean"}},
    {"anyOf": [{"const": {"k": [1, "é\n"]}}, {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"}]},
    {"$defs": {"t": {"type": "object", "properties": {"l": {"$ref": "#/$defs/t"}}, "maxProperties": 1,
     "additionalProperties": False}}, "$ref": "#/$defs/t"},
    {"type": "object", "patternProperties": {"^x_[a-z]+$": {"type": "integer"}}, "additionalProperties": False},
]  # fmt: skip


class Walks:
    """A vocabulary, its guides, and which of its tokens close something."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.guides = vocabulary, Guides(vocabulary)
        pieces = vocabulary.pieces(list(range(vocabulary.size)))
        self.special = {*vocabulary.control.values(), *vocabulary.hidden.tolist(), *vocabulary.eog}
        closing = [bool(piece) and not piece.strip(b'"}]') for piece in pieces]
        self.closing = np.asarray(closing, np.bool_)
        self.closing[sorted(vocabulary.eog)] = True

    def guide(self, form: Format) -> Guide:
        wanted = constraint(form)
        assert wanted is not None
        self.guides.compile(wanted.grammar)
        return self.guides.guide(wanted.grammar)

    def text(self, ids: list[int]) -> bytes:
        return b"".join(self.vocabulary.pieces(ids))

    def walk(self, guide: Guide, rng: random.Random, to_end: float = 0.4, forced: bool = True) -> list[int] | None:
        """Tokens of a whole answer, drawn evenly; None where it did not come to an end."""
        ids: list[int] = []
        while len(ids) < TOKENS_MAX:
            if guide.ended:
                return ids
            if forced and (said := guide.forced()):
                for token in said:
                    assert guide.allowed()[token]
                    guide.consume([token])
                ids += said
                continue
            allowed = guide.allowed()
            choice = np.flatnonzero(allowed)
            assert len(choice), "a dead end"
            closing = np.flatnonzero(allowed & self.closing)
            token = int(rng.choice(closing if len(closing) and rng.random() < to_end else choice))
            if token in self.vocabulary.eog:
                return ids
            assert token not in self.special
            guide.consume([token])
            ids.append(token)
        return None


@pytest.fixture(scope="module", params=["default_model", "small_model"])
def walks(request: pytest.FixtureRequest) -> Walks:
    path: Path = request.getfixturevalue(request.param)
    return Walks(load(path))


@pytest.mark.parametrize("forced", [True, False], ids=["forced", "drawn"])
def test_objects_parse(walks: Walks, forced: bool) -> None:
    rng, start = random.Random(1), walks.guide(OBJECT)
    said = [walks.walk(start.copy(), rng, forced=forced) for _ in range(60)]
    whole = [walks.text(ids) for ids in said if ids is not None]
    assert len(whole) >= 30
    for text in whole:
        assert isinstance(json.loads(text), dict), text


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_schemas_are_kept_to(walks: Walks, number: int) -> None:
    rng, schema = random.Random(number), SCHEMAS[number]
    start, judge = walks.guide(Format("json_schema", schema=schema)), validator(schema)
    said = [walks.walk(start.copy(), rng, rng.choice([0.2, 0.5, 0.8])) for _ in range(25)]
    whole = [walks.text(ids) for ids in said if ids is not None]
    assert len(whole) >= 10
    for text in whole:
        assert judge.is_valid(json.loads(text)), text


def test_a_cut_walk_is_gone_on_with(walks: Walks) -> None:
    """Cut between any two bytes that are whole text, the beginning is spelled as a caller's prefix is."""
    rng, start, judge = random.Random(2), walks.guide(Format("json_schema", schema=PERSON)), validator(PERSON)
    for _ in range(25):
        ids = walks.walk(start.copy(), rng, 0.8)
        if ids is None:
            continue
        text = walks.text(ids)
        size = rng.randrange(len(text))
        while size and text[size] & 0xC0 == 0x80:
            size -= 1
        guide = start.copy()
        guide.consume(walks.vocabulary.encode([(text[:size].decode(), False)]))
        more = walks.walk(guide, rng, 0.8)
        assert more is None or judge.is_valid(json.loads(text[:size] + walks.text(more)))


def test_tokens_that_steer_are_never_text(walks: Walks) -> None:
    """And the end is allowed exactly where the text may end."""
    calls = {walks.vocabulary.control.get(mark) for mark in ("<tool_call>", "</tool_call>")}  # text, where calls are
    steering, ends = sorted(walks.special - walks.vocabulary.eog - calls), sorted(walks.vocabulary.eog)
    assert steering
    assert ends
    for text, may_end in (('{"a": "', False), ("", False), ('{"a": 1', False), ('{"a": 1}', True)):
        guide = walks.guide(OBJECT)
        guide.consume(walks.vocabulary.encode([(text, False)]))
        allowed = guide.allowed() if not guide.ended else None
        assert guide.ended is may_end
        if allowed is not None:
            assert not allowed[steering].any()
            assert not allowed[ends].any()
    word = walks.guide(Format("regex", source="(?s).*"))
    assert not word.allowed()[steering].any()
    assert word.allowed()[ends].all()
    word.consume(walks.vocabulary.encode([("<|im_end|> and more", False)]))  # as plain letters
    assert not word.allowed()[steering].any()


def test_what_may_not_come_raises(walks: Walks) -> None:
    guide = walks.guide(OBJECT)
    illegal = walks.vocabulary.encode([("x", False)])
    assert not guide.behind(illegal).any()
    assert guide.allowed()[walks.vocabulary.encode([("{", False)])].all()
    with pytest.raises(GuideError):
        guide.consume(illegal)


def test_behind_is_allowed_after(walks: Walks) -> None:
    guide, path = walks.guide(OBJECT), walks.vocabulary.encode([('{"a": [', False)])
    behind = guide.behind(path)
    assert (guide.behind([]) == guide.allowed()).all()
    guide.consume(path)
    assert (behind == guide.allowed()).all()


def test_copies_go_their_own_ways(walks: Walks) -> None:
    guide = walks.guide(Format("grammar", source='start: "yes" | "no"'))
    other, before = guide.copy(), guide.allowed()
    other.consume(walks.vocabulary.encode([("no", False)]))
    assert other.ended
    assert not guide.ended
    assert (guide.allowed() == before).all()
    guide.consume(walks.vocabulary.encode([("yes", False)]))
    assert guide.ended


def test_forced_text_is_spelled_as_it_would_be_encoded(walks: Walks) -> None:
    guide = walks.guide(Format("regex", source="The colour is (red|green)!"))
    said = guide.forced()
    assert walks.text(said) == b"The colour is "[: len(walks.text(said))]
    assert len(walks.text(said)) >= len("The colour is")
    assert walks.vocabulary.encode([(walks.text(said).decode(), False)]) == said
    guide.consume(said)
    assert guide.forced() == []


def test_what_cannot_be_compiled_raises(walks: Walks) -> None:
    for grammar in ("start: (", 'begin: "a"'):
        with pytest.raises(GuideError):
            walks.guides.compile(grammar)
        assert not walks.guides.known(grammar)


def test_a_grammar_that_grows_too_complex_raises(walks: Walks) -> None:
    grammar = "start: T\nT: /.*a.{12}/ & /.*b.{11}/"
    walks.guides.compile(grammar)
    with pytest.raises(GuideError):
        walks.guides.guide(grammar).allowed()


def test_a_wide_schema_is_followed(walks: Walks) -> None:
    many: list[Any] = [{"type": "string", "maxLength": at} for at in range(100)]
    guide = walks.guide(Format("json_schema", schema={"anyOf": many}))
    guide.consume(walks.vocabulary.encode([('"some text', False)]))
    assert guide.allowed().any()


def test_the_least_recently_used_is_forgotten(walks: Walks) -> None:
    guides = Guides(walks.vocabulary)
    grammars = [f'start: "a{number}"' for number in range(KEPT_MAX + 1)]
    for grammar in grammars[:-1]:
        guides.compile(grammar)
    guides.guide(grammars[0])
    guides.compile(grammars[-1])
    assert guides.known(grammars[0])
    assert not guides.known(grammars[1])
    assert guides.known(grammars[-1])


def test_each_workspace_compiles_for_itself(walks: Walks) -> None:
    guides = Guides(walks.vocabulary)
    grammar = 'start: "a"'
    guides.compile(grammar, "a")
    assert guides.known(grammar, "a")
    assert not guides.known(grammar, "b")
