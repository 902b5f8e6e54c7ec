"""What every request needs to know, in memory, on every server: as new as a poll."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from segue.core.errors import KeyInvalid
from segue.core.request import Caller
from segue.core.tenancy import WORKSPACE, Limits, NewKey, NewWorkspace
from segue.policy.auth import Auth, Grant
from segue.policy.keys import digest
from segue.store.base import StoreUnusable
from segue.store.database import Database, Rows, T
from segue.tenancy.directory import Directory, Fixed
from segue.tenancy.office import Office
from segue.tenancy.takeover import take_over

POLL_S = 0.05


@asynccontextmanager
async def server(
    database: Database, *fixed: Fixed, removed: Callable[[], None] = lambda: None
) -> AsyncIterator[Directory]:
    directory = Directory(database, POLL_S, fixed, removed)
    await directory.open()
    try:
        yield directory
    finally:
        await directory.close()


def office(database: Database, directory: Directory | None = None) -> Office:
    return Office(database, time.time, lambda model: True, directory.refresh if directory else None)


def opens(directory: Directory, secret: str) -> Caller | None:
    try:
        return Auth(directory.current).authenticate(secret)
    except KeyInvalid:
        return None


async def until(true: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < 10
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_who_a_caller_is(database: Database) -> None:
    async with server(database) as directory:
        acts = office(database, directory)
        limits, own = Limits(requests_per_minute=5), Limits(concurrent=1)
        await acts.add_workspace("ann", NewWorkspace("Team", "team", frozenset({"a", "b"}), limits))
        secret, key = await acts.add_key("ann", NewKey("x", "team", "read-only", None, frozenset({"b"}), own))
        plain, _ = await acts.add_key("ann", NewKey("y"))
        assert opens(directory, secret) == Caller(
            key.id, "team", "default", "read-only", frozenset({"a", "b"}), frozenset({"b"}), own, limits
        )
        found = opens(directory, plain)
        assert found is not None
        assert (found.workspace, found.models, found.key_models, found.limits) == (WORKSPACE, None, None, None)
        home = directory.workspace("team")
        assert home is not None
        assert home.name == "Team"


async def test_what_one_server_does_the_other_hears_of(database: Database) -> None:
    """Revocation, new keys, authorisations: at once where it was done, within a poll elsewhere."""
    async with server(database) as here, server(database) as there:
        acts = office(database, here)
        secret, key = await acts.add_key("ann", NewKey("x"))
        assert opens(here, secret)
        await until(lambda: opens(there, secret) is not None)
        await acts.revoke_key("ann", key.id)
        assert opens(here, secret) is None
        assert await until(lambda: opens(there, secret) is None) < 2.0
        await acts.add_workspace("ann", NewWorkspace("Team", "team"))
        secret, _ = await acts.add_key("ann", NewKey("y", "team"))
        await acts.change_workspace("ann", "team", lambda team: replace(team, models=frozenset({"a"})))
        await until(lambda: (found := opens(there, secret)) is not None and found.models == frozenset({"a"}))


async def test_a_removed_workspace_is_heard_of_everywhere(database: Database) -> None:
    heard: list[str] = []
    async with server(database) as here, server(database, removed=lambda: heard.append("there")) as there:
        acts = office(database, here)
        await acts.add_workspace("ann", NewWorkspace("Team", "team"))
        secret, _ = await acts.add_key("ann", NewKey("x", "team"))
        await until(lambda: opens(there, secret) is not None)
        assert heard == []
        await acts.remove_workspace("ann", "team")
        await until(lambda: opens(there, secret) is None)
        assert heard == ["there"]
        assert "team" not in there.current().workspaces


async def test_keys_of_the_settings(database: Database) -> None:
    only = Fixed(Grant(digest("chosen"), Caller("key-env", WORKSPACE)), only=True)
    admin = Fixed(Grant(digest("boss"), Caller("key-admin", WORKSPACE, role="admin")))
    async with server(database, only, admin) as strict, server(database, admin) as open:
        acts = office(database, strict)
        secret, _ = await acts.add_key("ann", NewKey("x"))
        await acts.change_workspace("ann", WORKSPACE, lambda home: replace(home, limits=Limits(concurrent=3)))
        assert opens(strict, secret) is None  # one key is the only key
        chosen, boss = opens(strict, "chosen"), opens(strict, "boss")
        assert chosen is not None
        assert boss is not None
        assert (chosen.role, boss.role) == ("member", "admin")
        assert chosen.workspace_limits == Limits(concurrent=3)  # also for a key that is in no row
        await until(lambda: opens(open, secret) is not None)
        assert opens(open, "chosen") is None


class Deaf:
    """A database that stops answering."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.deaf = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def read(self, act: Callable[[Rows], T]) -> T:
        if self.deaf:
            raise OSError("the server is gone")
        return await self._database.read(act)

    async def change(self, act: Callable[[Rows], T], within: str = "") -> T:
        return await self._database.change(act, within)


async def test_while_the_database_cannot_be_asked(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """What is known holds, it is said once, `fresh` tells, and it goes on when the database is back."""
    deaf, now = Deaf(database), [100.0]
    directory = Directory(cast(Database, deaf), 0.01, clock=lambda: now[0])
    assert not directory.fresh
    await directory.open()
    try:
        acts = office(database)
        secret, key = await acts.add_key("ann", NewKey("x"))
        await until(lambda: opens(directory, secret) is not None)
        deaf.deaf = True
        await asyncio.sleep(0.1)
        now[0] = 111.0
        assert not directory.fresh
        assert opens(directory, secret)
        assert len(caplog.records) == 1
        await acts.revoke_key("ann", key.id)
        deaf.deaf = False
        await until(lambda: opens(directory, secret) is None)
        assert directory.fresh
    finally:
        await directory.close()


def old_file(path: Path, *secrets: str) -> None:
    keys = [
        {"id": f"key-{n}", "name": f"old {n}", "sha256": digest(secret), "created": "2026-10-01T10:00:00+00:00"}
        for n, secret in enumerate(secrets)
    ]
    path.write_text(json.dumps({"version": 1, "keys": keys}))


async def test_the_keys_of_a_file_are_taken_in_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    old_file(path, "sk-one", "sk-two")
    async with server(database) as directory:
        assert await take_over(database, path, 5.0) == 2
        assert not path.exists()
        assert (tmp_path / "keys.json.taken").exists()
        assert await take_over(database, path, 5.0) == 0
        await until(lambda: opens(directory, "sk-two") is not None)
        acts = office(database, directory)
        record = await acts.key("key-0")
        assert (record.name, record.role, record.created_at) == ("old 0", "member", 1790848800)
        assert [act.what for act in await acts.acts(None, None, 9)] == ["key.take", "key.take"]
        await acts.revoke_key("ann", "key-0")
        old_file(path, "sk-one", "sk-two")  # put back, or never put aside: what was revoked stays revoked
        assert await take_over(database, path, 6.0) == 0
        await directory.refresh()
        assert opens(directory, "sk-one") is None
        assert opens(directory, "sk-two")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version":1,"keys":[{"id":1}]}',
        '{"version":1,"keys":[{"id":"a","name":"b","sha256":"c","created":"2026-10-01"}]}',
    ],
)
async def test_a_file_that_cannot_be_read_stops_the_start(text: str, database: Database, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(StoreUnusable, match="cannot be read"):
        await take_over(database, path, 5.0)
    assert path.read_text() == text
