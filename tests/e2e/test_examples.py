"""Every program in `examples/` runs against a server: those with a framework in an environment
of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.walk import ROOT, environment
from tests.e2e.server import KEY, Server

EXAMPLES = ROOT / "examples"
SDKS = ("openai_sdk.py", "dashscope_sdk.py", "anthropic_sdk.py")
FRAMEWORKS = (
    "langchain_openai_prefix.py",
    "langchain_tongyi.py",
    "llamaindex_dashscope.py",
    "llamaindex_openai_like.py",
    "pydantic_ai_typed.py",
    "qwen_agent_tool.py",
)
# What each has to show; an answer's own words are the model's.
SHOWN = {
    "anthropic_sdk.py": r"The capital of France",
    "curl.sh": r"(?s)data: \[DONE\].*\"output_tokens\"",
    "dashscope_sdk.py": r"春天来了，大地.+",
    "langchain_openai_prefix.py": r"The capital of France",
    "langchain_tongyi.py": r"(?s)\w{3}.*\n.*\w",
    "llamaindex_dashscope.py": r"\w{3}",
    "llamaindex_openai_like.py": r"(?s)\w{3}.*\n.*\w",
    "openai_node.mjs": r"(?s)def fib\(n\):.*return n\b",
    "openai_sdk.py": r"(?s)def fib\(n\):.*return n\b",
    "pydantic_ai_typed.py": r"City \{'name': '.+', 'country': '.+'\}",
    "qwen_agent_tool.py": r"(?s)assistant: calls \{.*lamp.*assistant: .*42",
}


def ran(server: Server, folder: Path, *words: str) -> str:
    """What a program writes, run outside of the repository."""
    known = environment("", folder, DASHSCOPE_API_KEY=KEY, SEGUE_URL=server.base, PYTHONIOENCODING="utf-8")
    done = subprocess.run(words, cwd=folder, env=known, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check(name: str, shown: str) -> None:
    assert re.search(SHOWN[name], shown), shown


def test_every_example_is_run_and_told_of() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".mjs")}
    assert files == SHOWN.keys()
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\[`([\w.]+)`\]\(\1\) \|", table)) == files
    assert {*SDKS, *FRAMEWORKS, "curl.sh", "openai_node.mjs"} == files


@pytest.mark.slow
@pytest.mark.parametrize("name", SDKS)
def test_python(server: Server, tmp_path: Path, name: str) -> None:
    check(name, ran(server, tmp_path, sys.executable, str(EXAMPLES / name)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl(server: Server, tmp_path: Path) -> None:
    check("curl.sh", ran(server, tmp_path, "sh", str(EXAMPLES / "curl.sh")))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
def test_node(server: Server, tmp_path: Path) -> None:
    for name in ("openai_node.mjs", "package.json"):
        shutil.copy(EXAMPLES / name, tmp_path)
    fetched = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch: {fetched.stderr[-300:]}")
    check("openai_node.mjs", ran(server, tmp_path, "node", "openai_node.mjs"))


@pytest.fixture(scope="module")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """An environment with what the examples name; `EXAMPLES_PYTHON` gives one that is there already."""
    python = os.environ.get("EXAMPLES_PYTHON", "")
    if not python:
        folder = tmp_path_factory.mktemp("frameworks")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        wanted = ["-m", "pip", "install", "--quiet", "-r", str(EXAMPLES / "requirements.txt")]
        fetched = subprocess.run([python, *wanted], capture_output=True, text=True, check=False)
        if fetched.returncode:
            pytest.skip(f"pip cannot fetch: {fetched.stderr[-300:]}")
    return lambda name: [python, str(EXAMPLES / name)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_frameworks(server: Server, tmp_path: Path, frameworks: Callable[[str], list[str]], name: str) -> None:
    check(name, ran(server, tmp_path, *frameworks(name)))
