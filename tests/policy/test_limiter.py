"""Limits of keys, workspaces and models: who passes, who is told to wait, and what several servers share."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from segue.core.errors import BurstExceeded, Busy, PlacesTaken, RateExceeded, TokenRateExceeded
from segue.core.request import Caller
from segue.core.tenancy import UNLIMITED, Limits
from segue.policy.limiter import FREE, Limiter, Ticket

from .sharing import Together


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def caller(key: str = "a", limits: Limits | None = None, workspace: str = "w", shared: Limits = UNLIMITED) -> Caller:
    return Caller(key, workspace, limits=limits, workspace_limits=shared)


async def passed(limiter: Limiter, who: Caller, tries: int, model: str = "m") -> int:
    count = 0
    for _ in range(tries):
        with suppress(Busy):
            (await limiter.enter(who, model)).give_back()
            count += 1
    return count


async def test_without_limits_there_is_nothing_to_keep() -> None:
    limiter = Limiter()
    assert await limiter.enter(caller(), "m") is FREE
    await FREE.spend(10**9)


@pytest.mark.parametrize(
    ("limits", "refused", "wait"),
    [
        (Limits(requests_per_second=5), BurstExceeded, 1.0),
        (Limits(requests_per_minute=5), RateExceeded, 60.0),
        (Limits(requests_per_minute=5, requests_per_second=9), RateExceeded, 60.0),
        (Limits(requests_per_minute=20, requests_per_second=5), BurstExceeded, 1.0),
    ],
)
async def test_as_many_as_may_be_and_when_to_come_back(limits: Limits, refused: type[Busy], wait: float) -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    assert await passed(limiter, caller(limits=limits), 5) == 5
    with pytest.raises(refused) as told:
        await limiter.enter(caller(limits=limits), "m")
    assert 0 < told.value.args[0] <= wait
    clock.now += told.value.args[0] + 0.001
    assert await passed(limiter, caller(limits=limits), 9) == 5


async def test_who_is_refused_has_used_nothing() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    strict, lax = Limits(requests_per_second=1), Limits(requests_per_second=3, concurrent=3)
    assert await passed(limiter, caller("a", strict, shared=lax), 10) == 1
    assert await passed(limiter, caller("b", shared=lax), 10) == 2, "nine refusals have cost the workspace nothing"


async def test_a_key_a_workspace_and_a_model_each_have_their_own() -> None:
    limiter = Limiter(of_model={"small": Limits(requests_per_minute=2)}, clock=Clock())
    assert await passed(limiter, caller("a"), 5, "small") == 2
    assert await passed(limiter, caller("b"), 5, "small") == 0, "of the same workspace"
    assert await passed(limiter, caller("c", workspace="other"), 5, "small") == 2
    assert await passed(limiter, caller("a"), 5, "large") == 5


async def test_a_workspace_keeps_the_standard_where_it_has_nothing_of_its_own() -> None:
    limiter = Limiter(Limits(requests_per_second=2, requests_per_minute=100), clock=Clock())
    assert await passed(limiter, caller("a"), 5) == 2
    assert await passed(limiter, caller("b", workspace="x", shared=Limits(requests_per_second=4)), 9) == 4
    assert await passed(limiter, caller("c", workspace="y", shared=Limits(requests_per_minute=1)), 9) == 1


async def test_changed_limits_hold_from_the_next_request_on() -> None:
    limiter = Limiter(clock=Clock())
    assert await passed(limiter, caller(limits=Limits(requests_per_minute=1)), 5) == 1
    assert await passed(limiter, caller(limits=Limits(requests_per_minute=4)), 5) == 3
    assert await passed(limiter, caller(limits=None), 5) == 5
    limiter.change(Limits(requests_per_minute=2), {})
    assert await passed(limiter, caller(limits=None), 5) == 2


async def test_a_place_is_had_until_the_ticket_is_given_back() -> None:
    limiter = Limiter()
    who = caller(limits=Limits(concurrent=2))
    tickets = [await limiter.enter(who, "m") for _ in range(2)]
    with pytest.raises(PlacesTaken):
        await limiter.enter(who, "m")
    tickets[0].give_back()
    tickets[0].give_back()  # twice is once
    tickets.append(await limiter.enter(who, "m"))
    with pytest.raises(PlacesTaken):
        await limiter.enter(who, "m")


async def test_tokens_are_spent_whole_and_what_an_answer_says_counts_too() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    who = caller(limits=Limits(tokens_per_minute=100))
    ticket = await limiter.enter(who, "m")
    await ticket.spend(60)
    with pytest.raises(TokenRateExceeded):
        await ticket.spend(60)
    await ticket.spend(30)
    ticket.add(500)
    with pytest.raises(TokenRateExceeded) as told:
        await (await limiter.enter(who, "m")).spend(1)
    clock.now += told.value.wait_s + 0.01
    await (await limiter.enter(who, "m")).spend(100)


async def test_tokens_that_one_limit_refuses_are_not_counted_by_another() -> None:
    limiter = Limiter(clock=Clock())
    who = caller(limits=Limits(tokens_per_minute=100), shared=Limits(tokens_per_minute=50))
    ticket = await limiter.enter(who, "m")
    for _ in range(3):
        with pytest.raises(TokenRateExceeded):
            await ticket.spend(60)
    await ticket.spend(50)


async def test_a_limit_of_none_at_all_shuts_out() -> None:
    limiter = Limiter()
    assert await passed(limiter, caller(limits=Limits(requests_per_minute=0)), 3) == 0
    assert await passed(limiter, caller(limits=Limits(concurrent=0)), 3) == 0


async def test_places_are_shared_and_come_back_when_they_are_left() -> None:
    together = Together()
    one, other = Limiter(counters=together), Limiter(counters=together)
    one.open()
    other.open()
    who = caller(limits=Limits(concurrent=3))
    tickets = [await one.enter(who, "m") for _ in range(2)]
    tickets.append(await other.enter(who, "m"))
    for limiter in (one, other):
        with pytest.raises(PlacesTaken):
            await limiter.enter(who, "m")
    tickets[0].give_back()
    (await one.enter(who, "m")).give_back()
    await asyncio.sleep(0.4)
    tickets[0] = await other.enter(who, "m")
    with pytest.raises(PlacesTaken):
        await one.enter(who, "m")
    for ticket in tickets:
        ticket.give_back()
    await one.close()
    await other.close()
    assert together._places == {f"key {who.key} run": {}}


async def test_places_are_never_more_than_there_are() -> None:
    together = Together()
    limiters = [Limiter(counters=together) for _ in range(3)]
    running = most = 0

    async def client(number: int) -> None:
        nonlocal running, most
        for _ in range(30):
            with suppress(PlacesTaken):
                ticket = await limiters[number % 3].enter(caller(limits=Limits(concurrent=4)), "m")
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.003)
                running -= 1
                ticket.give_back()
            await asyncio.sleep(0.005)

    for limiter in limiters:
        limiter.open()
    await asyncio.gather(*(client(number) for number in range(24)))
    assert most == 4
    for limiter in limiters:
        await limiter.close()


async def test_tokens_of_one_server_are_felt_on_the_other() -> None:
    together = Together()
    one, other = Limiter(counters=together), Limiter(counters=together)
    one.open()
    who = caller(limits=Limits(tokens_per_minute=100))
    ticket = await one.enter(who, "m")
    await ticket.spend(40)
    ticket.add(50)
    await asyncio.sleep(0.4)
    with pytest.raises(TokenRateExceeded):
        await (await other.enter(who, "m")).spend(11)
    await (await other.enter(who, "m")).spend(10)
    await one.close()
    await other.close()


async def test_when_the_others_are_lost_each_server_keeps_the_limit_alone() -> None:
    together = Together()
    together.lost = True
    limiter = Limiter(counters=together)
    who = caller(limits=Limits(requests_per_minute=5, concurrent=3))
    assert await passed(limiter, who, 20) == 5
    tickets: list[Ticket] = []
    lax = caller("b", limits=Limits(concurrent=3))
    for _ in range(5):
        with suppress(PlacesTaken):
            tickets.append(await limiter.enter(lax, "m"))
    assert len(tickets) == 3
    await limiter.close()


async def test_a_client_that_leaves_while_others_are_asked_loses_nothing() -> None:
    together = Together(delay_s=0.05)
    limiter = Limiter(counters=together)
    who = caller(limits=Limits(concurrent=1, requests_per_second=50))
    task = asyncio.create_task(limiter.enter(who, "m"))
    await asyncio.sleep(0.08)  # it has its place, and waits for its share of the rate
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    (await limiter.enter(who, "m")).give_back()
    await limiter.close()


async def test_what_nobody_uses_is_forgotten_and_what_is_used_is_not() -> None:
    clock = Clock()
    limiter = Limiter(clock=clock)
    ticket = await limiter.enter(caller(limits=Limits(requests_per_minute=5, concurrent=1)), "m")
    clock.now += 61
    limiter._forget()
    assert not limiter._gauges
    with pytest.raises(PlacesTaken):
        await limiter.enter(caller(limits=Limits(requests_per_minute=5, concurrent=1)), "m")
    ticket.give_back()
    clock.now += 61
    limiter._forget()
    assert not limiter._places
