"""Who is asking: a bearer token to a Caller.

Laws: every valid key is compared, each in constant time, whether or not one has matched, so that
the time tells nothing; a missing, malformed, over-long or withdrawn key is the same KeyInvalid; a
key is never kept, logged or repeated.  This file knows no header and no protocol.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from segue.core.errors import KeyInvalid
from segue.core.request import Caller
from segue.policy.keys import KeyRecord, digest

TOKEN_CHARACTERS_MAX = 256

# A server has one workspace; a caller may name it or none (a request's workspace header is read past).
WORKSPACE = "default"


class Auth:
    """Checks tokens against `records`, which is asked anew each time."""

    def __init__(self, records: Callable[[], Sequence[KeyRecord]]) -> None:
        self._records = records

    def authenticate(self, token: str | None, workspace: str | None = None) -> Caller:
        """Whose key `token` is.  Raises KeyInvalid."""
        if not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise KeyInvalid
        given, found = digest(token).encode(), ""
        for record in self._records():
            if hmac.compare_digest(record.sha256.encode(), given):
                found = record.id
        if not found:
            raise KeyInvalid
        return Caller(found, WORKSPACE)


def single(secret: str) -> Callable[[], Sequence[KeyRecord]]:
    """The records where one key was set by hand: nothing is stored."""
    only = (KeyRecord("key-env", "set by hand", digest(secret), ""),)
    return lambda: only
