"""Bodies of administrative acts, read into the vocabulary.

Laws: pure; every field is of its type, or refused; a field that there is not is refused and never read past, for it may
be a misspelt limit; of a change, what is absent stays, and null takes away what can be taken away.  Which values there
may be is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from typing import cast

from segue.core.errors import FieldMissing, FieldUnknown, FieldWrong, ValueRefused
from segue.core.replicas import NewReplica
from segue.core.tenancy import WORKSPACE, KeyRecord, Limits, NewKey, NewWorkspace, Role, Workspace
from segue.wire.fields import Fields, Ignored

LIMITS = tuple(item.name for item in fields(Limits))
WORKSPACE_FIELDS = ("name", "models", "limits")
KEY_FIELDS = ("name", "role", "expires_at", "expires_in_s", "models", "limits")
EXPIRES_IN_MAX_S = 100 * 365 * 86400


def organisation(values: Mapping[str, object]) -> str:
    """The organisation's name.  Raises Refused."""
    return _name(_fields(values, ("name",)))


def new_workspace(values: Mapping[str, object]) -> NewWorkspace:
    """A workspace that is to be made.  Raises Refused."""
    given = _fields(values, ("id", *WORKSPACE_FIELDS))
    return NewWorkspace(_name(given), given.string("id"), _models(given) or frozenset(), _limits(given, Limits()))


def workspace_change(values: Mapping[str, object]) -> Callable[[Workspace], Workspace]:
    """What becomes of a workspace.  Raises Refused."""
    given = _fields(values, WORKSPACE_FIELDS)
    name = _name(given) if "name" in values else None
    models = _models(given)
    _limits(given, Limits())  # told before anything is looked up

    def change(before: Workspace) -> Workspace:
        return replace(
            before,
            name=before.name if name is None else name,
            models=models if "models" in values else before.models,
            limits=_limits(given, before.limits),
        )

    return change


def new_key(values: Mapping[str, object], now: float) -> NewKey:
    """A key that is to be made.  Raises Refused."""
    given = _fields(values, ("workspace", *KEY_FIELDS))
    return NewKey(
        _name(given),
        given.string("workspace") or WORKSPACE,
        _role(given) or "member",
        _expires_at(given, now),
        _models(given),
        _limits(given, Limits()),
    )


def key_change(values: Mapping[str, object], now: float) -> Callable[[KeyRecord], KeyRecord]:
    """What becomes of a key.  Raises Refused."""
    given = _fields(values, KEY_FIELDS)
    name = _name(given) if "name" in values else None
    role, models, expires_at = _role(given), _models(given), _expires_at(given, now)
    _limits(given, Limits())

    def change(before: KeyRecord) -> KeyRecord:
        return replace(
            before,
            name=before.name if name is None else name,
            role=role or before.role,
            expires_at=expires_at if values.keys() & {"expires_at", "expires_in_s"} else before.expires_at,
            models=models if "models" in values else before.models,
            limits=_limits(given, before.limits),
        )

    return change


def new_replica(values: Mapping[str, object]) -> NewReplica:
    """A replica that is to be added.  Raises Refused."""
    given = _fields(values, ("url", "weight", "key_env", "addresses"))
    url, weight, addresses = given.string("url"), given.number("weight"), given.boolean("addresses")
    if url is None:
        raise FieldMissing("url")
    return NewReplica(url, 1.0 if weight is None else weight, given.string("key_env") or "", addresses or False)


def replica_change(values: Mapping[str, object]) -> tuple[bool | None, float | None]:
    """Whether a replica is to be drained, and its weight; None: as it is.  Raises Refused."""
    given = _fields(values, ("draining", "weight"))
    return given.boolean("draining"), given.number("weight")


def _fields(values: Mapping[str, object], known: Collection[str], path: str = "") -> Fields:
    for name in values:
        if name not in known:
            raise FieldUnknown(path + name)
    return Fields(values, path, False, Ignored())


def _name(given: Fields) -> str:
    name = given.string("name")
    if name is None:
        raise FieldMissing("name")
    return name


def _role(given: Fields) -> Role | None:
    """Any word; whether there is such a role, the office knows."""
    return cast("Role | None", given.string("role"))


def _expires_at(given: Fields, now: float) -> int | None:
    at, within = given.integer("expires_at"), given.integer("expires_in_s")
    if within is None:
        return at
    if at is not None:
        raise ValueRefused("expires_in_s", "Either expires_at or expires_in_s.")
    if not 1 <= within <= EXPIRES_IN_MAX_S:
        raise ValueRefused("expires_in_s", f"1 to {EXPIRES_IN_MAX_S} seconds.")
    return int(now) + within


def _models(given: Fields) -> frozenset[str] | None:
    models = given.get("models")
    if models is None:
        return None
    if not isinstance(models, list):
        raise FieldWrong("models", "list")
    for at, model in enumerate(models):
        if not isinstance(model, str):
            raise FieldWrong(f"models.{at}", "string")
    return frozenset(models)


def _limits(given: Fields, before: Limits) -> Limits:
    """`before` with what is given laid over it."""
    inside = given.inside("limits")
    if inside is None:
        return Limits() if "limits" in given.values else before
    found = _fields(inside.values, LIMITS, "limits.")
    return replace(before, **{name: found.integer(name) for name in inside.values})
