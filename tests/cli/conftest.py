"""Commands at a terminal of their own, and a server whose engine takes its time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pexpect
import pytest

from segue.cli.own import Address, serving
from segue.config import Settings
from segue.config_read import load
from segue.engine.scripted import Echo, Scripted, scripted_card

ROOT = Path(__file__).parent.parent.parent
LONG = " ".join(f"{number} bottles of beer on the wall," for number in range(99, 59, -1))
DELAY_S = 0.01
WAIT_S = 90.0

Spawn = Callable[..., "pexpect.spawn[str]"]


@dataclass(frozen=True)
class Slow:
    """A server whose engine repeats the question, two bytes every hundredth of a second."""

    there: Address
    engine: Scripted

    def metric(self, name: str) -> float:
        """A figure of `/metrics`."""
        headers = {"Authorization": f"Bearer {self.there.key}"}
        told = httpx.get(f"{self.there.url}/metrics", headers=headers, trust_env=False).text
        return sum(float(line.rpartition(" ")[2]) for line in told.splitlines() if line.startswith(f"{name}{{"))

    def settled(self) -> bool:
        """Whether no answer is being computed any more, soon."""
        deadline = time.monotonic() + 10
        while self.metric("segue_engine_running"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture(scope="module")
def slow() -> Iterator[Slow]:
    engine = Scripted(Echo(2), scripted_card(), delay_s=DELAY_S)
    settings = load({"models.default": "segue-scripted"}, env={}, cwd=ROOT)
    assert isinstance(settings, Settings)
    with serving(settings, {"segue-scripted": engine}) as there:
        yield Slow(there, engine)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user with nothing, in a folder of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEGUE_", "DASHSCOPE_"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "VISUAL", "EDITOR", "INPUTRC"):
        kept.pop(name, None)
    return kept | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLUMNS": "200",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def spawn(environment: dict[str, str], tmp_path: Path) -> Iterator[Spawn]:
    """Start `segue WORDS` at a terminal; keywords are variables."""
    running: list[pexpect.spawn[str]] = []

    def start(*words: str, **variables: str) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            sys.executable,
            ["-m", "segue", *words],
            env=environment | variables,
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=WAIT_S,
            dimensions=(50, 500),
        )
        child.delaybeforesend = None
        running.append(child)
        return child

    yield start
    for child in running:
        child.close(force=True)
