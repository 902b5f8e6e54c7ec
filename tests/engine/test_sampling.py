"""Drawing tokens: the right distribution, noise that depends on nothing but its key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.generation import Decoding
from segue.engine.llama.sampling import Sampler, _kept, gumbel, logprobs

SIZE = 1000
HIDDEN = np.empty(0, np.int32)


def row(seed: int, scale: float = 3.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, scale, SIZE).astype(np.float32)


def reference(logits: np.ndarray[tuple[int], np.dtype[np.float32]], how: Decoding) -> dict[int, float]:
    """Temperature, then top_k, then top_p, as plainly as it can be written."""
    scaled = logits.astype(np.float64) / how.temperature
    weights = np.exp(scaled - scaled.max())
    order = sorted(range(SIZE), key=lambda i: (-float(logits[i]), i))
    if how.top_k:
        order = order[: how.top_k]
    total = sum(weights[i] for i in order)
    kept: dict[int, float] = {}
    reached = 0.0
    for i in order:
        kept[i] = weights[i]
        reached += weights[i] / total
        if how.top_p < 1.0 and reached >= how.top_p:
            break
    norm = sum(kept.values())
    return {i: float(weight / norm) for i, weight in kept.items()}


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.0001, 0.3, 0.7, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 2, 20, 100]),
    top_p=st.sampled_from([0.01, 0.3, 0.8, 0.95, 0.999, 1.0]),
    scale=st.sampled_from([0.05, 1.0, 3.0]),
)
def test_candidates_are_those_of_the_plain_definition(
    seed: int, temperature: float, top_k: int, top_p: float, scale: float
) -> None:
    how = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
    logits = row(seed, scale)
    ids, scores = _kept(logits, how)
    wanted = reference(logits, how)
    # At the edge of the nucleus the last candidate may turn on a rounding of its cumulated weight.
    assert abs(len(ids) - len(wanted)) <= 1
    ours = np.exp(scores - scores.max())
    ours /= ours.sum()
    for i, weight in zip(ids.tolist(), ours.tolist(), strict=True):
        if i in wanted and len(ids) == len(wanted):
            assert weight == pytest.approx(wanted[i], rel=1e-4, abs=1e-9)


def test_draws_follow_the_distribution() -> None:
    logits = row(1)
    how = Decoding(temperature=1.0, top_k=8, top_p=1.0)
    wanted = reference(logits, how)
    counts = dict.fromkeys(wanted, 0)
    draws = 4000
    for seed in range(draws):
        counts[Sampler(Decoding(1.0, 1.0, 8, seed=seed), 0, HIDDEN).draw(logits.copy())] += 1
    distance = sum(abs(counts[i] / draws - wanted[i]) for i in wanted) / 2
    assert distance < 0.03, distance


def test_noise_is_a_function_of_its_key_alone() -> None:
    ids = np.arange(50)
    one = gumbel(7, 0, 3, ids)
    assert np.array_equal(one, gumbel(7, 0, 3, ids))
    assert np.array_equal(one[10:20], gumbel(7, 0, 3, ids[10:20]))
    for other in (gumbel(8, 0, 3, ids), gumbel(7, 1, 3, ids), gumbel(7, 0, 4, ids)):
        assert not np.array_equal(one, other)
    assert np.isfinite(gumbel(2**63 - 1, 3, 10**6, np.arange(200_000))).all()


def test_noise_is_standard_gumbel() -> None:
    sample = np.concatenate([gumbel(5, 0, position, np.arange(2000)) for position in range(20)])
    assert sample.mean() == pytest.approx(0.5772, abs=0.03)
    assert sample.var() == pytest.approx(np.pi**2 / 6, abs=0.06)


def test_greedy_takes_the_best_and_ignores_noise() -> None:
    logits = row(3)
    for seed in range(5):
        assert Sampler(Decoding(temperature=0.0, seed=seed), 0, HIDDEN).draw(logits.copy()) == int(logits.argmax())


def test_hidden_tokens_never_come() -> None:
    logits = row(4)
    best = int(logits.argmax())
    hidden = np.asarray([best], np.int32)
    for how in (Decoding(temperature=0.0), Decoding(top_k=1), Decoding(top_k=0, top_p=1.0)):
        assert Sampler(how, 0, hidden).draw(logits.copy()) != best


def test_all_but_one_hidden() -> None:
    hidden = np.arange(1, SIZE, dtype=np.int32)
    for how in (Decoding(top_k=20), Decoding(top_k=0, top_p=0.5), Decoding(top_k=0, top_p=1.0)):
        assert Sampler(how, 0, hidden).draw(row(5)) == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Decoding(repetition_penalty=2.0, temperature=0.0), [2.0, -8.0, 3.0]),
        (Decoding(presence_penalty=1.5, temperature=0.0), [2.5, -5.5, 3.0]),
        (Decoding(frequency_penalty=1.0, temperature=0.0), [2.0, -5.0, 3.0]),
    ],
)
def test_penalties_count_the_answer(how: Decoding, expected: list[float]) -> None:
    logits = np.zeros(256, np.float32)
    logits[:3] = [4.0, -4.0, 3.0]
    sampler = Sampler(how, 0, HIDDEN)
    for token in (0, 0, 1):
        sampler.see(token)
    sampler.draw(logits)
    assert logits[:3].tolist() == expected


def test_a_resumed_sampler_goes_on_where_the_first_would_be() -> None:
    how = Decoding(temperature=1.0, repetition_penalty=1.2, seed=9)
    whole, said = Sampler(how, 0, HIDDEN), []
    for step in range(20):
        said.append(whole.draw(row(step)))
        whole.see(said[-1])
    resumed = Sampler(how, 0, HIDDEN)
    for token in said[:12]:
        resumed.see(token)
    for step in range(12, 20):
        assert resumed.draw(row(step)) == said[step]
        resumed.see(said[step])


def test_logprobs_are_normalised_and_best_first() -> None:
    logits = row(6)
    total, best = logprobs(logits, 5)
    exact = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    assert [i for i, _ in best] == np.argsort(-logits, kind="stable")[:5].tolist()
    for i, value in best:
        assert value == pytest.approx(exact[i], abs=1e-5)
    assert float(logits[0]) - total == pytest.approx(exact[0], abs=1e-5)
