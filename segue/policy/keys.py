"""What a key is made of, and what is kept of it.

Laws: a key is shown once, when it is made, and never stored; what is kept is its SHA-256.  A slow password hash would
only slow every request down: it is for guessable secrets, and 192 random bits are not guessable.
"""

from __future__ import annotations

import hashlib
import secrets

HINT_CHARACTERS = 7
_KEY_BYTES = 24
_ID_BYTES = 8
_SHA256 = hashlib.sha256()


def digest(secret: str) -> str:
    """What is kept of a key: SHA-256, hexadecimal."""
    fresh = _SHA256.copy()  # cheaper than to have OpenSSL look the method up again
    fresh.update(secret.encode("utf-8", "surrogatepass"))
    return fresh.hexdigest()


def new_secret() -> str:
    """A key that nobody has."""
    return "sk-" + secrets.token_hex(_KEY_BYTES)


def new_id() -> str:
    """A key's public identifier."""
    return "key-" + secrets.token_hex(_ID_BYTES)


def hint(secret: str) -> str:
    """How a key begins, for whoever has several: of 48 digits the first four."""
    return secret[:HINT_CHARACTERS]
