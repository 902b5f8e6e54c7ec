"""The acts of whoever administers: workspaces, what they may use, and keys.

Laws: the command line and the HTTP interface act through here and nowhere else; an act, its entry in the audit log and
the new revision are one transaction, so there is none without the other; a secret leaves as the answer to the act that
made it and is in no row, no entry and no log; what an act changes holds on this server when it returns.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

import msgspec

from segue.core.errors import AlreadyThere, KeyAbsent, ValueRefused, WorkspaceUnknown
from segue.core.tenancy import ORGANISATION, WORKSPACE, Act, KeyRecord, NewKey, NewWorkspace, Organisation, Workspace
from segue.policy.auth import WORKSPACE_ID
from segue.policy.keys import digest, hint, new_id, new_secret
from segue.store.database import Database, Rows
from segue.tenancy import checks, rows

T = TypeVar("T")

DETAILS_CHARACTERS_MAX = 2000
_PART = "tenancy"
_WORKSPACE_ID_BYTES = 8


async def _nobody_listens() -> None:
    """For an office without a server."""


class Office:
    """Acts on `database`, which is open.  `clock` is in unix seconds; `known` says whether a model answers to a name;
    `changed` is awaited behind each act; each of `farewells` removes what else was a workspace's, within the act."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        known: Callable[[str], bool],
        changed: Callable[[], Awaitable[None]] | None = None,
        farewells: Sequence[Callable[[Rows, str], None]] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._known = known
        self._changed = changed or _nobody_listens
        self._farewells = tuple(farewells)

    # The organisation

    async def organisation(self) -> Organisation:
        """The one there is."""
        return await self._database.read(rows.organisation)

    async def name_organisation(self, who: str, name: str) -> Organisation:
        """Call it otherwise.  Raises ValueRefused."""
        checks.name(name)

        def act(all: Rows) -> Organisation:
            before = rows.organisation(all)
            rows.name_organisation(all, name)
            self._note(all, who, "organisation.change", "", ORGANISATION, {"name": [before.name, name]})
            return replace(before, name=name)

        return await self._act(act)

    # Workspaces

    async def workspaces(self, after: str, limit: int) -> Sequence[Workspace]:
        """A page of them, by their ids, behind `after`.  Raises ValueRefused."""
        _place(after, "after")
        return await self._database.read(lambda all: rows.page_of_workspaces(all, after, limit))

    async def workspace(self, id: str) -> Workspace:
        """One.  Raises WorkspaceUnknown."""
        return await self._database.read(lambda all: _workspace(all, id))

    async def add_workspace(self, who: str, new: NewWorkspace) -> Workspace:
        """Make one.  Raises ValueRefused, ModelUnknown, AlreadyThere."""
        id = new.id or "ws-" + secrets.token_hex(_WORKSPACE_ID_BYTES)
        made = Workspace(id, ORGANISATION, new.name, int(self._clock()), new.models, new.limits)
        checks.workspace(made, None, self._known)

        def act(all: Rows) -> Workspace:
            if rows.workspace_was(all, id):
                raise AlreadyThere("workspace", id)
            rows.add_workspace(all, made)
            self._note(all, who, "workspace.create", id, id, _told(made))
            return made

        return await self._act(act)

    async def change_workspace(self, who: str, id: str, change: Callable[[Workspace], Workspace]) -> Workspace:
        """Give one another name, other models or limits.  Raises WorkspaceUnknown, ValueRefused, ModelUnknown, and
        what `change` raises."""

        def act(all: Rows) -> Workspace:
            before = _workspace(all, id)
            after = change(before)
            checks.workspace(after, before, self._known)
            rows.put_workspace(all, after)
            self._note(all, who, "workspace.change", id, id, _differences(_told(before), _told(after)))
            return after

        return await self._act(act)

    async def remove_workspace(self, who: str, id: str) -> Workspace:
        """Remove one for good, with its keys and all that it kept.  Raises WorkspaceUnknown, ValueRefused."""
        if id == WORKSPACE:
            raise ValueRefused("id", "The default workspace stays.")

        def act(all: Rows) -> Workspace:
            before = _workspace(all, id)
            rows.remove_workspace(all, id, int(self._clock()))
            for farewell in self._farewells:
                farewell(all, id)
            self._note(all, who, "workspace.remove", id, id, {"name": before.name})
            return before

        return await self._act(act, within="")

    # Keys

    async def keys(self, workspace: str | None, after: str, limit: int) -> Sequence[KeyRecord]:
        """A page of them, by their ids, behind `after`; None: of every workspace.  Raises WorkspaceUnknown,
        ValueRefused."""
        _place(after, "after")

        def found(all: Rows) -> Sequence[KeyRecord]:
            if workspace is not None:
                _workspace(all, workspace)
            return rows.page_of_keys(all, workspace, after, limit)

        return await self._database.read(found)

    async def key(self, id: str) -> KeyRecord:
        """One, revoked or not.  Raises KeyAbsent."""
        return await self._database.read(lambda all: _key(all, id))

    async def any_key(self) -> bool:
        """Was a key ever made?"""
        return await self._database.read(rows.any_key)

    async def add_key(self, who: str, new: NewKey) -> tuple[str, KeyRecord]:
        """Make one: the secret, to be shown once, and its record.  Raises ValueRefused, ModelUnknown,
        WorkspaceUnknown."""
        secret = new_secret()
        made = KeyRecord(
            id=new_id(),
            workspace=new.workspace,
            name=new.name,
            sha256=digest(secret),
            created_at=int(self._clock()),
            role=new.role,
            hint=hint(secret),
            expires_at=new.expires_at,
            models=new.models,
            limits=new.limits,
        )
        checks.key(made, None, self._clock(), self._known)

        def act(all: Rows) -> KeyRecord:
            _workspace(all, made.workspace)
            rows.add_key(all, made)
            self._note(all, who, "key.create", made.workspace, made.id, _told_key(made))
            return made

        return secret, await self._act(act)

    async def change_key(self, who: str, id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Give one another name, role, end, other models or limits.  Raises KeyAbsent, ValueRefused, ModelUnknown, and
        what `change` raises."""

        def act(all: Rows) -> KeyRecord:
            before = _key(all, id)
            if before.revoked_at is not None:
                raise ValueRefused("id", "The key was revoked, which is for good.")
            after = change(before)
            checks.key(after, before, self._clock(), self._known)
            rows.put_key(all, after)
            self._note(all, who, "key.change", after.workspace, id, _differences(_told_key(before), _told_key(after)))
            return after

        return await self._act(act)

    async def revoke_key(self, who: str, id: str) -> KeyRecord:
        """Make one open nothing any more; a second time does nothing.  Raises KeyAbsent."""

        def act(all: Rows) -> KeyRecord:
            before = _key(all, id)
            if before.revoked_at is not None:
                return before
            after = replace(before, revoked_at=int(self._clock()))
            rows.put_key(all, after)
            self._note(all, who, "key.revoke", after.workspace, id, {"name": before.name})
            return after

        return await self._act(act)

    async def tidy(self) -> None:
        """Remove what came into a workspace while it was being removed."""

        def act(all: Rows) -> None:
            for id in rows.removed_workspaces(all):
                for farewell in self._farewells:
                    farewell(all, id)

        await self._database.change(act)

    # The audit log

    async def acts(self, workspace: str | None, before: int | None, limit: int) -> Sequence[Act]:
        """A page of them, newest first, before the one of this number.  Raises ValueRefused."""
        _place(workspace or "", "workspace")
        return await self._database.read(lambda all: rows.page_of_acts(all, workspace, before, limit))

    async def _act(self, act: Callable[[Rows], T], within: str = _PART) -> T:
        def whole(all: Rows) -> T:
            done = act(all)
            rows.count_up(all)
            return done

        done = await self._database.change(whole, within)
        await self._changed()
        return done

    def _note(self, all: Rows, who: str, what: str, workspace: str, subject: str, facts: dict[str, object]) -> None:
        details = msgspec.json.encode(facts).decode()
        if len(details) > DETAILS_CHARACTERS_MAX:  # a thousand models, say
            details = msgspec.json.encode({"cut": details[:DETAILS_CHARACTERS_MAX]}).decode()
        rows.note(all, self._clock(), who, what, workspace, subject, details)


def _place(id: str, field: str) -> None:
    """A place in a list; what no id can be is not let near a database."""
    if id and not WORKSPACE_ID.fullmatch(id):
        raise ValueRefused(field, "It is no id.")


def _workspace(all: Rows, id: str) -> Workspace:
    found = rows.find_workspace(all, id) if WORKSPACE_ID.fullmatch(id) else None
    if found is None:
        raise WorkspaceUnknown(id)
    return found


def _key(all: Rows, id: str) -> KeyRecord:
    found = rows.find_key(all, id) if WORKSPACE_ID.fullmatch(id) else None
    if found is None:
        raise KeyAbsent(id)
    return found


def _told(each: Workspace) -> dict[str, object]:
    """What the audit log says of a workspace."""
    models = None if each.models is None else sorted(each.models)
    return {"name": each.name, "models": models, "limits": rows.limits_told(each.limits)}


def _told_key(each: KeyRecord) -> dict[str, object]:
    """What it says of a key: neither its digest nor its beginning."""
    models = None if each.models is None else sorted(each.models)
    facts = {name: value for name, value in asdict(each).items() if name in ("name", "role", "expires_at")}
    return {**facts, "models": models, "limits": rows.limits_told(each.limits)}


def _differences(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {name: [before[name], after[name]] for name in after if before[name] != after[name]}
