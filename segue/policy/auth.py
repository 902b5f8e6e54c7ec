"""Who is asking: a bearer token to a Caller.

Laws: a request asks no database, all that can open anything is in memory; what is looked up is never the token but its
SHA-256, which nobody can steer, and what was found, or a stand-in where nothing was, is compared in constant time, so
that the time tells nothing of a key (docs/decisions/0020-keys-looked-up-by-digest.md); a missing, malformed, over-long,
expired or withdrawn key is the same KeyInvalid; a key is never kept, logged or repeated.  This file knows no header and
no protocol.
"""

from __future__ import annotations

import hmac
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field

from segue.core import frozen
from segue.core.errors import KeyInvalid, WorkspaceDenied, WorkspaceInvalid, WorkspaceUnknown
from segue.core.request import Caller
from segue.core.tenancy import WORKSPACE
from segue.policy.keys import digest

TOKEN_CHARACTERS_MAX = 256
WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@frozen
class Grant:
    """What a key opens.  `sha256` is its digest, hexadecimal; `expires_at` in unix seconds."""

    sha256: str
    caller: Caller
    expires_at: float = math.inf


@frozen
class Ring:
    """Every key that opens something, by digest, and the ids of all workspaces; `holders` has them by their
    ids and those of their workspaces."""

    grants: Mapping[str, Grant]
    workspaces: frozenset[str] = frozenset({WORKSPACE})
    holders: Mapping[tuple[str, str], Grant] = field(default_factory=dict)


# Compared where nothing was found: no digest is spelled like it.
_NOBODY = Grant("-" * 64, Caller("", ""))


def ring(grants: Iterable[Grant], workspaces: Iterable[str] = (WORKSPACE,)) -> Ring:
    """All of them together."""
    found = {grant.sha256: grant for grant in grants}
    holders = {(grant.caller.key, grant.caller.workspace): grant for grant in reversed(found.values())}
    return Ring(found, frozenset(workspaces), holders)


class Auth:
    """Checks tokens against `current`, which gives the ring of the moment; `clock` is in unix seconds."""

    def __init__(self, current: Callable[[], Ring], clock: Callable[[], float] = time.time) -> None:
        self._current = current
        self._clock = clock

    def authenticate(self, token: str | None, workspace: str | None = None) -> Caller:
        """Whose key `token` is; `workspace` is where the caller wants to be, None for the key's own.

        Raises KeyInvalid, WorkspaceInvalid, WorkspaceDenied, WorkspaceUnknown.
        """
        if not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise KeyInvalid
        given, now = digest(token), self._current()
        grant = now.grants.get(given, _NOBODY)
        if not hmac.compare_digest(grant.sha256, given) or self._clock() >= grant.expires_at:
            raise KeyInvalid
        caller = grant.caller
        if workspace is not None and workspace != caller.workspace:
            raise _elsewhere(caller, workspace, now)
        return caller

    def caller(self, key: str, workspace: str) -> Caller:
        """Whoever has the key of this id, as it may ask now: for work that was left here.  Raises KeyInvalid."""
        return self._granted(key, workspace).caller

    def seal(self, key: str, workspace: str, data: bytes) -> bytes:
        """A mark on `data` that only those can make who share these keys, and only while the key of this id opens
        something.  Raises KeyInvalid."""
        return hmac.digest(self._granted(key, workspace).sha256.encode(), data, "sha256")

    def _granted(self, key: str, workspace: str) -> Grant:
        grant = self._current().holders.get((key, workspace))
        if grant is None or grant.caller.role == "read-only" or self._clock() >= grant.expires_at:
            raise KeyInvalid
        return grant


def _elsewhere(caller: Caller, workspace: str, ring: Ring) -> WorkspaceInvalid | WorkspaceDenied | WorkspaceUnknown:
    """Why a caller cannot be there.  Who is no administrator is not told which workspaces there are."""
    if not WORKSPACE_ID.fullmatch(workspace):
        return WorkspaceInvalid()
    if caller.role == "admin" and workspace not in ring.workspaces:
        return WorkspaceUnknown(workspace)
    return WorkspaceDenied()
