"""Builds what limits, counts and inspects requests, from the settings, and opens and closes it.

    Limiter, Quotas -> Meter -> Clerk -> Ledger      Inspector

Laws: a part of the composition root, kept apart for its length: nothing here decides.  It is opened after the database
and closed before it, when no request runs any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from segue.catalogue.read import Entry, Names
from segue.config import Settings
from segue.core.counting import Counters
from segue.core.errors import Fault
from segue.core.tenancy import UNLIMITED, Limits
from segue.core.usage import FREE, Prices
from segue.pipeline import Job, Pipeline
from segue.policy.inspection.callout import Callout
from segue.policy.inspection.inspector import Inspector, Sides, When, Words
from segue.policy.limiter import Limiter
from segue.policy.meter import Meter
from segue.policy.quota import Quotas
from segue.store.base import StoreUnusable
from segue.store.clerk import Clerk
from segue.store.counters import StoredCounters
from segue.store.database import Database
from segue.store.ledger import Ledger
from segue.wire.wording import native

MICROS = 1_000_000
_FOLDER = "usage"
# Counts that a power cut takes are no loss, and waiting for the disk each time would be the dearest part of it.
_POSTGRES_FIRST = "SET LOCAL synchronous_commit TO OFF"
_POSTGRES_MOMENT = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


class Accounts:
    """All of it.  `shared`: the database is one that several servers use; `several`: on this machine, several processes
    do."""

    def __init__(
        self, settings: Settings, names: Names, database: Database, shared: bool = False, several: bool = False
    ) -> None:
        """Raises WordsInvalid, StoreUnusable."""
        self.ledger = Ledger(database)
        self.quotas = Quotas(standard(settings))
        self.limiter = Limiter(
            standard(settings), limits_of(names.entries), _counters(settings, database, shared, several)
        )
        self.clerk: Clerk | None = None
        if settings.usage.enabled:
            folder = settings.files.dir / _FOLDER
            self.clerk = Clerk(self.ledger, folder, self.quotas, settings.usage.kept_days)
            self.quotas.settle = self.clerk.settle
        self._callout: Callout | None = None
        self.inspector = self._inspector(settings)
        self._prices: Mapping[str, Prices] = {entry.name: entry.prices for entry in names.entries}
        self._resolve = names.resolve

    def metered(self, pipeline: Pipeline) -> Meter[Job]:
        """The pipeline, with limits before it and a record behind it."""
        enter = None if self.clerk is None else self.clerk.enter
        return Meter(pipeline, self._resolve, self.limiter, self.quotas, enter, self._price, _code)

    def renew(self, settings: Settings, names: Names) -> Sequence[str]:
        """Other limits and prices, from now on.  Nothing of them waits for the next start."""
        entries = [names.catalogue.entry(name) for name in names.served]
        self.quotas.standard = standard(settings)
        self.limiter.change(standard(settings), limits_of(entries))
        self._prices = {entry.name: entry.prices for entry in entries}
        return ()

    async def open(self) -> None:
        """Begin.  Does nothing when it is open.  The database must be."""
        self.limiter.open()
        if self.clerk is not None:
            await self.clerk.open()

    async def close(self) -> None:
        """Enter what is there to be entered, and give back what is held."""
        if self.clerk is not None:
            await self.clerk.close()
        await self.limiter.close()
        if self._callout is not None:
            await self._callout.close()

    def _price(self, model: str) -> Prices:
        return self._prices.get(model, FREE)

    def _inspector(self, settings: Settings) -> Inspector | None:
        about = settings.moderation
        if about.words is None and not about.callout_url:
            return None
        words = None if about.words is None else Words(about.words)
        if about.callout_url:
            self._callout = Callout(about.callout_url, about.callout_key, about.callout_wait_s, about.callout_closed)
        return Inspector(words, self._callout, Sides(cast(When, about.input), cast(When, about.output)))


def standard(settings: Settings) -> Limits:
    """What a workspace may where it has no limits of its own."""
    limits = settings.limits
    found = Limits(
        limits.requests_per_minute or None,
        limits.tokens_per_minute or None,
        limits.requests_per_second or None,
        limits.concurrent or None,
        limits.tokens_per_month or None,
        round(limits.money_per_month * MICROS) or None,
    )
    return UNLIMITED if found == UNLIMITED else found


def limits_of(entries: Sequence[Entry]) -> Mapping[str, Limits]:
    """What each workspace may ask of each model."""
    return {entry.name: entry.limits for entry in entries if entry.limits != UNLIMITED}


def _code(fault: Fault) -> str:
    """What the ledger calls an error: the code of the native protocol, which has one for each."""
    return native(fault).code


def _stored(settings: Settings, shared: bool) -> bool:
    """Are counts kept in the database?"""
    where = settings.limits.shared
    return where == "store" or (where == "auto" and shared and not settings.limits.redis_url)


def _counters(settings: Settings, database: Database, shared: bool, several: bool) -> Counters | None:
    limits = settings.limits
    if _stored(settings, shared or several):
        return (
            StoredCounters(database, _POSTGRES_FIRST, moment=_POSTGRES_MOMENT) if shared else StoredCounters(database)
        )
    if limits.shared == "redis" and not limits.redis_url:
        raise StoreUnusable("limits.shared is redis, and limits.redis_url is not set")
    if limits.redis_url and limits.shared != "alone":
        try:
            from segue.store.redis_counters import RedisCounters
        except ImportError as error:
            raise StoreUnusable("limits.redis_url is set; install the extra: pip install 'segue[redis]'") from error
        return RedisCounters(limits.redis_url)
    return None
