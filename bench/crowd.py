"""Streams that nobody hurries: what many of them cost a gateway, and those beside them.

Segue in front of two upstreams (`bench/upstream.py`): one says a token every PACE_S, the other as many as anybody
takes.  IDLE clients read streams of the first; SLOW clients read streams of the second, some bytes a second each, so
that all of them stand still in the middle of an answer; one client asks for whole answers, one after the other.

Looked at: Segue's memory from minute to minute; whether each stream has every token once and in its order, and those
of slow readers, who at last read on as fast as they can, to the end; how long the one client waits, beside what it
waited before the others came.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import report
from bench.client import ask, chat, get
from bench.gateway import fronted, letters, upstream
from bench.overhead import PROCESSOR
from bench.process import KEY, children, cpu_s, files_allowed, free_port, pin, resident_kib, segue, server

IDLE, SLOW, SECONDS = 1000, 1000, 300.0
PACE_S = 10.0
SLOW_BYTES_PER_S = 1024
SLOW_TOKENS = 2000
GROWTH_MAX, HARM_MAX = 1.1, 3.0
"""Memory in the last third over that of the first; the other's median wait beside the crowd over that without, the
crowd's own work included."""
_SAID = re.compile(rb'"content":" ([a-z])"')
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_END = b"data: [DONE]"
_WINDOW_BYTES = 4096
_TOGETHER = 50
_PROBE_PAUSE_S = 0.1
_DRAIN_S_MAX = 900.0


@dataclass(slots=True)
class Stream:
    """One client's, as far as it has read.  `wrong`: something was missing, twice, or not in its order."""

    tokens: int = 0
    ended: bool = False
    broken: bool = False
    wrong: bool = False
    _held: bytes = b""
    _begun: bool = False

    def read(self, data: bytes) -> None:
        """Some bytes more; none where the connection is closed."""
        if not data:
            self.broken = not self.ended
            return
        if not self._begun:
            self._begun, self.broken = True, not data.startswith(b"HTTP/1.1 200")
        whole, mark, self._held = (self._held + data).rpartition(b"\n\n")
        for found in _SAID.finditer(whole + mark):
            self.wrong = self.wrong or found[1][0] != _LETTERS[self.tokens % len(_LETTERS)]
            self.tokens += 1
        self.ended = self.ended or _END in whole


@dataclass(slots=True)
class Crowd:
    """All clients, and what was seen of the server meanwhile."""

    port: int
    idle: list[Stream] = field(default_factory=list)
    slow: list[Stream] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    unsent_mib: float = 0.0
    held_up: int = 0
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    async def opened(self, request: bytes, window: int = 0) -> socket.socket:
        """A connection that has asked."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        await loop.sock_sendall(sock, request)
        return sock

    async def wait(self, stream: Stream) -> None:
        """Read what comes, which is little."""
        request = chat("Wait.", 30_000, True, KEY, model="idle")
        await self._read(await self.opened(request), stream, 65536, 0.0)

    async def dawdle(self, stream: Stream) -> None:
        """Read slowly, until told to hurry."""
        sock = await self.opened(chat("Go on.", SLOW_TOKENS, True, KEY, model="bench"), _WINDOW_BYTES)
        await self._read(sock, stream, SLOW_BYTES_PER_S, 1.0)

    async def _read(self, sock: socket.socket, stream: Stream, size: int, pause_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            while not (stream.ended or stream.broken):
                if pause_s and self.hurried.is_set():
                    size, pause_s = 1 << 18, 0.0
                stream.read(await loop.sock_recv(sock, size))
                if pause_s:
                    await asyncio.sleep(pause_s)
        except OSError:
            stream.broken = True
        finally:
            sock.close()

    async def probe(self, waits: list[float], seconds: float) -> None:
        """Ask for whole answers, one after the other."""
        request = chat("How many?", 16, False, KEY, model="bench")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.perf_counter()
            answer = await ask(self.port, request)
            waits.append(1000 * (time.perf_counter() - begun))
            assert answer.status == 200, answer.body()
            await asyncio.sleep(_PROBE_PAUSE_S)


async def _crowd(port: int, pid: int, idle: int, slow: int, seconds: float) -> Crowd:
    crowd = Crowd(port)
    await crowd.probe(crowd.alone_ms, min(10.0, seconds))
    tasks = []
    for streams, count, read in ((crowd.idle, idle, crowd.wait), (crowd.slow, slow, crowd.dawdle)):
        for number in range(count):
            streams.append(Stream())
            tasks.append(asyncio.create_task(read(streams[-1])))
            if number % _TOGETHER == _TOGETHER - 1:
                await asyncio.sleep(0.2)
    await asyncio.sleep(min(20.0, seconds))  # buffers fill
    print(f"{idle + slow} streams are open", file=sys.stderr, flush=True)
    probing = asyncio.create_task(crowd.probe(crowd.beside_ms, seconds))
    step_s = seconds / 10
    for _ in range(10):
        crowd.memory_mib.append(sum(map(resident_kib, [pid, *children(pid)])) / 1024)
        await asyncio.sleep(step_s)
    crowd.memory_mib.append(sum(map(resident_kib, [pid, *children(pid)])) / 1024)
    await probing
    crowd.unsent_mib = unsent_bytes(port) / 2**20
    told = (await ask(port, get("/metrics", [f"Authorization: Bearer {KEY}"]))).body()
    crowd.held_up = int(float(told.rpartition(b'segue_engine_running{model="bench"} ')[2].split()[0]))
    crowd.hurried.set()
    print("the slow ones read on", file=sys.stderr, flush=True)
    await asyncio.wait(tasks[idle:], timeout=_DRAIN_S_MAX)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return crowd


def unsent_bytes(port: int) -> int:
    """What the system holds for the clients of a port (Linux)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(int(line[4].partition(":")[0], 16) for line in lines if int(line[1].partition(":")[2], 16) == port)


