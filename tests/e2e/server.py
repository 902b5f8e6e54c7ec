"""One real server process: started as a user starts it, stopped as a supervisor stops it.

Laws: it knows nothing of the machine's own settings and keys; what it writes goes to the folder it
is given; it always dies with the test that started it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import segue

KEY = "sk-end-to-end"
START_S = 120.0
STOP_S = 45.0
_BANNER = re.compile(r"^Segue listens at (http://\S+) and serves", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A listening server; `base` has no slash at its end."""

    process: subprocess.Popen[bytes]
    base: str
    log: Path

    @property
    def compatible(self) -> str:
        """What OpenAI clients call the base URL."""
        return f"{self.base}/compatible-mode/v1"

    @property
    def native(self) -> str:
        """What DashScope clients call the base URL."""
        return f"{self.base}/api/v1"

    def client(self, timeout_s: float = 150.0) -> httpx.Client:
        """A plain HTTP client that has the key."""
        headers = {"Authorization": f"Bearer {KEY}"}
        limits = httpx.Limits(max_connections=None)
        return httpx.Client(base_url=self.base, headers=headers, timeout=timeout_s, limits=limits, trust_env=False)

    def engines(self) -> list[int]:
        """The process ids of its children."""
        folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        return [int(folder.name) for folder in folders if _parent(folder) == self.process.pid]

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def _parent(folder: Path) -> int | None:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended while we looked
        return None


@contextmanager
def serving(model: Path, name: str, folder: Path, **variables: str) -> Iterator[Server]:
    """A ready server of one model.  `variables` are settings; at the end it must exit with status 0."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "segue", "serve", "--port", "0", "--model", name, "--no-pull"],
            cwd=folder,
            env=_environment(os.environ, model, folder) | variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Server(process, _address(process, log), log)
        yield server
        if process.poll() is None:
            status = server.terminate()
            assert status == 0, f"exit status {status}\n{_tail(log)}"
        assert "Traceback" not in log.read_text("utf-8", "replace"), _tail(log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _environment(outer: Mapping[str, str], model: Path, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in outer.items() if not name.startswith(("SEGUE_", "DASHSCOPE_"))}
    return kept | {
        "PYTHONPATH": str(Path(segue.__file__).parent.parent),
        "PYTHONUNBUFFERED": "1",
        "SEGUE_API_KEY": KEY,
        "SEGUE_AUTH_KEYS_FILE": str(folder / "keys.json"),
        "SEGUE_FILES_DIR": str(folder / "files"),
        "SEGUE_MODELS_DIR": str(model.parent),
    }


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, told once the model has been loaded."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if banner := _BANNER.search(log.read_text("utf-8", "replace")):
            return banner[1]
        assert process.poll() is None, f"it ended at once\n{_tail(log)}"
        time.sleep(0.05)
    raise AssertionError(f"not ready after {START_S} s\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-3000:]
