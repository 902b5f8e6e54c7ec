"""May there be one request more, now?  The limits of keys, of workspaces, and of what workspaces ask of models.

Laws: every limit that there is must have room, and whoever is refused has used nothing of any; a request has its places
for as long as its ticket is not given back; limits that are changed hold from the next request on; what nobody uses is
forgotten.  It knows no protocol and no store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from segue.core import frozen
from segue.core.counting import Counters
from segue.core.errors import BurstExceeded, Fault, PlacesTaken, RateExceeded, TokenRateExceeded
from segue.core.request import Caller
from segue.core.tenancy import UNLIMITED, Limits
from segue.policy.asking import Asker
from segue.policy.gauges import Clock, Gauge, Leased, LeasedPlaces, Own, OwnPlaces, Places, Taken

SECOND_S, MINUTE_S = 1.0, 60.0
_TELL_S = 0.25
_PLANS_MAX = 10_000
_FORGET_S = 60.0

Refuse = Callable[[float], Fault]


@frozen
class Plan:
    """All that one caller's requests to one model must have room in."""

    key_limits: Limits | None
    workspace_limits: Limits
    places: tuple[Places, ...]
    rates: tuple[tuple[Gauge, Refuse], ...]
    tokens: tuple[Gauge, ...]


class Ticket:
    """One request's right to run, until it is given back."""

    __slots__ = ("_places", "_tokens")

    def __init__(self, places: tuple[Places, ...], tokens: tuple[Gauge, ...]) -> None:
        self._places = places
        self._tokens = tokens

    async def spend(self, count: int) -> None:
        """Use so many tokens, if there is room for them.  Raises TokenRateExceeded."""
        if not count:
            return
        taken: list[tuple[Gauge, Taken]] = []
        try:
            for gauge in self._tokens:
                if wait_s := await gauge.take(count):
                    raise TokenRateExceeded(wait_s)
                taken.append((gauge, gauge.taken))
        except BaseException:
            for earlier, had in taken:
                earlier.give(had)
            raise

    def add(self, count: int) -> None:
        """So many tokens have been used."""
        for gauge in self._tokens:
            gauge.add(count)

    def give_back(self) -> None:
        """The request has ended.  Safe to call again."""
        places, self._places = self._places, ()
        for each in places:
            each.give()


FREE = Ticket((), ())


