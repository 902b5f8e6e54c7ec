"""The command line, from the words to the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from segue import __version__
from segue.__main__ import main
from segue.app import names_of
from segue.catalogue.read import read_catalogue
from segue.cli.serve import _bound, renewed
from segue.config import Server
from segue.config_read import load
from segue.core.errors import ModelUnknown

OUTPUT = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings, keys or models."""
    for name in [name for name in os.environ if name.startswith(("SEGUE_", "DASHSCOPE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEGUE_AUTH_KEYS_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setenv("SEGUE_FILES_DIR", str(tmp_path / "files"))
    monkeypatch.setenv("SEGUE_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_version(capsys: OUTPUT) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segue {__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", "--nope"], "--nope"),
        (["serve", "--port", "many"], "--port"),
        (["nothing"], "nothing"),
        (["serve", "--port", "99999", "--log-level", "loud"], "99999 is above 65535"),
        (["serve", "--model", "nothing"], "nothing is not in the catalogue"),
        (["serve", "--config", "missing.toml"], "there is no such file"),
        (["models", "pull", "nothing"], "nothing is not in the catalogue"),
        (["complete", "x", "-f", "y"], "not both"),
        (["complete", "x", "--temperature", "2"], "temperature"),
    ],
)
def test_wrong_words_and_settings(capsys: OUTPUT, words: list[str], told: str) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "Traceback" not in shown.err


def test_all_wrong_settings_are_shown(capsys: OUTPUT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_SERVER_PORT", "x")
    monkeypatch.setenv("SEGUE_ENGINE_SLOTS", "0")
    assert main(["models", "list"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_keys(capsys: OUTPUT, home: Path) -> None:
    assert main(["key", "new", "laptop"]) == 0
    shown = capsys.readouterr()
    assert re.fullmatch(r"sk-[0-9a-f]{48}\n", shown.out)
    assert main(["key", "list"]) == 0
    listed = capsys.readouterr().out
    (id,) = re.findall(r"key-[0-9a-f]{16}", listed)
    assert "laptop" in listed
    assert shown.out.strip() not in listed
    assert main(["key", "rm", id]) == 0
    assert main(["key", "list"]) == 0
    assert id not in capsys.readouterr().out
    assert main(["key", "list", "--all"]) == 0
    assert "revoked" in capsys.readouterr().out
    assert main(["key", "rm", "key-none"]) == 1
    assert "there is no key" in capsys.readouterr().err


def test_a_key_file_that_is_broken(capsys: OUTPUT, home: Path) -> None:
    (home / "keys.json").write_text("{")
    (home / "files").mkdir()
    (home / "files" / "files.sqlite").write_bytes(b"no database" * 1000)
    assert main(["key", "list"]) == 1
    assert "cannot be used" in capsys.readouterr().err


def test_workspaces(capsys: OUTPUT, home: Path) -> None:
    """A team from its beginning to its end, as a person at a terminal does it."""
    made = ["workspace", "new", "Team [blue]", "--id", "team", "--models", "qwen-plus", "--concurrent", "3"]
    assert main([*made, "--cost-per-month", "12.5"]) == 0
    assert capsys.readouterr().out == "team\n"
    assert main(["workspace", "authorise", "team", "qwen-max"]) == 0
    assert main(["workspace", "withdraw", "team", "qwen-plus"]) == 0
    assert main(["workspace", "change", "team", "--concurrent", "0", "--requests-per-minute", "60"]) == 0
    assert main(["workspace", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("team")]
    assert re.search(r"Team \[blue\] .* qwen-max +requests per minute 60, cost per month 12\.5$", line)
    assert main(["key", "new", "x", "--workspace", "team", "--role", "read-only", "--expires", "30d"]) == 0
    secret = capsys.readouterr().out.strip()
    assert main(["key", "list", "--workspace", "team"]) == 0
    listed = capsys.readouterr().out
    (id,) = re.findall(r"key-[0-9a-f]{16}", listed)
    assert "read-only" in listed
    assert secret[:7] in listed
    assert main(["key", "change", id, "--role", "member", "--expires", "never", "--models", "qwen-max"]) == 0
    assert main(["workspace", "rm", "team", "--yes"]) == 0
    assert main(["audit", "--limit", "20"]) == 0
    told = capsys.readouterr().out
    acts = re.findall(r"cli:\S+ +(\S+)", told)
    changes = ["workspace.change"] * 3
    assert acts == ["workspace.remove", "key.change", "key.create", *changes, "workspace.create"]
    assert secret not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["workspace", "new", "x", "--models", "gpt-9"], "no served model answers to gpt-9"),
        (["workspace", "new", "x", "--id", "a b"], "id: 1 to 64 letters"),
        (["workspace", "authorise", "default", "qwen-plus"], "default may use every model"),
        (["workspace", "authorise", "nowhere", "qwen-plus"], "there is no workspace nowhere"),
        (["workspace", "rm", "default", "--yes"], "The default workspace stays."),
        (["key", "new", "x", "--workspace", "nowhere"], "there is no workspace nowhere"),
        (["key", "new", "x", "--role", "root"], "say admin, member or read-only"),
        (["key", "new", "x", "--expires", "soon"], "say 12h, 30d, 4w"),
        (["key", "new", "x", "--expires", "2001-01-01"], "A time to come"),
        (["key", "change", "key-none", "--name", "y"], "there is no key key-none"),
    ],
)
def test_acts_that_cannot_be(words: list[str], said: str, capsys: OUTPUT, home: Path) -> None:
    assert main(words) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())


