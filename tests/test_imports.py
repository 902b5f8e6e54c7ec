"""The import law: who may know whom.  Read from the source, so that it holds for files no test imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import segue

ROOT = Path(segue.__file__).parent
STAGES = frozenset(
    {"batches", "catalogue", "engine", "files", "media", "output", "policy", "prompt", "store", "tenancy", "wire"}
)
COMPOSERS = frozenset(
    {
        "__main__",
        "accounts",
        "app",
        "app_batches",
        "app_media",
        "app_replicas",
        "cli",
        "crew",
        "engines",
        "standing",
        "upstreams",
    }
)  # they build
OTHERS = {
    "core": frozenset[str](),
    "pipeline": frozenset({"core"}) | STAGES - {"wire"},
    "observe": frozenset({"core", "pipeline"}),  # stands around the pipeline
    "traces": frozenset({"core", "observe", "pipeline"}),  # stands around both
    "metrics": frozenset({"core", "engine", "files", "observe"}),  # what the counters say
    "numbers": frozenset({"core", "engine", "files", "observe"}),  # the same, of several processes
    "config_read": frozenset({"core", "config"}),  # fills the tree
    "files": frozenset({"caged", "core", "store"}),  # keeps its rows and bytes there, and reads in the cage
    "media": frozenset({"caged", "core"}),  # decodes in the cage
    "tenancy": frozenset({"core", "policy", "store"}),  # keeps its rows there, and says who may ask
    "batches": frozenset({"core", "store"}),  # keeps its rows and bytes there
}


def allowed(part: str) -> frozenset[str] | None:
    """What a part may import of ours, itself aside; None: everything."""
    if part in COMPOSERS:
        return None
    return OTHERS.get(part, frozenset({"core"}))


def part_of(module: str) -> str:
    """The folder or file right below `segue`; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module of ours that a file imports, also inside functions."""
    package = ("segue", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(filter(None, (base, node.module)))
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "segue" else [stem]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "segue")


def breaches(path: Path) -> list[str]:
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    may = allowed(own)
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imported(path)
        if may is not None and part_of(name) not in may | {own, "", "__version__"}
    ]


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_law(path: Path) -> None:
    assert breaches(path) == []


def test_core_needs_the_standard_library_only() -> None:
    for path in sorted((ROOT / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                for name in names:
                    assert name.split(".")[0] in {*sys.stdlib_module_names, "segue"}, f"{path.name} imports {name}"


def thirds(path: Path) -> set[str]:
    """Top-level modules that a file imports, neither ours nor the standard library's."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found - {*sys.stdlib_module_names, "segue"}


def asked() -> tuple[set[str], set[str]]:
    """The distributions that are always installed with Segue, and those that only an extra brings."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return {named(line) for line in project["dependencies"]}, {named(line) for line in extras}


def test_what_is_imported_is_asked_for() -> None:
    """A list for development holds more: what only that one brings is missing where `make run` installed."""
    known = set().union(*asked())
    owners = packages_distributions()
    for path in FILES:
        for top in thirds(path) & owners.keys():  # an extra that is not installed has no owner here
            assert {named(owner) for owner in owners[top]} & known, f"{path} imports {top}"


def test_serving_needs_no_extra() -> None:
    always, extras = asked()
    blocked = [top for top, owners in packages_distributions().items() if {named(owner) for owner in owners} & extras]
    assert not always & extras
    modules = [f"segue.cli.{path.stem}" for path in (ROOT / "cli").glob("*.py") if path.stem != "__init__"]
    words = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import segue.app, {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def named(requirement: str) -> str:
    """The distribution of a requirement, as the index compares names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


@pytest.mark.parametrize(
    ("place", "line", "broken"),
    [
        ("tenancy/x.py", "from segue.policy import auth", False),
        ("tenancy/x.py", "from segue.wire import http", True),
        ("core/x.py", "import segue.prompt", True),
        ("core/x.py", "from segue.core.request import Request", False),
        ("wire/x.py", "from segue.output import stops", True),
        ("wire/openai/x.py", "from .. import fields", False),
        ("wire/openai/x.py", "from ...prompt import budget", True),
        ("engine/x.py", "def f():\n    from segue import app", True),
        ("pipeline.py", "from segue.prompt import budget", False),
        ("pipeline.py", "import segue.wire.http", True),
        ("app.py", "import segue.wire.http, segue.pipeline", False),
        ("config.py", "from segue.catalogue import table", True),
        ("policy/x.py", "from segue import __version__", False),
        ("files/x.py", "from segue.store import base", False),
        ("files/x.py", "from segue.caged import cage", False),
        ("media/x.py", "from segue.caged import cage", False),
        ("media/x.py", "from segue.files import desk", True),
        ("caged/x.py", "from segue.media import gallery", True),
        ("store/x.py", "from segue.files import desk", True),
        ("wire/x.py", "from segue.store import base", True),
    ],
)
def test_the_law_bites(place: str, line: str, broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_imports.ROOT", tmp_path)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line, encoding="utf-8")
    assert bool(breaches(path)) is broken