class Limiter:
    """Gives tickets.

    `standard` is what a workspace may where nothing else is said; `of_model` has by the model's real name what each
    workspace may ask of it; `counters` are shared with other servers, None where this one is alone.
    """

    def __init__(
        self,
        standard: Limits = UNLIMITED,
        of_model: Mapping[str, Limits] | None = None,
        counters: Counters | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.standard = standard
        self.of_model = of_model or {}
        self._clock = clock
        self._asker = None if counters is None else Asker(counters)
        self._plans: dict[tuple[str, str, str], Plan] = {}
        self._gauges: dict[str, Gauge] = {}
        self._places: dict[str, Places] = {}
        self._teller: asyncio.Task[None] | None = None

    def change(self, standard: Limits, of_model: Mapping[str, Limits]) -> None:
        """Other limits hold from now on."""
        self.standard, self.of_model = standard, of_model
        self._plans.clear()

    async def enter(self, caller: Caller, model: str) -> Ticket:
        """One request more.  Raises PlacesTaken, BurstExceeded, RateExceeded."""
        plan = self._plans.get((caller.key, caller.workspace, model))
        if plan is None or plan.key_limits != caller.limits or plan.workspace_limits != caller.workspace_limits:
            plan = self._plan(caller, model)
        if not (plan.places or plan.rates or plan.tokens):
            return FREE
        held: list[Places] = []
        counted: list[tuple[Gauge, Taken]] = []
        try:
            for place in plan.places:
                if wait_s := await place.take():
                    raise PlacesTaken(wait_s)
                held.append(place)
            for gauge, refuse in plan.rates:
                if wait_s := await gauge.take():
                    raise refuse(wait_s)
                counted.append((gauge, gauge.taken))
        except BaseException:  # a client that leaves while we ask others is no reason to keep its places
            for place in held:
                place.give()
            for gauge, taken in counted:
                gauge.give(taken)
            raise
        return Ticket(plan.places, plan.tokens)

    def open(self) -> None:
        """Begin to tell others what is had here.  Needs a running event loop."""
        if self._teller is None:
            self._teller = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        """Give back what is held."""
        if self._teller is not None:
            self._teller.cancel()
            with suppress(asyncio.CancelledError):
                await self._teller
            self._teller = None
            await self._tell_all()
        if self._asker is not None:
            await self._asker.close()

    def _plan(self, caller: Caller, model: str) -> Plan:
        if len(self._plans) >= _PLANS_MAX:
            self._plans.clear()
        places: list[Places] = []
        rates: list[tuple[Gauge, Refuse]] = []
        tokens: list[Gauge] = []
        scopes = (
            (f"key {caller.key}", caller.limits or UNLIMITED),
            (f"workspace {caller.workspace}", _filled(caller.workspace_limits, self.standard)),
            (f"model {caller.workspace} {model}", self.of_model.get(model, UNLIMITED)),
        )
        for scope, limits in scopes:
            if limits.concurrent is not None:
                places.append(self._place(scope, limits.concurrent))
            if limits.requests_per_second is not None:
                rates.append((self._gauge(f"{scope} rps", limits.requests_per_second, SECOND_S), BurstExceeded))
            if limits.requests_per_minute is not None:
                rates.append((self._gauge(f"{scope} rpm", limits.requests_per_minute, MINUTE_S), RateExceeded))
            if limits.tokens_per_minute is not None:
                tokens.append(self._gauge(f"{scope} tpm", limits.tokens_per_minute, MINUTE_S))
        plan = Plan(caller.limits, caller.workspace_limits, tuple(places), tuple(rates), tuple(tokens))
        self._plans[caller.key, caller.workspace, model] = plan
        return plan

    def _gauge(self, name: str, most: int, window_s: float) -> Gauge:
        gauge = self._gauges.get(name)
        if gauge is None:
            asker = self._asker
            gauge = (
                Own(most, window_s, self._clock)
                if asker is None
                else Leased(name, most, window_s, self._clock, asker.ask)
            )
            self._gauges[name] = gauge
        gauge.most = most
        return gauge

    def _place(self, name: str, most: int) -> Places:
        places = self._places.get(name)
        if places is None:
            asker = self._asker
            places = OwnPlaces(most) if asker is None else LeasedPlaces(f"{name} run", most, self._clock, asker.ask)
            self._places[name] = places
        places.most = most
        return places

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        forgotten_at = loop.time()
        while True:
            await asyncio.sleep(_TELL_S)
            if self._asker is not None:
                await self._tell_all()
            if loop.time() - forgotten_at >= _FORGET_S:
                forgotten_at = loop.time()
                self._forget()

    async def _tell_all(self) -> None:
        telling = [each.tell() for each in self._gauges.values() if isinstance(each, Leased)]
        telling += [each.tell() for each in self._places.values() if isinstance(each, LeasedPlaces)]
        await asyncio.gather(*telling)

    def _forget(self) -> None:
        """Plans are made anew from what is left; those of requests that run hold on to what they use."""
        self._plans.clear()
        self._gauges = {name: gauge for name, gauge in self._gauges.items() if not gauge.idle()}
        self._places = {name: places for name, places in self._places.items() if not places.idle()}


def _filled(own: Limits, standard: Limits) -> Limits:
    """A workspace's own limits, and the standard ones where it has none."""
    if own == UNLIMITED:
        return standard

    def first(one: int | None, other: int | None) -> int | None:
        return other if one is None else one

    return Limits(
        first(own.requests_per_minute, standard.requests_per_minute),
        first(own.tokens_per_minute, standard.tokens_per_minute),
        first(own.requests_per_second, standard.requests_per_second),
        first(own.concurrent, standard.concurrent),
        first(own.tokens_per_month, standard.tokens_per_month),
        first(own.cost_micros_per_month, standard.cost_micros_per_month),
    )
