"""What shells complete, asked of the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from segue.__main__ import main

needs = pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.skipif(
    shutil.which(name) is None, reason=f"there is no {name}")) for name in ("bash", "zsh", "fish")])  # fmt: skip


@pytest.fixture
def script(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, shell: str) -> Path:
    """The script of a shell, in a file."""
    assert main(["completion", shell]) == 0
    path = tmp_path / f"segue.{shell}"
    path.write_bytes(capfdbinary.readouterr().out)
    return path


@needs
def test_the_script_parses(script: Path, shell: str) -> None:
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")


ASKED = [
    ("segue ", {"serve", "chat", "complete", "key", "file", "completion", "--version"}),
    ("segue comp", {"complete", "completion"}),
    ("segue key ", {"new", "list", "change", "rm"}),
    ("segue key new --ro", {"--role"}),
    ("segue complete --sch", {"--schema"}),
    ("segue completion ", {"bash", "zsh", "fish"}),
    ("segue complete --schema pa", {"page one.json"}),
    ("segue file add pa", {"page one.json"}),
    ("segue complete --temperature ", set()),
    ("segue --url x key ", {"new"}),
]


@pytest.mark.parametrize("shell", ["bash"])
@pytest.mark.parametrize(("line", "wanted"), ASKED, ids=[line for line, _ in ASKED])
def test_bash_completes(script: Path, tmp_path: Path, line: str, wanted: set[str]) -> None:
    """Bash's own way from a line to the candidates."""
    (tmp_path / "page one.json").write_text("{}")
    asking = f"""
        source {script}
        read -r -a COMP_WORDS <<< {line!r}
        [[ {line!r} == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _segue
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", asking], capture_output=True, text=True, cwd=tmp_path, timeout=20, check=True)
    assert done.stderr == ""
    found = set(filter(None, done.stdout.split("\n")))
    assert wanted <= found
    assert wanted or not found


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize("shell", ["zsh"])
def test_zsh_completes_at_a_terminal(script: Path, tmp_path: Path) -> None:
    child = pexpect.spawn("zsh", ["-f"], cwd=str(tmp_path), encoding="utf-8", timeout=20, dimensions=(50, 200))
    child.sendline(f"PS1='$ '; autoload -U compinit; compinit -u -D; source {script}; echo rea''dy")
    child.expect("ready")
    child.send("segue comple\t\t")
    child.expect("completion +-- Print the completion")
    child.send("\x15segue key n\t")
    child.expect("segue key new")
    child.send("--ro\t")
    child.expect("--role")
    child.close(force=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize("shell", ["fish"])
@pytest.mark.parametrize(("line", "wanted"), ASKED, ids=[line for line, _ in ASKED])
def test_fish_completes(script: Path, tmp_path: Path, line: str, wanted: set[str]) -> None:
    (tmp_path / "page one.json").write_text("{}")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C {line!r}"],
        capture_output=True, text=True, cwd=tmp_path, timeout=20, check=True,
    )  # fmt: skip
    found = {each.split("\t")[0].replace("\\ ", " ") for each in done.stdout.splitlines()}
    assert wanted - {"--version"} <= found


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "say bash, zsh, fish" in capsys.readouterr().err