def test_settings_that_are_read_again(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalogue, settings = home / "own.toml", home / "segue.toml"
    settings.write_text('[models]\ndefault = "segue-scripted"\ncatalogue = "own.toml"\n')
    catalogue.write_text('[models.segue-scripted]\naliases = ["one"]\n')
    names = names_of(load())
    takers = [lambda settings: names.renew(read_catalogue(settings.models.catalogue))]
    assert names.resolve("one") == "segue-scripted"
    catalogue.write_text('[models.segue-scripted]\naliases = ["two"]\ncontext_tokens = 512\n')
    assert renewed(load, takers)
    assert "at the next start" in caplog.text
    assert names.resolve("two") == "segue-scripted"
    with pytest.raises(ModelUnknown):
        names.resolve("one")
    catalogue.write_text("[models.segue-scripted]\naliases = 5\n")
    assert not renewed(load, takers)
    settings.write_text("[models]\nport = 5\n")
    assert not renewed(load, takers)
    assert names.resolve("two") == "segue-scripted"


def test_models(capsys: OUTPUT, home: Path) -> None:
    catalogue = home / "own.toml"
    catalogue.write_text('[models.mine]\nfile = "./mine.gguf"\n')
    (home / "segue.toml").write_text('[models]\ncatalogue = "own.toml"\n')
    (home / "mine.gguf").write_bytes(b"x")
    assert main(["models", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert re.search(r"\byes\b", lines["mine"])
    assert re.search(r"1,117 MB +no +\d\d", lines["qwen2.5-coder-1.5b-instruct"])
    assert main(["models", "pull", "mine", "segue-scripted"]) == 0
    assert main(["models", "rm", "mine"]) == 1
    assert (home / "mine.gguf").exists()
    (home / "mine.gguf").unlink()
    assert main(["models", "pull", "mine"]) == 1
    assert "Put the file there" in capsys.readouterr().err


def test_doctor(capsys: OUTPUT, home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "segue.toml").write_text(f"[server]\nport = {port}\n")
    assert main(["doctor", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[1]: line.split()[0] for line in lines}
    assert states.keys() == {
        "python",
        "openmp",
        "library",
        "disk",
        "memory",
        "model",
        "port",
        "key",
        "store",
        "files",
        "clock",
    }
    assert states["model"] == "warn"
    assert states["port"] == states["key"] == states["store"] == states["files"] == "ok"
    assert not (home / "files").exists(), "it only looks"


def test_doctor_finds_what_is_wrong(capsys: OUTPUT, home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf").write_bytes(b"short")
    (home / "keys.json").write_text("{")
    (home / "files").mkdir()
    (home / "files" / "files.sqlite").write_bytes(b"no database" * 1000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (home / "segue.toml").write_text(f"[server]\nport = {taken.getsockname()[1]}\n")
        assert main(["doctor"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"fail +model .*5 bytes", shown.out)
    assert re.search(r"warn +port ", shown.out)
    assert re.search(r"fail +key ", shown.out)
    assert re.search(r"fail +store .*not a database", shown.out)
    assert "error: something must be mended" in shown.err


def test_backup_and_restore(capsys: OUTPUT, home: Path) -> None:
    assert main(["store", "backup", "saved"]) == 0
    with closing(sqlite3.connect(home / "files" / "files.sqlite", isolation_level=None)) as connection:
        connection.execute("INSERT INTO blobs VALUES ('w', 'a', 'bytes', 1)")
    assert main(["store", "backup", "saved"]) == 1
    assert main(["store", "backup", "more"]) == 0
    assert main(["store", "backup", "nowhere/more"]) == 1
    assert main(["store", "restore", "saved"]) == 1
    assert main(["store", "restore", "none"]) == 1
    assert main(["store", "restore", "saved", "--replace"]) == 0
    assert main(["store", "restore", "more"]) == 0
    shown = capsys.readouterr().err
    for told in (
        "0 rows written to saved",
        "saved is there already",
        "1 rows written to more (blobs 1)",
        "nowhere/more: No such file",
        "there are blobs in the database already; --replace",
        "none: No such file",
        "0 rows restored from saved",
        "1 rows restored from more",
    ):
        assert told in shown
    assert main(["doctor", "--quick"]) in (0, 1)
    assert re.search(r"ok +store .*files\.sqlite, .*tables of version \d", capsys.readouterr().out)


def test_a_store_that_cannot_be_had(capsys: OUTPUT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_STORE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    assert main(["doctor", "--quick"]) == 1
    monkeypatch.setenv("SEGUE_STORE_URL", "mysql:hunter2")
    assert main(["store", "backup", "saved"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"fail +store .*refused", shown.out)
    assert "postgresql://" in shown.err
    assert "hunter2" not in shown.out + shown.err


def test_complete_asks_for_a_text(capsys: OUTPUT, home: Path) -> None:
    assert main(["complete", "-f", "missing.txt"]) == 1
    (home / "latin.txt").write_bytes(b"caf\xe9")
    assert main(["complete", "-f", "latin.txt"]) == 1
    told = capsys.readouterr().err
    assert "missing.txt" in told
    assert "not UTF-8" in told


def test_a_port_that_is_taken(capsys: OUTPUT) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--model", "segue-scripted", "--port", str(taken.getsockname()[1])]) == 1
    assert "another program listens there" in capsys.readouterr().err


def test_a_missing_file_that_may_not_be_fetched(capsys: OUTPUT, home: Path) -> None:
    assert main(["serve", "--no-pull", "--port", "0"]) == 1
    assert "segue models pull qwen2.5-coder-1.5b-instruct" in capsys.readouterr().err
    assert not (home / "keys.json").exists()


def segue(*words: str, **env: str) -> subprocess.Popen[str]:
    """The command in a process of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "segue", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **env},
    )


def until(process: subprocess.Popen[str], word: str) -> str:
    """Standard output up to the line that has `word`."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if word in line:
            return seen
    process.kill()
    raise AssertionError(process.communicate())


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server with the scripted engine, and what it said when it was ready."""
    with segue("serve", "--model", "segue-scripted", "--port", "0") as process:
        try:
            yield process, until(process, "Stop: Ctrl-C")
        finally:
            process.kill()


def test_serve_from_first_start_to_stop(server: tuple[subprocess.Popen[str], str], home: Path) -> None:
    process, banner = server
    base = re.findall(r"http://127\.0\.0\.1:\d+", banner)[0]
    (secret,) = set(re.findall(r"sk-[0-9a-f]{48}", banner))
    assert httpx.get(f"{base}/healthz").text == "ok\n"
    assert httpx.get(f"{base}/readyz").status_code == 200
    assert "server" not in httpx.get(f"{base}/readyz").headers

    shell = banner[banner.index("    curl ") : banner.index("OpenAI clients")]
    answer = json.loads(subprocess.run(["bash", "-c", shell], capture_output=True, check=True).stdout)
    assert answer["model"] == "qwen-plus"
    assert answer["choices"][0]["message"]["content"] == "Write a Python function that adds two numbers."

    with segue("complete", "-", "--url", base, "--key", secret, "--prompt", "Say ä.") as client:
        written, told = client.communicate("Say ", timeout=20)
    assert (client.returncode, written, told) == (0, "ä.", "")
    with segue("complete", "Say ", "--echo", "--url", base, "--prompt", "Say it.", DASHSCOPE_API_KEY=secret) as client:
        assert client.communicate(timeout=20) == ("Say it.", "")
    with segue("complete", "x", "--url", base, "--key", "sk-wrong") as client:
        assert "answers 401" in client.communicate(timeout=20)[1]
    assert client.returncode == 1

    process.send_signal(signal.SIGHUP)
    assert httpx.get(f"{base}/readyz").status_code == 200
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "settings and catalogue were read again" in log
    assert log.count("answered") == 3
    assert secret not in log
    assert "adds two numbers" not in log
    assert all(secret.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_the_key_is_shown_once_and_still_opens(server: tuple[subprocess.Popen[str], str]) -> None:
    process, banner = server
    secret = re.findall(r"sk-[0-9a-f]{48}", banner)[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    with segue("serve", "--model", "segue-scripted", "--port", "0", "--log-format", "json") as again:
        second = until(again, "Stop: Ctrl-C")
        assert "sk-" not in second
        base = re.findall(r"http://127\.0\.0\.1:\d+", second)[0]
        headers = {"Authorization": f"Bearer {secret}"}
        body = {"model": "qwen-max", "messages": [{"role": "user", "content": "hi"}]}
        url = f"{base}/compatible-mode/v1/chat/completions"
        answer = httpx.post(url, json=body, headers=headers)
        assert answer.status_code == 200
        again.send_signal(signal.SIGTERM)
        _, log = again.communicate(timeout=10)
    entry = json.loads(log.splitlines()[-1])
    assert entry["message"] == "answered"
    assert entry["request_id"] == answer.headers["x-request-id"]
    assert entry["outcome"] == "finished"


def test_a_stream_may_end_when_the_server_is_told_to_stop(home: Path) -> None:
    """The scripted engine is too quick to be caught; a request that is still being read is not."""
    with segue("serve", "--model", "segue-scripted", "--port", "0", SEGUE_API_KEY="sk-known") as process:
        banner = until(process, "Stop: Ctrl-C")
        port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", banner)[0])
        assert "sk-known" not in banner
        assert not (home / "keys.json").exists()
        body = json.dumps(
            {"model": "qwen-plus", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        ).encode()
        head = (
            "POST /compatible-mode/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-known\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(head.encode() + body[:10])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            line.sendall(body[10:])
            answer = b""
            while block := line.recv(65536):
                answer += block
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"[DONE]" in answer
        assert process.wait(timeout=10) == 0


def test_an_engine_that_never_starts_ends_the_server(home: Path) -> None:
    (home / "own.toml").write_text('[models.mine]\nfile = "./mine.gguf"\n')
    (home / "mine.gguf").write_bytes(b"this is no model")
    with segue("serve", "--model", "mine", "--port", "0", SEGUE_MODELS_CATALOGUE="own.toml") as process:
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "error: the engine failed" in told
    assert "Traceback" not in told


def test_complete_with_the_engine_of_its_own(small_model: Path, home: Path) -> None:
    """Nothing but the continuation is on standard output, and it goes on in the middle of a line."""
    (home / "text.txt").write_text("One, two, three, four, five, six,", encoding="utf-8")
    words = ("complete", "-f", "text.txt", "--prompt", "Count.", "--model", "smollm2-135m-instruct")
    wishes = ("--temperature", "0", "--max-tokens", "8")
    with segue(*words, *wishes, SEGUE_MODELS_DIR=str(small_model.parent), SEGUE_ENGINE_KV_TOKENS="1024") as process:
        written, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert written.startswith(" seven, eight,")


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such bound")
def test_the_system_holds_little_for_a_client_who_does_not_read() -> None:
    with _bound(Server(host="127.0.0.1", port=0)) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as line:
            line.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while sent < 64 * 1024**2:
                    sent += line.send(bytes(16 * 1024))
            # What the client's side of the system takes is its own; behind it wait 64 KiB.
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 64 * 1024
            assert sent < 8 * 1024**2
