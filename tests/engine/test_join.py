"""Drawing an element of a cover: the right distribution, and noise that nothing else is drawn with."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from segue.core.generation import Decoding
from segue.engine.llama.sampling import Sampler
from segue.engine.seam.cover import Budget, Cover, Part, Search, log_sum
from tests.engine.seam.toy import VOCABULARIES, Element, Toy, shares

HIDDEN = np.empty(0, np.int32)
PLAIN = Decoding(temperature=1.0, top_p=1.0, top_k=0)
FREE = 5.0
"""Standard deviations of a chi-square that a fixed seed is granted."""


def covered(toy: Toy, tail: bytes) -> Cover:
    return toy.read(Search(toy.lexicon, tail, Budget(0.0, 10**6)))


def joined(cover: Cover, how: Decoding, choice: int = 0, position: int = 0, seen: tuple[int, ...] = ()) -> Element:
    sampler = Sampler(how, choice, HIDDEN, position)
    for token in seen:
        sampler.see(token)
    element = sampler.join(cover)
    return element.path, element.token


def whole_vocabulary(logits: npt.NDArray[np.float32]) -> Cover:
    """A cover whose elements are all tokens: what `draw` chooses from."""
    tokens = np.arange(len(logits), dtype=np.intp)
    part = Part((), 0, tokens, logits.astype(np.float64) - log_sum(logits), logits.copy())
    return Cover(b"x", (part,), 0.0, 1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_on_single_tokens_it_is_draw(shuffled: bool) -> None:
    """Temperature, top_k, top_p, every penalty, seed, choice and position: the same token."""
    rng = random.Random(1)
    chosen: set[int] = set()
    for case in range(600):
        logits = np.random.default_rng(case).normal(0, rng.choice([0.5, 3.0]), 200).astype(np.float32)
        how = Decoding(
            temperature=rng.choice([0.0, 0.3, 1.0, 1.8]),
            top_p=rng.choice([0.2, 0.8, 1.0]),
            top_k=rng.choice([0, 1, 5, 50]),
            repetition_penalty=rng.choice([1.0, 0.8, 1.5]),
            presence_penalty=rng.choice([0.0, 1.5, -1.0]),
            frequency_penalty=rng.choice([0.0, 0.7]),
            seed=rng.randrange(2**63),
        )
        best = np.argsort(-logits)[:20].tolist()
        seen = tuple(rng.choice(best) for _ in range(rng.randrange(12)))
        choice, position = rng.randrange(4), rng.randrange(50)
        cover = whole_vocabulary(logits)
        if shuffled:  # as tokens lie in the order of their bytes
            order = np.random.default_rng(case).permutation(200)
            part = cover.parts[0]
            cover = replace(
                cover,
                parts=(replace(part, tokens=order, weights=part.weights[order], logits=part.logits[order]),),
            )
        plain = Sampler(how, choice, HIDDEN, position)
        for token in seen:
            plain.see(token)
        wanted = plain.draw(logits)
        assert joined(cover, how, choice, position, seen) == ((), wanted), case
        chosen.add(wanted)
    assert len(chosen) > 50


def test_on_some_tokens_it_is_draw_with_the_others_masked() -> None:
    for case in range(300):
        generator = np.random.default_rng(case)
        logits = generator.normal(0, 2, 300).astype(np.float32)
        there = np.sort(generator.choice(300, 40, replace=False))
        how = Decoding(1.0, 0.9, 10, repetition_penalty=1.3, presence_penalty=0.5, seed=case)
        part = Part((), 0, there, logits[there].astype(np.float64), logits[there])
        seen = tuple(generator.choice(there, 10).tolist())
        plain = Sampler(how, 0, np.setdiff1d(np.arange(300), there).astype(np.int32))
        for token in seen:
            plain.see(token)
        assert joined(Cover(b"x", (part,), 0.0, 1), how, seen=seen) == ((), plain.draw(logits))


@pytest.mark.parametrize(("vocabulary", "tail"), [(0, b"abca"), (1, b"abab"), (4, b"ababa")])
def test_frequencies_are_the_shares(vocabulary: int, tail: bytes) -> None:
    toy = Toy(VOCABULARIES[vocabulary], 11, 1.0)
    cover = covered(toy, tail)
    wanted = shares(cover)
    assert len({part.path for part in cover.parts}) > 2
    draws = 6000
    counts = Counter(joined(cover, replace(PLAIN, seed=seed)) for seed in range(draws))
    fits(counts, wanted, draws)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_the_shares(temperature: float) -> None:
    toy = Toy(VOCABULARIES[0], 12, 1.0)
    cover = covered(toy, b"abc")
    sharpened = {element: share ** (1 / temperature) for element, share in shares(cover).items()}
    total = sum(sharpened.values())
    wanted = {element: weight / total for element, weight in sharpened.items()}
    draws = 4000
    how = replace(PLAIN, temperature=temperature)
    counts = Counter(joined(cover, replace(how, seed=seed)) for seed in range(draws))
    fits(counts, wanted, draws)


def fits(counts: Counter[Element], wanted: dict[Element, float], draws: int) -> None:
    often = {element: share for element, share in wanted.items() if share * draws >= 5}
    assert len(often) > 3
    chi = sum((counts[element] - share * draws) ** 2 / (share * draws) for element, share in often.items())
    assert chi < len(often) + FREE * math.sqrt(2 * len(often)), (chi, len(often))


def test_what_is_drawn_behind_the_seam_does_not_depend_on_what_was_not_chosen() -> None:
    """Element and next token together: no noise is used twice, or the second draw leans on the first.

    A tail with much weight both on "ab" and on "a", "b": the noise of "b" at the second place decides over
    the element, and, where that is "ab", the next draw is at that very place.
    """
    pieces = [b"a", b"b", b"ab", b"ba", b"bb"]
    rows = {(): [0.0, -9.0, 0.7, -9.0, -9.0], (0,): [-9.0, 0.0, -9.0, 0.0, 0.0]}
    search = Search(Toy(pieces, 0).lexicon, b"ab", Budget(0.0, 100))
    while nodes := search.wanted(1):
        search.told(nodes[0], np.asarray(rows[nodes[0].path], np.float32))
    cover = search.cover()
    after = np.asarray([0.0, 0.0, -9.0, 0.0, 0.0], np.float32)  # four tokens are equally likely next
    draws, counts = 12_000, Counter[tuple[Element, int]]()
    for seed in range(draws):
        sampler = Sampler(replace(PLAIN, seed=seed), 0, HIDDEN)
        element = sampler.join(cover)
        for token in (*element.path, element.token):
            sampler.see(token)
        counts[(element.path, element.token), sampler.draw(after.copy())] += 1
    chance = np.exp(after - log_sum(after))
    chi, free = 0.0, 0
    for each, share in shares(cover).items():
        for token in range(5):
            expected = draws * share * float(chance[token])
            if expected >= 5:
                chi += (counts[each, token] - expected) ** 2 / expected
                free += 1
    assert free > 10
    assert chi < free + FREE * math.sqrt(2 * free), (chi, free)


def test_greedy_takes_the_heaviest_whatever_the_seed() -> None:
    for salt in range(40):
        toy = Toy(VOCABULARIES[salt % 5], salt)
        tail = toy.text(random.Random(salt), 3)
        if not toy.begins(tail):
            continue
        cover = covered(toy, tail)
        best = cover.heaviest(1)[0]
        for seed in range(4):
            assert joined(cover, Decoding(temperature=0.0, seed=seed)) == (best.path, best.token)
            assert joined(cover, replace(PLAIN, top_k=1, seed=seed)) == (best.path, best.token)
            assert joined(cover, replace(PLAIN, top_p=1e-9, seed=seed)) == (best.path, best.token)


def test_top_k_and_top_p_count_elements() -> None:
    toy = Toy(VOCABULARIES[0], 13, 1.0)
    cover = covered(toy, b"abca")
    order = sorted(shares(cover).items(), key=lambda item: -item[1])
    kept = {element for element, _ in order[:3]}
    assert {joined(cover, replace(PLAIN, top_k=3, seed=seed)) for seed in range(400)} == kept
    reach, count = 0.0, 0
    while reach < 0.6:
        reach += order[count][1]
        count += 1
    assert 1 < count < len(order)
    kept = {element for element, _ in order[:count]}
    assert {joined(cover, replace(PLAIN, top_p=0.6, seed=seed)) for seed in range(600)} == kept


def test_seed_choice_and_position_decide_and_nothing_else() -> None:
    toy = Toy(VOCABULARIES[0], 14, 1.0)
    cover = covered(toy, b"abca")
    turned = replace(cover, parts=cover.parts[::-1])

    def row(how: Decoding, choice: int, position: int, found: Cover = cover) -> list[Element]:
        return [joined(found, replace(how, seed=how.seed + 1000 * at), choice, position) for at in range(40)]

    first = row(PLAIN, 0, 0)
    assert first == row(PLAIN, 0, 0)
    assert first == row(PLAIN, 0, 0, turned), "not the order in which the parts were found"
    for other in (row(replace(PLAIN, seed=77), 0, 0), row(PLAIN, 1, 0), row(PLAIN, 0, 1)):
        assert sum(a == b for a, b in zip(first, other, strict=True)) < 30


def test_penalties_count_the_path_of_an_element() -> None:
    """A token that the element itself holds already weighs less at its end."""
    tokens = np.asarray([1], np.intp)
    logits = np.asarray([2.0], np.float32)
    # Behind path (0,) and behind path (1,) the same token reaches; in the second it comes again.
    parts = (
        Part((0,), 1, tokens, np.asarray([-1.0]), logits),
        Part((1,), 1, tokens, np.asarray([-0.9]), logits),
    )
    cover = Cover(b"xx", parts, 0.0, 3)
    greedy = Decoding(temperature=0.0)
    assert joined(cover, greedy) == ((1,), 1)
    for penalised in (
        replace(greedy, repetition_penalty=1.5),
        replace(greedy, presence_penalty=0.2),
        replace(greedy, frequency_penalty=0.2),
    ):
        assert joined(cover, penalised) == ((0,), 1)
    # Seen before the seam, it weighs the same in both, unless it is counted how often.
    assert joined(cover, replace(greedy, presence_penalty=0.2), seen=(1,)) == ((1,), 1)
    assert joined(cover, replace(greedy, frequency_penalty=0.2), seen=(1,)) == ((0,), 1)


def test_joining_leaves_the_sampler_and_the_cover_as_they_were() -> None:
    toy = Toy(VOCABULARIES[0], 15)
    cover = covered(toy, b"abca")
    before = [(part.tokens.tolist(), part.weights.tolist(), part.logits.tolist()) for part in cover.parts]
    how = Decoding(1.0, 0.9, 5, repetition_penalty=1.4, frequency_penalty=0.3)
    sampler = Sampler(how, 0, HIDDEN)
    for token in (1, 2, 2):
        sampler.see(token)
    first = sampler.join(cover)
    assert sampler.join(cover) == first
    assert (sampler.position, sampler._counts) == (3, {1: 1, 2: 2})
    assert [(part.tokens.tolist(), part.weights.tolist(), part.logits.tolist()) for part in cover.parts] == before


def test_a_large_cover() -> None:
    """As a blank has one: the candidates are found without sorting, by the same rule."""
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 3, 20_000).astype(np.float32)
    for how in (Decoding(), Decoding(top_k=0, top_p=0.95), PLAIN):
        for seed in range(5):
            wanted = Sampler(replace(how, seed=seed), 0, HIDDEN).draw(logits.copy())
            assert joined(whole_vocabulary(logits), replace(how, seed=seed)) == ((), wanted)
