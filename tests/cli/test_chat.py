"""`segue chat` as a person has it: at a terminal, and through pipes."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import LONG, Slow, Spawn

PROMPT = r"> (?:\x1b\[0m)?"


def talk(spawn: Spawn, slow: Slow, *words: str, **variables: str) -> pexpect.spawn[str]:
    """A chat with the slow server, at its first prompt."""
    child = spawn("chat", *words, SEGUE_URL=slow.there.url, DASHSCOPE_API_KEY=slow.there.key, **variables)
    child.expect("/help tells")
    child.expect(PROMPT)
    return child


def leave(child: pexpect.spawn[str]) -> None:
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_an_answer_streams_stops_and_goes_on_exactly(spawn: Spawn, slow: Slow, tmp_path: Path) -> None:
    """Ctrl-C ends it on the engine; `/continue` goes on at the character; `/retry` from a chosen one."""
    child = talk(spawn, slow)
    child.sendline(LONG)
    child.expect("97 bottles of beer on the wall, 96")  # the echo of the line itself
    child.expect("99 bottles of beer")
    child.expect("97 bottles")
    assert slow.metric("segue_engine_running") == 1, "it is written while it is computed"
    child.sendintr()
    child.expect("stopped: /continue goes on")
    assert slow.settled(), "the engine goes on without anybody who reads"
    child.expect(PROMPT)
    child.sendline("/save cut.json")
    child.expect("saved in cut.json")
    child.expect(PROMPT)
    cut = json.loads((tmp_path / "cut.json").read_text())[-1]
    assert cut["partial"] is True
    assert LONG.startswith(cut["content"])
    assert 20 < len(cut["content"]) < len(LONG)

    child.sendline("/continue")
    child.expect(r"\d+ tokens, \d+ in a second")
    child.expect(PROMPT)
    child.sendline("/save whole.json")
    child.expect("saved in whole.json")
    child.expect(PROMPT)
    assert json.loads((tmp_path / "whole.json").read_text())[-1]["content"] == LONG

    child.sendline("/retry -25")
    child.expect(r"25 tokens, \d+ in a second")
    child.expect(PROMPT)
    child.sendline("/retry 61 bottles")
    child.expect(r"(\d+) tokens, \d+ in a second")
    assert child.match is not None
    assert int(child.match[1]) == len(LONG) - LONG.index("61 bottles") - len("61 bottles")
    child.expect(PROMPT)
    child.sendline("/retry nowhere")
    child.expect("is not in the answer")
    child.expect(PROMPT)
    leave(child)


def test_ctrl_c_at_the_prompt(spawn: Spawn, slow: Slow) -> None:
    child = talk(spawn, slow)
    child.send("half a question")
    child.expect("half a question")
    child.sendintr()
    child.expect(PROMPT)
    child.sendintr()
    child.expect("Ctrl-C again, or Ctrl-D, leaves")
    child.expect(PROMPT)
    time.sleep(0.6)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_second_ctrl_c_behind_a_stopped_answer_leaves(spawn: Spawn, slow: Slow) -> None:
    child = talk(spawn, slow)
    child.sendline(LONG)
    child.expect("98 bottles.*98 bottles")
    child.sendintr()
    child.expect("stopped")
    child.expect(PROMPT)
    time.sleep(0.6)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert slow.settled()


def test_commands(spawn: Spawn, slow: Slow, tmp_path: Path) -> None:
    (tmp_path / "no picture.png").write_text("<svg/>")
    editor = tmp_path / "editor"
    editor.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'w').write('An old ans')\n")
    editor.chmod(0o755)
    child = talk(spawn, slow, "--system", "Be brief.", EDITOR=str(editor))

    def tell(line: str, *told: str) -> None:
        child.sendline(line)
        for each in told:
            child.expect(each)
        child.expect(PROMPT)

    tell("/continue", "nothing has been asked yet")
    tell("/nothing", "there is no /nothing; /help tells")
    tell("/help", "go on with the last answer", "/retry", "Ctrl-C")
    tell("/system", "system: Be brief.")
    tell("/system -", r"system: \(none\)")
    tell("/model", "segue-scripted", r"\* qwen-plus")
    tell("/model gpt-9", "asking gpt-9")
    tell("Hello?", "answers 404", "/retry asks again")
    tell("/model qwen-plus", "asking qwen-plus")
    tell("/retry", "Hello\\?", "tokens")
    child.sendline("/edit")
    child.expect("Hello")
    child.sendline(" Again.")
    child.expect("Again.*Hello\\? Again\\.", timeout=20)
    child.expect(PROMPT)
    child.sendline("/edit")
    child.expect("Again\\.")
    child.sendintr()
    child.expect("unchanged")
    child.expect(PROMPT)
    tell("/edit answer", "changed; /continue goes on from there")
    tell('/image "no picture.png"', "is no picture that is known here")
    tell("/image missing.png", "No such file")
    tell("/file missing.txt", "No such file")
    child.sendline('"""one')
    child.expect('"""one\r\n.*  ')
    child.sendline('two"""')
    child.expect("one\r\ntwo")
    child.expect(PROMPT)
    tell("/save talk.md", "saved in talk.md")
    tell("/save talk.md", "is there already")
    tell("/save nowhere/talk.md", "No such file")
    tell("/new", "a new conversation")
    tell("/continue", "nothing has been asked yet")
    leave(child)
    page = (tmp_path / "talk.md").read_text()
    assert "## Hello? Again.\n\nAn old ans" in page
    assert "one\ntwo" in page


