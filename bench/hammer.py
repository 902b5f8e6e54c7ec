"""The load: as many requests as a server answers, from a process and a processor of its own.

`python -m bench.hammer PORT KIND CLIENTS SECONDS` reads the bytes of one HTTP request from standard
input and sends it over and over on CLIENTS connections, each waiting for its answer.  Parsing is as
cheap as it can be: a whole answer ends where its content-length says, or like a stream with the chunked
encoding's end; pieces of streams are counted as they come, and need not come to an end.  It says one
JSON object, with its own processor share, so that it can be seen not to be what is measured.

KIND `hold` opens streams and leaves them open until told `end` on standard input.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from bench.process import REPOSITORY, pin
from bench.report import percentile

PROCESSOR = 1
_WARM_S = 0.3
_END = b"0\r\n\r\n"
_OPEN_TOGETHER = 50
_HOLD_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the hammer saw.  Rates are a second; `busy` is its own share of its processor; `total` counts all
    answers, `total_pieces` all pieces of streams, before the measuring too; times are 0 where no answer came to an
    end."""

    total: int
    total_pieces: int
    answers: float
    pieces: float
    median_ms: float
    p99_ms: float
    busy: float


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, stream: bool) -> None:
        self._request, self._stream = request, stream
        self._held = b""
        self._asked = 0.0
        self._seen = False
        self.times: list[float] = []
        self.pieces = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        if not self._seen:
            self._first(data)
        elif self._stream:
            self.pieces += data.count(b"data: {")
            self._held = data if len(data) >= len(_END) else self._held[-len(_END) :] + data
            if self._held.endswith(_END):
                self._answered()
        else:
            self._held += data
            if self._complete():
                self._answered()

    def _first(self, data: bytes) -> None:
        """The head of the first answer, and what comes with it."""
        self._held += data
        if b"\r\n\r\n" not in self._held:
            return
        if not self._held.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not an answer: {self._held[:300]!r}")
        self._seen = True
        data, self._held = self._held, b""
        self.data_received(data)

    def _complete(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = self._held.lower().find(b"content-length:", 0, end) + 15
        if at < 15:
            return self._held.endswith(_END)
        return len(self._held) >= end + 4 + int(self._held[at : self._held.index(b"\r", at)])

    def _ask(self) -> None:
        self._held = b""
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _answered(self) -> None:
        now = time.perf_counter()
        self.times.append(now - self._asked)
        self._ask()


async def _hammer(port: int, request: bytes, stream: bool, clients: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: _Client(request, stream), "127.0.0.1", port))[1] for _ in range(clients)
    ]
    await asyncio.sleep(_WARM_S)
    before, pieces_before = [len(client.times) for client in made], sum(client.pieces for client in made)
    begun, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, used = time.perf_counter() - begun, time.process_time() - used
    times = [spent for client, start in zip(made, before, strict=True) for spent in client.times[start:]]
    total_pieces = sum(client.pieces for client in made)
    if not times and total_pieces == pieces_before:
        sys.exit("nothing came")
    median_ms, p99_ms = (1000 * statistics.median(times), 1000 * percentile(times, 0.99)) if times else (0.0, 0.0)
    total, pieces = sum(len(client.times) for client in made), (total_pieces - pieces_before) / took
    return Load(total, total_pieces, len(times) / took, pieces, median_ms, p99_ms, used / took)


async def _hold(port: int, request: bytes, clients: int) -> None:
    """Open streams; return when each has its status line and the first piece of its body."""

    async def opened() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readuntil(b"\n\n")
        return writer

    streams: list[asyncio.Task[asyncio.StreamWriter]] = []
    for _ in range(0, clients, _OPEN_TOGETHER):
        streams += [asyncio.create_task(opened()) for _ in range(min(_OPEN_TOGETHER, clients - len(streams)))]
        await asyncio.sleep(0.05)
    writers = await asyncio.wait_for(asyncio.gather(*streams), _HOLD_S_MAX)
    print("holding", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for writer in writers:
        writer.close()


def hammer(port: int, request: bytes, kind: str, clients: int, seconds: float) -> Load:
    """Run the hammer in a process of its own.  `kind` is `whole` or `stream`."""
    done = subprocess.run(
        _command(port, kind, clients, seconds), input=_framed(request), cwd=REPOSITORY, capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace"))
    return Load(**json.loads(done.stdout))


@contextmanager
def held(port: int, request: bytes, clients: int) -> Iterator[None]:
    """Have `clients` open streams within the block."""
    process = subprocess.Popen(
        _command(port, "hold", clients, 0), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(_framed(request))
        process.stdin.flush()
        if process.stdout.readline() != b"holding\n":
            raise OSError("the streams could not be opened")
        yield
    finally:
        process.stdin.close()
        process.wait()


def _command(port: int, kind: str, clients: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "bench.hammer", str(port), kind, str(clients), str(seconds)]


def _framed(request: bytes) -> bytes:
    return b"%d\n%b" % (len(request), request)


def main() -> None:
    """The process itself."""
    port, kind, clients, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    request = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
    pin(0, PROCESSOR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if kind == "hold":
            runner.run(_hold(port, request, clients))
        else:
            load = runner.run(_hammer(port, request, kind == "stream", clients, seconds))
            print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
