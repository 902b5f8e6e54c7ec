"""Counts that servers share, in a database.

Laws: see `core/counting`; what is asked together is one change; a count is a row, and its state is what `counting`
makes of it; rows that nobody has asked about for `FORGET_S` are removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from segue.core.counting import Ask, Counters, CountersLost, Grant, Window, granted, held
from segue.store.database import Database, Rows

FORGET_S = 3600.0

_SELECT = "SELECT state FROM counters WHERE name = ?"
_UPSERT = (
    "INSERT INTO counters (name, state, at) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET state = excluded.state, at = excluded.at"
)


class StoredCounters:
    """See `counting.Counters`.  `first` is a statement that begins each change, where the database wants one: counts
    that are lost with its power are no loss.  `moment` asks the database for its time, in unix seconds: servers on
    several machines count by its clock, and not by their own."""

    def __init__(
        self, database: Database, first: str = "", clock: Callable[[], float] = time.time, moment: str = ""
    ) -> None:
        self._database = database
        self._first = first
        self._moment = moment
        self._clock = clock
        self._swept_at = clock()

    async def ask(self, holder: str, asks: Sequence[Ask]) -> Sequence[Grant]:
        """See `counting.Counters`."""
        here = self._clock()
        sweep = here - self._swept_at >= FORGET_S
        if sweep:
            self._swept_at = here

        def act(rows: Rows) -> list[Grant]:
            if self._first:
                rows.run(self._first)
            told = rows.one(self._moment) if self._moment else None
            now = here if told is None else float(told[0])
            if sweep:
                rows.run("DELETE FROM counters WHERE at < ?", now - FORGET_S)
            return [_answer(rows, holder, ask, now) for ask in asks]

        try:
            return await self._database.change(act, "limits")
        except Exception as error:
            raise CountersLost(str(error)) from error

    async def close(self) -> None:
        """Nothing: the database is closed by whoever has opened it."""


_: type[Counters] = StoredCounters


def _answer(rows: Rows, holder: str, ask: Ask, now: float) -> Grant:
    found = rows.one(_SELECT, ask.name)
    state = found[0] if found else ""
    if ask.window_s:
        window = Window.unpacked(ask.most, ask.window_s, state)
        grant = granted(window, ask, now)
        rows.run(_UPSERT, ask.name, window.packed(), now)
    else:
        places, grant = held(_places(state), holder, ask, now)
        rows.run(_UPSERT, ask.name, _packed(places), now)
    return grant


def _places(state: str) -> dict[str, tuple[int, float]]:
    places: dict[str, tuple[int, float]] = {}
    for each in filter(None, state.split(";")):
        holder, count, until = each.split(",")
        places[holder] = (int(count), float(until))
    return places


def _packed(places: dict[str, tuple[int, float]]) -> str:
    return ";".join(f"{holder},{count},{until}" for holder, (count, until) in places.items())
