"""The haystacks of the benchmark: what they say of themselves is so, and a small one is searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.needles.__main__ import Answer
from bench.needles.plant import KINDS, haystack
from bench.needles.prose import Language
from tests.retrieval.shelf import VECTORS, Shelf

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_needles_stand_where_they_say(language: Language) -> None:
    one, again = (haystack(language, 120_000, 3, needles=6) for _ in range(2))
    assert one == again
    assert haystack(language, 120_000, 4, needles=6).text != one.text
    assert 110_000 < len(one.text) < 130_000
    assert {needle.kind for needle in one.needles} == set(KINDS)
    for needle in one.needles:
        said = [one.text[start:end].decode() for start, end in needle.spans]
        assert all(one.text.count(sentence.encode()) == 1 for sentence in said)
        assert needle.kind == "counted" or Answer(needle, " ".join(said), True, 1.0).right
        assert not Answer(needle, "I do not know.", True, 1.0).right
        assert needle.depth == needle.spans[0][0] / len(one.text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("vectors", [None, VECTORS], ids=["words", "vectors"])
def test_what_is_asked_in_its_own_words_is_found(tmp_path: Path, language: Language, vectors: object) -> None:
    hidden = haystack(language, 120_000, 5, needles=9)
    shelf = Shelf(tmp_path, hidden.text.decode(), vectors=VECTORS if vectors else None)
    for needle in hidden.needles:
        if needle.kind == "literal":
            found = shelf.find(needle.question)
            assert all(any(each.start <= start and end <= each.end for each in found) for start, end in needle.spans)
