"""`segue serve`: everything from a bare machine to a listening server, in one command."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
import uvloop

from segue.app import build, names_of
from segue.catalogue.read import Entry
from segue.catalogue.shelf import Shelf
from segue.catalogue.table import CatalogueInvalid
from segue.cli.connection import Connection, LeavingServer
from segue.cli.terminal import ConfigOption, Stop, fetched, out
from segue.config import Server, Settings
from segue.config_read import SettingsInvalid, load
from segue.core.errors import EngineFailed
from segue.core.tenancy import NewKey
from segue.crew import Crew, Member
from segue.engine.house import House
from segue.observe import write_log
from segue.tenancy.office import Office

log = logging.getLogger("segue")

_BACKLOG = 2048
_UNSENT_BYTES = 64 * 1024
"""More than this is not given to the system for a client who does not read it: it would take up to four megabytes each,
and nobody would see that the client is slow."""
_COLLECT_AFTER = 50_000, 20, 50


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that answers; see `segue models list`.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve; they share the engine.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that compute; 0 is one a core.")] = None,
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic/--no-deterministic", help="Same request, same bytes; slower.")
    ] = None,
    pull: Annotated[bool | None, typer.Option("--pull/--no-pull", help="Fetch a missing model file.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="line or json.")] = None,
) -> None:
    """Serve the API: fetch the model if it is missing, make a key at the first start, listen."""
    flags = {
        "server.host": host,
        "server.port": port,
        "server.workers": workers,
        "models.default": model,
        "models.pull": pull,
        "engine.threads": threads,
        "engine.deterministic": deterministic,
        "log.level": log_level,
        "log.format": log_format,
    }
    settings = load(flags, file=config)
    entries = names_of(settings).entries
    with _bound(settings.server) as listening:
        _files(settings, entries)
        write_log(settings.log.level, settings.log.format)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, _signals_spent():
            if settings.server.workers > 1:
                runner.run(Crew(settings, entries, listening, flags, config).run())
            else:
                runner.run(_serve(settings, listening, lambda: load(flags, file=config)))


def serve_as_member(channel: int, listening: int) -> None:
    """One of several processes that serve together, started by another `segue serve`."""
    with Member(channel) as member, socket.socket(fileno=listening) as shared:
        orders = member.orders()

        def read() -> Settings:
            return load(orders.flags, file=None if orders.config is None else Path(orders.config))

        settings = read()
        write_log(settings.log.level, settings.log.format)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, _signals_spent():
            runner.run(_serve(settings, shared, read, member))


def renewed(read: Callable[[], Settings], takers: Sequence[Callable[[Settings], Sequence[str]]]) -> bool:
    """Read the settings and the catalogue again and hand them round; what cannot be used changes nothing.  True when
    all took them."""
    try:
        settings = read()
        later = [sentence for take in takers for sentence in take(settings)]
    except (SettingsInvalid, CatalogueInvalid) as error:
        for problem in error.problems:
            log.error("not read again: %s", problem)
        return False
    for sentence in later:
        log.warning("read again; %s", sentence)
    log.info("settings and catalogue were read again")
    return True


def _log_again(settings: Settings) -> Sequence[str]:
    write_log(settings.log.level, settings.log.format)
    return ()


async def _serve(
    settings: Settings, listening: socket.socket, again: Callable[[], Settings], member: Member | None = None
) -> None:
    """Listen until a signal ends it; SIGHUP reads `again` what can change meanwhile.  Raises EngineFailed when the
    engine never starts, and StoreUnusable."""
    app = build(settings, post=None if member is None else member.post())
    takers = [*app.state.reloads, _log_again]
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renewed, again, takers)
    await app.state.standing.open()  # here, and not with the app, so that what is wrong with it ends the command
    server = LeavingServer(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            limit_concurrency=settings.server.connections_max,
            timeout_keep_alive=settings.server.keep_alive_s,
            timeout_graceful_shutdown=settings.server.drain_s,
        ),
        settings.server.leave_s,
        app.state.leave,
        shared=None if member is None else listening,
    )
    house: House = app.state.house
    failure: list[EngineFailed] = []

    async def greet() -> None:
        try:
            await house.started()
        except EngineFailed as fault:
            failure.append(fault)
            server.should_exit = True
            return
        _settled()
        if member is not None:
            member.ready()
            if not member.orders().greets:
                return
        # Made only now, when it will be shown: a start that fails must not spend the first key.
        _banner(settings, listening.getsockname()[1], await _first_key(settings, app.state.office))

    tasks = [asyncio.create_task(greet())]
    if member is not None:
        tasks.append(asyncio.create_task(member.watch()))
    await server.serve(sockets=[listening])
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if failure:
        raise failure[0]


def _settled() -> None:
    """Spare the garbage collector what stays for good: all that was imported and built until now.

    What requests leave behind is nearly all freed without it.  Going over all lasting objects in search of the
    rest would now and then hold up every answer, for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@contextmanager
