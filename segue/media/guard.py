"""Which addresses may be fetched from: no request ever goes to an internal one, unless the owner of the house lists it.

Laws: every address that a name resolves to is judged, and one that is not to be reached makes all of them so; an
address inside another (IPv4 in IPv6, in its several disguises) is judged too; what is not known is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from segue.core import frozen

Reach = Literal["public", "listed", "nobody"]
"""Whom requests may go to: to every public address and those that are listed, to these alone, or to nobody."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@frozen
class _Listed:
    """An entry of the list: a name (`*.` before it: and all below), or a network; on one port, or on all."""

    name: str
    network: Network | None
    port: int | None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        host = host.rstrip(".").lower()
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name


class Guard:
    """Judges; `listed` are names, addresses and networks, each perhaps with `:port` behind.  Raises ValueError."""

    def __init__(self, reach: Reach, listed: Sequence[str] = ()) -> None:
        self._reach = reach
        self._listed = tuple(_entry(text) for text in listed)

    def may(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        """May `host`, which resolves to these addresses, be asked on this port?"""
        if self._reach == "nobody" or not addresses:
            return False
        return all(self._one(host, port, address) for address in addresses)

    def _one(self, host: str, port: int, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        within = _within(address)
        if any(entry.covers(host, each, port) for entry in self._listed for each in {address, within}):
            return True
        return self._reach == "public" and _public(within) and (_disguised(address) or _public(address))


def _public(address: Address) -> bool:
    if any(address.version == network.version and address in network for network in _NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _disguised(address: Address) -> bool:
    """Whether it is an IPv4 address in another spelling, which is judged by what it leads to."""
    return isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64)


def _within(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address


def _entry(text: str) -> _Listed:
    """Raises ValueError."""
    host, port = _split(text.strip().lower())
    if not host or (port is not None and not 0 < port < 65536):
        raise ValueError(f"no name, address or network: {text!r}")
    try:
        return _Listed("", ipaddress.ip_network(host, strict=False), port)
    except ValueError:
        if "/" in host or "*" in host.removeprefix("*.") or host == "*":
            raise ValueError(f"no name, address or network: {text!r}") from None
        return _Listed(host.rstrip("."), None, port)


def _split(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, _, behind = text[1:].partition("]")
        return host, int(behind[1:]) if behind.startswith(":") else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, None
