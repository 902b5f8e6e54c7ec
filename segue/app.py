"""The composition root: the only file that builds things.

    Settings -> Catalogue -> engines -> House -> Pipeline -> Observed -> Door -> routes

Laws: nothing here decides; it passes settings to where they are kept and functions to where they
are called.  Engines start in the background once the app is up: `/healthz` answers at once,
`/readyz` when they do, and a request that comes earlier is told that the model is not there yet.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from segue import __version__
from segue.accounts import Accounts
from segue.app_batches import clerk_of
from segue.app_media import gallery_of, uploads_of
from segue.app_replicas import Replicas
from segue.batches.clerk import Clerk
from segue.catalogue.read import Names, names_served, read_catalogue
from segue.config import Settings
from segue.core.documents import Part, mark
from segue.core.errors import EngineFailed, EngineLost, TimedOut
from segue.core.generation import ModelCard, Seam, Segment
from segue.core.media import Viewer
from segue.core.usage import Book
from segue.engine.base import Engine
from segue.engine.house import House
from segue.engines import house_of
from segue.files.archive import Archive, Bounds
from segue.files.counting import counted
from segue.files.desk import Sizes
from segue.files.indexing import IndexFailed, indexed
from segue.files.work import Pace
from segue.numbers import Board, Numbers, Publishing
from segue.observe import Access, Observed, Stages
from segue.pipeline import Job, Pipeline
from segue.policy.auth import Auth
from segue.policy.inspection.inspector import Inspector
from segue.policy.rules import DocumentLimits
from segue.post import Post
from segue.prompt.answers import Answers
from segue.prompt.reading import Limits as ReadingLimits
from segue.prompt.reading import NoLibrary, Reader
from segue.prompt.shared import SharedAnswers
from segue.prompt.statements import Limits as StatementLimits
from segue.retrieval.asking import Asking
from segue.standing import (
    ANSWERS,
    RESPONSES,
    Shared,
    Stay,
    console_of,
    directory_of,
    metrics_of,
    office_of,
    probes,
    remembered_of,
    take_over_keys,
    traces_of,
)
from segue.store.base import Blobs, Content, Quota, StoreUnusable
from segue.store.batching import BatchStore
from segue.store.database import Database
from segue.store.filing import FilesStore
from segue.store.folder import FolderBlobs
from segue.store.remembered import Remembered
from segue.store.sqlite import SqliteDatabase
from segue.store.uses import Uses
from segue.together import Together
from segue.wire.admin import routes as admin
from segue.wire.anthropic import routes as anthropic
from segue.wire.dashscope import files as dashscope_files
from segue.wire.dashscope import routes as dashscope
from segue.wire.dashscope import uploads as dashscope_uploads
from segue.wire.desk import UploadLimits
from segue.wire.http import Door, Endpoint, fallback
from segue.wire.limits import Limits
from segue.wire.openai import batches
from segue.wire.openai import files as openai_files
from segue.wire.openai import routes as openai
from segue.wire.parameters import StopLimits
from segue.wire.responses import routes as responses
from segue.wire.responses.kept import Keeping, Kept, KeptLimits
from segue.wire.responses.stored import Stored

_ENGINE_LOOK_S = 1.0
_DATABASE = "files.sqlite"
_INDEXER = "segue.retrieval.build"  # run as a program, in a process of its own


def names_of(settings: Settings) -> Names:
    """The models to serve and which of them answers to a name.  Raises CatalogueInvalid."""
    models = settings.models
    return names_served(read_catalogue(models.catalogue), models.default, models.also)


def build(settings: Settings, engines: Mapping[str, Engine] | None = None, post: Post | None = None) -> Starlette:
    """The ASGI app.  `app.state.house` has the engines, `app.state.observed` the counters.

    `engines` (by served name) stand in for those of the catalogue; `post` is this process's among several that serve
    together.  Raises CatalogueInvalid.
    """
    names = names_of(settings)
    house = house_of(settings, names, engines, post)
    database = database_of(settings)
    archive = _archive(settings, house, database) if settings.files.enabled else None
    directory = directory_of(settings, database, archive.removed if archive is not None else lambda: None)
    office = office_of(names, database, directory.refresh)
    replicas = Replicas(settings, names, house, database)
    accounts = Accounts(settings, names, database, shared=bool(settings.store.url), several=post is not None)
    remembered = remembered_of(settings, database, several=post is not None)
    auth = Auth(directory.current)
    uploads = None if archive is None else uploads_of(settings, archive, auth)
    viewer = gallery_of(settings, archive, uploads)
    meter = accounts.metered(_pipeline(settings, house, archive, accounts.inspector, remembered, viewer))
    directory.heed(lambda: meter.revoke(directory.opens))
    observed = Observed(meter)
    traces = traces_of(settings)
    door = _door(settings, house, names, observed if traces is None else traces.around(observed), auth, meter)

    async def moved_in() -> None:
        if not settings.auth.api_key:
            await take_over_keys(settings, database)
        await office.tidy()
        await directory.refresh()

    async def numbers() -> Numbers:
        tally = None if archive is None else archive.tally
        entries = None if accounts.clerk is None else accounts.clerk.entries
        return Numbers(observed.counters, observed.times, tally, await house.health(), observed.limited, entries)

    board = None if post is None else Board(post.folder, str(post.number))
    publishing = None if board is None else Publishing(board, numbers)
    others = [part for part in (remembered, archive, uploads, traces, publishing) if part is not None]
    standing = Together(database, directory, accounts, *others, *replicas.parts, ready=moved_in)
    stay = Stay()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await standing.open()
        house.open()
        if clerk is not None:
            clerk.open()
        try:
            yield
        finally:
            if clerk is not None:
                await clerk.close()
            await house.close()
            await standing.close()

    clerk = None if archive is None else clerk_of(settings.files, house, names, door, BatchStore(database), archive)
    filing = [] if archive is None or clerk is None else _filing(door, archive, clerk, settings)
    if uploads is not None:
        filing += dashscope_uploads.routes(door, uploads, _form_limits(settings), uploads.bounds.ticket_s)
    app = _App(
        routes=[
            *probes(house, directory, stay),
            metrics_of(door, numbers, board),
            *openai.routes(door),
            *dashscope.routes(door),
            *(console_of(door, names, archive) if settings.server.console else ()),
            *anthropic.routes(door),
            *responses.routes(door, _kept(settings, remembered)),
            *filing,
            *admin.routes(door, office, replicas.office, __version__, Uses(database), lambda: names.catalogue.currency),
        ],
        lifespan=lifespan,
    )
    app.router.default = fallback(door)
    app.router.redirect_slashes = False  # a redirected POST loses its body in many clients
    app.state.house = house
    app.state.leave = stay.leave
    app.state.archive = archive
    app.state.standing = standing
    app.state.office = office
    app.state.names = names
    app.state.reloads = [
        lambda settings: names.renew(read_catalogue(settings.models.catalogue)),
        lambda settings: accounts.renew(settings, names),
    ]
    bare = not settings.server.cors_origins and not settings.log.access and traces is None
    app.direct = {
        route.path: route.app
        for route in app.routes
        if isinstance(route, Route) and isinstance(route.app, Endpoint) and bare
    }
    app.state.observed = observed
    app.state.accounts = accounts
    if settings.log.access:
        app.add_middleware(Access)
    if traces is not None:
        from segue.traces import Door as TracedDoor

        app.add_middleware(TracedDoor, tracer=traces.tracer)
    if settings.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.server.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "x-segue-model", "x-segue-seam", "x-segue-documents", "x-segue-ignored"],
        )
    return app


def _pipeline(
    settings: Settings,
    house: House,
    archive: Archive | None,
    inspector: Inspector | None,
    remembered: Remembered | None,
    viewer: Viewer,
) -> Pipeline:
    how = settings.seam
    seam = Seam(how.tokens_max, how.eps_max, how.nodes_max, how.time_max_s) if how.search else None
    answers = Answers(how.answers_max, how.answers_bytes_max)
    if remembered is not None:
        answers = SharedAnswers(how.answers_max, how.answers_bytes_max, Shared(remembered, ANSWERS))
    about = settings.documents
    limits = DocumentLimits(about.profile == "2024", about.files_max, about.output_tokens_default)
    reader = _reader(settings, archive)
    return Pipeline(
        house.find, settings.engine.deterministic, seam, answers, reader, limits, inspector=inspector, viewer=viewer
    )


def _reader(settings: Settings, archive: Archive | None) -> Reader:
    """What reads documents, for conversations about some."""
    about = settings.documents

    async def index(text: Path, parts: Sequence[Part], out: Path) -> None:
        try:
            await indexed(_INDEXER, text, parts, out, about.index_s)
        except TimeoutError:
            raise TimedOut from None
        except IndexFailed as error:
            raise EngineFailed(str(error)) from error

    limits = ReadingLimits(
        lenient=about.profile == "current",
        message_tokens_max=about.message_tokens_max,
        text_tokens_max=about.text_tokens_max,
        total_tokens_max=about.total_tokens_max,
        parse_wait_s=about.parse_wait_s,
        whole_tokens_max=about.whole_tokens_max,
        passages_tokens_max=about.passages_tokens_max,
        passages_max=about.passages_max,
        statements=StatementLimits(about.statements_tokens_max, about.statements_s),
        notes_tokens_max=about.notes_tokens_max,
        notes_at_a_time=about.notes_running_max,
    )
    library = NoLibrary() if archive is None else archive.library
    return Reader(library, Asking(index, about.kept_bytes_max), limits)


def _door(settings: Settings, house: House, names: Names, stages: Stages, auth: Auth, book: Book) -> Door[Job]:
    def listed() -> Sequence[tuple[str, ModelCard]]:
        return [(name, house.card(name)) for name in names.listed()]

    async def encode(model: str, text: str) -> tuple[Sequence[int], Sequence[bytes]]:
        engine = house.find(model)
        ids = await engine.encode([Segment(text)])
        return ids, await engine.pieces(ids)

    return Door(
        prepare=stages.prepare,
        answer=stages.answer,
        authenticate=auth.authenticate,
        caller=auth.caller,
        names=listed,
        card_of=house.card,
        encode=encode,
        clock=time.time,
        new_id=_uuid7,
        reads_documents=names.reads_documents,
        limits=_limits(settings),
        book=book,
    )


def database_of(settings: Settings) -> Database:
    """What all rows are kept in, not yet opened.  Raises StoreUnusable."""
    if settings.store.url:
        try:  # when it is wanted: its driver is an extra
            from segue.store.postgres import PostgresDatabase
        except ImportError as error:
            raise StoreUnusable(f"a driver is missing ({error}): pip install 'segue[postgres]'") from error
        return PostgresDatabase(settings.store.url, settings.store.connections_max)
    return SqliteDatabase(database_path(settings))


def database_path(settings: Settings) -> Path:
    """Where the file of all rows lies, where there is no URL."""
    return settings.files.dir / _DATABASE


def blobs_of(settings: Settings, database: Database) -> Blobs:
    """What the bytes of files are kept in, not yet opened.  Raises StoreUnusable."""
    files = settings.files
    folder = FolderBlobs(files.dir)
    if not files.bucket:
        return folder
    try:  # when it is wanted: its library is an extra
        from segue.store.bucket import BucketBlobs, place_of
    except ImportError as error:
        raise StoreUnusable(f"a library is missing ({error}): pip install 'segue[s3]'") from error
    place = place_of(files.bucket, files.bucket_endpoint, files.bucket_region, files.bucket_key, files.bucket_secret)
    return BucketBlobs(place, folder, files.cache_bytes_max, database.alone)


def _archive(settings: Settings, house: House, database: Database) -> Archive:
    """The files of callers, not yet opened."""
    # Imported when wanted, as an engine is: what reads files is much code, and a server may have none.
    from segue.files.parsing.parser import Parser

    files = settings.files
    parser = Parser()

    async def index(text: Path, parts: Sequence[Part], out: Path) -> None:
        await indexed(_INDEXER, text, parts, out, files.index_s)

    async def count(path: Path) -> int:
        await house.started()  # a file may have come, or have been left over, before there was anybody to count it

        async def tokens(piece: str) -> int:
            async with asyncio.timeout(files.index_s):
                while True:
                    try:
                        return len(await house.find(settings.models.default).encode([Segment(piece)]))
                    except EngineLost:  # it is being started again, which is not the file's fault
                        await asyncio.sleep(_ENGINE_LOOK_S)

        return await counted(path, tokens)

    places = files.reading_max or max(1, ((os.cpu_count() or 1) - 1) // settings.server.workers)
    bounds = Bounds(
        quota=Quota(files.files_max, files.bytes_max),
        sizes=Sizes(
            files.document_bytes_max, files.image_bytes_max, files.batch_bytes_max, settings.media.upload_bytes_max
        ),
        pace=Pace(
            at_a_time=places,
            long_max=places,
            tries_max=files.tries_max,
            lease_s=files.lease_s,
        ),
        uploads_per_s=files.uploads_per_s,
        calls_per_s=files.calls_per_s,
        removed_kept_s=files.removed_kept_s,
    )

    async def forget(content: Content) -> None:
        await house.forget([mark(content.workspace, content.sha256)])

    blobs = blobs_of(settings, database)
    return Archive(FilesStore(database), blobs, bounds, parser.parse, count, index, time.time, forget)


def _filing(door: Door[Job], archive: Archive, clerk: Clerk, settings: Settings) -> list[BaseRoute]:
    limits = UploadLimits(silence_s=settings.server.body_wait_s, whole_s=settings.files.upload_wait_s)
    return [
        *openai_files.routes(door, archive.desk, limits),
        *dashscope_files.routes(door, archive.desk, limits),
        *batches.routes(door, clerk, lambda workspace: archive.desk.admit(workspace, False)),
    ]


def _form_limits(settings: Settings) -> UploadLimits:
    """Of a form that uploads one file."""
    return UploadLimits(files_max=1, silence_s=settings.server.body_wait_s, whole_s=settings.files.upload_wait_s)


def _kept(settings: Settings, remembered: Remembered | None) -> Keeping:
    if remembered is not None:
        return Stored(Shared(remembered, RESPONSES))
    server = settings.server
    return Kept(KeptLimits(server.responses_max, server.responses_bytes_max, server.responses_kept_s), time.time)


def _uuid7() -> str:
    """A version 7 UUID's text (RFC 9562): one that is made later is greater, by milliseconds.

    So the ledger's rows, which have these names, are put down side by side: with random ones each row changed a page
    of its own, and the more there were, the dearer was the next.
    """
    when, chance = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) % 4]
    return f"{when[:8]}-{when[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


class _App(Starlette):
    """Starlette, but for exact paths, which go straight to their endpoints: routing and the error
    middleware (our endpoints answer their own errors) are a tenth of a short request."""

    direct: Mapping[str, ASGIApp] = MappingProxyType({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.direct.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is not None:
            await endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _limits(settings: Settings) -> Limits:
    server = settings.server
    return Limits(
        body_bytes_max=server.body_bytes_max,
        header_bytes_max=server.header_bytes_max,
        messages_max=server.messages_max,
        stops=StopLimits(entries_max=server.stop_entries_max, length_max=server.stop_characters_max),
        body_wait_s=server.body_wait_s,
        # As long as files may be waited for, and then as long as for an answer: until then a refusal has its status.
        prepare_wait_s=settings.documents.parse_wait_s + server.first_event_wait_s,
        first_event_wait_s=server.first_event_wait_s,
        heartbeat_s=server.heartbeat_s,
        stalled_s=server.stalled_s,
    )
