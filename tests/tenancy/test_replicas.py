"""Replicas by the word of administrators: what may be said, what is written down, and who hears of it when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection

import pytest

from segue.core.errors import AlreadyThere, Fault, ModelUnknown, ReplicaAbsent, ValueRefused
from segue.core.replicas import NewReplica, ReplicaRecord, admitted, replica_id, url_trouble
from segue.store.database import Database
from segue.tenancy import rows
from segue.tenancy.replicas import Fleet, Live, ReplicaOffice, Roster, Told

CONFIGURED = "http://one:8000"
NEW = NewReplica("http://two.inside:8000/x", 2.0, "KEY")


def office(
    database: Database, hosts: Collection[str] | None = ("*.inside",), live: Callable[[], list[Live]] = list
) -> ReplicaOffice:
    def fleet(model: str) -> tuple[str, Fleet | None]:
        if model not in ("big", "here"):
            raise ModelUnknown(model)
        return model, Fleet({CONFIGURED: 1.0}, frozenset({"KEY"}), live) if model == "big" else None

    return ReplicaOffice(database, lambda: 5.0, fleet, hosts)


async def test_from_beginning_to_end(database: Database) -> None:
    acts = office(database)
    (first,) = await acts.replicas("big")
    assert (first.url, first.origin, first.draining, first.ready) == (CONFIGURED, "configured", False, None)
    made = await acts.add("ann", "big", NEW)
    assert (made.id, made.origin, made.weight) == (replica_id(NEW.url), "added", 2.0)
    with pytest.raises(AlreadyThere):
        await acts.add("ann", "big", NEW)
    assert (await acts.change("ann", "big", made.id, True, None)).draining
    assert (await acts.change("ann", "big", made.id, None, 0.5)).draining
    back = await acts.change("ann", "big", made.id, False, None)
    assert (back.draining, back.weight) == (False, 0.5)
    assert (await acts.change("bob", "big", first.id, True, None)).draining, "one of the catalogue, too"
    assert [each.draining for each in await acts.replicas("big")] == [True, False]
    with pytest.raises(ValueRefused, match="catalogue"):
        await acts.remove("ann", "big", first.id)
    assert await acts.remove("ann", "big", made.id) == made.id
    with pytest.raises(ReplicaAbsent):
        await acts.remove("ann", "big", made.id)
    with pytest.raises(ReplicaAbsent):
        await acts.change("ann", "big", made.id, True, None)
    written = await database.read(lambda all: rows.page_of_acts(all, None, None, 20))
    assert [(act.who, act.what) for act in reversed(written)] == [
        ("ann", "replica.add"),
        *[("ann", "replica.change")] * 3,
        ("bob", "replica.change"),
        ("ann", "replica.remove"),
    ]
    assert json.loads(written[-1].details)["url"] == NEW.url


@pytest.mark.parametrize(
    ("model", "new", "wrong"),
    [
        ("none", NEW, ModelUnknown),
        ("here", NEW, ValueRefused),
        ("big", NewReplica(CONFIGURED), ValueRefused),
        ("big", NewReplica("http://elsewhere:1"), ValueRefused),
        ("big", NewReplica("ftp://two.inside"), ValueRefused),
        ("big", NewReplica("http://two.inside", float("nan")), ValueRefused),
        ("big", NewReplica("http://two.inside", 17.0), ValueRefused),
        ("big", NewReplica("http://two.inside", 1.0, "SEGUE_STORE_URL"), ValueRefused),
        ("big", NewReplica("http://two.inside", 1.0, "A=B"), ValueRefused),
    ],
)
async def test_refusals(database: Database, model: str, new: NewReplica, wrong: type[Fault]) -> None:
    with pytest.raises(wrong):
        await office(database).add("ann", model, new)
    assert await database.read(lambda all: rows.page_of_acts(all, None, None, 20)) == []


async def test_whoever_runs_the_machine_may_add_any(database: Database) -> None:
    acts = office(database, None)
    assert (await acts.add("cli:root", "big", NewReplica("http://elsewhere:1", 1.0, "OTHER"))).origin == "added"
    with pytest.raises(AlreadyThere):
        await acts.add("cli:root", "big", NewReplica(CONFIGURED))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "one",
        "file:///etc/passwd",
        "http://",
        "http://u:p@one",
        "http://one?x=1",
        "http://one#x",
        "http://one:99999",
        "http://one:0",
        "http://one two",
        "http://öne",
        "http://one\n",
        "http://[::1",
        "http://" + "a" * 1000,
    ],
)
def test_what_is_no_address(url: str) -> None:
    assert url_trouble(url)


def test_which_hosts_are_admitted() -> None:
    for url in ("http://a.inside:1", "https://10.1.2.3/x", "http://[fd00::1]:1", "http://ONE"):
        assert not url_trouble(url)
        assert admitted(url, ["*.inside", "10.0.0.0/8", "fd00::/8", "one"])
        assert not admitted(url, [])
        assert admitted(url, ["*"])
    for url in ("http://inside", "http://a.inside.out", "http://11.1.2.3", "http://ones", "http://10.0.0.0.out"):
        assert not admitted(url, ["*.inside", "10.0.0.0/8", "fd00::/8", "one"])


async def test_how_it_is_seen(database: Database) -> None:
    live = [
        Live(CONFIGURED, 1.0, "configured", False, True, 3),
        Live("http://10.0.0.7:8000", 1.0, "found", True, False, 1),
    ]
    seen = {each.url: each for each in await office(database, live=lambda: live).replicas("big")}
    assert (seen[CONFIGURED].ready, seen[CONFIGURED].running) == (True, 3)
    other = seen["http://10.0.0.7:8000"]
    assert (other.origin, other.draining, other.ready) == ("found", True, False)


async def test_every_server_hears_of_it(make_database: Callable[[], Database]) -> None:
    databases = [make_database(), make_database()]
    for database in databases:
        await database.open()
    heard: list[Told] = []
    roster = Roster(databases[1], 0.05, heard.append)
    await roster.open()
    acts = office(databases[0])

    async def until(count: int) -> tuple[ReplicaRecord, ...]:
        async with asyncio.timeout(2):
            while len(heard) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return tuple(heard[-1].get("big", ()))

    assert await until(1) == ()
    made = await acts.add("ann", "big", NEW)
    (row,) = await until(2)
    assert (row.url, row.key_env, row.added, row.draining) == (NEW.url, "KEY", True, False)
    await acts.change("ann", "big", made.id, True, None)
    assert (await until(3))[0].draining
    await acts.remove("ann", "big", made.id)
    assert await until(4) == ()
    await asyncio.sleep(0.2)
    assert len(heard) == 4, "nothing is told twice"
    await roster.close()
    for database in databases:
        await database.close()
