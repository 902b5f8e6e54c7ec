"""What keys and workspaces may use in a month, of tokens and of money.

Laws: months are the calendar's, in UTC; what was used is what the ledger has, and what this server has yet to enter;
what other servers enter is known within `FRESH_S`; requests that run when a quota is spent end as they are.  It knows
no store: `settle` has the ledger brought up to date and answers with `settled`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from segue.core import frozen
from segue.core.errors import QuotaSpent
from segue.core.request import Caller
from segue.core.tenancy import UNLIMITED, Limits
from segue.core.usage import Record, Scope, Spent

FRESH_S = 2.0
_WATCHED_S = 600.0


class _Month:
    """What one scope has used in the month that runs."""

    __slots__ = ("asked_at", "cost", "fresh_at", "month", "noted_cost", "noted_tokens", "tokens")

    def __init__(self, month: str) -> None:
        self.month = month
        self.tokens = self.cost = 0  # as the ledger has it
        self.noted_tokens = self.noted_cost = 0  # not yet entered there
        self.fresh_at = self.asked_at = 0.0


@frozen
class _Bounds:
    """What a scope may."""

    scope: Scope
    tokens: int | None
    cost: int | None


class Quotas:
    """Checks quotas.  `standard` is what a workspace may where nothing else is said."""

    def __init__(self, standard: Limits = UNLIMITED, clock: Callable[[], float] = time.time) -> None:
        self.standard = standard
        self.settle: Callable[[], Awaitable[None]] | None = None
        """Enters what is noted, and calls `settled`; None where there is no ledger, and then there are no quotas."""
        self._clock = clock
        self._months: dict[Scope, _Month] = {}
        self._settling: asyncio.Task[None] | None = None

    async def check(self, caller: Caller) -> None:
        """Raises QuotaSpent."""
        own, shared, standard = caller.limits, caller.workspace_limits, self.standard
        if (own is None or own == UNLIMITED) and shared == UNLIMITED and standard == UNLIMITED:
            return  # nearly always
        for bounds in _bounds(caller, standard):
            month = await self._month(bounds.scope)
            if bounds.tokens is not None and month.tokens + month.noted_tokens >= bounds.tokens:
                raise QuotaSpent("tokens", _month_ends(self._clock()))
            if bounds.cost is not None and month.cost + month.noted_cost >= bounds.cost:
                raise QuotaSpent("money", _month_ends(self._clock()))

    def note(self, record: Record) -> None:
        """A request has ended, and its record is yet to be entered."""
        if self._months:
            self._count(record, 1)

    def watched(self) -> Sequence[Scope]:
        """Those whose sums are to be given to `settled`; the others are forgotten."""
        now = self._clock()
        self._months = {
            scope: month
            for scope, month in self._months.items()
            if now - month.asked_at < _WATCHED_S and month.month == month_of(now)
        }
        return list(self._months)

    def stale(self) -> bool:
        """Whether sums are wanted before the next record is entered."""
        now = self._clock()
        return any(now - month.fresh_at >= FRESH_S > now - month.asked_at for month in self._months.values())

    def settled(self, entered: Sequence[Record], spent: Mapping[Scope, Spent]) -> None:
        """These records are in the ledger now, and these are its sums, with them."""
        now = self._clock()
        for record in entered:
            self._count(record, -1)
        for scope, sums in spent.items():
            if month := self._months.get(scope):
                month.tokens, month.cost, month.fresh_at = sums.tokens, sums.cost_micros, now

    async def _month(self, scope: Scope) -> _Month:
        now = self._clock()
        month = self._months.get(scope)
        if month is None or month.month != month_of(now):
            month = self._months[scope] = _Month(month_of(now))
        month.asked_at = now
        if not month.fresh_at and self.settle is not None:
            if self._settling is None or self._settling.done():
                self._settling = asyncio.ensure_future(self.settle())
            # One that is under way may have been asked before this scope was watched; the next cannot.
            await asyncio.shield(self._settling)
            if not month.fresh_at:
                self._settling = asyncio.ensure_future(self.settle())
                await asyncio.shield(self._settling)
        return month

    def _count(self, record: Record, times: int) -> None:
        tokens, cost = times * (record.input_tokens + record.output_tokens), times * record.cost_micros
        for scope in (Scope("key", record.key), Scope("workspace", record.workspace)):
            month = self._months.get(scope)
            if month is not None:
                # A scope that came to be watched between the two has not seen the first.
                month.noted_tokens = max(0, month.noted_tokens + tokens)
                month.noted_cost = max(0, month.noted_cost + cost)


def _bounds(caller: Caller, standard: Limits) -> list[_Bounds]:
    own, shared = caller.limits or UNLIMITED, caller.workspace_limits
    tokens = standard.tokens_per_month if shared.tokens_per_month is None else shared.tokens_per_month
    cost = standard.cost_micros_per_month if shared.cost_micros_per_month is None else shared.cost_micros_per_month
    bounds = [
        _Bounds(Scope("key", caller.key), own.tokens_per_month, own.cost_micros_per_month),
        _Bounds(Scope("workspace", caller.workspace), tokens, cost),
    ]
    return [each for each in bounds if each.tokens is not None or each.cost is not None]


def month_of(at: float) -> str:
    """`2026-11`, in UTC."""
    return time.strftime("%Y-%m", time.gmtime(at))


def _month_ends(now: float) -> float:
    """In how many seconds."""
    day = datetime.fromtimestamp(now, UTC)
    following = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1, day=1, hour=0, minute=0)
    return following.replace(second=0, microsecond=0).timestamp() - now