def _bound(server: Server) -> Iterator[socket.socket]:
    """A socket on the wanted address, taken before anything slow happens.  Raises Stop."""
    where = f"{server.host}:{server.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise Stop(
            f"cannot listen on {where}: {error.strerror or error}; choose another address with --host"
        ) from error
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections have it from here
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        try:
            listening.bind(address)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            todo = "another program listens there; choose another with --port" if taken else "choose another address"
            raise Stop(f"cannot listen on {where}: {error.strerror}; {todo}") from error
        yield listening


def _files(settings: Settings, entries: Sequence[Entry]) -> None:
    shelf = Shelf(settings.models.dir)
    missing = [entry.name for entry in entries if not all(map(shelf.present, entry.files))]
    if missing and not settings.models.pull:
        raise Stop(f"not here: {', '.join(missing)}; fetch with `segue models pull {' '.join(missing)}`")
    fetched(entries, settings)


async def _first_key(settings: Settings, office: Office) -> str:
    """A fresh key when there was never any; else nothing, since old ones are not known in clear."""
    if settings.auth.api_key or await office.any_key():
        return ""
    secret, _ = await office.add_key("house", NewKey("first start"))
    return secret


@contextmanager
def _signals_spent() -> Iterator[None]:
    """uvicorn, once it has stopped as asked, raises the signal again; a stop as asked is a success."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _banner(settings: Settings, port: int, secret: str) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    body = {
        "model": "qwen-plus",
        "messages": [
            {"role": "user", "content": "Write a Python function that adds two numbers."},
            {"role": "assistant", "content": "def add(", "partial": True},
        ],
    }
    lines = [f"Segue listens at {base} and serves {', '.join([settings.models.default, *settings.models.also])}.", ""]
    if secret:
        lines += ["Your key, shown this once:", "", f"    export DASHSCOPE_API_KEY={secret}", ""]
    elif settings.auth.api_key:
        lines += ["It accepts the key in SEGUE_API_KEY (auth.api_key); put the same one in DASHSCOPE_API_KEY.", ""]
    else:
        lines += [
            "It accepts the keys of `segue key list`; put yours in DASHSCOPE_API_KEY.  Lost it? `segue key new`",
            "",
        ]
    if settings.server.console:
        lines += [f"The console, in a browser: {base}/console", ""]
    lines += [
        "Try it:",
        "",
        f"    curl {base}/compatible-mode/v1/chat/completions \\",
        f'      -H "Authorization: Bearer {secret or "$DASHSCOPE_API_KEY"}" -H "Content-Type: application/json" \\',
        f"      -d '{json.dumps(body)}'",
        "",
        f"OpenAI clients: base_url={base}/compatible-mode/v1   DashScope clients: base_http_api_url={base}/api/v1",
        "Settings: docs/settings.md   Stop: Ctrl-C",
    ]
    out().print("\n".join(lines), markup=False)
