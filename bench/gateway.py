"""What it costs to stand in front of a server: Segue, LiteLLM's proxy and sglang-router, one after the other.

All stand in front of the same upstream (`bench/upstream.py`), which answers at once and is asked directly too; the
rounds are interleaved.  Segue asks it as it asks vLLM, for ids by ids, with its own template, vocabulary and checks;
the others hand chat completions through.  A whole answer has 16 tokens, a stream 256, each one piece.  Every server is
one process of its own (LiteLLM with one worker) on one processor; the upstream and the load share the other.

    latency    one client, whole answers: the median and the 99th percentile, less those of the upstream itself
    rates      1, 32 and 256 clients: whole answers and pieces of streams a second, and the same in a second of the
               server's own processor time, which other programs on the machine change less

The others come with a Python of their own (`--litellm PYTHON`, `--router PYTHON`, or `python -m bench.peers litellm
router`); who is not there is left out, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.client import ask, post
from bench.hammer import Load, hammer
from bench.model import SMALL, model_file
from bench.overhead import PROCESSOR, Server
from bench.peers import python, weights
from bench.process import KEY, REPOSITORY, files_allowed, free_port, pin, resident_kib, segue, server
from segue.engine.remote import vocabulary

CLIENTS = (1, 32, 256)
WHOLE_TOKENS, STREAM_TOKENS = 16, 256
ANSWERS_OF_LITELLM_MIN, PIECES_OF_LITELLM_MIN, ADDED_OF_ROUTER_MAX = 20.0, 30.0, 5.0
UPSTREAM, OURS, LITELLM, ROUTER = "the upstream itself", "Segue", "LiteLLM", "sglang-router"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MASTER = "sk-" + "0123456789abcdef" * 3
_PAUSE_S = 0.3
_SETTLE_S_MAX, _IDLE_SHARE = 20.0, 0.1
_ASKED = "How many people live on the island now?"


@dataclass(frozen=True, slots=True)
class Gate:
    """A server under measurement, and how it is asked."""

    server: Server
    path: str
    model: str
    headers: Sequence[str] = ()

    def asked(self, tokens: int, stream: bool) -> bytes:
        """The bytes of a request."""
        body = {"model": self.model, "messages": [{"role": "user", "content": _ASKED}], "max_tokens": tokens}
        return post(self.path, {**body, **({"stream": True} if stream else {})}, self.headers)


@dataclass(frozen=True, slots=True)
class Seen:
    """One run, the processor time of the server meanwhile, and its memory behind it."""

    load: Load
    cpu_s: float
    resident_mib: float


def letters() -> list[tuple[int, str]]:
    """Tokens that are a letter behind a blank, of the small model."""
    words = vocabulary.read(model_file(SMALL).path).words
    return [(words.encode([(f" {letter}", False)])[0], f" {letter}") for letter in _LETTERS]


def _files() -> str:
    """The small model's vocabulary, as vLLM would have it where that was made; else that of the GGUF."""
    folder = weights(SMALL)
    return str(folder) if (folder / "tokenizer.json").is_file() else SMALL


def catalogue(ports: Mapping[str, int]) -> str:
    """Models by name, each at its upstream."""
    return "\n".join(
        f"""
[models.{name}]
engine = "remote"
kind = "vllm"
tokenizer = "{_files()}"
served_as = "bench"
context_tokens = 32768
output_tokens_max = 30000
output_tokens_default = 256
[[models.{name}.upstreams]]
url = "http://127.0.0.1:{port}"
"""
        for name, port in ports.items()
    )


def fronted(folder: Path, ports: Mapping[str, int], **more: str) -> dict[str, str]:
    """The settings of a Segue in front of upstreams, by the names of their models; the first is the default."""
    (folder / "models.toml").write_text(catalogue(ports), encoding="utf-8")
    return {
        "SEGUE_MODELS_ALSO": ",".join([*ports][1:]),
        "SEGUE_MODELS_DIR": str(model_file(SMALL).path.parent),
        "SEGUE_MODELS_CATALOGUE": str(folder / "models.toml"),
        "SEGUE_FILES_DIR": str(folder),
        "SEGUE_AUTH_KEYS_FILE": str(folder / "keys.json"),
        "SEGUE_UPSTREAMS_RUNNING_MAX": "10000",
        **more,
    }


