"""A server of our own, in this process, for a command that was told of none.

Why a server: what is asked goes the one way that everything goes, files and pictures too.  It
listens on the loopback address alone, at a free port, behind a key that nobody else knows; what is
uploaded to it lies in a folder that goes with it.

Laws: it runs in a thread, so that Ctrl-C is the command's; it dies with the process.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue.cli.terminal import Stop, err, fetched
from segue.config import Settings
from segue.config_read import load
from segue.engine.base import Engine

if TYPE_CHECKING:
    import uvicorn

MODEL = "qwen-plus"
"""A name that the default model of every server answers to."""
_STOP_S = 15.0
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, a key of its, and the model that is asked there."""

    url: str
    key: str
    model: str


@contextmanager
def opened(url: str | None, key: str, model: str | None, config: Path | None) -> Iterator[Address]:
    """The server that was named, else one of our own.  Raises Stop, SettingsInvalid, PullFailed, EngineFailed."""
    if url:
        yield Address(url, key, model or MODEL)
        return
    from segue.app import names_of  # here, since it is much code, and whoever names a server needs none of it

    settings = load({"models.default": model}, file=config)
    entries = names_of(settings).entries[:1]
    fetched(entries, settings)
    with ExitStack() as stack:
        with err().status(f"loading {entries[0].name}") if err().is_terminal else nullcontext():
            there = stack.enter_context(serving(settings))
        yield there


@contextmanager
def serving(settings: Settings, engines: Mapping[str, Engine] | None = None) -> Iterator[Address]:
    """A server until the block ends.  `engines` as `app.build` has them.  Raises EngineFailed, StoreUnusable."""
    key = f"sk-{secrets.token_hex(24)}"
    with _silent(), tempfile.TemporaryDirectory(prefix="segue-") as folder, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = _Thread(_private(settings, key, Path(folder)), listening, engines)
        thread.start()
        try:
            thread.ready.wait()
            if thread.failure is not None:
                raise thread.failure
            yield Address(f"http://127.0.0.1:{listening.getsockname()[1]}", key, settings.models.default)
        finally:
            thread.end()


@contextmanager
def _silent() -> Iterator[None]:
    """Nobody reads its log, and it must not be written into a conversation."""
    loggers = [logging.getLogger(name) for name in ("segue", "uvicorn")]
    before = [logger.propagate for logger in loggers]
    nowhere = logging.NullHandler()
    for logger in loggers:
        logger.addHandler(nowhere)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagated in zip(loggers, before, strict=True):
            logger.removeHandler(nowhere)
            logger.propagate = propagated


def _private(settings: Settings, key: str, folder: Path) -> Settings:
    """The settings, but for what is others' business: who may ask, what is kept, what is told to whom."""
    return replace(
        settings,
        auth=replace(settings.auth, api_key=key, admin_key="", keys_file=folder / "keys.json"),
        models=replace(settings.models, also=()),  # one person needs one engine
        engine=replace(settings.engine, snapshots_dir=folder / "snapshots"),
        files=replace(settings.files, dir=folder / "files", bucket=""),
        store=replace(settings.store, url=""),
    )


class _Thread(threading.Thread):
    """What runs the server.  `ready` is set when it answers, or when `failure` says why it never will."""

    def __init__(self, settings: Settings, listening: socket.socket, engines: Mapping[str, Engine] | None) -> None:
        super().__init__(name="segue-own", daemon=True)
        self.ready = threading.Event()
        self.failure: Exception | None = None
        self._settings = settings
        self._listening = listening
        self._engines = engines
        self._server: uvicorn.Server | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            self.failure = error
        finally:
            self.failure = self.failure or Stop("the engine ended")
            self.ready.set()

    def end(self) -> None:
        """Stop it, and wait until its engine is gone."""
        if self._server is not None:
            self._server.should_exit = True
        self.join(_STOP_S)

    async def _serve(self) -> None:
        import uvicorn

        from segue.app import build

        app = build(self._settings, self._engines)
        await app.state.standing.open()
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = server = uvicorn.Server(config)
        served = asyncio.create_task(server.serve(sockets=[self._listening]))
        while not server.started and not served.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(_LOOK_S)
        started = asyncio.create_task(app.state.house.started())
        await asyncio.wait((served, started), return_when=asyncio.FIRST_COMPLETED)
        if started.done() and started.exception() is None:
            self.ready.set()
        else:
            server.should_exit = True
        await served
        started.cancel()
        with suppress(asyncio.CancelledError):
            await started