def test_history_is_kept_for_its_owner_alone(spawn: Spawn, slow: Slow, tmp_path: Path) -> None:
    child = talk(spawn, slow)
    child.sendline("Remember me.")
    child.expect("tokens")
    child.expect(PROMPT)
    leave(child)
    (kept,) = (tmp_path / "state").rglob("chat_history")
    assert kept.read_text().splitlines()[-1] == "Remember me."
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    child = talk(spawn, slow)
    child.send("\x1b[A")
    child.expect("Remember me.")
    child.sendline()
    child.expect("tokens")
    child.expect(PROMPT)
    child.send("/cont\t")
    child.expect("/continue ")
    child.sendline()
    child.expect("there was nothing more to say")
    child.expect(PROMPT)
    leave(child)
    kept.unlink()
    child = talk(spawn, slow, "--no-history")
    child.sendline("Forget me.")
    child.expect("tokens")
    child.expect(PROMPT)
    leave(child)
    assert not kept.exists()


def test_a_document_is_talked_about(spawn: Spawn, slow: Slow, tmp_path: Path) -> None:
    """The scripted engine reads no documents; that they are asked about, the request shows."""
    (tmp_path / "a page.txt").write_text("Delivery takes three weeks.")
    child = talk(spawn, slow)
    child.sendline("/file a page.txt")
    child.expect(r"a page.txt can be asked about")
    child.expect(PROMPT)
    child.sendline("How long?")
    child.expect(r"documents read as whole")
    child.expect(PROMPT)
    child.sendline("/save talk.json")
    child.expect("saved in")
    child.expect(PROMPT)
    leave(child)
    roles = [(each["role"], each["content"][:9]) for each in json.loads((tmp_path / "talk.json").read_text())]
    assert roles[:3] == [("system", "You are a"), ("system", "fileid://"), ("user", "How long?")]


@pytest.mark.parametrize(("variables", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_only_where_it_is_wanted(spawn: Spawn, slow: Slow, variables: dict[str, str], styled: bool) -> None:
    variables = {"INPUTRC": "/dev/null", **variables}
    child = spawn("chat", SEGUE_URL=slow.there.url, DASHSCOPE_API_KEY=slow.there.key, **variables)
    child.expect("> ")
    child.sendline("Hello.")
    child.expect(r"\d tokens[^>]*> ")
    seen = str(child.before) + str(child.after)
    leave(child)
    assert bool(re.search(r"\x1b\[\d*m", seen)) is styled, repr(seen)


def test_what_a_model_says_does_not_steer_the_terminal(spawn: Spawn, slow: Slow) -> None:
    evil = "Say \x1b]0;owned\x07 and \x1b[2J\r\x9b1m now."
    child = spawn("complete", "--prompt", evil, SEGUE_URL=slow.there.url, DASHSCOPE_API_KEY=slow.there.key)
    child.expect(pexpect.EOF)
    assert "Say ␛]0;owned␇ and ␛[2J␍\ufffd1m now." in child.before


def chatted(environment: dict[str, str], folder: Path, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A chat through pipes."""
    return subprocess.run(
        [sys.executable, "-m", "segue", "chat", *words],
        input=lines,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=60,
        check=False,
    )


def test_pipes_have_the_answers_and_nothing_else(environment: dict[str, str], slow: Slow, tmp_path: Path) -> None:
    environment |= {"SEGUE_URL": slow.there.url, "DASHSCOPE_API_KEY": slow.there.key, "FORCE_COLOR": "1"}
    lines = 'First.\n/retry 2\n"""\nSecond\n\nquestion.\n"""\n'
    done = chatted(environment, tmp_path, lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, "First.\nrst.\nSecond\n\nquestion.\n", "")
    done = chatted(environment, tmp_path, "One.\n/exit\nTwo.\n")
    assert (done.returncode, done.stdout) == (0, "One.\n")
    done = chatted(environment | {"DASHSCOPE_API_KEY": "sk-wrong"}, tmp_path, "One.\n")
    assert done.returncode == 1
    assert "answers 401" in done.stderr
    assert "`segue key new` makes one" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--url", "http://127.0.0.1:9"], "is `segue serve` running there?"),
        (["--url", "nowhere"], "nowhere is no address"),
        (["--url", "http://127.0.0.1:9", "--key", "ключ"], "the key has characters that no key has"),
    ],
)
def test_errors_say_what_to_do_next(environment: dict[str, str], tmp_path: Path, words: list[str], told: str) -> None:
    done = chatted(environment, tmp_path, "One.\n", *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_with_a_model_of_its_own(spawn: Spawn, small_model: Path, tmp_path: Path) -> None:
    """No server is named: the model is loaded here, Ctrl-C stops it, and it is gone with the command."""
    variables = {"SEGUE_MODELS_DIR": str(small_model.parent), "SEGUE_ENGINE_KV_TOKENS": "2048"}
    child = spawn("chat", "--model", "smollm2-135m-instruct", "--seed", "3", "--max-tokens", "150", **variables)
    child.expect("loaded here")
    child.expect(PROMPT)
    child.sendline("Write a long story about a fox.")
    child.expect("fox[^>]+[fF]ox")
    child.sendintr()
    child.expect("stopped: /continue goes on")
    child.expect(PROMPT)
    child.sendline("/save cut.json")
    child.expect("saved in")
    child.sendline("/continue")
    child.expect(r"\d+ tokens, \d+ in a second")
    child.expect(PROMPT)
    child.sendline("/save whole.json")
    child.expect("saved in")
    child.expect(PROMPT)
    leave(child)
    cut, whole = (json.loads((tmp_path / name).read_text())[-1]["content"] for name in ("cut.json", "whole.json"))
    assert whole.startswith(cut)
    assert len(whole) > len(cut) > 20
