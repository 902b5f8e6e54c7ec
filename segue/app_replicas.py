"""The composition root's part for replicas: what administrators say of them, told to the engines.

Law: nothing here decides; a key is read from the environment here, and goes nowhere but to its upstream.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from segue.catalogue.read import Names
from segue.config import Settings
from segue.core.replicas import Origin, ReplicaRecord
from segue.engine.house import House
from segue.engine.remote.fleet import Fleet
from segue.engine.remote.spec import Site
from segue.store.database import Database
from segue.tenancy.replicas import Fleet as Told
from segue.tenancy.replicas import Live, ReplicaOffice, Roster

log = logging.getLogger("segue")


class Replicas:
    """The office that acts on them, and the roster that hears of it."""

    def __init__(self, settings: Settings, names: Names, house: House, database: Database) -> None:
        fleets = {name: engine for name, engine in house.engines.items() if isinstance(engine, Fleet)}

        def tell(told: Mapping[str, Sequence[ReplicaRecord]]) -> None:
            for name, fleet in fleets.items():
                _admit(fleet, told.get(name, ()))

        self.roster = Roster(database, settings.auth.refresh_s, tell)
        self.parts = [self.roster] if fleets else []  # else nobody wants to hear of it
        live = {name: _live(fleet) for name, fleet in fleets.items()}
        hosts = settings.upstreams.added_hosts
        self.office = replica_office(names, database, hosts, live, self.roster.changed)


def replica_office(
    names: Names,
    database: Database,
    hosts: Collection[str] | None,
    live: Mapping[str, Callable[[], Sequence[Live]]],
    changed: Callable[[], object] = lambda: None,
) -> ReplicaOffice:
    """Whoever administers replicas; `live` are those that this process asks, by model; `hosts`: see `ReplicaOffice`."""

    def fleet(model: str) -> tuple[str, Told | None]:
        name = names.resolve(model)
        told = names.catalogue.entry(name).remote
        if told is None:
            return name, None
        configured = {each.url: each.weight for each in told.upstreams}
        keys = frozenset(each.key_env for each in told.upstreams if each.key_env)
        return name, Told(configured, keys, live.get(name, lambda: ()))

    return ReplicaOffice(database, time.time, fleet, hosts, changed)


def _live(fleet: Fleet) -> Callable[[], Sequence[Live]]:
    def seen() -> Sequence[Live]:
        return [
            Live(url, weight, _origin(fleet, url), draining, ready, running)
            for url, weight, draining, ready, running in fleet.seen()
        ]

    return seen


def _origin(fleet: Fleet, url: str) -> Origin:
    return "found" if fleet.found(url) else "configured"


def _admit(fleet: Fleet, told: Sequence[ReplicaRecord]) -> None:
    added = []
    for each in told:
        if not each.added:
            continue
        key = os.environ.get(each.key_env, "") if each.key_env else ""
        if each.key_env and not key:
            log.error("a replica is not asked: %s, which is to have its key, is not set", each.key_env)
            continue
        added.append(Site(each.url, key, each.weight, None, each.addresses))
    draining = frozenset(each.url for each in told if each.draining)
    fleet.admit(added, draining, {each.url: each.weight for each in told})
