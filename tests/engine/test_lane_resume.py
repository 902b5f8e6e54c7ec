"""An answer that was broken off goes on at the same token; and what is told of the token at the seam."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from segue.engine.llama import frames
from segue.engine.llama.voice import Voice
from segue.engine.seam.cover import Cover, Part
from tests.engine.lanes import LETTERS, Law, check, lane, message, replaced, wide
from tests.engine.toy import VOCABULARY


@pytest.mark.parametrize("cells", [50, 400])
def test_a_resumed_strand_says_what_an_uninterrupted_one_says(cells: int) -> None:
    """Its first ids were read, the others drawn; also when it loses its place."""
    some = 0
    for seed in range(8):
        rng = random.Random(seed)
        whole = [message(rng, number) for number in range(4)]
        laws = [Law.of(sent, 0, LETTERS) for sent in whole]
        bench = lane(cells=cells)
        wanted: dict[int, tuple[list[int], str]] = {}
        for sent, law in zip(whole, laws, strict=True):
            size = len(frames.unpack_ids(sent.ids)) - law.back  # the trunk
            cut = rng.randrange(1, len(law.said) + 2)
            ids = law.ids[: len(law.ids) - len(law.said) + cut]
            left = sent.choices[0].tokens_max - cut
            if not left or len(ids) == len(law.ids):
                continue
            resumed = replaced(sent, ids=frames.pack_ids(ids), drawn_at=min(size, len(ids)), seam=None)
            resumed.choices[0].tokens_max = left
            bench.add(resumed)
            wanted[sent.choices[0].strand] = law.said[cut:], law.finish
        bench.run()
        assert not bench.failed
        assert {number: (bench.said.get(number, []), bench.finish[number]) for number in wanted} == wanted
        assert bench.joined == {}
        some += len(wanted)
    assert some > 12


def test_an_answer_whose_process_died_goes_on_at_the_same_token() -> None:
    """Before it said anything the seam is searched again; afterwards its ids say all."""
    for seed in range(12):
        rng = random.Random(seed)
        sent = message(rng, 1)
        (law,) = (Law.of(sent, 0, LETTERS),)
        said = rng.randrange(1, len(law.said) + 1) if law.said else 0
        if not said or said == len(law.said):
            continue
        choice = sent.choices[0]
        choice.joined, choice.back = True, law.back
        choice.generated = frames.pack_ids([*law.path, *law.said[:said]])
        choice.tokens_max -= said
        bench = lane()
        bench.add(sent)
        bench.run()
        assert bench.said.get(10, []) == law.said[said:]
        assert (bench.joined, bench.finish[10]) == ({}, law.finish)


def test_logprobs_at_the_seam_are_shares_of_the_cover() -> None:
    told = 0
    for seed in range(60):
        sent = replaced(message(random.Random(seed), 1), logprobs=3)
        bench = lane()
        bench.add(sent)
        bench.run()
        (law,) = check(bench, sent)
        logprobs = bench.logprobs.get(10, [])
        assert len(logprobs) == len(law.said)
        for logprob in logprobs:
            values = [value for _, value in logprob.top]
            assert values == sorted(values, reverse=True)
            assert len({data for data, _ in logprob.top}) == len(values) or logprob is not logprobs[0]
            assert sum(map(math.exp, values)) <= 1 + 1e-6
            assert logprob.logprob <= 1e-6
        if logprobs and logprobs[0].data != LETTERS.piece(law.said[0]):
            told += 1
            assert 1 <= len(logprobs[0].top) <= 3
    assert told > 3


def test_rivals_that_add_the_same_bytes_count_together_best_first() -> None:
    (first, second), (other,) = (
        [token for token in range(VOCABULARY) if LETTERS.piece(token) == word] for word in (b"ab", b"abc")
    )
    logits = np.log(np.asarray([0.45, 0.3, 0.25], np.float64))
    tokens = np.asarray([other, first, second], np.intp)
    part = Part((), 0, tokens, logits, logits.astype(np.float32))
    cover = Cover(b"a", (part,), 0.0, 1)
    voice = Voice(LETTERS, 100)  # type: ignore[arg-type]
    (strand,) = lane().add(replaced(wide(10), logprobs=2))
    told = voice._share(strand, cover, cover.element(1))
    assert told.data == b"b"
    assert math.exp(told.logprob) == pytest.approx(0.3)
    assert [data for data, _ in told.top] == [b"b", b"bc"]
    assert [math.exp(value) for _, value in told.top] == pytest.approx([0.55, 0.45])
    # What adds nothing is no token of the answer, and no rival.
    ended = Cover(b"ab", (replace(part, tokens=tokens[:2], weights=np.log([0.2, 0.8])),), 0.0, 1)
    (rival,) = voice._share(strand, ended, ended.element(0)).top
    assert rival[0] == b"c"
    assert math.exp(rival[1]) == pytest.approx(0.2)