def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    idle, slow, seconds = (50, 50, 10.0) if options.quick else (options.idle, options.slow, options.seconds)
    title = f"{idle} idle streams and {slow} slow readers for {seconds:.0f} s"
    head = report.heading(title, report.command("crowd", options))
    files_allowed(3 * (idle + slow) + 500)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tokens = letters()
        fast, paced = stack.enter_context(upstream(tokens)), stack.enter_context(upstream(tokens, str(PACE_S)))
        env = fronted(folder, {"bench": fast.port, "idle": paced.port})
        port = free_port()
        command = segue(port, "bench")
        pid = stack.enter_context(server(command, port, "/readyz", PROCESSOR, env))
        begun_s, begun = cpu_s(pid), time.monotonic()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            crowd = runner.run(_crowd(port, pid, idle, slow, seconds))
        busy = (cpu_s(pid) - begun_s) / (time.monotonic() - begun)
        fast_mib = resident_kib(fast.pid) / 1024
    return "\n".join([head, tables(crowd, seconds, busy, fast_mib)])


def tables(crowd: Crowd, seconds: float, busy: float, fast_mib: float) -> str:
    """What was seen."""
    idle, slow = crowd.idle, crowd.slow
    least = int(seconds / PACE_S)
    grown = max(crowd.memory_mib[-3:]) / max(crowd.memory_mib[:3])
    lost = sum(stream.wrong or stream.broken for stream in [*idle, *slow])
    lacking = sum(stream.tokens < least for stream in idle) + sum(
        not stream.ended or stream.tokens != SLOW_TOKENS for stream in slow
    )
    memory = " ".join(f"{mib:.0f}" for mib in crowd.memory_mib)
    alone, beside = report.spread(crowd.alone_ms), report.spread(crowd.beside_ms)
    worst = report.percentile(crowd.alone_ms, 0.99), report.percentile(crowd.beside_ms, 0.99)
    harm = report.met(beside.median / alone.median, most=HARM_MAX)
    rows = [
        ["Segue's memory, MiB, from tenth to tenth of the time", memory, "", ""],
        ["  its last third over its first", f"{grown:.2f}", f"<= {GROWTH_MAX}", report.met(grown, most=GROWTH_MAX)],
        ["the system's for its clients, MiB", f"{crowd.unsent_mib:.0f}", "", ""],
        ["slow streams whose upstream waits, too", str(crowd.held_up), "", ""],
        ["the upstream's memory at the end, MiB", f"{fast_mib:.0f}", "", ""],
        ["streams that broke, or with a token missing, twice or astray", str(lost), "0", report.met(lost, most=0)],
        ["streams that did not come to what they should", str(lacking), "0", report.met(lacking, most=0)],
        ["tokens of an idle stream, least .. most", _range([stream.tokens for stream in idle]), f">= {least}", ""],
        ["tokens of a slow stream, least .. most", _range([stream.tokens for stream in slow]), str(SLOW_TOKENS), ""],
        ["another client alone, ms, median and 99th", f"{alone.median:.2f} {worst[0]:.2f}", "", ""],
        ["another client beside them", f"{beside.median:.2f} {worst[1]:.2f}", f"<= {HARM_MAX:.0f} times", harm],
        ["Segue's share of its processor over all", f"{busy:.0%}", "", ""],
    ]
    return report.table("The crowd", ["", "", "target", ""], rows)


def _range(counts: list[int]) -> str:
    return f"{min(counts)} .. {max(counts)}"


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=1)
    parser.add_argument("--idle", type=int, default=IDLE, help=f"idle streams ({IDLE})")
    parser.add_argument("--slow", type=int, default=SLOW, help=f"slow readers ({SLOW})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for how long ({SECONDS:.0f})")
    pin(0, 1 - PROCESSOR)
    print(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
