"""The acts of whoever administers: what they do, what they refuse, and that each is written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from segue.core.errors import AlreadyThere, Fault, KeyAbsent, ModelUnknown, ValueRefused, WorkspaceUnknown
from segue.core.tenancy import WORKSPACE, KeyRecord, Limits, NewKey, NewWorkspace, Role, Workspace
from segue.policy.keys import digest
from segue.store.database import Database, Rows
from segue.tenancy import rows
from segue.tenancy.office import Office

NOW = 1_800_000_000.0
MODELS = ("qwen-plus", "qwen-max", "real")


class Told:
    def __init__(self) -> None:
        self.changes = 0
        self.farewells: list[str] = []

    async def changed(self) -> None:
        self.changes += 1

    def farewell(self, rows: Rows, workspace: str) -> None:
        self.farewells.append(workspace)


async def opened(database: Database, told: Told | None = None) -> Office:
    told = told or Told()
    await database.change(lambda all: rows.begin(all, int(NOW)))
    return Office(database, lambda: NOW, MODELS.__contains__, told.changed, [told.farewell])


async def test_what_is_there_from_the_beginning(database: Database) -> None:
    office = await opened(database)
    await opened(database)  # a second start changes nothing
    (home,) = await office.workspaces("", 10)
    assert (home.id, home.models, home.limits) == (WORKSPACE, None, Limits())
    assert (await office.organisation()).id == "default"
    assert not await office.any_key()
    assert await office.keys(None, "", 10) == []
    assert await office.acts(None, None, 10) == []


async def test_a_key_is_shown_once_and_kept_as_a_digest(database: Database) -> None:
    told = Told()
    office = await opened(database, told)
    secret, made = await office.add_key("ann", NewKey("laptop", limits=Limits(concurrent=2)))
    assert made.sha256 == digest(secret)
    assert secret.startswith(made.hint)
    assert await office.any_key()
    assert await office.key(made.id) == made
    assert await office.keys(WORKSPACE, "", 10) == [made]
    (act,) = await office.acts(None, None, 10)
    assert (act.who, act.what, act.workspace, act.subject, act.at) == ("ann", "key.create", WORKSPACE, made.id, NOW)
    said = await database.read(lambda all: [all.all(f"SELECT * FROM {table}") for table in TABLES])
    assert secret not in repr(said)
    assert secret.removeprefix("sk-") not in repr(said)
    assert made.sha256 not in repr(act)
    assert told.changes == 1


TABLES = ("organisations", "workspaces", "keys", "acts", "revisions")


async def test_what_every_act_leaves_behind(database: Database) -> None:
    """Each raises the revision by one, is heard of, and has its entry with who, what, to which and what changed."""
    told = Told()
    office = await opened(database, told)
    begun = await database.read(rows.revision)
    space = await office.add_workspace("ann", NewWorkspace("Team", "team", frozenset({"real"})))
    _, key = await office.add_key("ann", NewKey("laptop", "team"))
    await office.change_key("bob", key.id, lambda key: replace(key, role="read-only", models=frozenset({"real"})))
    await office.change_workspace("bob", "team", lambda team: replace(team, limits=Limits(tokens_per_minute=9)))
    await office.revoke_key("bob", key.id)
    await office.revoke_key("bob", key.id)  # it is: nothing more is done
    await office.name_organisation("bob", "Us")
    assert await office.remove_workspace("ann", "team") == replace(space, limits=Limits(tokens_per_minute=9))
    acts = list(await office.acts(None, None, 100))[::-1]
    assert [(act.who, act.what, act.workspace, act.subject) for act in acts] == [
        ("ann", "workspace.create", "team", "team"),
        ("ann", "key.create", "team", key.id),
        ("bob", "key.change", "team", key.id),
        ("bob", "workspace.change", "team", "team"),
        ("bob", "key.revoke", "team", key.id),
        ("bob", "organisation.change", "", "default"),
        ("ann", "workspace.remove", "team", "team"),
    ]
    assert json.loads(acts[2].details) == {"role": ["member", "read-only"], "models": [None, ["real"]]}
    assert json.loads(acts[3].details) == {"limits": [{}, {"tokens_per_minute": 9}]}
    assert json.loads(acts[5].details) == {"name": ["default", "Us"]}
    assert told.changes == 8
    assert await database.read(rows.revision) == begun + 8
    assert told.farewells == ["team"]
    assert [act.subject for act in await office.acts("team", acts[3].id, 2)] == [key.id, key.id]


async def test_an_act_that_is_refused_leaves_nothing(database: Database) -> None:
    told = Told()
    office = await opened(database, told)
    begun = await database.read(rows.revision)
    with pytest.raises(WorkspaceUnknown):
        await office.add_key("ann", NewKey("x", "nowhere"))
    with pytest.raises(ValueRefused):
        await office.change_workspace("ann", WORKSPACE, lambda home: replace(home, name=""))
    assert await office.acts(None, None, 10) == []
    assert not await office.any_key()
    assert (await database.read(rows.revision), told.changes) == (begun, 0)


async def test_a_workspace_that_is_removed_is_gone_for_good(database: Database) -> None:
    told = Told()
    office = await opened(database, told)
    await office.add_workspace("ann", NewWorkspace("Team", "team"))
    _, key = await office.add_key("ann", NewKey("x", "team"))
    await office.remove_workspace("ann", "team")
    assert (await office.key(key.id)).revoked_at == int(NOW)
    with pytest.raises(WorkspaceUnknown):
        await office.workspace("team")
    with pytest.raises(WorkspaceUnknown):
        await office.add_key("ann", NewKey("x", "team"))
    with pytest.raises(AlreadyThere):  # or it would find what the other had left
        await office.add_workspace("ann", NewWorkspace("Another", "team"))
    await office.tidy()
    assert told.farewells == ["team", "team"]


async def test_pages(database: Database) -> None:
    office = await opened(database)
    made = sorted([(await office.add_key("ann", NewKey(str(n))))[1] for n in range(5)], key=lambda key: key.id)
    first = await office.keys(None, "", 3)
    assert [*first, *await office.keys(None, first[-1].id, 3)] == made
    await office.add_workspace("ann", NewWorkspace("b", "b"))
    assert [each.id for each in await office.workspaces("", 1)] == ["b"]
    assert [each.id for each in await office.workspaces("b", 9)] == [WORKSPACE]


ODD = ("", "\0", "a b", "é", "x" * 129, "';--", "a/b")


async def test_ids_that_none_has(database: Database) -> None:
    """What is no id is not let near a database: PostgreSQL would not even take a NUL."""
    office = await opened(database)
    for id in (*ODD, "key-none"):
        with pytest.raises(KeyAbsent):
            await office.key(id)
        with pytest.raises(WorkspaceUnknown):
            await office.workspace(id)
        with pytest.raises(WorkspaceUnknown):
            await office.keys(id, "", 1)
    for id in ODD[1:]:
        for page in (office.keys(None, id, 1), office.workspaces(id, 1), office.acts(id, None, 1)):
            with pytest.raises(ValueRefused):
                await page


LONG = "x" * 129


@pytest.mark.parametrize(
    ("new", "refusal"),
    [
        (NewKey(""), ValueRefused),
        (NewKey(LONG), ValueRefused),
        (NewKey("a\nb"), ValueRefused),
        (NewKey(" a"), ValueRefused),
        (NewKey("\ud800"), ValueRefused),
        (NewKey("a", role="root"), ValueRefused),  # type: ignore[arg-type]
        (NewKey("a", "team", role="admin"), ValueRefused),
        (NewKey("a", expires_at=int(NOW)), ValueRefused),
        (NewKey("a", expires_at=10**12), ValueRefused),
        (NewKey("a", models=frozenset({"gpt-9"})), ModelUnknown),
        (NewKey("a", models=frozenset({LONG})), ModelUnknown),
        (NewKey("a", models=frozenset({""})), ModelUnknown),
        (NewKey("a", models=frozenset(map(str, range(1001)))), ValueRefused),
        (NewKey("a", limits=Limits(concurrent=0)), ValueRefused),
        (NewKey("a", limits=Limits(tokens_per_month=10**16)), ValueRefused),
    ],
)
async def test_keys_that_cannot_be(new: NewKey, refusal: type[Fault], database: Database) -> None:
    office = await opened(database)
    await office.add_workspace("ann", NewWorkspace("Team", "team"))
    with pytest.raises(refusal):
        await office.add_key("ann", new)
    assert not await office.any_key()


@pytest.mark.parametrize(
    ("new", "refusal"),
    [
        (NewWorkspace("a", ""), None),  # then it gets one
        (NewWorkspace("a", "-a"), ValueRefused),
        (NewWorkspace("a", "a b"), ValueRefused),
        (NewWorkspace("a", "a\n"), ValueRefused),
        (NewWorkspace("a", "x" * 65), ValueRefused),
        (NewWorkspace("", "a"), ValueRefused),
        (NewWorkspace("a", WORKSPACE), ValueRefused),
        (NewWorkspace("a", "a", frozenset({"gpt-9"})), ModelUnknown),
        (NewWorkspace("a", "a", limits=Limits(requests_per_minute=-1)), ValueRefused),
    ],
)
async def test_workspaces_that_cannot_be(new: NewWorkspace, refusal: type[Fault] | None, database: Database) -> None:
    office = await opened(database)
    if refusal is None:
        assert (await office.add_workspace("ann", new)).id.startswith("ws-")
        return
    with pytest.raises(refusal):
        await office.add_workspace("ann", new)
    assert len(await office.workspaces("", 10)) == 1


def nothing_more(key: KeyRecord) -> KeyRecord:
    return replace(key, name="again")


async def test_changes_that_cannot_be(database: Database) -> None:
    office = await opened(database)
    with pytest.raises(ValueRefused, match="default workspace stays"):
        await office.remove_workspace("ann", WORKSPACE)
    with pytest.raises(ValueRefused):  # the default workspace may use every model
        await office.change_workspace("ann", WORKSPACE, lambda home: replace(home, models=frozenset({"real"})))
    await office.add_workspace("ann", NewWorkspace("Team", "team"))
    with pytest.raises(ValueRefused):  # and no other may
        await office.change_workspace("ann", "team", lambda team: replace(team, models=None))
    _, key = await office.add_key("ann", NewKey("x", "team"))
    admin: Role = "admin"
    with pytest.raises(ValueRefused):
        await office.change_key("ann", key.id, lambda key: replace(key, role=admin))
    await office.revoke_key("ann", key.id)
    with pytest.raises(ValueRefused, match="for good"):
        await office.change_key("ann", key.id, nothing_more)


async def test_what_is_no_more_served_may_stay_authorised(database: Database) -> None:
    """A server that serves fewer models for a day must not keep anybody from changing a limit."""
    office = await opened(database)
    await office.add_workspace("ann", NewWorkspace("Team", "team", frozenset({"real"})))
    later = Office(database, lambda: NOW, lambda model: model == "other")
    changed = await later.change_workspace(
        "ann", "team", lambda team: replace(team, models=frozenset({"real", "other"}))
    )
    assert changed.models == frozenset({"real", "other"})

    def both(team: Workspace) -> Workspace:
        return replace(team, models=frozenset({"qwen-max"}))

    with pytest.raises(ModelUnknown):
        await later.change_workspace("ann", "team", both)


async def test_details_have_an_end(database: Database) -> None:
    office = Office(database, lambda: NOW, lambda model: True)
    await opened(database)
    names = frozenset(f"model-{n:04}" for n in range(1000))
    await office.add_workspace("ann", NewWorkspace("Team", "team", names))
    assert (await office.workspace("team")).models == names
    (act,) = await office.acts(None, None, 1)
    assert len(act.details) < 3000
    assert "cut" in json.loads(act.details)
