"""The ledger of a real server: after a kill it has every request that was answered, and none twice."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import segue
from tests.e2e.server import KEY

CHAT = "/compatible-mode/v1/chat/completions"
BODY = {"model": "qwen-plus", "messages": [{"role": "user", "content": "hello"}]}
START_S = 60.0


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEGUE_", "DASHSCOPE_"))}
    return kept | {
        "PYTHONPATH": str(Path(segue.__file__).parent.parent),
        "PYTHONUNBUFFERED": "1",
        "SEGUE_API_KEY": KEY,
        "SEGUE_AUTH_KEYS_FILE": str(folder / "keys.json"),
        "SEGUE_FILES_DIR": str(folder / "files"),
        "SEGUE_LOG_LEVEL": "warning",
    }


def started(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server of the scripted engine, and where it listens."""
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "segue", "serve", "--port", "0", "--model", "segue-scripted", "--no-pull"]
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=out, stderr=out)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if found := re.search(r"listens at (http://\S+)", log.read_text()):
            return process, found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.kill()
    raise AssertionError(log.read_text())


def usage(folder: Path, *flags: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "segue", "usage", "--csv", *flags],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return list(csv.reader(io.StringIO(done.stdout)))


async def load(base: str, process: subprocess.Popen[bytes], seconds: float, per_s: int) -> tuple[list[str], list[str]]:
    """Ask so often until the server is killed; the ids of what was answered, and of what was a second before."""
    answered: list[tuple[float, str]] = []
    headers = {"Authorization": f"Bearer {KEY}"}
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=10, trust_env=False) as client:

        async def one() -> None:
            try:
                response = await client.post(CHAT, json=BODY)
            except httpx.HTTPError:
                return
            assert response.status_code == 200
            answered.append((time.monotonic(), response.headers["x-request-id"]))

        asked: set[asyncio.Task[None]] = set()
        begun = time.monotonic()
        for number in range(int(seconds * per_s)):
            await asyncio.sleep(max(0.0, begun + number / per_s - time.monotonic()))
            task = asyncio.create_task(one())
            asked.add(task)
            task.add_done_callback(asked.discard)
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.gather(*asked)
    return [id for _, id in answered], [id for at, id in answered if at < killed - 1]


@pytest.mark.parametrize(
    ("seconds", "per_s"),
    [pytest.param(3.0, 60, id="quick"), pytest.param(15.0, 500, id="500 a second", marks=pytest.mark.slow)],
)
def test_after_a_kill_the_ledger_has_every_answered_request_once(seconds: float, per_s: int, tmp_path: Path) -> None:
    process, base = started(tmp_path)
    try:
        answered, before = asyncio.run(load(base, process, seconds, per_s))
    finally:
        process.kill()
        process.wait()
    assert len(before) > seconds * per_s / 4
    process, base = started(tmp_path)
    try:
        httpx.post(base + CHAT, json=BODY, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    found = ids(tmp_path)
    assert len(found) == len(set(found))
    assert set(before) <= set(found)
    lost = set(answered) - set(found)
    print(f"answered {len(answered)}, found {len(found)}, of the answered lost {len(lost)}")
    assert not lost, "what was answered had been put down"
    lines = usage(tmp_path, "--by", "day")
    assert lines[0] == ["day", "requests", "failed", "input", "cached", "output", "reasoning", "cost", "currency"]
    assert sum(int(line[1]) for line in lines[1:]) == len(found)
    by_hour = usage(tmp_path, "--by", "hour")
    assert sum(int(line[1]) for line in by_hour[1:]) == len(found)


def ids(folder: Path) -> list[str]:
    import sqlite3
    from contextlib import closing

    path = next((folder / "files").glob("*.sqlite"))
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM ledger")]


def test_the_command_shows_a_table_and_refuses_nonsense(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "segue", "usage", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True)

    shown = run()
    assert (shown.returncode, shown.stdout.split()[:3]) == (0, ["day", "requests", "failed"])
    for wrong, why in (
        (["--by", "colour"], "--by is one of day"),
        (["--since", "yesterday"], "--since is a day such as"),
        (["--until", "2026-13-01"], "--until is a day such as"),
    ):
        refused = run(*wrong)
        assert refused.returncode == 2
        assert why in refused.stderr
