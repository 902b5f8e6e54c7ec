"""All replicas of a model that runs elsewhere, as one engine: those that are named, those behind a host name, and those
that administrators add or drain while it runs.

Law: an address that its name service no longer tells gets nothing new; a name service that does not answer changes
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from segue.engine.base import Engine
from segue.engine.remote.kinds import Reading, remote
from segue.engine.remote.spec import RemoteSpec, Site
from segue.engine.router.balance import Policy
from segue.engine.router.engine import Failover, RoutedEngine

log = logging.getLogger("segue.engine")

ADDRESSES_MAX = 1000


class Fleet(RoutedEngine):
    """Keeps `segue.engine.base.Engine`."""

    def __init__(
        self, spec: RemoteSpec, sites: Sequence[Site], policy: Policy, how: Failover, resolve_every_s: float
    ) -> None:
        super().__init__({}, {}, policy, how)
        self._spec, self._sites, self._resolve_every_s = spec, sites, resolve_every_s
        self._reading = Reading(spec)
        self._found: dict[str, list[Site]] = {}
        self._resolver: asyncio.Task[None] | None = None
        self._added: Sequence[Site] = ()
        self._draining: Collection[str] = ()
        self._weights_said: Mapping[str, float] = {}
        self._told = asyncio.Event()

    def admit(self, added: Sequence[Site], draining: Collection[str], weights: Mapping[str, float]) -> None:
        """Beside those that were configured, ask these; give nothing new to those that are `draining`; these `weights`
        hold.  Both are by address, a host name's for all behind it."""
        self._added, self._draining, self._weights_said = added, draining, weights
        self._told.set()

    def found(self, url: str) -> bool:
        """Is it an address behind a host name?"""
        return any(each.url == url for sites in self._found.values() for each in sites)

    async def start(self) -> None:
        """Return when one replica can answer.  Raises EngineFailed where the model's files cannot be read."""
        await self._reading()
        await self._resolve()
        self._resolver = asyncio.create_task(self._keep_resolving())
        await self.up()

    async def close(self) -> None:
        """Close every replica."""
        if self._resolver is not None:
            self._resolver.cancel()
            await asyncio.gather(self._resolver, return_exceptions=True)
        await super().close()

    async def _keep_resolving(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), self._resolve_every_s)
            if self._told.is_set() or any(site.names for site in [*self._sites, *self._added]):
                await self._resolve()

    async def _resolve(self) -> None:
        makers: dict[str, Callable[[], Engine]] = {}
        weights: dict[str, float] = {}
        self._told.clear()
        for site in [*self._sites, *self._added]:
            for each in await self._behind(site) if site.names else [site]:
                if site.url in self._draining or each.url in self._draining or each.url in makers:
                    continue
                makers[each.url] = self._maker(each)
                said = self._weights_said
                weights[each.url] = said.get(each.url, said.get(site.url, each.weight))
        self.renew(makers, weights)

    def _maker(self, site: Site) -> Callable[[], Engine]:
        return lambda: remote(self._spec, site, self._reading)

    async def _behind(self, site: Site) -> list[Site]:
        """A site for each address of its host; those of the last time where the name service does not answer."""
        parts = urlsplit(site.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            log.error("a name of upstreams has no addresses", extra={"upstream": site.url})
            return self._found.get(site.url, [])
        addresses = sorted({str(address[0]) for *_, address in found})[:ADDRESSES_MAX]
        sites = []
        for address in addresses:
            place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            url = urlunsplit((parts.scheme, place, parts.path, "", ""))
            sites.append(replace(site, url=url, names=False, host=parts.netloc))
        self._found[site.url] = sites
        return sites
