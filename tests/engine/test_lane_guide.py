"""A lane whose strands keep to a grammar: only legal text is said, what is forced costs no step, seams and all."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from segue.core.generation import Decoding
from segue.engine.llama import frames, guide
from segue.engine.llama.guide import GuideError, Guides
from segue.engine.llama.sampling import Sampler
from segue.engine.llama.strand import Strand, strands_of
from segue.engine.seam.cover import Cover, Part
from tests.engine.lanes import LETTERS, Bench, every_part, opened, replaced
from tests.engine.toy import EOG, VOCABULARY

FREE, LONG = Decoding(1.0, 1.0, 0, seed=7), 200
HEAD = [200, 201, 202]
WORDS = LLMatcher.grammar_from_regex("(ab|ba|ccc){2,6}")
LEGAL = re.compile(b"(ab|ba|ccc){2,6}")
FORCED = LLMatcher.grammar_from_regex("[ab]cabcabcabc(aa|bb)cbacbacba")
MUCH = LLMatcher.grammar_from_regex("(abc){40}")


class Letters:
    """The toy vocabulary with what a guide asks of one: words of two letters spell a text from the left."""

    size, eos, eog, hidden, lexicon = VOCABULARY, EOG, LETTERS.eog, LETTERS.hidden, LETTERS.lexicon
    control = {"<end>": EOG}  # noqa: RUF012

    def __init__(self) -> None:
        self._first = {piece: token for token, piece in reversed(list(enumerate(LETTERS.pieces))) if piece}

    def piece(self, token: int) -> bytes:
        return LETTERS.piece(token)

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return [LETTERS.piece(token) for token in ids]

    def encode(self, segments: Sequence[tuple[str, bool]]) -> list[int]:
        ids: list[int] = []
        for text, _ in segments:
            rest = text.encode()
            while rest:
                piece = next((rest[:size] for size in (2, 1) if rest[:size] in self._first), b"")
                if not piece:
                    break
                ids.append(self._first[piece])
                rest = rest[len(piece) :]
        return ids


VOCABULARY_OF_LETTERS = Letters()


class Guided(Bench):
    """Strands come with a compiled grammar."""

    def __init__(self, cells: int = 400, slots: int = 4, solitary: bool = False, rows: int = 32) -> None:
        super().__init__(cells, slots, rows, solitary, LETTERS)
        self.guides = Guides(VOCABULARY_OF_LETTERS)  # type: ignore[arg-type]

    def add(self, message: frames.Open) -> list[Strand]:
        if message.grammar:
            self.guides.compile(message.grammar, message.workspace)
        made = strands_of(message, self.vocabulary, self.guides)  # type: ignore[arg-type]
        for strand in made:
            self.lane.add(strand)
        return made


def asked(
    grammar: str,
    prefix: bytes = b"",
    how: Decoding = FREE,
    tokens: int = LONG,
    numbers: Sequence[int] = (0,),
    logprobs: int = -1,
) -> frames.Open:
    ids = [*HEAD, *VOCABULARY_OF_LETTERS.encode([(prefix.decode(), False)])]
    seam = frames.Seam(tokens=2, eps=0.0, nodes=100_000, seconds=1e9) if prefix else None
    return replaced(opened(ids, len(HEAD), how, tokens, numbers, seam, logprobs=logprobs), grammar=grammar)


def run(*sent: frames.Open, cells: int = 400, solitary: bool = False) -> Guided:
    bench = Guided(cells, 1 if solitary else 4, solitary)
    for message in sent:
        bench.add(message)
    bench.run()
    return bench


@pytest.mark.parametrize("solitary", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_only_legal_text_is_said(seed: int, solitary: bool) -> None:
    bench = run(asked(WORDS, how=Decoding(1.3, 0.9, 20, 1.3, 0.5, 0.2, seed)), solitary=solitary)
    assert LEGAL.fullmatch(bench.data[0])
    assert bench.finish[0] == "stop"
    assert bench.failed == []


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_forced_text_costs_no_step_of_its_own(temperature: float) -> None:
    """One step reads the prompt, one more what came behind a choice; the rest is said at once."""
    bench = run(asked(FORCED, how=Decoding(temperature, 1.0, 0, seed=3)))
    assert re.fullmatch(b"[ab]cabcabcabc(aa|bb)cbacbacba", bench.data[0])
    assert bench.finish[0] == "stop"
    assert len(bench.context.steps) <= 5
    assert len(bench.said[0]) >= 10


def test_text_that_is_forced_from_its_beginning_to_its_end_needs_the_prompt_only() -> None:
    bench = run(asked(MUCH))
    assert bench.data[0] == b"abc" * 40
    assert bench.finish[0] == "stop"
    assert len(bench.context.steps) == 1


@pytest.mark.parametrize("tokens", [1, 2, 5, 11])
def test_tokens_run_out_within_what_is_forced(tokens: int) -> None:
    bench = run(asked(MUCH, tokens=tokens))
    assert len(bench.said[0]) == tokens
    assert (b"abc" * 40).startswith(bench.data[0])
    assert bench.finish[0] == "length"


def test_the_last_token_that_may_be_said_ends_the_answer_for_the_better_reason() -> None:
    whole = len(run(asked(MUCH)).said[0])
    assert run(asked(MUCH, tokens=whole)).finish[0] == "stop"


def test_forced_tokens_are_certain() -> None:
    bench = run(asked(MUCH, logprobs=2))
    assert all(each.logprob == 0.0 and each.top == [(each.data, 0.0)] for each in bench.logprobs[0])
    assert len(bench.logprobs[0]) == len(bench.said[0])


def law(message: frames.Open, choice: int) -> tuple[bytes, list[int]]:
    """What a strand with a seam must draw, by the whole cover of which the illegal elements are struck out: the
    bytes beyond the prefix, and the tokens that stand for its end and these."""
    ids = frames.unpack_ids(message.ids)
    back = min(2, len(ids) - message.answer_at)
    trunk, main = ids[: len(ids) - back], ids[len(ids) - back :]
    tail = b"".join(map(LETTERS.piece, main))
    guides = Guides(VOCABULARY_OF_LETTERS)  # type: ignore[arg-type]
    guides.compile(message.grammar)
    parts = []
    for part in every_part(trunk, (), tail, 0, 0.0, LETTERS):
        before = guides.guide(message.grammar)
        before.consume([*trunk[message.answer_at :], *part.path])
        legal = [place for place, token in enumerate(part.tokens) if may(before.copy(), int(token))]
        if legal:
            parts.append(Part(part.path, part.done, part.tokens[legal], part.weights[legal], part.logits[legal]))
    how = Decoding(
        message.temperature,
        message.top_p,
        message.top_k,
        message.repetition_penalty,
        message.presence_penalty,
        message.frequency_penalty,
        message.seed,
    )
    sampler = Sampler(how, choice, np.empty(0, np.int32))
    for token in trunk[message.answer_at :]:
        sampler.see(token)
    element = sampler.join(Cover(tail, tuple(parts), 0.0, 0))
    return LETTERS.piece(element.token)[element.used :], [*element.path, element.token]


def may(at: guide.Guide, token: int) -> bool:
    try:
        at.consume([token])
    except GuideError:
        return False
    return True


PREFIXES = [b"ab", b"abb", b"bac", b"bacc", b"abbac"]


@pytest.mark.parametrize("solitary", [False, True])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_gone_on_with_by_the_law_over_legal_elements(prefix: bytes, solitary: bool) -> None:
    for seed in range(2):
        sent = asked(WORDS, prefix, Decoding([0.0, 1.3][seed], 1.0, 0, 1.2, seed=seed))
        bench = run(sent, solitary=solitary)
        over, path = law(sent, 0)
        assert LEGAL.fullmatch(prefix + bench.data[0])
        assert bench.data[0].startswith(over)
        joined = bench.joined[0]
        assert frames.unpack_ids(joined.path) == (path[:-1] if over else path)
        assert not over or bench.said[0][0] == path[-1]


def test_several_choices_each_by_its_own_law() -> None:
    sent = asked(WORDS, b"abb", Decoding(1.3, 1.0, 0, seed=5), numbers=(0, 1, 2, 3))
    bench = run(sent)
    for choice in range(4):
        assert LEGAL.fullmatch(b"abb" + bench.data[choice])
        assert bench.data[choice].startswith(law(sent, choice)[0])
    assert len({bench.data[choice] for choice in range(4)}) > 1


def test_company_and_lost_places_change_nothing() -> None:
    rng = random.Random(1)
    sent = [
        asked(WORDS, rng.choice([b"", *PREFIXES]), Decoding(1.0, 1.0, 0, seed=number), numbers=(number,))
        for number in range(12)
    ]
    alone = [run(message) for message in sent]
    crowd = run(*sent, cells=44)
    for number, one in enumerate(alone):
        assert crowd.data[number] == one.data[number]
        assert crowd.finish[number] == one.finish[number]
    assert crowd.failed == []


@pytest.mark.parametrize("prefix", [b"", b"abb", b"bacc"])
def test_a_restart_goes_on_where_the_answer_was(prefix: bytes) -> None:
    """As the engine's parent asks again: joined, or not yet, with the tokens that were said."""
    sent = asked(WORDS, prefix, Decoding(1.0, 1.0, 0, seed=11))
    whole = run(sent)
    said, joined = whole.said[0], whole.joined.get(0)
    for count in range(1, len(said)):
        path = [] if joined is None else frames.unpack_ids(joined.path)
        back = 0 if joined is None else joined.back
        generated = frames.pack_ids([*path, *said[:count]])
        choice = frames.Choice(0, 0, back, generated, joined is not None, LONG - count)
        again = run(replaced(sent, choices=[choice]))
        if again.data.get(0, b""):
            assert again.said[0] == said[count:]
        assert again.finish[0] == "stop"


