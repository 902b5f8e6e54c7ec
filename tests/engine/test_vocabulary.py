"""Text is text: whatever tokens a caller spells, the ids are those of the characters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.words import cut_at, steers
from tests.prompt.metadata import USER_DEFINED
from tests.prompt.vocabularies import PLAIN, THOUGHTS, altered, control_ids, load, sentencepiece

SPELLINGS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<|fim_prefix|>",
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
]
AROUND = ["", "a", " ", "\n", "\n\n", "<", ">", "</", "  ", "'", "中", "1", ".", "<think", "call>", "\r\n", "\t"]
# As Gemma's vocabulary has them: a run of line ends, a tag of a page; and one word within another.
ORDINARY = {
    "[PAD151669]": ("\n\n\n\n\n", USER_DEFINED),
    "[PAD151670]": ("<table>", USER_DEFINED),
    "[PAD151671]": ("<zq", USER_DEFINED),
    "[PAD151672]": ("<a><b>", USER_DEFINED),
    "[PAD151673]": ("<b><a>", USER_DEFINED),
    "[PAD151674]": ("[STEP7]", USER_DEFINED),
}


@pytest.fixture(scope="module")
def qwen3(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """The default model's vocabulary with the tokens that Qwen3 added to it."""
    return load(altered(default_model, tmp_path_factory.mktemp("vocabulary") / "qwen3.gguf", THOUGHTS))


@pytest.fixture(scope="module")
def letters(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """The same characters and merges, and no user-defined token."""
    return load(altered(default_model, tmp_path_factory.mktemp("vocabulary") / "letters.gguf", PLAIN))


@pytest.fixture(scope="module")
def page(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """With user-defined tokens that are ordinary, and with odd ones."""
    return load(altered(default_model, tmp_path_factory.mktemp("vocabulary") / "page.gguf", THOUGHTS | ORDINARY))


def text_of(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(vocabulary.pieces(ids))


def test_what_a_template_may_print_as_a_token(default_model: Path, small_model: Path, qwen3: Vocabulary) -> None:
    assert {"<tool_call>", "</tool_call>", "<|im_end|>", "<|fim_prefix|>"} <= set(load(default_model).control)
    assert {"<think>", "</think>", "<tool_response>", "</tool_response>"} <= set(qwen3.control)
    assert {"<|im_start|>", "<file_sep>"} <= set(load(small_model).control)
    assert qwen3.encode([("<think>", True), ("\n\n", False), ("</think>", True)]) == [151667, 271, 151668]
    assert not {qwen3.control["<think>"], qwen3.control["<tool_call>"]} & set(qwen3.hidden.tolist()), "may be drawn"


def test_spelled_tokens_are_the_ids_of_their_letters(qwen3: Vocabulary, letters: Vocabulary) -> None:
    for spelling in SPELLINGS:
        for before in (*AROUND, *SPELLINGS):
            for after in (*AROUND, *SPELLINGS):
                text = before + spelling + after
                assert qwen3.encode([(text, False)]) == letters._tokens(text), text


@given(parts=st.lists(st.sampled_from([*SPELLINGS, *AROUND, "<", "think>", "春天", "🙂", "\u200d", "\0"]), max_size=12))
def test_no_text_steers(parts: list[str], default_model: Path, small_model: Path, qwen3: Vocabulary) -> None:
    text = "".join(parts)
    for vocabulary in (load(default_model), load(small_model), qwen3):
        ids = vocabulary.encode([(text, False)])
        assert control_ids(vocabulary).isdisjoint(ids)
        assert text_of(vocabulary, ids) == text.encode()


def test_ordinary_user_defined_tokens_stay(page: Vocabulary) -> None:
    for text, (spelling, _) in zip(("x\n\n\n\n\ny", "<table>", "a <zq>"), list(ORDINARY.values())[:3], strict=True):
        pieces = page.pieces(page.encode([(text, False)]))
        assert spelling.encode() in pieces
        assert b"".join(pieces) == text.encode()
    assert not {"<table>", "<zq", "\n\n\n\n\n"} & set(page.control)
    assert {"<a><b>", "<b><a>", "[STEP7]"} <= set(page.control)


@pytest.mark.parametrize("text", ["<a><b><a><b>", "<b><a><b>", "<<a><b>>", "[STEP7][STEP8]", "<zq<think>zq>"])
def test_spellings_within_each_other(text: str, page: Vocabulary) -> None:
    ids = page.encode([(text, False)])
    assert control_ids(page).isdisjoint(ids)
    assert text_of(page, ids) == text.encode()


@pytest.mark.parametrize(
    "spelling",
    [
        "<think>",
        "</tool_call>",
        "<|fim_prefix|>",
        "<｜fim▁hole｜>",
        "[INST]",
        "[PAD1]",
        '<|"|>',
        "<tool_call|>",
        "<x y>",
    ],
)
def test_markup_steers(spelling: str) -> None:
    assert steers(spelling)
    assert 0 < cut_at(spelling) < len(spelling)


@pytest.mark.parametrize(
    "spelling",
    ["", "<", "<>", "ÿ", "    ", "\n\n", "<td>", "</h1>", "<br/>", "<1>", "[]", "[1]", "/nothink", "word", "<a", "b>"],
)
def test_what_a_page_says_does_not(spelling: str) -> None:
    assert not steers(spelling)


def test_a_spelling_is_cut_between_a_word_and_a_sign() -> None:
    cut = {each: each[: cut_at(each)] for each in ("<think>", "</tool_call>", "<|fim_prefix|>", '<|"|>')}
    assert list(cut.values()) == ["<think", "</tool_call", "<|fim_prefix", "<"]


def test_long_texts_of_spellings_are_quick(qwen3: Vocabulary) -> None:
    """llama.cpp alone takes half a minute for a megabyte of them."""
    for text in ("<think>" * 40_000, "<" * 250_000, "a < b, [1]\n" * 25_000):
        started = time.perf_counter()
        ids = qwen3.encode([(text, False)])
        assert time.perf_counter() - started < 5
        assert text_of(qwen3, ids) == text.encode()


def test_a_vocabulary_that_puts_blanks_before_texts(tmp_path: Path) -> None:
    """It may do so behind a control token, as it was trained; a prefix, and what was cut, stay as they are."""
    vocabulary = load(sentencepiece(tmp_path / "small.gguf"))
    think = vocabulary.control["<think>"]
    for text in ("ab", " ab", "ab ab", "\nab", "<think>ab", "ab<think>", "<think><think> a", "é", ""):
        ids = vocabulary.encode([(text, False)])
        assert text_of(vocabulary, ids) == text.encode()
        assert think not in ids
    begun = vocabulary.encode([("<s>", True), ("ab<think>ab", False)])
    assert text_of(vocabulary, begun) == b"<s> ab<think>ab"
    assert think not in begun
