"""The peer: llama.cpp's own HTTP server, which the xllamacpp package carries, in a process of its own.

It gets the same file, threads, waiting policy, prompt ids and sampling as Segue, and keeps its own
defaults otherwise.  `python -m bench.peer FILE THREADS SLOTS CONTEXT` is that process; it says its
port on standard output and ends when standard input does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from bench.bare import OPENMP
from bench.client import Answer, ask, post
from bench.process import REPOSITORY
from segue.core.generation import Decoding


class Peer:
    """A context manager around the process.  `context` is in tokens a slot."""

    def __init__(self, path: Path, threads: int, slots: int, context: int) -> None:
        self._command = [sys.executable, "-m", "bench.peer", str(path), str(threads), str(slots), str(context)]
        self._port = 0

    def __enter__(self) -> Peer:
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env={**os.environ, **OPENMP},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"port "):
                self._port = int(line.split()[1])
                return self
        raise OSError("the peer did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    async def send(self, path: str, body: object) -> Answer:
        """Post a body to any of its paths.  The answer may be a refusal."""
        return await ask(self._port, post(path, body))

    async def complete(self, ids: list[int], tokens: int, decoding: Decoding, cache: bool = False) -> Answer:
        """Stream `tokens` tokens after `ids`, past every end-of-text mark.  Pieces with `TEXT` are tokens."""
        body = {
            "prompt": ids,
            "n_predict": tokens,
            "stream": True,
            "ignore_eos": True,
            "cache_prompt": cache,
            "temperature": decoding.temperature,
            "top_k": decoding.top_k,
            "top_p": decoding.top_p,
            "min_p": 0.0,
            "repeat_penalty": decoding.repetition_penalty,
            "seed": decoding.seed,
        }
        answer = await ask(self._port, post("/completion", body))
        assert answer.status == 200, answer.body()
        return answer


TEXT = b'"stop":false'


def _serve(path: str, threads: int, slots: int, context: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print("port", server.listening_address.rpartition(":")[2], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1], *map(int, sys.argv[2:5]))