def test_what_cannot_be_gone_on_with_fails_alone() -> None:
    """A grammar that grew too complex: its strand is failed, and nobody else."""
    bench = Guided()
    bench.add(asked(WORDS, numbers=(1,)))
    strand = bench.add(asked(WORDS, numbers=(2,)))[0]
    bench.add(asked(WORDS, b"abb", numbers=(3,)))

    class Broken(guide.Guide):
        def allowed(self) -> guide.Allowed:
            raise GuideError("too complex")

    assert strand.guide is not None
    strand.guide = Broken(strand.guide._matcher, VOCABULARY)
    bench.run()
    assert bench.failed == [(2, "it cannot be followed any further: too complex")]
    assert LEGAL.fullmatch(bench.data[1])
    assert LEGAL.fullmatch(b"abb" + bench.data[3])


def test_a_prefix_that_breaks_the_grammar_raises_at_once() -> None:
    with pytest.raises(GuideError):
        Guided().add(replaced(asked(WORDS, b"abca"), seam=None))


def test_a_prefix_whose_end_fits_no_token_fails_with_a_reason() -> None:
    """The check over bytes would have refused it."""
    bench = run(asked(WORDS, b"aba"), asked(WORDS, b"aca", numbers=(1,)), asked(WORDS, numbers=(2,)))
    assert LEGAL.fullmatch(b"aba" + bench.data[0])
    assert [number for number, _ in bench.failed] == [1]
    assert "it cannot be followed any further" in bench.failed[0][1]
    assert LEGAL.fullmatch(bench.data[2])


def test_a_whole_prefix_needs_nothing_more() -> None:
    grammar = LLMatcher.grammar_from_regex("abcab")
    bench = run(asked(grammar, b"abcab"))
    assert bench.data.get(0, b"") == b""
    assert bench.finish[0] == "stop"


def test_a_grammar_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(tokenizer: LLTokenizer, grammar: str, **more: Any) -> LLMatcher:
        made.append(grammar)
        return LLMatcher(tokenizer, grammar, **more)

    monkeypatch.setattr(guide, "LLMatcher", counted)
    bench = Guided()
    for number in range(5):
        bench.add(asked(WORDS, how=Decoding(1.0, 1.0, 0, seed=number), numbers=(number,)))
    bench.run()
    assert made == [WORDS]
    assert len(bench.data) == 5
