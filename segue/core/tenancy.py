"""Whose a thing is: an organisation has workspaces, a workspace has keys.

Laws: a secret is none of this, only its SHA-256 digest is; `None` is "no limit" in `Limits`, "every model" where models
are named, and "never" where a time is asked for, and an empty set of models is none at all; what a key is given narrows
what its workspace may, and never widens it; times are unix seconds.  This file knows no store and no protocol.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from segue.core import frozen

Role = Literal["admin", "member", "read-only"]
"""What a key may: `read-only` may look and not ask models or change anything, `member` may use its workspace, `admin`
may do the acts of the administration besides, over the whole organisation."""

ORGANISATION = "default"
WORKSPACE = "default"
"""The organisation and the workspace that are there from the beginning.  The default workspace may use every model."""


@frozen
class Limits:
    """What may be asked for at most.  None: no limit.

    Input and output tokens count as `tokens`; the month is the calendar's, in UTC; `cost_micros` is millionths of the
    currency in which the catalogue has its prices.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_second: int | None = None
    concurrent: int | None = None
    tokens_per_month: int | None = None
    cost_micros_per_month: int | None = None


UNLIMITED = Limits()


@frozen
class Organisation:
    """Whoever runs the server: everything else is in it."""

    id: str
    name: str
    created_at: int


@frozen
class Workspace:
    """What a team has: its keys, files, memory and bills are its own.  `models` are those it was authorised for, by any
    name that they answer to; None: every one, which the default workspace has and no other."""

    id: str
    organisation: str
    name: str
    created_at: int
    models: frozenset[str] | None = frozenset()
    limits: Limits = field(default_factory=Limits)


@frozen
class KeyRecord:
    """An issued key, without the key.  `hint` is how its secret begins, for whoever has several."""

    id: str
    workspace: str
    name: str
    sha256: str
    created_at: int
    role: Role = "member"
    hint: str = ""
    expires_at: int | None = None
    revoked_at: int | None = None
    models: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)

    def valid_at(self, now: float) -> bool:
        """Whether the key opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@frozen
class NewWorkspace:
    """A workspace that is to be made; one is named by whoever makes it, or gets an id of ours."""

    name: str
    id: str | None = None
    models: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)


@frozen
class NewKey:
    """A key that is to be made."""

    name: str
    workspace: str = WORKSPACE
    role: Role = "member"
    expires_at: int | None = None
    models: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)


@frozen
class Act:
    """An administrative act, as the audit log keeps it.  `who` is the id of a key, or `cli:` and a name of the system;
    `what` is a verb such as `key.create`, `subject` the id of what it was done to; `details` never hold a secret."""

    id: int
    at: float
    who: str
    what: str
    workspace: str
    subject: str
    details: str = ""
