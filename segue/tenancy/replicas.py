"""Replicas by the word of administrators: rows, the acts that change them, and how every server hears of it.

Laws: an act, its entry in the audit log and the new revision are one transaction; every server that shares the database
asks it again and again, and while it cannot be asked, what was known holds; what stands in the catalogue can be drained
and weighed here, and is removed only there; over HTTP only hosts that the settings admit can be added, and only keys
that the catalogue names for the model, for whoever adds an address has prompts sent there, and a key with them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

import msgspec

from segue.core import frozen
from segue.core.errors import AlreadyThere, ReplicaAbsent, ValueRefused
from segue.core.replicas import (
    WEIGHT_MAX,
    WEIGHT_MIN,
    NewReplica,
    Origin,
    Replica,
    ReplicaRecord,
    admitted,
    replica_id,
    url_trouble,
)
from segue.store.database import Database, Rows
from segue.tenancy import rows as tenancy_rows

log = logging.getLogger("segue.tenancy")

REPLICAS_MAX = 1000
"""Most of one model."""
_REVISION = "replicas"
_PART = "tenancy"
_COLUMNS = "model, id, url, weight, key_env, addresses, draining, added, created_at"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Told = Mapping[str, Sequence[ReplicaRecord]]
"""By model."""


@frozen
class Live:
    """An address that this server asks."""

    url: str
    weight: float
    origin: Origin
    draining: bool
    ready: bool
    running: int


@frozen
class Fleet:
    """What a model's catalogue entry says, and what this server makes of it and of the rows.  `key_envs` are the
    variables that the catalogue names."""

    configured: Mapping[str, float]
    key_envs: frozenset[str]
    live: Callable[[], Sequence[Live]]


class ReplicaOffice:
    """Acts on `database`, which is open.  `fleet` raises ModelUnknown, and gives None for a model that does not run
    elsewhere; `hosts` are those that may be added; with None of them any may, and any key: whoever acts runs the
    machine."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        fleet: Callable[[str], tuple[str, Fleet | None]],
        hosts: Collection[str] | None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._database, self._clock, self._fleet = database, clock, fleet
        self._hosts, self._changed = hosts, changed

    async def replicas(self, model: str) -> Sequence[Replica]:
        """All of a model.  Raises ModelUnknown, ValueRefused."""
        served, fleet = self._of(model)
        told = await self._database.read(lambda all: _rows(all, served))
        return listed(served, fleet, told)

    async def add(self, who: str, model: str, new: NewReplica) -> Replica:
        """Ask there too, from now on.  Raises ModelUnknown, ValueRefused, AlreadyThere."""
        served, fleet = self._of(model)
        if trouble := url_trouble(new.url):
            raise ValueRefused("url", trouble)
        _check_weight(new.weight)
        if new.key_env and not _VARIABLE.fullmatch(new.key_env):
            raise ValueRefused("key_env", "It is not the name of an environment variable.")
        if self._hosts is not None:
            if not admitted(new.url, list(self._hosts)):
                raise ValueRefused("url", "The settings do not admit its host (upstreams.added_hosts).")
            if new.key_env and new.key_env not in fleet.key_envs:
                raise ValueRefused("key_env", "The catalogue names no such key for this model.")
        id = replica_id(new.url)
        if new.url in fleet.configured:
            raise AlreadyThere("replica", id)
        now = int(self._clock())
        made = ReplicaRecord(served, id, new.url, new.weight, new.key_env, new.addresses, False, True, now)

        def act(all: Rows) -> None:
            known = _rows(all, served)
            if any(each.id == id and each.added for each in known):
                raise AlreadyThere("replica", id)
            if len(known) >= REPLICAS_MAX:
                raise ValueRefused("url", f"There are {REPLICAS_MAX} already.")
            _put(all, made)
            facts = {"model": served, "url": new.url, "weight": new.weight, "key_env": new.key_env}
            self._note(all, who, "replica.add", id, facts)

        return await self._act(act, served, fleet, id)

    async def change(self, who: str, model: str, id: str, draining: bool | None, weight: float | None) -> Replica:
        """Give it nothing new, or again something; another part of the load.  Raises ModelUnknown, ValueRefused,
        ReplicaAbsent."""
        served, fleet = self._of(model)
        if weight is not None:
            _check_weight(weight)

        def act(all: Rows) -> None:
            told = _rows(all, served)
            before = next((each for each in listed(served, fleet, told) if each.id == id), None)
            if before is None:
                raise ReplicaAbsent(id)
            row = next((each for each in told if each.id == id), None)
            after = ReplicaRecord(
                served,
                id,
                before.url,
                before.weight if weight is None else weight,
                "" if row is None else row.key_env,
                row is not None and row.addresses,
                before.draining if draining is None else draining,
                row is not None and row.added,
                int(self._clock()) if row is None else row.created_at,
            )
            _put(all, after)
            facts: dict[str, object] = {"model": served, "url": before.url}
            facts |= {} if draining is None else {"draining": [before.draining, draining]}
            facts |= {} if weight is None else {"weight": [before.weight, weight]}
            self._note(all, who, "replica.change", id, facts)

        return await self._act(act, served, fleet, id)

    async def remove(self, who: str, model: str, id: str) -> str:
        """Ask there no more; what runs there ends.  The id.  Raises ModelUnknown, ValueRefused, ReplicaAbsent."""
        served, fleet = self._of(model)

        def act(all: Rows) -> None:
            row = next((each for each in _rows(all, served) if each.id == id and each.added), None)
            if row is None:
                if any(each.id == id for each in listed(served, fleet, _rows(all, served))):
                    raise ValueRefused(
                        "id", "It stands in the catalogue, or behind a host name: drain it, or remove it there."
                    )
                raise ReplicaAbsent(id)
            all.run("DELETE FROM replicas WHERE model = ? AND id = ?", served, id)
            self._note(all, who, "replica.remove", id, {"model": served, "url": row.url})

        await self._database.change(_counted(act), _PART)
        self._changed()
        return id

    async def _act(self, act: Callable[[Rows], None], served: str, fleet: Fleet, id: str) -> Replica:
        await self._database.change(_counted(act), _PART)
        self._changed()
        told = await self._database.read(lambda all: _rows(all, served))
        return next(each for each in listed(served, fleet, told) if each.id == id)

    def _of(self, model: str) -> tuple[str, Fleet]:
        served, fleet = self._fleet(model)
        if fleet is None:
            raise ValueRefused("model", "It runs here, not elsewhere: it has no replicas.")
        return served, fleet

    def _note(self, all: Rows, who: str, what: str, id: str, facts: Mapping[str, object]) -> None:
        tenancy_rows.note(all, self._clock(), who, what, "", id, msgspec.json.encode(facts).decode())