@contextmanager
def upstream(tokens: Sequence[tuple[int, str]], *flags: str) -> Iterator[Server]:
    """A running `bench.upstream`, on the load's processor."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port), json.dumps(tokens), *flags]
    with server(command, port, "/health", 1 - PROCESSOR) as pid:
        yield Server(port, pid)


def litellm(folder: Path, interpreter: str, port: int, to: int) -> list[str]:
    """The command of LiteLLM's proxy."""
    told = f"""
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{to}/v1
      api_key: none
litellm_settings:
  telemetry: false
general_settings:
  master_key: {_MASTER}
"""
    (folder / "litellm.yaml").write_text(told, encoding="utf-8")
    tool = str(Path(interpreter).parent / "litellm")
    return [tool, "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]


def router(interpreter: str, port: int, to: Sequence[int], policy: str = "cache_aware") -> list[str]:
    """The command of sglang-router."""
    words = [interpreter, "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--prometheus-port", str(free_port()), "--log-level", "error", "--policy", policy]
    return [*words, "--worker-urls", *(f"http://127.0.0.1:{each}" for each in to)]


@contextmanager
def gates(given: argparse.Namespace) -> Iterator[dict[str, Gate]]:
    """All that are there, by name."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind = stack.enter_context(upstream(letters()))
        chat = "/v1/chat/completions"
        found = {UPSTREAM: Gate(behind, chat, "bench")}
        port, env = free_port(), fronted(folder, {"bench": behind.port})
        pid = stack.enter_context(server(segue(port, "bench"), port, "/readyz", PROCESSOR, env))
        found[OURS] = Gate(Server(port, pid), f"/compatible-mode{chat}", "bench", [f"Authorization: Bearer {KEY}"])
        if given.router:
            port = free_port()
            pid = stack.enter_context(server(router(given.router, port, [behind.port]), port, "/health", PROCESSOR))
            found[ROUTER] = Gate(Server(port, pid), chat, "bench")
        if given.litellm:
            port = free_port()
            command, env = litellm(folder, given.litellm, port, behind.port), {"LITELLM_MODE": "PRODUCTION"}
            pid = stack.enter_context(server(command, port, "/health/liveliness", PROCESSOR, env, 300.0))
            found[LITELLM] = Gate(Server(port, pid), chat, "bench", [f"Authorization: Bearer {_MASTER}"])
        yield found


def warm(found: Mapping[str, Gate]) -> None:
    """Ask each a few times.  Raises OSError for one that does not answer as it should."""
    for name, gate in found.items():
        for number in range(6):
            answer = asyncio.run(ask(gate.server.port, gate.asked(WHOLE_TOKENS, stream=bool(number % 2))))
            told = answer.body()
            if answer.status != 200 or b" a" not in told:
                raise OSError(f"{name} answered {answer.status}: {told[:300].decode('utf-8', 'replace')}")


def measured(
    found: Mapping[str, Gate], rounds: int, seconds: float, clients: Sequence[int]
) -> dict[tuple[str, str, int], list[Seen]]:
    """What was seen, by kind of answer, server and number of clients."""
    seen: dict[tuple[str, str, int], list[Seen]] = defaultdict(list)
    for _ in range(rounds):
        for count in clients:
            for kind, tokens in (("whole", WHOLE_TOKENS), ("stream", STREAM_TOKENS)):
                for name, gate in found.items():
                    before = gate.server.cpu_s()
                    load = hammer(gate.server.port, gate.asked(tokens, kind == "stream"), kind, count, seconds)
                    used = gate.server.cpu_s() - before
                    seen[kind, name, count].append(Seen(load, used, resident_kib(gate.server.pid) / 1024))
                    _settle(gate.server)
    return seen


def _settle(server: Server) -> None:
    """Wait until a server is done with what its clients left: some work on for seconds after their last answer."""
    end = time.monotonic() + _SETTLE_S_MAX
    used = server.cpu_s()
    while time.monotonic() < end:
        time.sleep(_PAUSE_S)
        before, used = used, server.cpu_s()
        if used - before < _IDLE_SHARE * _PAUSE_S:
            return


def latency_table(seen: Mapping[tuple[str, str, int], list[Seen]], names: Sequence[str]) -> str:
    """One client, whole answers."""
    base = seen["whole", UPSTREAM, 1]
    added: dict[str, list[float]] = {}
    rows = []
    for name in names:
        runs = seen["whole", name, 1]
        own = [run.load.median_ms - under.load.median_ms for run, under in zip(runs, base, strict=True)]
        worst = [run.load.p99_ms - under.load.p99_ms for run, under in zip(runs, base, strict=True)]
        added[name] = own
        figures = [report.spread([run.load.median_ms for run in runs]).text(3)]
        figures += ["", ""] if name == UPSTREAM else [report.spread(own).text(3), report.spread(worst).text(3)]
        rows.append([name, *figures])
    text = report.table("One client, whole answers, milliseconds", ["", "median", "added", "added, 99th"], rows)
    if ROUTER not in added:
        return text
    times = report.ratios(added[OURS], added[ROUTER])
    verdict = report.met(times.median, most=ADDED_OF_ROUTER_MAX)
    return f"{text}\nadded by Segue, of the router's: {times.text()}, target <= {ADDED_OF_ROUTER_MAX}: {verdict}\n"


def rate(runs: Sequence[Seen], kind: str) -> list[float]:
    """Answers, or pieces, a second."""
    return [run.load.answers if kind == "whole" else run.load.pieces for run in runs]


def each(runs: Sequence[Seen], kind: str) -> list[float]:
    """The same, in a second of the server's processor time."""
    return [(run.load.total if kind == "whole" else run.load.total_pieces) / max(run.cpu_s, 1e-3) for run in runs]


def rates_table(
    seen: Mapping[tuple[str, str, int], list[Seen]], names: Sequence[str], kind: str, clients: Sequence[int]
) -> str:
    """Every server at every number of clients."""
    unit = "answers" if kind == "whole" else "pieces"
    tokens = WHOLE_TOKENS if kind == "whole" else STREAM_TOKENS
    rows = []
    for count in clients:
        for name in names:
            runs = seen[kind, name, count]
            figures = [report.spread(rate(runs, kind)).text(0), report.spread(each(runs, kind)).text(0)]
            figures += [f"{report.spread([run.load.median_ms for run in runs]).median:.1f}"]
            figures += [f"{report.spread([run.load.p99_ms for run in runs]).median:.1f}"]
            rows.append([f"{count:3d}  {name}", *figures])
    head = ["clients", f"{unit} a second", "a processor second", "ms, median", "ms, 99th"]
    title = f"{'Whole answers' if kind == 'whole' else 'Streams'} of {tokens} tokens: {unit}"
    return report.table(title, head, rows)


def verdicts(seen: Mapping[tuple[str, str, int], list[Seen]], names: Sequence[str], clients: Sequence[int]) -> str:
    """Segue beside LiteLLM, round by round."""
    if LITELLM not in names:
        return "LiteLLM: not run.\n"
    rows = []
    for count in clients:
        ours, theirs = seen["whole", OURS, count], seen["whole", LITELLM, count]
        times = report.ratios(rate(ours, "whole"), rate(theirs, "whole"))
        verdict = report.met(times.median, least=ANSWERS_OF_LITELLM_MIN)
        rows.append([f"answers a second, {count} clients", times.text(1), f">= {ANSWERS_OF_LITELLM_MIN:.0f}", verdict])
        times = report.ratios(each(ours, "whole"), each(theirs, "whole"))
        rows.append([f"answers a processor second, {count} clients", times.text(1), "", ""])
    for count in clients:
        ours, theirs = seen["stream", OURS, count], seen["stream", LITELLM, count]
        times = report.ratios(each(ours, "stream"), each(theirs, "stream"))
        verdict = report.met(times.median, least=PIECES_OF_LITELLM_MIN)
        rows.append(
            [f"pieces a processor second, {count} clients", times.text(1), f">= {PIECES_OF_LITELLM_MIN:.0f}", verdict]
        )
    return report.table("Segue, of LiteLLM's", ["", "times", "target", ""], rows)


def cost_table(seen: Mapping[tuple[str, str, int], list[Seen]], names: Sequence[str], clients: Sequence[int]) -> str:
    """Processor time of a request, and memory."""
    rows = []
    for name in names:
        whole, stream = (
            report.spread([1000 * of / value for value in each(seen[kind, name, 32], kind)])
            for kind, of in (("whole", 1), ("stream", STREAM_TOKENS))
        )
        most = max(
            run.resident_mib for count in clients for kind in ("whole", "stream") for run in seen[kind, name, count]
        )
        rows.append([name, f"{whole.median:.3f}", f"{stream.median:.2f}", f"{most:.0f}"])
    head = ["", "ms a whole answer", "ms a stream", "memory at most, MiB"]
    return report.table("Processor time at 32 clients, and memory", head, rows)


def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    rounds, seconds = (1, 0.7) if options.quick else (options.rounds, options.seconds)
    clients = (1, 32) if options.quick else CLIENTS
    head = report.heading(f"As a gateway: {rounds} rounds of {seconds} s", report.command("gateway", options))
    files_allowed(4096)
    with gates(options) as found:
        warm(found)
        seen = measured(found, rounds, seconds, clients)
    names = [*found]
    parts = [head, _peers(options)]
    parts += [latency_table(seen, names)]
    parts += [rates_table(seen, names, kind, clients) for kind in ("whole", "stream")]
    parts += [verdicts(seen, names, clients), cost_table(seen, names, clients)]
    return "\n".join(parts)


def _peers(options: argparse.Namespace) -> str:
    """Which versions stand beside Segue, and who is missing."""
    lines = []
    for name, interpreter, package in (
        (LITELLM, options.litellm, "litellm"),
        (ROUTER, options.router, "sglang-router"),
    ):
        if not interpreter:
            lines.append(f"{name}: not run (name a Python that has it with --{name.removeprefix('sglang-').lower()})")
            continue
        asked = [interpreter, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"]
        done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        lines.append(f"{name}: {done.stdout.strip()}")
    return "\n".join([*lines, ""])


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each run takes (2)")
    parser.add_argument("--litellm", metavar="PYTHON", default=_own("litellm"), help="a Python that has LiteLLM")
    parser.add_argument("--router", metavar="PYTHON", default=_own("router"), help="a Python that has sglang-router")
    pin(0, 1 - PROCESSOR)
    print(measure(parser.parse_args()))


def _own(name: str) -> str | None:
    found = python(name)
    return None if found is None else str(found)


if __name__ == "__main__":
    main()
