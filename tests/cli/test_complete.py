"""`segue complete`: the forms of a continuation, several at once, pipes that end early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import LONG, Slow, Spawn


def completed(
    environment: dict[str, str], folder: Path, *words: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segue", "complete", *words],
        input=given,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=60,
        check=False,
    )


@pytest.fixture
def there(environment: dict[str, str], slow: Slow) -> dict[str, str]:
    """The environment of a person who has named a server."""
    return environment | {"SEGUE_URL": slow.there.url, "DASHSCOPE_API_KEY": slow.there.key}


def test_from_an_argument_a_file_and_a_pipe(there: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Say")
    for words, given in ((("Say",), ""), (("-f", "text"), ""), ((), "Say")):
        done = completed(there, tmp_path, *words, "--prompt", "Say it.", given=given)
        assert (done.returncode, done.stdout, done.stderr) == (0, " it.", ""), words


def test_several_candidates(there: dict[str, str], tmp_path: Path) -> None:
    done = completed(there, tmp_path, "Say", "--prompt", "Say it.", "--n", "3", "--echo")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Say it.\n" * 3, "")
    done = completed(there, tmp_path, "Say", "--prompt", "Say it.", "-n", "2", "--jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [{"index": index, "text": " it.", "finish_reason": "stop"} for index in range(2)]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--json", "--regex", "a"], 2, "exclude each other"),
        (["--schema", "none.json"], 1, "none.json: No such file"),
        (["--schema", "list.json"], 2, "is no JSON schema"),
        (["--n", "5"], 2, "--n"),
    ],
)
def test_wishes_that_cannot_be(there: dict[str, str], tmp_path: Path, words: list[str], status: int, told: str) -> None:
    (tmp_path / "list.json").write_text("[]")
    done = completed(there, tmp_path, "x", *words)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(there: dict[str, str], slow: Slow, tmp_path: Path) -> None:
    line = f"{sys.executable} -m segue complete --prompt '{LONG}' </dev/null | head -c 20"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=there, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr) == (LONG[:20], "")
    assert slow.settled()


def test_ctrl_c_ends_it_on_the_engine(spawn: Spawn, slow: Slow) -> None:
    child = spawn("complete", "--prompt", LONG, SEGUE_URL=slow.there.url, DASHSCOPE_API_KEY=slow.there.key)
    child.expect("98 bottles")
    assert slow.metric("segue_engine_running") == 1
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in str(child.before)
    assert slow.settled()


def test_a_model_that_cannot_be_loaded(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[models.mine]\nfile = "./mine.gguf"\n')
    (tmp_path / "mine.gguf").write_bytes(b"this is no model")
    done = completed(environment | {"SEGUE_MODELS_CATALOGUE": "own.toml"}, tmp_path, "x", "--model", "mine")
    assert done.returncode == 1
    assert "error: the engine failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_forms_with_a_model_of_its_own(environment: dict[str, str], small_model: Path, tmp_path: Path) -> None:
    """What is written fits, together with the text it continues."""
    environment |= {"SEGUE_MODELS_DIR": str(small_model.parent), "SEGUE_ENGINE_KV_TOKENS": "2048"}
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    (tmp_path / "city.json").write_text(json.dumps(schema))
    wishes = ("--model", "smollm2-135m-instruct", "--max-tokens", "60", "--temperature", "0", "--echo")
    done = completed(environment, tmp_path, '{"ci', "--schema", "city.json", *wishes)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == {"city", "people"}


@pytest.mark.slow
def test_more_forms_with_a_model_of_its_own(environment: dict[str, str], small_model: Path, tmp_path: Path) -> None:
    environment |= {"SEGUE_MODELS_DIR": str(small_model.parent), "SEGUE_ENGINE_KV_TOKENS": "2048"}
    wishes = ("--model", "smollm2-135m-instruct", "--max-tokens", "60", "--temperature", "0", "--echo")
    done = completed(environment, tmp_path, "The year 1", "--regex", r"The year [0-9]{4}\.", *wishes)
    assert done.stdout[:10] == "The year 1"
    assert done.stdout[-1] == "."
    assert len(done.stdout) == 14
    done = completed(environment, tmp_path, "No", "--regex", "Yes", *wishes)
    assert done.returncode == 1
    assert "answers 400" in done.stderr
