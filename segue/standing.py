"""Builds what the house stands on: who may ask, who administers, and what is told of how it is.

Laws: as those of `app`, of which it is a part: nothing here decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from segue import __version__, metrics
from segue.catalogue.read import Names
from segue.config import Settings
from segue.config_read import SettingsInvalid
from segue.core.errors import ModelUnknown
from segue.core.request import Caller
from segue.core.tenancy import WORKSPACE
from segue.engine.house import House
from segue.files.archive import Archive
from segue.files.pages import Pages
from segue.numbers import Board, Numbers
from segue.pipeline import Job
from segue.policy.auth import Grant
from segue.policy.keys import digest
from segue.prompt.answers import VERSIONS_MAX
from segue.store.database import Database
from segue.store.filing import forget_workspace
from segue.store.remembered import Bounds, Remembered, forget_remembered
from segue.tenancy.directory import Directory, Fixed
from segue.tenancy.office import Office
from segue.tenancy.rows import begin
from segue.tenancy.takeover import take_over
from segue.wire import console
from segue.wire.http import Door, Endpoint, Exchange, send_plain
from segue.wire.openai.write import error as openai_error

if TYPE_CHECKING:
    from segue.traces import Traces

ANSWERS, RESPONSES = "answer", "response"
UNHURRIED = "SET LOCAL synchronous_commit TO OFF"
"""How a change begins that may be lost with PostgreSQL's power, and should not wait for its disk."""


def office_of(names: Names, database: Database, changed: Callable[[], Awaitable[None]] | None = None) -> Office:
    """Whoever administers workspaces and keys; `changed` is awaited behind each act."""

    def known(model: str) -> bool:
        try:
            names.resolve(model)
        except ModelUnknown:
            return False
        return True

    return Office(database, time.time, known, changed, [forget_workspace, forget_remembered])


async def take_over_keys(settings: Settings, database: Database) -> None:
    """What there must be in the database, and the keys of versions that kept them in a file.  Raises StoreUnusable."""
    await database.change(lambda rows: begin(rows, int(time.time())), "tenancy")
    await take_over(database, settings.auth.keys_file, time.time())


def directory_of(settings: Settings, database: Database, removed: Callable[[], None]) -> Directory:
    """Who may ask.  The keys that stand in the settings are in no row."""
    auth = settings.auth
    fixed = []
    if auth.api_key:
        fixed.append(Fixed(Grant(digest(auth.api_key), Caller("key-env", WORKSPACE)), only=True))
    if auth.admin_key:
        fixed.append(Fixed(Grant(digest(auth.admin_key), Caller("key-admin", WORKSPACE, role="admin"))))
    return Directory(database, auth.refresh_s, fixed, removed)


def console_of(door: Door[Job], names: Names, archive: Archive | None) -> list[BaseRoute]:
    """Where the console is served."""
    return console.routes(
        door,
        console.Told(
            prices=lambda model: names.catalogue.entry(model).prices,
            currency=lambda: names.catalogue.currency,
            version=__version__,
            shelf=None if archive is None else Pages(archive.library, archive.desk),
        ),
    )


class Shared:
    """What several servers remember of one kind."""

    def __init__(self, remembered: Remembered, kind: str) -> None:
        self._remembered, self._kind = remembered, kind

    def put(self, workspace: str, name: str, data: bytes) -> None:
        """Leave a thing for the others."""
        self._remembered.put(self._kind, workspace, name, data)

    async def find(self, workspace: str, names: Sequence[str]) -> Sequence[tuple[str, bytes]]:
        """The things of these names, newest first."""
        return await self._remembered.find(self._kind, workspace, names)

    async def remove(self, workspace: str, name: str) -> bool:
        """Take a thing away."""
        return await self._remembered.remove(self._kind, workspace, name)


def remembered_of(settings: Settings, database: Database, several: bool) -> Remembered | None:
    """What servers remember together; None where each remembers alone.  `several`: there are others on this machine."""
    store, seam, server = settings.store, settings.seam, settings.server
    if store.remembered == "memory" or (store.remembered == "auto" and not (store.url or several)):
        return None
    bounds = {
        ANSWERS: Bounds(seam.answers_max, seam.answers_bytes_max, seam.answers_kept_s, VERSIONS_MAX),
        RESPONSES: Bounds(server.responses_max, server.responses_bytes_max, server.responses_kept_s),
    }
    return Remembered(database, bounds, UNHURRIED if store.url else "")


def traces_of(settings: Settings) -> Traces | None:
    """Whoever traces requests, where that is wanted.  Raises SettingsInvalid without its library."""
    if not settings.traces.endpoint:
        return None
    # Imported when wanted: it is an extra.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from segue.traces import Traces
    except ImportError as error:
        raise SettingsInvalid([f"traces.endpoint needs the extra otel: pip install 'segue[otel]' ({error})"]) from error
    return Traces(OTLPSpanExporter(endpoint=settings.traces.endpoint), settings.traces.share)


class Stay:
    """Whether this server stays, or was told to leave."""

    def __init__(self) -> None:
        self.leaving = False

    def leave(self) -> None:
        """It leaves: whoever can ask another should."""
        self.leaving = True


def probes(house: House, directory: Directory, stay: Stay) -> list[BaseRoute]:
    """The only two paths without a key; they say nothing but yes or no."""

    async def alive(request: HttpRequest) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    async def ready(request: HttpRequest) -> PlainTextResponse:
        is_ready = not stay.leaving and directory.fresh and await house.ready()
        return PlainTextResponse("ready\n" if is_ready else "not ready\n", 200 if is_ready else 503)

    return [Route("/healthz", alive), Route("/readyz", ready)]


def metrics_of(door: Door[Job], numbers: Callable[[], Awaitable[Numbers]], board: Board | None) -> BaseRoute:
    """The counters, for those who run the server: sums over everybody, which would tell a team of the others; and over
    all processes that serve together, whichever of them is asked."""

    async def shown(exchange: Exchange) -> None:
        now = await numbers()
        all = now if board is None else await asyncio.to_thread(board.all, now)
        text = metrics.text(all.counters, all.times, all.engines, all.files, all.limited, all.entries)
        await send_plain(exchange, text, metrics.CONTENT_TYPE)

    return Route("/metrics", Endpoint(door, openai_error, {"GET": shown}, only=lambda caller: caller.oversees))
