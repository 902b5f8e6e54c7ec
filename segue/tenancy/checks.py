"""What names, models, limits and times of workspaces and keys may be.

Laws: everything that is kept was checked here, whichever door it came through; what is wrong is a ValueRefused that
says what would be right.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import get_args

from segue.core.errors import ModelUnknown, ValueRefused
from segue.core.tenancy import WORKSPACE, KeyRecord, Limits, Role, Workspace
from segue.policy.auth import WORKSPACE_ID

NAME_CHARACTERS_MAX = 128
MODELS_MAX = 1000
MODEL_CHARACTERS_MAX = 128
LIMIT_MAX = 10**15
EXPIRES_MAX = 253_402_300_799
"""The last second of the year 9999."""
ROLES: tuple[Role, ...] = get_args(Role)


def workspace(made: Workspace, before: Workspace | None, known: Callable[[str], bool]) -> None:
    """Raises ValueRefused, ModelUnknown."""
    if not WORKSPACE_ID.fullmatch(made.id):
        raise ValueRefused("id", "1 to 64 letters, digits, - and _, beginning with a letter or a digit.")
    _name(made.name)
    if (made.models is None) != (made.id == WORKSPACE):
        told = "The default workspace may use every model, and no other workspace may."
        raise ValueRefused("models", f"{told} Authorise a workspace for each of its models.")
    _models(made.models, None if before is None else before.models, known)
    _limits(made.limits)


def key(made: KeyRecord, before: KeyRecord | None, now: float, known: Callable[[str], bool]) -> None:
    """Raises ValueRefused, ModelUnknown."""
    _name(made.name)
    if made.role not in ROLES:
        raise ValueRefused("role", f"One of {', '.join(ROLES)}.")
    if made.role == "admin" and made.workspace != WORKSPACE:
        raise ValueRefused("role", "Administrators are of the default workspace.")
    changed = before is None or before.expires_at != made.expires_at
    if changed and made.expires_at is not None and not now < made.expires_at <= EXPIRES_MAX:
        raise ValueRefused("expires_at", "A time to come, in unix seconds. To end a key now, revoke it.")
    _models(made.models, None if before is None else before.models, known)
    _limits(made.limits)


def name(wanted: str) -> None:
    """Raises ValueRefused."""
    _name(wanted)


def _name(wanted: str) -> None:
    if not (0 < len(wanted) <= NAME_CHARACTERS_MAX and wanted.isprintable() and wanted.strip() == wanted):
        told = f"1 to {NAME_CHARACTERS_MAX} printable characters, with no space at either end."
        raise ValueRefused("name", told)


def _models(models: frozenset[str] | None, before: frozenset[str] | None, known: Callable[[str], bool]) -> None:
    """What was there before may stay when no model answers to it any more."""
    if models is None:
        return
    if len(models) > MODELS_MAX:
        raise ValueRefused("models", f"At most {MODELS_MAX} names.")
    for model in sorted(models - (before or frozenset())):
        if not 0 < len(model) <= MODEL_CHARACTERS_MAX or not model.isprintable() or not known(model):
            raise ModelUnknown(model)


def _limits(limits: Limits) -> None:
    for name, most in asdict(limits).items():
        if most is not None and not 1 <= most <= LIMIT_MAX:
            raise ValueRefused(f"limits.{name}", f"1 to {LIMIT_MAX}, or null for no limit.")
