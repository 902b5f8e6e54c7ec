"""The pages that are to be followed are followed: every command and program on them, in order."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.walk import ROOT, Block, Walk, blocks, environment, free_port, shims, sources, without_addresses
from tests.e2e.server import KEY, Server
from tests.engine.remote.live import LlamaProcess

TUTORIAL = "docs/tutorial.md"
VLLM = "docs/howto/vllm.md"
HOWTOS = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs" / "howto").glob("*.md"))
START_S = 600.0


def walk(server: Server, folder: Path) -> Walk:
    """A reader who has a server already."""
    path = str(shims(folder / "bin"))
    known = environment(
        path, folder, PYTHONPATH=str(ROOT), DASHSCOPE_API_KEY=KEY, SEGUE_URL=server.base, SEGUE_SERVER_DRAIN_S="2",
        SEGUE_MODELS_DIR=os.environ.get("SEGUE_MODELS_DIR", ""),
    )  # fmt: skip
    return Walk(folder, {name: value for name, value in known.items() if value}, server.base)


def test_the_tutorial(server: Server, tmp_path: Path) -> None:
    """With the environment and the server that are there; `slow` makes both from nothing."""
    assert walk(server, tmp_path).through(TUTORIAL) >= 12


@pytest.mark.parametrize("page", [page for page in HOWTOS if page != VLLM])
@pytest.mark.slow
def test_the_how_to_pages(server: Server, tmp_path: Path, page: str) -> None:
    assert walk(server, tmp_path).through(page) >= 4


@pytest.mark.slow
def test_the_programs_of_the_readme(server: Server, tmp_path: Path) -> None:
    walker = walk(server, tmp_path)
    asked = [block for block in blocks("README.md") if block.kind == "python" or block.code.startswith("curl ")]
    assert len(asked) >= 3
    for block in asked:
        walker.step(block)
        assert walker.shown.strip()
    (curl,) = [block for block in asked if block.kind == "sh"]
    walker.step(curl)
    assert json.loads(walker.shown)["choices"][0]["message"]["content"].startswith(" " * 8)


@contextmanager
def served(code: str, walker: Walk, known: dict[str, str], port: int) -> Iterator[str]:
    """A server that is started as the page says; what it says when it is ready."""
    log = walker.folder / "served.log"
    *before, last = code.strip().splitlines()
    activate = [". .venv/bin/activate"] if (walker.folder / ".venv").exists() else []
    line = "; ".join([*activate, *before, f"exec {last}"])
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=walker.folder,
            env=known | {"SEGUE_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_S
        while "Stop: Ctrl-C" not in (said := log.read_text("utf-8", "replace")):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        yield said
        process.send_signal(signal.SIGINT)
        assert process.wait(45) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_the_tutorial_from_nothing(default_model: Path, tmp_path: Path) -> None:
    """A fresh copy of the repository, a fresh environment, and what the page says, to the letter.  Only the model that
    was fetched is taken from here."""
    known = environment(
        "", tmp_path / "home", SEGUE_MODELS_DIR=str(default_model.parent), SEGUE_FILES_DIR=str(tmp_path)
    )
    port = free_port()
    folder = sources(tmp_path / "segue")
    walker = Walk(folder, known, f"http://127.0.0.1:{port}")
    install, serve, *_ = [block for block in blocks(TUTORIAL) if block.how in ("install", "serve")]
    walker.run("\n".join(without_addresses(install.code)))
    with served(serve.code, walker, known, port) as said:
        (walker.key,) = set(re.findall(r"sk-[0-9a-f]{48}", said))
        assert walker.through(TUTORIAL, frozenset({"install", "serve"})) >= 13


@pytest.mark.slow
def test_an_upstream_as_the_page_describes_it(small_model: Path, tmp_path: Path) -> None:
    """The page's catalogue and commands; only the upstream is llama.cpp's server, since there is no GPU here."""
    upstream = LlamaProcess(small_model)
    upstream.start()
    path = str(shims(tmp_path / "bin"))
    known = environment(path, tmp_path, PYTHONPATH=str(ROOT), SEGUE_API_KEY=KEY, DASHSCOPE_API_KEY=KEY,
                        SEGUE_MODELS_DIR=str(small_model.parent), SEGUE_FILES_DIR=str(tmp_path / "files"))  # fmt: skip
    port = free_port()
    walker = Walk(tmp_path, known | {"SEGUE_URL": f"http://127.0.0.1:{port}"})
    catalogue, serve = (
        next(block for block in blocks(VLLM) if block.how == how) for how in ("file my-models.toml", "serve vllm")
    )
    (tmp_path / "my-models.toml").write_text(
        catalogue.code.replace('kind = "vllm"', 'kind = "llama-server"')
        .replace('"./Qwen2.5-7B-Instruct"', '"smollm2-135m-instruct"')
        .replace("http://127.0.0.1:8001", upstream.url)
        .replace("context_tokens = 32768", "context_tokens = 1024")
        .replace("output_tokens_max = 8192", "output_tokens_max = 512")
    )
    try:
        with served(serve.code, walker, known, port) as said:
            assert "serves qwen2.5-7b-instruct" in said
            asked = [block.code for block in blocks(VLLM) if block.kind == "sh" and not block.how]
            assert asked
            for code in asked:
                walker.run(code)
                assert walker.shown.strip()
    finally:
        upstream.kill()


def test_what_a_page_shows_is_compared(tmp_path: Path) -> None:
    walker = Walk(tmp_path, environment("", tmp_path))
    walker.run("echo one two three; export KEPT=1")
    walker.compare("one … three\n")
    with pytest.raises(AssertionError, match="the page shows"):
        walker.compare("one … four\n")
    walker.run('test "$KEPT" = 1')
    with pytest.raises(AssertionError):
        walker.run("false; true")


def test_the_blocks_of_the_pages_are_found() -> None:
    kinds: list[Block] = [block for page in [TUTORIAL, *HOWTOS] for block in blocks(page)]
    assert {block.how.split(" ")[0] for block in kinds} == {"", "install", "serve", "key", "file", "own", "elsewhere"}
    assert sum(block.kind in ("sh", "python") for block in kinds) > 25
