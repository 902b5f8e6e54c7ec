"""What is left to the search is never less than what a continuation may spell otherwise."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.config import Seam as Settings
from segue.core.generation import Decoding
from segue.core.generation import Seam as Asked
from segue.engine.llama import frames
from segue.engine.llama.seam import Seam
from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.seam.lexicon import Lexicon
from segue.engine.seam.tail import _WIDE_TOKENS_MAX, _wide, given_back, open_end
from tests.engine.seam.texts import CHINESE, KINDS
from tests.prompt.vocabularies import load


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", ""),
        ("word", "word"),
        ("a word", " word"),  # the blank before a word is the word's
        ("(word", "(word"),
        ("a  word", " word"),
        ("\nword", "\nword"),
        ("a, word", " word"),
        # Blanks are all open, with or without line ends among them.
        ("a ", " "),
        ("a word   ", "   "),
        ("else:\n    ", "\n    "),
        ("a\n", "\n"),
        ("a \n \n", " \n \n"),
        ("\t\t", "\t\t"),
        ("a\u3000", "\u3000"),
        # Marks with the line ends behind them, and one character before.
        ("a.", "a."),
        ("end of it.\n", "t.\n"),
        ("end of it.\r\n\n", "t.\r\n\n"),
        ("};\n", "};\n"),
        ("a };\n", " };\n"),
        ("a };\n ", "\n "),
        ("。\n", "。\n"),
        # Digits.
        ("a 12", " 12"),
        ("x12", "x12"),
        ("x = 3.14", ".14"),
        ("½", "½"),
        # Words without blanks.
        ("大地万物复苏", "大地万物复苏"),
        ("春天来了，大地", "，大地"),
        ("春天来了，", "了，"),
        # What stands before an apostrophe may only be one character: tokens are given back whole anyhow.
        ("don'", "n'"),
        ("don't", "'t"),
        ("'", "'"),
        # Combining marks belong to letters for some vocabularies, to punctuation for others.
        ("a cafe\u0301", " cafe\u0301"),
        ("a \u0301", "a \u0301"),
        ("เ ที่", " ที่"),
        ("ab ที่,", "ที่,"),
        ("ab ที่\n", " ที่\n"),
        ("e\u0301 ", " "),
        ("\u0301", "\u0301"),
        ("a 🙂", " 🙂"),
    ],
)
def test_the_open_end(text: str, end: str) -> None:
    assert text.endswith(end)
    assert text[len(text) - open_end(text) :] == end


@pytest.mark.parametrize(
    ("pieces", "tokens_max", "count"),
    [
        ([], 4, 0),
        ([b"word"], 4, 1),
        ([b"a", b" word"], 4, 1),
        ([b"a", b" wo", b"rd"], 4, 2),
        ([b"a", b" wo", b"rd"], 1, 1),
        ([b"a", b" wo", b"rd"], 0, 0),
        ([b"a", b"b", b"c", b"d", b"e"], 4, 4),  # one long word: the caller's bound decides
        ([b"a", b" b", b" ", b"\n", b"    "], 4, 3),
        ([b"x", b"else", b":\n", b"   "], 4, 2),  # the line end is open, and part of a token
        ([b"call", b"(", b")", b";\n"], 4, 4),
        ([b"call", b" ()", b";\n"], 4, 2),
        ([b"1", b"2", b"3"], 2, 2),
        (["，".encode(), "大地".encode()], 4, 2),
        # A character cut by the end of the prefix, or by the beginning of the window.
        ([b"a", b" b", b"\xe4", b"\xbd"], 4, 3),
        ([b"a", b" ", b"\xf0\x9f"], 4, 2),
        ([b"\xe4\xbd"], 4, 1),
        ([b"\xe4", b"\xbd", b"\xa0", b"b"], 2, 2),
        ([b"\xe4", b"\xbd\xa0 a", b" b"], 2, 1),
        ([b"\xe4", b"\xbd\xa0", b"b"], 2, 2),
        ([b"a ", b"\xff", b"\xff"], 4, 3),
        ([b"", b"", b"a"], 4, 1),
        ([b"a", b" b", b""], 4, 2),
    ],
)
def test_given_back(pieces: list[bytes], tokens_max: int, count: int) -> None:
    assert given_back(pieces, tokens_max) == count


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"a", b" b", b"\n", b"    ", b";\n", b"'", b"1", b"\xe4\xbd", b"\xa0", b"\xf0\x9f", b"", b"\xff"]
        ),
        st.text(max_size=4).map(str.encode),
        st.binary(max_size=3),
    ),
    max_size=8,
)


@settings(max_examples=500)
@given(PIECES, st.integers(1, 6))
def test_at_least_one_and_no_more_than_allowed(pieces: list[bytes], tokens_max: int) -> None:
    count = given_back(pieces, tokens_max)
    assert count == 0 if not pieces else 1 <= count <= min(len(pieces), tokens_max)
    # What is given is enough, or all that is allowed, and no token more.
    most = min(len(pieces), tokens_max)
    window = b"".join(pieces[len(pieces) - most :])
    text = window.decode("utf-8", "ignore")
    wanted = len(text[len(text) - open_end(text) :].encode())
    if count < (min(most, _WIDE_TOKENS_MAX) if _wide(text.rstrip()[-1:]) else most):
        assert sum(map(len, pieces[len(pieces) - count :])) >= wanted
    if count > 1:
        broken = len(window) - len(text.encode())  # bytes of which nobody knows the character
        assert sum(map(len, pieces[len(pieces) - count + 1 :])) < wanted + broken


# --- the default model's own vocabulary ------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen(default_model: Path) -> Vocabulary:
    return load(default_model)


@pytest.fixture(scope="module")
def lexicon(qwen: Vocabulary) -> Lexicon:
    """As the engine has it."""
    return Lexicon(qwen.pieces(list(range(qwen.size))), {*qwen.control.values(), *qwen.eog, *qwen.hidden.tolist()})


def test_the_default_is_what_is_measured_here() -> None:
    assert Settings().tokens_max == Asked().tokens == 4


def unreached(
    vocabulary: Vocabulary, lexicon: Lexicon, text: str, cuts: int, seed: int, tokens: int = 4
) -> tuple[list[tuple[str, str]], int]:
    """Where the tokens of the whole text are not in the cover of its beginning; and how many cuts needed it."""
    rng = random.Random(seed)
    lost, needed = [], 0
    for _ in range(cuts):
        cut = rng.randrange(1, len(text))
        begin = max(0, cut - 120)
        prefix, after = text[begin:cut], text[cut : cut + 40]
        # Token 0 stands for the conversation before the answer.
        ids = [0, *vocabulary.encode([(prefix, False)])]
        whole = [0, *vocabulary.encode([(prefix + after, False)])]
        needed += whole[: len(ids)] != ids
        seam = Seam.of(frames.Seam(tokens, 0.01, 32, 2.0), ids, 1, vocabulary, Decoding())
        assert seam is not None
        if whole[: seam.at] != ids[: seam.at] or not covers(lexicon, seam.tail, whole[seam.at :]):
            lost.append((prefix[-20:], after[:10]))
    return lost, needed


def covers(lexicon: Lexicon, tail: bytes, ids: list[int]) -> bool:
    """Do these tokens begin with an element of the tail's cover?"""
    for token in ids:
        if token in lexicon.reaching(tail):
            return True
        size = dict(lexicon.inside(tail)).get(token)
        if size is None:
            return False
        tail = tail[size:]
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_true_continuations_are_reached(qwen: Vocabulary, lexicon: Lexicon, kind: str) -> None:
    text = KINDS[kind]()
    lost, needed = unreached(qwen, lexicon, text, 200, 1)
    assert lost == []
    assert needed > 40, "the plain encoding of many a prefix is not what the whole text begins with"
    # One token is not enough, so the rule does something.
    assert unreached(qwen, lexicon, text, 200, 1, tokens=1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_true_continuations_are_reached_at_1500_cuts(qwen: Vocabulary, lexicon: Lexicon, kind: str) -> None:
    assert unreached(qwen, lexicon, KINDS[kind](), 1500, 2)[0] == []


def test_indentation_is_reached_at_every_cut(qwen: Vocabulary, lexicon: Lexicon) -> None:
    """Behind a line end with any part of the indentation: where the plain encoding is always wrong."""
    text = "def fib(n):\n    if n <= 1:\n        return n\n    else:\n        return fib(n - 1) + fib(n - 2)\n"
    cuts = [cut for cut in range(1, len(text)) if text[cut - 1] in "\n "]
    needed = 0
    for cut in cuts:
        ids, whole = ([0, *qwen.encode([(part, False)])] for part in (text[:cut], text))
        seam = Seam.of(frames.Seam(4, 0.01, 32, 2.0), ids, 1, qwen, Decoding())
        assert seam is not None
        assert whole[: seam.at] == ids[: seam.at]
        assert covers(lexicon, seam.tail, whole[seam.at :]), text[:cut]
        needed += whole[: len(ids)] != ids
    assert needed > 20


ODD = [
    *(
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "    ",
        "a",
        "the",
        "The",
        "'s",
        "'LL",
        "'",
        "don",
        "1",
        "456",
        ".",
        ",",
        "...",
    ),
    *(
        "(",
        "{",
        "}",
        "//",
        "# ",
        "中",
        "国家",
        "你好",
        "，",
        "é",
        "e\u0301",
        "\u0301",
        "हिन्दी",
        "ที่",
        "เป็น",
        "🙂",
        "\u200d",
    ),
    *("\ufe0f", "\u00a0", "\u3000", "\x85", "\u2028", "ß", "한국어", "_", "==", '"', "²", "Ⅷ"),
]


def test_odd_texts_are_reached(qwen: Vocabulary, lexicon: Lexicon) -> None:
    rng = random.Random(6)
    for _ in range(1500):
        prefix = "".join(rng.choice(ODD) for _ in range(rng.randrange(1, 8)))
        text = prefix + "".join(rng.choice(ODD) for _ in range(rng.randrange(1, 3)))
        ids, whole = ([0, *qwen.encode([(part, False)])] for part in (prefix, text))
        seam = Seam.of(frames.Seam(4, 0.01, 32, 2.0), ids, 1, qwen, Decoding())
        assert seam is not None
        assert whole[: seam.at] == ids[: seam.at], (prefix, text)
        assert covers(lexicon, seam.tail, whole[seam.at :]), (prefix, text)


def test_a_seam_leaves_the_conversation_alone(qwen: Vocabulary) -> None:
    """The tail begins behind the answer's beginning, and one token is always left before it."""
    ids = qwen.encode([(CHINESE[:60], False)])
    asked = frames.Seam(4, 0.01, 32, 2.0)
    for answer_at in range(len(ids)):
        seam = Seam.of(asked, ids, answer_at, qwen, Decoding())
        assert seam is not None
        assert max(answer_at, 1, len(ids) - 4) <= seam.at < len(ids)
        assert seam.main == tuple(ids[seam.at :])
        assert seam.tail == b"".join(qwen.pieces(list(seam.main)))
    assert Seam.of(asked, ids, len(ids), qwen, Decoding()) is None, "no prefix, no seam"
    assert Seam.of(asked, ids[:1], 0, qwen, Decoding()) is None, "nothing would be left before it"
    assert Seam.of(frames.Seam(0, 0.01, 32, 2.0), ids, 0, qwen, Decoding()) is None
