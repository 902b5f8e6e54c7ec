"""What the HTTP path costs, with the scripted engine, and what it keeps in memory.

`segue serve` runs as a user would run it (one process, default settings, its log thrown away), on
one processor; the load comes from another.  Beside it, in the same rounds, the floors: a bare
starlette JSON echo and a bare ASGI stream of equal frames, under the same uvicorn, and under granian
where it is installed.  A whole answer has ten chunks of the engine's; a stream has 256.  Beside each
rate stands what the server does in a second of its processor's time, which another program on the
machine changes less.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec

from bench import report
from bench.client import chat, post
from bench.hammer import Load, hammer, held
from bench.model import SMALL, model_file
from bench.process import KEY, REPOSITORY, children, cpu_s, files_allowed, free_port, resident_kib, segue, server
from bench.servers import CHUNKS, SCRIPTED
from bench.stages import STREAM_TEXT, WHOLE_TEXT, Costs

PROCESSOR = 0
CLIENTS = 32
HELD = 2000
LATENCY_MS_MAX, ANSWERS_MIN, PIECES_MIN, STREAM_KIB_MAX, RESIDENT_MIB_MAX = 0.5, 4000, 60_000, 60, 200


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time it has used."""
        return sum(map(cpu_s, [self.pid, *children(self.pid)]))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the hammer saw, and the processor time the server used meanwhile."""

    load: Load
    cpu_s: float


@contextmanager
def servers() -> Iterator[dict[str, Server]]:
    """All the servers that the rates are taken from, by name."""
    with ExitStack() as stack:

        def started(command: list[str], port: int, ready: str) -> Server:
            return Server(port, stack.enter_context(server(command, port, ready, PROCESSOR)))

        running = {"segue": started(segue(port := free_port(), SCRIPTED), port, "/readyz")}
        for kind in ("echo", "chunks"):
            port = free_port()
            running[kind] = started([sys.executable, "-m", "bench.servers", kind, str(port)], port, "/healthz")
            if importlib.util.find_spec("granian"):
                command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port := free_port())]
                command += ["--no-ws", "--log-level", "error", f"bench.servers:{kind}"]
                running[f"granian {kind}"] = started(command, port, "/healthz")
        yield running


def measured(running: Mapping[str, Server], rounds: int, seconds: float) -> dict[str, list[Seen]]:
    """What was seen by what was done: `latency NAME`, `whole NAME`, `stream NAME`."""
    said = chat(WHOLE_TEXT, 2 * len(WHOLE_TEXT), False, KEY)
    echoed = post("/echo", msgspec.json.decode(said.partition(b"\r\n\r\n")[2]))
    streamed = chat(STREAM_TEXT, 2 * len(STREAM_TEXT), True, KEY)
    runs: list[tuple[str, str, bytes, int]] = []
    for name in running:
        if not name.endswith("chunks"):
            request = said if name == "segue" else echoed
            runs += [("latency", name, request, 1), ("whole", name, request, CLIENTS)]
        if not name.endswith("echo"):
            runs.append(("stream", name, streamed if name == "segue" else post("/chunks", {}), CLIENTS))
    seen: dict[str, list[Seen]] = defaultdict(list)
    for _ in range(rounds):
        for what, name, request, clients in runs:
            kind = "stream" if what == "stream" else "whole"
            before = running[name].cpu_s()
            load = hammer(running[name].port, request, kind, clients, seconds)
            seen[f"{what} {name}"].append(Seen(load, running[name].cpu_s() - before))
    return seen


def latency_table(seen: Mapping[str, list[Seen]]) -> str:
    """One client."""
    rows = []
    waits = {what: [one.load.median_ms for one in runs] for what, runs in seen.items() if what.startswith("latency")}
    for what, values in waits.items():
        rows.append([_said(what), report.spread(values).text(3), "", ""])
    pairs = zip(waits["latency segue"], waits["latency echo"], strict=True)
    added = report.spread([ours - floor for ours, floor in pairs])
    verdict = report.met(added.median, most=LATENCY_MS_MAX)
    rows.append(["added by Segue to the echo under uvicorn", added.text(3), f"<= {LATENCY_MS_MAX}", verdict])
    return report.table("One client, whole answers, milliseconds each", ["", "median", "target", ""], rows)


def rates_table(seen: Mapping[str, list[Seen]], kind: str, unit: str, floor: str, least: int) -> str:
    """Answers or pieces a second, beside the floors."""
    rows = []

    def rates(name: str) -> list[float]:
        return [one.load.answers if kind == "whole" else one.load.pieces for one in seen[name]]

    for what in sorted(what for what in seen if what.startswith(kind)):
        ours, values = what.endswith("segue"), rates(what)
        busy = max(one.load.busy for one in seen[what])
        target, verdict = (f">= {least}", report.met(report.spread(values).median, least=least)) if ours else ("", "")
        of_floor = report.ratios(values, rates(f"{kind} {floor}")).text() if ours else ""
        figures = [report.spread(values).text(0), of_floor, target, verdict, f"{_each(seen, what):.0f}", f"{busy:.0%}"]
        rows.append([_said(what), *figures])
    head = ["", "a second", "of uvicorn's", "target", "", "a processor second", "client's processor"]
    return report.table(f"{CLIENTS} clients, {unit}", head, rows)


def _said(what: str) -> str:
    names = {
        "segue": "Segue",
        "echo": "floor: uvicorn, starlette echo",
        "chunks": "floor: uvicorn, bare ASGI",
        "granian echo": "granian, starlette echo",
        "granian chunks": "granian, bare ASGI",
    }
    return names[what.partition(" ")[2]]


def stage_tables(whole: Costs, piece: Costs, seen: Mapping[str, list[Seen]]) -> str:
    """Where the microseconds go, beside the processor time that a request takes over HTTP."""
    rows = [["floor: uvicorn and a starlette echo, over HTTP", 1e6 / _each(seen, "whole echo")]]
    rows.append(["  of that, starlette and the echo in process", whole.floor])
    rows += [[f"Segue: {name}", cost] for name, cost in whole.stages.items()]
    rows.append(["Segue's app in process, the sum of the above", whole.app])
    rows.append(["Segue over HTTP", 1e6 / _each(seen, "whole segue")])
    title = "Where a whole request's processor time goes"
    first = report.table(title, ["", "us"], [[str(name), f"{cost:.1f}"] for name, cost in rows])
    rows = [["floor: uvicorn and bare ASGI, over HTTP", 1e6 / _each(seen, "stream chunks")]]
    rows += [[f"Segue: {name}", cost] for name, cost in piece.stages.items()]
    rows.append(["Segue: sending, and the request's share", piece.app - sum(piece.stages.values())])
    rows.append(["Segue's app in process, the sum of the above", piece.app])
    rows.append(["Segue over HTTP", 1e6 / _each(seen, "stream segue")])
    title = "Where a streamed piece's processor time goes"
    return first + "\n" + report.table(title, ["", "us"], [[str(name), f"{cost:.2f}"] for name, cost in rows])


def _each(seen: Mapping[str, list[Seen]], what: str) -> float:
    """Answers, or pieces of streams, in a second of the server's processor time."""
    streams = what.startswith("stream")
    done = [(one.load.total_pieces if streams else one.load.total) / one.cpu_s for one in seen[what]]
    return report.spread(done).median


