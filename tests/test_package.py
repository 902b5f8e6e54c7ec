"""What is handed out: the wheel and the sdist hold what they should, and a wheel serves where nothing else is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

from segue import __version__
from tests.docs.walk import ROOT, environment, sources

pytest.importorskip("hatchling", reason="there is no hatchling: `make test` installs it")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the repository as it would be committed."""
    folder = tmp_path_factory.mktemp("built")
    copy = sources(folder / "copy")
    (copy / "secret.gguf").write_bytes(b"")
    (copy / ".env").write_text("KEY=1")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_the_package_alone(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"segue-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if not name.startswith(f"segue-{__version__}.dist-info/")}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segue").rglob("*") if path.is_file()}
    assert inside == {name for name in expected if "__pycache__" not in name}
    assert "segue/py.typed" in inside
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_holds_what_builds_tests_and_explains_it(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.split("/")[0] for name in names}
    assert {"segue", "tests", "docs", "examples", "pyproject.toml", "README.md", "LICENSE", "Makefile"} <= tops
    assert {"segue/__main__.py", "docs/tutorial.md", "tests/test_package.py", "requirements/run.txt"} <= names
    strange = [name for name in names if re.search(r"\.(gguf|pyc|sqlite|log|env)$|(^|/)\.(env|git|venv)", name)]
    assert [name for name in strange if name != ".gitignore"] == []
    assert sdist.stat().st_size < 8 * 1024**2


@pytest.mark.slow
def test_the_wheel_serves_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"
    fetched = subprocess.run(
        [str(programs / "pip"), "install", "--quiet", str(wheel)], capture_output=True, text=True, check=False
    )
    if fetched.returncode and "No matching distribution" not in fetched.stderr:
        pytest.skip(f"pip cannot fetch: {fetched.stderr[-300:]}")
    assert fetched.returncode == 0, fetched.stderr
    known = environment("", tmp_path, SEGUE_API_KEY="sk-known", PYTHONUNBUFFERED="1", SEGUE_FILES_DIR=str(tmp_path))
    told = subprocess.run([str(programs / "segue"), "--version"], env=known, capture_output=True, text=True, check=True)
    assert told.stdout == f"segue {__version__}\n"
    words = [str(programs / "segue"), "serve", "--model", "segue-scripted", "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, env=known, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base = next(found[0] for line in process.stdout if (found := re.findall(r"http://127\.0\.0\.1:\d+", line)))
            body = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Say it."}]}
            answer = httpx.post(
                f"{base}/compatible-mode/v1/chat/completions",
                json=body,
                headers={"Authorization": "Bearer sk-known"},
                trust_env=False,
            )
            assert answer.json()["choices"][0]["message"]["content"] == "Say it."
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    checked = subprocess.run(
        [str(programs / "segue"), "doctor", "--quick"],
        env=known,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ok" in checked.stdout
    assert os.path.realpath(programs).startswith(str(tmp_path))