class Roster:
    """What was said of replicas, in memory, never older than a poll.  `tell` is given all of it after each change."""

    def __init__(self, database: Database, poll_s: float, tell: Callable[[Told], None]) -> None:
        self._database, self._poll_s, self._tell = database, poll_s, tell
        self._seen = -1
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read it, and go on asking.  The database is open."""
        await self._refresh()
        self._task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Ask no more.  Safe to call without `open`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def changed(self) -> None:
        """Something was changed here: ask at once."""
        self._wake.set()

    async def _refresh(self) -> None:
        known = self._seen

        def changes(all: Rows) -> tuple[int, dict[str, list[ReplicaRecord]]] | None:
            found = all.one("SELECT number FROM revisions WHERE name = ?", _REVISION)
            number = 0 if found is None else int(found[0])
            if number == known:
                return None
            told: dict[str, list[ReplicaRecord]] = {}
            for each in _rows(all, None):
                told.setdefault(each.model, []).append(each)
            return number, told

        if (seen := await self._database.read(changes)) is not None:
            self._tell(seen[1])
            self._seen = seen[0]

    async def _poll(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._refresh()
                failing = False
            except Exception:  # whatever it is: what is known holds
                if not failing:
                    log.exception("the database cannot be asked for replicas; those known still hold")
                failing = True


def listed(served: str, fleet: Fleet, told: Sequence[ReplicaRecord]) -> Sequence[Replica]:
    """All that is known of a model's replicas, by address."""
    said = {each.url: each for each in told}
    found: dict[str, Replica] = {}
    for url, weight in fleet.configured.items():
        found[url] = Replica(served, replica_id(url), url, weight, "configured", False)
    for each in told:
        if each.added:
            found[each.url] = Replica(served, each.id, each.url, each.weight, "added", each.draining)
    for live in fleet.live():
        origin = found[live.url].origin if live.url in found else live.origin
        about = live.draining, live.ready, live.running
        found[live.url] = Replica(served, replica_id(live.url), live.url, live.weight, origin, *about)
    made = []
    for url, known in sorted(found.items()):
        row = said.get(url)
        if row is not None:
            known = replace(known, draining=known.draining or row.draining, weight=row.weight)
        made.append(known)
    return made


def _check_weight(weight: float) -> None:
    if not (math.isfinite(weight) and WEIGHT_MIN <= weight <= WEIGHT_MAX):
        raise ValueRefused("weight", f"{WEIGHT_MIN} to {WEIGHT_MAX:g}.")


def _counted(act: Callable[[Rows], None]) -> Callable[[Rows], None]:
    def whole(all: Rows) -> None:
        act(all)
        one_more = "INSERT INTO revisions VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET number = revisions.number + 1"
        all.run(one_more, _REVISION, 1)

    return whole


def _put(all: Rows, each: ReplicaRecord) -> None:
    all.run("DELETE FROM replicas WHERE model = ? AND id = ?", each.model, each.id)
    all.run(
        f"INSERT INTO replicas ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        each.model,
        each.id,
        each.url,
        each.weight,
        each.key_env,
        int(each.addresses),
        int(each.draining),
        int(each.added),
        each.created_at,
    )


def _rows(all: Rows, model: str | None) -> Sequence[ReplicaRecord]:
    sql = f"SELECT {_COLUMNS} FROM replicas"
    found = (
        all.all(f"{sql} ORDER BY model, id") if model is None else all.all(f"{sql} WHERE model = ? ORDER BY id", model)
    )
    return [_record(row) for row in found]


def _record(row: Sequence[object]) -> ReplicaRecord:
    model, id, url, weight, key_env, addresses, draining, added, created_at = row
    return ReplicaRecord(
        cast(str, model),
        cast(str, id),
        cast(str, url),
        cast(float, weight),
        cast(str, key_env),
        bool(addresses),
        bool(draining),
        bool(added),
        cast(int, created_at),
    )
