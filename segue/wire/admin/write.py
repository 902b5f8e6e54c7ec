"""What the administration answers, written as JSON.

Laws: pure; a secret is written once, in the answer to the act that made it; a key's digest is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

import msgspec

from segue.core.replicas import Replica
from segue.core.tenancy import Act, KeyRecord, Organisation, Workspace
from segue.wire.openai.write import error as error

T = TypeVar("T")

encode = msgspec.json.encode


def organisation(each: Organisation) -> dict[str, object]:
    """The organisation."""
    return {"object": "organisation", **asdict(each)}


def workspace(each: Workspace) -> dict[str, object]:
    """A workspace; `models` is null where it may use every one."""
    return {
        "object": "workspace",
        "id": each.id,
        "organisation": each.organisation,
        "name": each.name,
        "created_at": each.created_at,
        "models": None if each.models is None else sorted(each.models),
        "limits": asdict(each.limits),
    }


def removed(each: Workspace) -> dict[str, object]:
    """That a workspace is there no more."""
    return {"object": "workspace", "id": each.id, "removed": True}


def authorised(each: Workspace) -> dict[str, object]:
    """What a workspace may use."""
    return {"object": "authorisations", "workspace": each.id, "models": workspace(each)["models"]}


def key(each: KeyRecord, secret: str | None = None) -> dict[str, object]:
    """A key; with its secret where it was just made."""
    told: dict[str, object] = {
        "object": "key",
        "id": each.id,
        "workspace": each.workspace,
        "name": each.name,
        "role": each.role,
        "hint": each.hint,
        "created_at": each.created_at,
        "expires_at": each.expires_at,
        "revoked_at": each.revoked_at,
        "models": None if each.models is None else sorted(each.models),
        "limits": asdict(each.limits),
    }
    return told if secret is None else {**told, "secret": secret}


def act(each: Act) -> dict[str, object]:
    """An entry of the audit log."""
    told: dict[str, object] = {"object": "act", **asdict(each)}
    return {**told, "details": msgspec.Raw(each.details.encode())}


def replica(each: Replica) -> dict[str, object]:
    """A replica; `ready` and `running` are null where this server does not ask there."""
    return {"object": "replica", **asdict(each)}


def removed_replica(id: str) -> dict[str, object]:
    """That a replica is asked no more."""
    return {"object": "replica", "id": id, "removed": True}


def page(found: Sequence[T], limit: int, write: Callable[[T], dict[str, object]]) -> dict[str, object]:
    """At most `limit` of them; one more was asked for, to see whether there are more."""
    return {"object": "list", "data": [write(each) for each in found[:limit]], "has_more": len(found) > limit}
