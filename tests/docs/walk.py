"""A page of the documentation, walked as a reader walks it: every command and program on it, in order.

What is walked is taken from the page itself.  A comment in front of a block says what is special about it; a reader
does not see it:

    <!-- walk: file NAME -->    the block goes into this file, as the sentence before it says
    <!-- walk: install -->      what makes the environment
    <!-- walk: serve -->        a server that runs from here on
    <!-- walk: key -->          what opens it
    <!-- walk: own -->          starts and ends a server of its own
    <!-- walk: elsewhere ... --> what runs on another machine

Laws: a block of `text` behind a command is what it shows, with `…` for anything; a command that fails ends the walk.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STEP_S = 900.0
_BLOCK = re.compile(r"(?:^<!-- walk: (?P<how>[^>]+) -->\n+)?^```(?P<kind>\w+)\n(?P<code>.*?)^```", re.M | re.S)
_BASE = "http://127.0.0.1:8000"
_OWN_PORT = "8011"
_ADDRESS = re.compile(r"<[^<>\n]+>")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, what it holds, how it is walked, and what was said before it."""

    kind: str
    code: str
    how: str
    before: str


def blocks(page: str) -> list[Block]:
    """All blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["code"], (found["how"] or "").strip(), text[: found.start()])
        for found in _BLOCK.finditer(text)
    ]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Walk:
    """A reader in a folder of their own.  `base` is where the page's server is; `environment` what the shell knows."""

    def __init__(self, folder: Path, environment: dict[str, str], base: str = "") -> None:
        self.folder = folder
        self.base = base
        self.key = environment.get("DASHSCOPE_API_KEY", "")
        self.shown = ""
        self._kept = folder / ".environment"
        self._own_port = str(free_port())
        self._first = environment

    def through(self, page: str, but: frozenset[str] = frozenset({"install", "serve", "key"})) -> int:
        """Walk a page, but for what is there already; how many blocks were walked.  Raises AssertionError."""
        walked = 0
        for block in blocks(page):
            word, _, rest = block.how.partition(" ")
            if word == "elsewhere" or word in but:
                continue
            if word == "file":
                assert f"`{rest}`" in block.before[-300:], f"the page does not say that this is {rest}"
                (self.folder / rest).write_text(self._here(block.code), encoding="utf-8")
                walked += 1
            else:
                walked += self.step(block)
        return walked

    def step(self, block: Block) -> bool:
        """Do what one block says; whether it says anything.  Raises AssertionError."""
        if block.kind == "sh":
            self.run(block.code)
        elif block.kind == "python":
            (self.folder / "program.py").write_text(self._here(block.code), encoding="utf-8")
            self.run("python program.py")
        elif block.kind == "text":
            self.compare(block.code)
        return block.kind in ("sh", "python", "text")

    def run(self, code: str) -> None:
        """Run shell commands at a terminal; what they write is what was `shown`.  Raises AssertionError."""
        kept = f"source '{self._kept}'; " if self._kept.exists() else ""
        line = f"set -eo pipefail; {kept}{self._here(code)}\nexport -p > '{self._kept}'\n"
        ours, theirs = pty.openpty()
        os.write(ours, b"\x04")  # whoever reads from the terminal is told at once that nobody is there
        try:
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=self.folder,
                env=self._first,
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=STEP_S,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        self.shown = done.stdout

    def _here(self, code: str) -> str:
        """The code with this machine's addresses in the place of the page's."""
        own = code.replace(_BASE, f"http://127.0.0.1:{self._own_port}").replace(_OWN_PORT, self._own_port)
        if "segue serve" in code:
            return own.replace("segue serve", f"SEGUE_SERVER_PORT={self._own_port} segue serve")
        return code.replace(_BASE, self.base).replace(_OWN_PORT, self._own_port).replace("sk-...", self.key)

    def compare(self, told: str) -> None:
        """Whether what was shown is what the page shows.  Raises AssertionError."""
        pattern = ".*".join(map(re.escape, told.strip("\n").split("…")))
        assert re.search(pattern, self.shown, re.DOTALL), f"the page shows\n{told}\nand it is\n{self.shown}"


def shims(folder: Path) -> Path:
    """A folder for PATH in which `segue` and `python` are those of this process."""
    folder.mkdir()
    for name, words in (("python", ""), ("python3", ""), ("segue", " -m segue"), ("pytest", " -m pytest")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        path.chmod(0o755)
    return folder


def environment(path: str, folder: Path, **variables: str) -> dict[str, str]:
    """What a reader's shell knows: nothing of this machine's settings and keys."""
    dropped = ("SEGUE_", "DASHSCOPE_", "OPENAI_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept |= {"PATH": f"{path}:{kept['PATH']}" if path else kept["PATH"], "NO_PROXY": "127.0.0.1"}
    return kept | {"XDG_DATA_HOME": str(folder / "data"), "XDG_STATE_HOME": str(folder / "state")} | variables


def sources(into: Path) -> Path:
    """A copy of this repository as it is, as far as it would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    return into


def without_addresses(code: str) -> Iterator[str]:
    """The lines that need no address of this repository."""
    return (line for line in code.splitlines() if not _ADDRESS.search(line) and line != "cd segue")
