"""What the pages name exists: files, links, commands, settings; what they show can be read."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from segue.__main__ import main
from segue.catalogue.read import names_served, read_catalogue
from segue.cli.talk import COMMANDS
from segue.config import API_KEY_VARIABLE, CONFIG_VARIABLE, URL_VARIABLE, Settings, rows, sections
from segue.config_read import load
from tests.docs.tables import ROOT, pages

PAGES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[|&] |`|\.venv/bin/)segue ([a-z][^`#\n]*)", re.MULTILINE)
# The only hosts a page may name.
HOSTS = {"127.0.0.1", "cdn.example", "help.aliyun.com", "keepachangelog.com", "minio.example", "semver.org"}
# What a path in code may begin with: those of the API.
API_PATHS = (
    "/compatible-mode",
    "/api/v1",
    "/api/v2",
    "/apps/anthropic",
    "/healthz",
    "/readyz",
    "/metrics",
    "/admin/v1",
    "/console",
)


def prose(text: str) -> str:
    return FENCE.sub("", text)


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and content of every code block in a language."""
    return [(name, found[2]) for name, text in PAGES.items() for found in FENCE.finditer(text) if found[1] == language]


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.resolve().is_relative_to(ROOT.resolve()), target
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_no_foreign_hosts_and_no_paths_of_one_machine(name: str) -> None:
    hosts = re.findall(r"https?://\[?([^\s/:)`\"\\\]]+)", PAGES[name])
    assert set(hosts) <= HOSTS
    spans = re.findall(r"`([^`\n]+)`", prose(PAGES[name])) + [found[2] for found in FENCE.finditer(PAGES[name])]
    for span in spans:
        for path in re.findall(r"(?<![\w.~:/<>*…\"'}-])/[A-Za-z][\w/.-]*", span):
            assert path.startswith(API_PATHS) or path[1:] in COMMANDS, path


@pytest.mark.parametrize("name", PAGES)
def test_settings_that_are_named_exist(name: str) -> None:
    known = {row.variable for row in rows()} | {API_KEY_VARIABLE, CONFIG_VARIABLE, URL_VARIABLE}
    assert set(re.findall(r"\bSEGUE_[A-Z_]+[A-Z]\b", PAGES[name])) <= known
    keys = re.findall(rf"`((?:{'|'.join(sections())})\.[a-z_]+)\b[^`(]*`", PAGES[name])
    assert {key for key in keys if not key.endswith((".py", ".sqlite"))} <= {row.key for row in rows()}


@pytest.mark.parametrize("name", PAGES)
def test_make_targets_that_are_named_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    code = [found[2] for found in FENCE.finditer(PAGES[name])] + re.findall(r"`([^`\n]+)`", prose(PAGES[name]))
    named = {word for text in code for word in re.findall(r"(?:^|\s)make (?!sure\b)([a-z-]+)", text, re.MULTILINE)}
    assert named <= set(phony[1].split())
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def commands() -> list[str]:
    """Every `segue ...` on a page, without its comment."""
    return sorted({found[1].strip() for text in PAGES.values() for found in COMMAND.finditer(text)})


@pytest.mark.parametrize("command", commands())
def test_commands_and_options_that_are_named_exist(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = shlex.split(command)
    groups = ("models", "key", "workspace", "store", "file", "replica")
    names = words[: 2 if words[0] in groups and len(words) > 1 else 1]
    assert main([*names, "--help"]) == 0
    told = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for option in [word for word in words if word.startswith("-")]:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", told), option


def test_there_are_commands_to_check() -> None:
    told = {command.split()[0] for command in commands()}
    assert told >= {
        "audit",
        "chat",
        "complete",
        "completion",
        "doctor",
        "file",
        "key",
        "models",
        "serve",
        "store",
        "usage",
        "workspace",
    }


@pytest.mark.parametrize(("name", "code"), blocks("python"))
def test_python_parses(name: str, code: str) -> None:
    ast.parse(code, name)


@pytest.mark.parametrize(("name", "code"), blocks("json"))
def test_json_parses(name: str, code: str) -> None:
    json.loads(code)


@pytest.mark.parametrize(("name", "code"), blocks("toml"))
def test_toml_is_settings_or_a_catalogue(name: str, code: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.toml"
    file.write_text(code, encoding="utf-8")
    models = tomllib.loads(code).get("models", {})
    if any(isinstance(value, dict) for value in models.values()):
        assert read_catalogue(file)
    else:
        assert isinstance(load(file=file, env={}), Settings)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("name", "code"), blocks("sh"))
def test_shell_parses(name: str, code: str) -> None:
    code = re.sub(r"<[^<>\n]+>", "ADDRESS", code)
    done = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr


def bodies() -> list[tuple[str, str]]:
    """The data of every curl; a block has one at most."""
    curls = [(name, shlex.split(code)) for name, code in blocks("sh") if code.startswith("curl ")]
    return [(name, words[words.index("-d") + 1]) for name, words in curls]


@pytest.mark.parametrize(("name", "body"), bodies())
def test_data_of_curl_parses(name: str, body: str) -> None:
    assert json.loads(body).keys() & {"messages", "name"}  # a question, or an act of the administration


def test_models_that_are_asked_for_are_answered() -> None:
    names = names_served(read_catalogue(), Settings().models.default)
    asked = re.findall(r"model\"?[=:] \"([^\"]+)\"|model=\"([^\"]+)\"", PAGES["README.md"])
    assert asked
    for one, other in asked:
        assert names.resolve(one or other)


def test_every_source_file_has_its_line_in_the_architecture() -> None:
    text = PAGES["docs/ARCHITECTURE.md"]
    tree = next(found[2] for found in FENCE.finditer(text) if found[2].startswith("segue/"))
    told: set[str] = set()
    at: list[str] = []
    for line in tree.splitlines():
        indent, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        at = [*at[:indent], name]
        if name.endswith(".py"):
            told.add("".join(at))
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "segue").rglob("*.py")]
    assert told == {file for file in files if not file.endswith("__init__.py")}


@pytest.mark.parametrize("name", PAGES)
def test_source_files_that_are_named_exist(name: str) -> None:
    for path in re.findall(r"`((?:segue/|tests/|docs/|bench/)?[\w/]+\.(?:py|toml|md))`", prose(PAGES[name])):
        at_home = [(ROOT / name).parent / path, ROOT / path, ROOT / "segue" / path, ROOT / "segue" / "wire" / path]
        made = {"segue.toml", "my-models.toml", *re.findall(r"<!-- walk: file (\S+) -->", PAGES[name])}
        assert any(place.exists() for place in at_home) or path in made, path


def test_decisions_are_numbered_linked_and_short() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(file.name[:4]) for file in files]
    assert numbers == list(range(1, len(files) + 1))
    for number, file in zip(numbers, files, strict=True):
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert len(text.splitlines()) <= 40
        assert f"(decisions/{file.name})" in PAGES["docs/ARCHITECTURE.md"]


def test_the_map_stays_a_map() -> None:
    assert len(PAGES["AGENTS.md"].splitlines()) <= 60


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short_but_for_tables(name: str) -> None:
    long = [
        line
        for line in PAGES[name].splitlines()
        if len(line) > 125 and not line.startswith(("|", "Exact", "Fam", "Never"))
    ]
    assert long == []
