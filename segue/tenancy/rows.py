"""Workspaces, keys and acts as rows, and back.

Laws: a row that was ever there stays, marked as removed or revoked, so that no id and no digest comes to mean something
else; whoever changes a row here counts the revision up in the same transaction, which is how every server hears of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import msgspec

from segue.core.tenancy import ORGANISATION, WORKSPACE, Act, KeyRecord, Limits, Organisation, Role, Workspace
from segue.store.database import Rows

Row = tuple[object, ...]

_REVISION = "tenancy"
_WORKSPACE = "id, organisation, name, created_at, models, limits"
_KEY = "id, workspace, name, sha256, created_at, role, hint, expires_at, revoked_at, models, limits"
_ACT = "id, at, who, what, workspace, subject, details"


def begin(rows: Rows, now: int) -> None:
    """What is there from the beginning, made where it is not."""
    rows.run("INSERT INTO organisations VALUES (?, ?, ?) ON CONFLICT DO NOTHING", ORGANISATION, "default", now)
    if find_workspace(rows, WORKSPACE) is None:
        add_workspace(rows, Workspace(WORKSPACE, ORGANISATION, "default", now, None))
    rows.run("INSERT INTO revisions VALUES (?, ?) ON CONFLICT DO NOTHING", _REVISION, 1)


def revision(rows: Rows) -> int:
    """How often anything here was changed."""
    found = rows.one("SELECT number FROM revisions WHERE name = ?", _REVISION)
    return 0 if found is None else int(found[0])


def count_up(rows: Rows) -> None:
    """Something was changed."""
    rows.run("UPDATE revisions SET number = number + 1 WHERE name = ?", _REVISION)


def organisation(rows: Rows) -> Organisation:
    """The one there is."""
    found = rows.one("SELECT id, name, created_at FROM organisations WHERE id = ?", ORGANISATION)
    assert found is not None, "it is made when the tables are opened"
    return Organisation(*found)


def name_organisation(rows: Rows, name: str) -> None:
    """Call it otherwise."""
    rows.run("UPDATE organisations SET name = ? WHERE id = ?", name, ORGANISATION)


def workspaces(rows: Rows) -> list[Workspace]:
    """Every one that is not removed."""
    return [_workspace(row) for row in rows.all(f"SELECT {_WORKSPACE} FROM workspaces WHERE removed_at IS NULL")]


def page_of_workspaces(rows: Rows, after: str, limit: int) -> list[Workspace]:
    """By their ids, behind `after`."""
    where = "removed_at IS NULL AND id > ? ORDER BY id LIMIT ?"
    return [_workspace(row) for row in rows.all(f"SELECT {_WORKSPACE} FROM workspaces WHERE {where}", after, limit)]


def find_workspace(rows: Rows, id: str) -> Workspace | None:
    """One that is not removed."""
    found = rows.one(f"SELECT {_WORKSPACE} FROM workspaces WHERE id = ? AND removed_at IS NULL", id)
    return None if found is None else _workspace(found)


def workspace_was(rows: Rows, id: str) -> bool:
    """Was there ever one of this id?"""
    return rows.one("SELECT 1 FROM workspaces WHERE id = ?", id) is not None


def removed_workspaces(rows: Rows) -> list[str]:
    """The ids of those that were."""
    return [id for (id,) in rows.all("SELECT id FROM workspaces WHERE removed_at IS NOT NULL")]


def add_workspace(rows: Rows, made: Workspace) -> None:
    """Keep a new one."""
    rows.run(
        f"INSERT INTO workspaces ({_WORKSPACE}) VALUES (?, ?, ?, ?, ?, ?)",
        made.id,
        made.organisation,
        made.name,
        made.created_at,
        _names(made.models),
        _limits(made.limits),
    )


def put_workspace(rows: Rows, changed: Workspace) -> None:
    """Keep what was changed of one: its name, models and limits."""
    rows.run(
        "UPDATE workspaces SET name = ?, models = ?, limits = ? WHERE id = ?",
        changed.name,
        _names(changed.models),
        _limits(changed.limits),
        changed.id,
    )


def remove_workspace(rows: Rows, id: str, now: int) -> None:
    """It is there no more, and its keys open nothing."""
    rows.run("UPDATE workspaces SET removed_at = ? WHERE id = ?", now, id)
    rows.run("UPDATE keys SET revoked_at = ? WHERE workspace = ? AND revoked_at IS NULL", now, id)


def open_keys(rows: Rows) -> list[KeyRecord]:
    """Every key that was not revoked."""
    return [_key(row) for row in rows.all(f"SELECT {_KEY} FROM keys WHERE revoked_at IS NULL")]


def page_of_keys(rows: Rows, workspace: str | None, after: str, limit: int) -> list[KeyRecord]:
    """By their ids, behind `after`; None: of every workspace."""
    where, values = "id > ?", [after]
    if workspace is not None:
        where, values = "workspace = ? AND id > ?", [workspace, after]
    found = rows.all(f"SELECT {_KEY} FROM keys WHERE {where} ORDER BY id LIMIT ?", *values, limit)
    return [_key(row) for row in found]


def find_key(rows: Rows, id: str) -> KeyRecord | None:
    """One key, revoked or not."""
    found = rows.one(f"SELECT {_KEY} FROM keys WHERE id = ?", id)
    return None if found is None else _key(found)


def any_key(rows: Rows) -> bool:
    """Was a key ever made?"""
    return rows.one("SELECT 1 FROM keys LIMIT 1") is not None


def add_key(rows: Rows, made: KeyRecord) -> bool:
    """Keep a new one; False where its id or its digest is there."""
    return bool(
        rows.run(
            f"INSERT INTO keys ({_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            made.id,
            made.workspace,
            made.name,
            made.sha256,
            made.created_at,
            made.role,
            made.hint,
            made.expires_at,
            made.revoked_at,
            _names(made.models),
            _limits(made.limits),
        )
    )


def put_key(rows: Rows, changed: KeyRecord) -> None:
    """Keep what was changed of one; its workspace, its digest and its beginning stay."""
    rows.run(
        "UPDATE keys SET name = ?, role = ?, expires_at = ?, revoked_at = ?, models = ?, limits = ? WHERE id = ?",
        changed.name,
        changed.role,
        changed.expires_at,
        changed.revoked_at,
        _names(changed.models),
        _limits(changed.limits),
        changed.id,
    )


def note(rows: Rows, at: float, who: str, what: str, workspace: str, subject: str, details: str) -> None:
    """Write an act down."""
    sql = "INSERT INTO acts (at, who, what, workspace, subject, details) VALUES (?, ?, ?, ?, ?, ?)"
    rows.run(sql, at, who, what, workspace, subject, details)


def page_of_acts(rows: Rows, workspace: str | None, before: int | None, limit: int) -> list[Act]:
    """Newest first, before the one of this number; None: of every workspace."""
    terms: list[str] = []
    values: list[str | int] = []
    if workspace is not None:
        terms.append("workspace = ?")
        values.append(workspace)
    if before is not None:
        terms.append("id < ?")
        values.append(before)
    where = f"WHERE {' AND '.join(terms)} " if terms else ""
    return [Act(*row) for row in rows.all(f"SELECT {_ACT} FROM acts {where}ORDER BY id DESC LIMIT ?", *values, limit)]


def limits_told(limits: Limits) -> dict[str, int]:
    """Those that there are."""
    return {name: most for name, most in asdict(limits).items() if most is not None}


def _limits(limits: Limits) -> str:
    return msgspec.json.encode(limits_told(limits)).decode()


def _names(models: frozenset[str] | None) -> str | None:
    return None if models is None else msgspec.json.encode(sorted(models)).decode()


def _limits_of(text: object) -> Limits:
    return Limits(**msgspec.json.decode(cast(str, text), type=dict[str, int]))


def _names_of(text: object) -> frozenset[str] | None:
    return None if text is None else frozenset(msgspec.json.decode(cast(str, text), type=list[str]))


def _workspace(row: Sequence[object]) -> Workspace:
    id, organisation, name, created_at, models, limits = row
    return Workspace(
        cast(str, id),
        cast(str, organisation),
        cast(str, name),
        cast(int, created_at),
        _names_of(models),
        _limits_of(limits),
    )


def _key(row: Sequence[object]) -> KeyRecord:
    id, workspace, name, sha256, created_at, role, hint, expires_at, revoked_at, models, limits = row
    return KeyRecord(
        cast(str, id),
        cast(str, workspace),
        cast(str, name),
        cast(str, sha256),
        cast(int, created_at),
        cast(Role, role),
        cast(str, hint),
        cast("int | None", expires_at),
        cast("int | None", revoked_at),
        _names_of(models),
        _limits_of(limits),
    )
