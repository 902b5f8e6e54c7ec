"""Which replica answers, with a clock of the test's own."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bench.affinity import simulate
from segue.engine.router.balance import Balance, Policy
from segue.engine.router.blocks import BLOCK_TOKENS, Places, chain
from segue.engine.router.ring import Ring, hashed

NAMES = [f"r{number}" for number in range(4)]


def balance_of(names: list[str], policy: Policy | None = None) -> Balance:
    made = Balance(policy or Policy(slow_start_s=0.0))
    for name in names:
        made.put(name, 1.0)
        made.told(name, True, 0.0)
    return made


def give(balance: Balance, key: int, now: float = 0.0, tokens: int = 100) -> str:
    """The replica of a prompt of one block that is answered at once."""
    taken = balance.choose([hashed(str(key).encode())], tokens, now)
    assert taken is not None
    balance.ended(taken, now, failed=False)
    return taken.name


def test_blocks_share_what_prompts_share() -> None:
    first, second = list(range(300)), [*range(200), *range(1000, 1100)]
    ours, theirs = chain("w", first), chain("w", second)
    assert len(ours) == len(theirs) == 300 // BLOCK_TOKENS
    assert [a == b for a, b in zip(ours, theirs, strict=True)] == [True] * 3 + [False]
    assert not set(ours) & set(chain("another workspace", first))
    assert len(chain("w", [1, 2])) == 1
    assert chain("w", []) == chain("w", [])


def test_places_are_bounded_and_forget_the_oldest() -> None:
    places = Places(3)
    places.keep([1, 2], "a")
    places.keep([1, 3], "b")
    assert places.find([1, 2]) == ("a", 2)
    places.keep([4, 5], "c")
    assert places.find([4, 5]) == ("c", 2)
    assert places.find([2]) is None
    places.forget("c")
    assert places.find([4, 5]) is None


def test_a_replica_more_moves_only_its_own_keys() -> None:
    ring = Ring()
    for name in NAMES:
        ring.put(name, 1.0)
    before = {key: next(ring.order(key)) for key in map(hashed, map(str.encode, map(str, range(2000))))}
    assert all(350 < count < 650 for count in Counter(before.values()).values())
    ring.put("r4", 1.0)
    moved = {key for key, name in before.items() if next(ring.order(key)) != name}
    assert all(next(ring.order(key)) == "r4" for key in moved)
    assert 250 < len(moved) < 550
    ring.remove("r4")
    assert all(next(ring.order(key)) == name for key, name in before.items())
    assert sorted(ring.order(7)) == NAMES


def test_the_same_prompt_goes_to_the_same_replica_and_others_elsewhere() -> None:
    balance = balance_of(NAMES)
    assert len({give(balance, 1) for _ in range(10)}) == 1
    assert {give(balance, key) for key in range(40)} == set(NAMES)


def test_servers_agree_without_talking() -> None:
    one, other = balance_of(NAMES), balance_of(list(reversed(NAMES)))
    assert all(give(one, key) == give(other, key) for key in range(20))


def test_one_prompt_that_everybody_sends_does_not_drown_its_replica() -> None:
    balance = balance_of(NAMES)
    for _ in range(400):
        assert balance.choose([1, 2, 3], 10, 0.0) is not None  # and it runs on
    counts = [running for running, _ in balance.loads(0.0).values()]
    assert sum(counts) == 400
    assert max(counts) <= 400 / 4 * Policy().known_share + 1


def test_short_answers_are_spread_by_their_tokens() -> None:
    balance = balance_of(NAMES)
    rng = random.Random(3)
    for turn in range(2000):
        give(balance, rng.randrange(10**9), turn * 0.01, tokens=rng.randrange(100, 3000))
    tokens = [given for _, given in balance.loads(20.0).values()]
    assert max(tokens) < 1.3 * sum(tokens) / 4


def test_weights() -> None:
    balance = Balance(Policy(slow_start_s=0.0, running_free=0))
    for name, weight in (("small", 1.0), ("large", 3.0)):
        balance.put(name, weight)
        balance.told(name, True, 0.0)
    for key in range(400):
        balance.choose([hashed(str(key).encode())], 1, 0.0)
    loads = balance.loads(0.0)
    assert 2.0 < loads["large"][0] / loads["small"][0] < 4.5


def test_one_that_fails_is_left_alone_then_tried_once() -> None:
    balance = balance_of(["a", "b"], Policy(failures_max=2, open_s=10.0, open_s_max=25.0, slow_start_s=0.0))
    for now in (0.0, 1.0):
        taken = balance.choose([1], 1, now, exclude={"b"})
        assert taken is not None
        balance.ended(taken, now, failed=True)
    assert not balance.open("a", 2.0)
    assert balance.choose([1], 1, 2.0, exclude={"b"}) is None
    trial = balance.choose([1], 1, 12.0, exclude={"b"})
    assert trial is not None
    assert not balance.open("a", 12.0), "one answer only, until it is known how that went"
    balance.ended(trial, 13.0, failed=True)
    assert not balance.open("a", 13.0 + 19.0), "left alone for twice as long"
    trial = balance.choose([1], 1, 33.5, exclude={"b"})
    assert trial is not None
    balance.ended(trial, 34.0, failed=False)
    assert balance.open("a", 34.0)


def test_one_that_is_drained_ends_what_it_has() -> None:
    balance = balance_of(["a", "b"])
    taken = balance.choose([1], 1, 0.0, exclude={"b"})
    assert taken is not None
    balance.drain("a")
    assert not balance.idle("a")
    assert {give(balance, key) for key in range(20)} == {"b"}
    balance.ended(taken, 1.0, failed=False)
    assert balance.idle("a")
    balance.remove("a")
    assert list(balance.loads(1.0)) == ["b"]
    assert give(balance, 1) == "b"


def test_one_that_has_just_come_gets_little_at_first() -> None:
    balance = Balance(Policy(slow_start_s=100.0, running_free=0))
    for name in ("a", "b"):
        balance.put(name, 1.0)
        balance.told(name, True, -1000.0)
    balance.put("new", 1.0)
    balance.told("new", True, 0.0)
    for key in range(300):
        balance.choose([hashed(str(key).encode())], 1, 10.0)
    early = balance.loads(10.0)["new"][0]
    assert early < 30
    for key in range(300, 600):
        balance.choose([hashed(str(key).encode())], 1, 200.0)
    assert balance.loads(200.0)["new"][0] - early > 70


def test_nobody_can_answer() -> None:
    balance = Balance()
    assert balance.choose([1], 1, 0.0) is None
    balance.put("a", 1.0)
    assert balance.choose([1], 1, 0.0) is None
    balance.told("a", True, 0.0)
    assert balance.choose([1], 1, 0.0, exclude={"a"}) is None
    balance.told("a", False, 0.0)
    assert balance.choose([1], 1, 0.0) is None


def test_time_does_not_wear_it_out() -> None:
    balance = balance_of(NAMES)
    for day in range(400):
        give(balance, day, day * 86400.0, tokens=5000)
    loads = balance.loads(400 * 86400.0)
    assert all(0.0 <= given < 6000 for _, given in loads.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_conversations_stay_where_they_were_read(seed: int) -> None:
    figures = simulate(4, 50, 8, 1.0, 20_000, Policy(), seed)
    assert figures.turns == 400
    assert figures.of_ideal >= 0.9
    assert figures.spread(figures.answers) <= 1.3
    assert figures.spread(figures.work) <= 1.3
