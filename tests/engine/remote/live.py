"""Upstreams in processes of their own: llama.cpp's own server, which the xllamacpp package carries, and the fake.

They can be stopped and started again at the same port, as a process that is killed and comes back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from segue.engine.remote.engine import RemoteEngine, Shared
from segue.engine.remote.kinds import read, remote
from segue.engine.remote.spec import Bounds, RemoteSpec, Site

ROOT = Path(__file__).parents[3]
_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
BATCH = 32
"""Larger ones are read with another arithmetic than tokens are written with, one by one: the log probabilities of the
two likeliest then lie up to 0.37 nearer or further apart (234 places of SmolLM2; 0.0000003 with this)."""
BOUNDS = Bounds(looks_every_s=0.2)


class Process:
    """`told` are the words behind `python -m`, its port apart; `port` 0 takes any, and keeps it."""

    def __init__(self, *told: str, port: int = 0) -> None:
        self._told, self.port = told, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens and its model is loaded."""
        module, *told = self._told
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(self.port), *told],
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"port "):
                self.port = int(line.split()[1])
                return
        raise OSError("the upstream did not start")

    def kill(self) -> None:
        """At once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


class LlamaProcess(Process):
    """`context` is in tokens a slot."""

    def __init__(self, path: Path, slots: int = 4, context: int = 1024) -> None:
        super().__init__("tests.engine.remote.live", str(path), str(slots), str(context))


class FakeProcess(Process):
    """Says the same wherever it is asked, a token every `pace_s`; `endless` ones come to no end by themselves."""

    def __init__(self, pace_s: float, endless: bool = True) -> None:
        super().__init__("tests.engine.remote.fake", str(pace_s), *(["endless"] if endless else []))


@asynccontextmanager
async def running(*upstreams: Process) -> AsyncIterator[None]:
    """Started together, and killed at the end."""
    try:
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in upstreams))
        yield
    finally:
        for each in upstreams:
            each.kill()


def spec_of(path: Path, change: Callable[[RemoteSpec], RemoteSpec] = lambda spec: spec) -> RemoteSpec:
    """A model whose file is both the upstream's and ours."""
    return change(RemoteSpec("small", "llama-server", path, context_tokens=2048, bounds=BOUNDS))


@lru_cache
def shared_of(path: Path) -> Shared:
    """What the file says, read once."""
    return read(spec_of(path))


def engine_of(path: Path, url: str, **bounds: float) -> RemoteEngine:
    """An engine over one upstream, not yet started."""
    spec = spec_of(path, lambda spec: replace(spec, bounds=replace(BOUNDS, **bounds)))  # type: ignore[arg-type]

    def ready() -> asyncio.Future[Shared]:
        future: asyncio.Future[Shared] = asyncio.get_running_loop().create_future()
        future.set_result(shared_of(path))
        return future

    return remote(spec, Site(url), ready)


def _serve(port: int, path: str, slots: int, context: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = slots, slots * context
    params.n_ubatch = BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 0
    if port:
        params.port = port
    server = xllamacpp.Server(params)
    print("port", server.listening_address.rpartition(":")[2], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