def memory_table(model: str, streams: int) -> str:
    """What waiting streams cost, and the API process beside an engine's."""
    port = free_port()
    request = chat("How many people live on the island?", 100, True, KEY)
    command = [sys.executable, "-m", "bench.servers", "idle", str(port)]
    env = {"SEGUE_MODELS_DEFAULT": SCRIPTED, "SEGUE_SERVER_FIRST_EVENT_WAIT_S": "1", "SEGUE_LOG_LEVEL": "warning"}
    with server(command, port, "/readyz", PROCESSOR, env) as pid:
        with held(port, request, 100):  # what is loaded once is not a stream's
            time.sleep(0.1)
        time.sleep(1)
        before = resident_kib(pid)
        with held(port, request, streams):
            each = (resident_kib(pid) - before) / streams
    port, file = free_port(), model_file(model)
    env = {"SEGUE_MODELS_DIR": str(file.path.parent)}
    with server(segue(port, file.name), port, "/readyz", None, env) as pid:
        hammer(port, chat("Say yes.", 4, False, KEY), "whole", 2, 3.0)
        resident = resident_kib(pid) / 1024
        engine = sum(map(resident_kib, children(pid))) / 1024
    kept = report.met(each, most=STREAM_KIB_MAX), report.met(resident, most=RESIDENT_MIB_MAX)
    rows = [
        [f"a waiting stream, KiB (of {streams})", f"{each:.1f}", f"<= {STREAM_KIB_MAX}", kept[0]],
        ["the API process beside a working engine, MiB", f"{resident:.1f}", f"< {RESIDENT_MIB_MAX}", kept[1]],
        [f"the engine's process with {file.name}, MiB", f"{engine:.1f}", "", ""],
    ]
    return report.table("Memory", ["", "", "target", ""], rows)


def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    rounds, seconds, batch = (2, 0.7, 50) if options.quick else (options.rounds, 2.0, 1000)
    head = report.heading(f"The HTTP path: {rounds} rounds of {seconds} s", report.command("overhead", options))
    files_allowed(2 * HELD + 500)
    timed = subprocess.run(
        [sys.executable, "-m", "bench.stages", str(batch)], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    )
    whole, piece = msgspec.json.decode(timed.stdout, type=list[Costs])
    with servers() as running:
        seen = measured(running, rounds, seconds)
    parts = [
        latency_table(seen),
        rates_table(seen, "whole", "whole answers", "echo", ANSWERS_MIN),
        rates_table(seen, "stream", f"streams of {CHUNKS} pieces, pieces", "chunks", PIECES_MIN),
        stage_tables(whole, piece, seen),
        memory_table(options.model, 200 if options.quick else HELD),
    ]
    return "\n".join([head, *parts])


def main() -> None:
    """Print the report."""
    print(measure(report.parser(__doc__, rounds=4, model=SMALL).parse_args()))


if __name__ == "__main__":
    main()
