"""What it costs to keep a house in order: keys, limits, accounts and counters, all on against all off.

Servers of the scripted engine, asked in turns within one run.  Off: the one key of the settings, no limits, no ledger.
On: a key of the store that has limits of its own, in a workspace and to a model that have theirs (requests and tokens a
minute, requests a second, places, tokens and money a month, all of them too large to be met), and a ledger with prices.
A list of words is counted apart.

First in one process and through ASGI: the processor time of a request, that of all threads, which other programs on the
machine change little.  Then, unless `--quick`, over HTTP as a user would run them: what one client waits.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

from starlette.types import ASGIApp, Message

from bench import report
from bench.client import chat
from bench.hammer import hammer
from bench.overhead import PROCESSOR, Server
from bench.process import KEY, REPOSITORY, free_port, segue, server
from bench.servers import SCRIPTED
from bench.stages import PATH, WHOLE_TEXT
from segue.app import build
from segue.config_read import load
from segue.store.clerk import BEHIND_S

ADDED_MS_MAX = 0.15
NAMES = ("off", "ledger", "on", "on, and words")
TOGETHER = 8
_BATCH = 150
_LARGE = "1000000000"
_CATALOGUE = f"""
[models.{SCRIPTED}.limits]
requests_per_minute = {_LARGE}
tokens_per_minute = {_LARGE}
requests_per_second = {_LARGE}
concurrent = {_LARGE}
[models.{SCRIPTED}.prices]
input = 2.0
cached = 0.5
output = 6.0
"""
_LIMITS = ("requests-per-minute", "tokens-per-minute", "requests-per-second", "concurrent", "tokens-per-month")


def settings(folder: Path, name: str) -> dict[str, str]:
    """A server's settings, by the name of what is on."""
    home = folder / name.replace(" ", "-").replace(",", "")
    home.mkdir()
    env = {"SEGUE_FILES_DIR": str(home), "SEGUE_AUTH_KEYS_FILE": str(home / "keys.json")}
    if name == "off":
        return env | {"SEGUE_USAGE_ENABLED": "false"}
    if name == "ledger":
        return env
    (home / "catalogue.toml").write_text(_CATALOGUE, encoding="utf-8")
    env |= {"SEGUE_API_KEY": "", "SEGUE_MODELS_CATALOGUE": str(home / "catalogue.toml")}
    env |= {f"SEGUE_LIMITS_{each.replace('-', '_').upper()}": _LARGE for each in (*_LIMITS, "money-per-month")}
    if name == "on, and words":
        (home / "words").write_text("\n".join(f"forbidden word {n}" for n in range(1000)) + "\n/[0-9]{18}/\n")
        env["SEGUE_MODERATION_WORDS"] = str(home / "words")
    return env


def key_of(env: Mapping[str, str]) -> str:
    """The key to ask with."""
    if "SEGUE_API_KEY" not in env:
        return KEY
    words = [sys.executable, "-m", "segue", "key", "new", "bench", "--cost-per-month", "1000000"]
    words += [word for each in _LIMITS for word in (f"--{each}", _LARGE)]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    full = outer | {"PYTHONPATH": str(REPOSITORY)} | dict(env)
    made = subprocess.run(words, env=full, cwd=env["SEGUE_FILES_DIR"], capture_output=True, text=True, check=True)
    return made.stdout.strip()


@contextmanager
def servers() -> Iterator[dict[str, tuple[Server, str]]]:
    """The servers and their keys, by name."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = {}
        for name in NAMES:
            env, port = settings(folder, name), free_port()
            key = key_of(env)
            pid = stack.enter_context(server(segue(port, SCRIPTED), port, "/readyz", PROCESSOR, env))
            running[name] = Server(port, pid), key
        yield running


async def costs(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time a request, by name and round."""
    seen: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        asking: dict[str, Callable[[int], Awaitable[None]]] = {}
        async with AsyncExitStack() as stack:
            for name in NAMES:
                env = settings(Path(folder), name)
                key = key_of(env)
                plain = {"SEGUE_API_KEY": KEY, "SEGUE_MODELS_DEFAULT": SCRIPTED}
                app = build(load(env=plain | env))
                await stack.enter_async_context(app.router.lifespan_context(app))
                await app.state.house.started()
                asking[name] = _asking(app, key)
                await asking[name](_BATCH)
            for _ in range(rounds):
                for name, ask in asking.items():
                    gc.collect()
                    before = time.process_time()
                    await ask(_BATCH)
                    await asyncio.sleep(2 * BEHIND_S)  # what is done behind the requests counts too
                    seen[name].append(1000 * (time.process_time() - before) / _BATCH)
    return seen


def _asking(app: ASGIApp, key: str) -> Callable[[int], Awaitable[None]]:
    """Asks the app so many times, a few at a time."""
    head, _, body = chat(WHOLE_TEXT, 80, False, key).partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    headers = [(name.lower(), value) for name, _, value in lines]

    async def one() -> None:
        status = asked = 0
        stays = asyncio.get_running_loop().create_future()

        async def receive() -> Message:
            nonlocal asked
            asked += 1
            if asked > 1:
                await stays  # the client does not leave
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
        await app(scope, receive, send)
        assert status == 200, status

    async def ask(count: int) -> None:
        for _ in range(count // TOGETHER):
            await asyncio.gather(*(one() for _ in range(TOGETHER)))

    return ask


def waits(rounds: int, seconds: float) -> dict[str, list[float]]:
    """What one client waits, in milliseconds, by name and round."""
    seen: dict[str, list[float]] = defaultdict(list)
    with servers() as running:
        for _ in range(rounds):
            for name, (each, key) in running.items():
                load = hammer(each.port, chat(WHOLE_TEXT, 80, False, key), "whole", 1, seconds)
                seen[name].append(load.median_ms)
    return seen


def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    rounds = 3 if options.quick else options.rounds
    parts = [report.heading(f"A house in order: {rounds} rounds", report.command("house", options))]
    parts.append(_table("Milliseconds of processor time a request, in process", asyncio.run(costs(rounds))))
    if not options.quick:
        parts.append(_table("What one client waits over HTTP, milliseconds", waits(rounds, 1.0)))
    return "\n".join(parts)


def _table(what: str, seen: Mapping[str, list[float]]) -> str:
    rows = []
    for name, values in seen.items():
        added = report.spread([one - off for one, off in zip(values, seen["off"], strict=True)])
        kept = report.met(added.median, most=ADDED_MS_MAX) if name == "on" else ""
        target = f"<= {ADDED_MS_MAX}" if name == "on" else ""
        rows.append([name, report.spread(values).text(3), added.text(3) if name != "off" else "", target, kept])
    return report.table(what, ["", "median", "more than off", "target", ""], rows)


def main() -> None:
    """Print the report."""
    print(measure(report.parser(__doc__, rounds=7).parse_args()))


if __name__ == "__main__":
    main()
