"""Keys: compared whole and in constant time, looked up by what nobody can steer, ended on time; and the workspace
that a caller names."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import pytest

from segue.core.errors import Denied, KeyInvalid, WorkspaceDenied, WorkspaceInvalid, WorkspaceUnknown
from segue.core.request import Caller
from segue.policy.auth import TOKEN_CHARACTERS_MAX, Auth, Grant, Ring, ring
from segue.policy.keys import digest, hint, new_id, new_secret

ONE, TWO, ADMIN = (new_secret() for _ in range(3))
GRANTS = (
    Grant(digest(ONE), Caller("key-1", "default")),
    Grant(digest(TWO), Caller("key-2", "ws-two", models=frozenset({"a"}))),
    Grant(digest(ADMIN), Caller("key-3", "default", role="admin")),
)


def house(*grants: Grant) -> Auth:
    all = ring(grants or GRANTS, ["default", "ws-two", "ws-three"])
    return Auth(lambda: all)


def test_a_key_is_as_random_as_is_said() -> None:
    assert re.fullmatch(r"sk-[0-9a-f]{48}", ONE)
    assert len({new_secret() for _ in range(100)} | {new_id() for _ in range(100)}) == 200
    assert ONE.startswith(hint(ONE))
    assert len(hint(ONE)) == 7


def test_whose_key_it_is() -> None:
    auth = house()
    assert auth.authenticate(ONE) == GRANTS[0].caller
    assert auth.authenticate(TWO) == GRANTS[1].caller


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "sk-",
        ONE[:-1],
        ONE + "0",
        ONE.upper(),
        " " + ONE,
        "k" * (TOKEN_CHARACTERS_MAX + 1),
        "sk-é",
        "\udcff",
        "\0",
        digest(ONE),
        "-" * 64,
    ],
)
def test_what_is_not_a_key(token: str | None) -> None:
    with pytest.raises(KeyInvalid):
        house().authenticate(token)


def test_a_ring_without_keys_opens_nothing() -> None:
    empty = ring(())
    for token in (ONE, "-" * 64, ""):
        with pytest.raises(KeyInvalid):
            Auth(lambda: empty).authenticate(token)


def test_a_key_ends_on_the_second() -> None:
    now = [99.0]
    all = ring([replace(GRANTS[0], expires_at=100.0)])
    auth = Auth(lambda: all, lambda: now[0])
    assert auth.authenticate(ONE).key == "key-1"
    now[0] = 100.0
    with pytest.raises(KeyInvalid):
        auth.authenticate(ONE)


def test_what_is_withdrawn_opens_nothing_from_the_next_ring_on() -> None:
    rings = [ring(GRANTS)]
    auth = Auth(lambda: rings[-1])
    assert auth.authenticate(ONE).key == "key-1"
    rings.append(ring(GRANTS[1:]))
    with pytest.raises(KeyInvalid):
        auth.authenticate(ONE)


# What the time could tell


class Spied(Mapping[str, Grant]):
    """Notes what it is asked for."""

    def __init__(self, grants: Mapping[str, Grant]) -> None:
        self._grants = grants
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> Grant:
        self.asked.append(key)
        return self._grants[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._grants)

    def __len__(self) -> int:
        return len(self._grants)


@pytest.mark.parametrize("token", [ONE, TWO, ONE[:-1] + "x", ONE[:10], "sk-" + "0" * 48, "x"])
@pytest.mark.parametrize("many", [1, 3])
def test_every_token_costs_one_look_at_its_digest_and_one_compare_in_constant_time(
    token: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, two: str) -> bool:
        compared.append((one, two))
        return one == two

    monkeypatch.setattr("segue.policy.auth.hmac.compare_digest", compare)
    spied = Spied({grant.sha256: grant for grant in GRANTS[:many]})
    with suppress(KeyInvalid):
        Auth(lambda: Ring(spied)).authenticate(token)
    assert spied.asked == [digest(token)]  # never the token, nor a part of it
    assert len(compared) == 1
    assert {len(each) for pair in compared for each in pair} == {64}


def test_a_digest_says_nothing_of_how_much_of_a_key_was_right() -> None:
    """Of neighbours of a key as many digits agree with its digest as chance gives: 1 in 16."""
    near = [ONE[:-2] + f"{n:02x}" for n in range(256)]
    right = digest(ONE)
    agreeing = [sum(a == b for a, b in zip(digest(token), right, strict=True)) for token in near if token != ONE]
    assert 3.3 < statistics.mean(agreeing) < 4.7


@pytest.mark.slow
def test_the_time_of_a_guess_does_not_depend_on_how_right_it_is() -> None:
    """Of 20 000 guesses each, taken in turns, the medians differ by less than a fiftieth."""
    all = ring([Grant(digest(new_secret()), Caller("k", "w")) for _ in range(1000)] + list(GRANTS))
    auth = Auth(lambda: all)
    kinds = {"none": "sk-" + "z" * 48, "half": ONE[:27] + "z" * 24, "nearly": ONE[:-1] + "z"}
    taken: dict[str, list[int]] = {kind: [] for kind in kinds}
    for _ in range(20_000):
        for kind, token in kinds.items():
            begun = time.perf_counter_ns()
            with suppress(KeyInvalid):
                auth.authenticate(token)
            taken[kind].append(time.perf_counter_ns() - begun)
    medians = [statistics.median(times) for times in taken.values()]
    assert max(medians) / min(medians) < 1.02


# The workspace that a caller names


def refusal(token: str, workspace: str) -> type[Denied]:
    with pytest.raises(Denied) as caught:
        house().authenticate(token, workspace)
    return caught.type


def test_the_callers_own_workspace_may_be_named() -> None:
    assert house().authenticate(TWO, "ws-two").workspace == "ws-two"
    assert house().authenticate(ADMIN, "default").workspace == "default"


def test_another_workspace_is_refused_whether_it_is_there_or_not() -> None:
    assert refusal(TWO, "default") is WorkspaceDenied
    assert refusal(TWO, "ws-three") is WorkspaceDenied
    assert refusal(TWO, "ws-nowhere") is WorkspaceDenied
    assert refusal(TWO, "WS-TWO") is WorkspaceDenied


def test_an_administrator_is_told_what_is_not_there() -> None:
    assert refusal(ADMIN, "ws-three") is WorkspaceDenied
    assert refusal(ADMIN, "ws-nowhere") is WorkspaceUnknown


@pytest.mark.parametrize("named", ["-", "a b", "ws-two\n", "é", "x" * 65, "ws-two,default", "../default"])
def test_what_is_no_workspace_at_all(named: str) -> None:
    assert refusal(TWO, named) is WorkspaceInvalid
    assert refusal(ADMIN, named) is WorkspaceInvalid


def test_a_wrong_key_is_told_before_a_wrong_workspace() -> None:
    assert refusal("sk-wrong", "é") is KeyInvalid


def test_never_expiring_is_for_ever() -> None:
    assert GRANTS[0].expires_at == math.inf
