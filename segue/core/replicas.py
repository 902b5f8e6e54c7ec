"""Where a model that runs elsewhere can be asked: what was configured, what administrators have added, how each is.

Laws: a replica is known by its address; its id is made of that, so that it is the same at every server; a key is never
here, only the name of the environment variable that has it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from segue.core import frozen

URL_CHARACTERS_MAX = 1000
WEIGHT_MIN, WEIGHT_MAX = 0.01, 16.0
Origin = Literal["configured", "found", "added"]
"""In the catalogue, behind a host name of it, or by an administrator."""


@frozen
class NewReplica:
    """A replica that is to be added.  `addresses`: each address behind the host name is one of its own."""

    url: str
    weight: float = 1.0
    key_env: str = ""
    addresses: bool = False


@frozen
class ReplicaRecord:
    """What administrators have said of an address.  `added`: it is there by their word, not by the catalogue's."""

    model: str
    id: str
    url: str
    weight: float
    key_env: str
    addresses: bool
    draining: bool
    added: bool
    created_at: int


@frozen
class Replica:
    """An address, as a server sees it.  `ready` and `running` are that server's; None: it does not ask there (yet)."""

    model: str
    id: str
    url: str
    weight: float
    origin: Origin
    draining: bool
    ready: bool | None = None
    running: int | None = None


def replica_id(url: str) -> str:
    """What the replica of this address is called."""
    return "re-" + hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]


def url_trouble(url: str) -> str:
    """Why an upstream cannot have this address, in a sentence; "" where it can."""
    if len(url) > URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"It is no address, or longer than {URL_CHARACTERS_MAX} characters."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "It is no address."
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "Say http://host:port or https://host/path."
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or "?" in url:
        return "An address has no user, no query and no fragment; keys stand in the environment."
    return ""


def admitted(url: str, hosts: Sequence[str]) -> bool:
    """Is the address's host one of `hosts`: names, `*.suffix`, networks such as `10.0.0.0/8`, or `*`?"""
    host = (urlsplit(url).hostname or "").lower()
    for each in (pattern.strip().lower() for pattern in hosts):
        if each in ("*", host) or (each.startswith("*.") and host.endswith(each[1:])):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(each, strict=False):
                return True
        except (ValueError, TypeError):
            continue
    return False
