"""The tables of the documentation say what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from segue import __version__
from segue.app import build
from segue.config import Auth, Models, Settings
from segue.core import errors
from segue.core.errors import Fault, FieldWrong, MessagesInvalid, NotSupported, OutOfRange, TooLarge
from tests.docs.tables import BLOCK, FAULTS, ROOT, TABLES, pages, renewed
from tests.wire.test_wording import ROWS, leaves


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == renewed(text), "run: python -m tests.docs.tables"


def test_every_table_is_shown_once() -> None:
    shown = [found[1] for page in pages() for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(TABLES)


def explained() -> Iterator[Fault]:
    return (fault for rows in FAULTS.values() for _, fault in rows)


def test_every_fault_is_explained() -> None:
    assert {type(fault) for fault in explained()} == leaves(Fault)


@pytest.mark.parametrize(
    ("kind", "name"), [(MessagesInvalid, "why"), (NotSupported, "feature"), (OutOfRange, "field"), (TooLarge, "what")]
)
def test_every_cause_within_a_fault_is_explained(kind: type[Fault], name: str) -> None:
    known = get_args(get_type_hints(kind.__init__, vars(errors))[name])
    assert {getattr(fault, name) for fault in explained() if type(fault) is kind} == set(known)


def test_every_way_to_be_wrong_is_explained() -> None:
    def ways(faults: Iterable[Fault]) -> set[tuple[str, str]]:
        return {(fault.expected, fault.got) for fault in faults if isinstance(fault, FieldWrong)}

    assert ways(row[0] for row in ROWS) <= ways(explained())


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = (ROOT / page).read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = section.strip().split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


async def status(method: str, path: str, settings: Settings) -> int:
    """What an unknown caller is told."""
    told: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            told.append(int(str(message["status"])))

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "root_path": ""}
    await build(settings)(scope, receive, send)  # type: ignore[arg-type]
    return told[0]


async def test_endpoints_are_those_that_are_served(tmp_path: Path) -> None:
    """Served ones want a key, ours want none, the others are unknown to everybody; none is left out."""
    settings = Settings(models=Models(default="segue-scripted"), auth=Auth(keys_file=tmp_path / "keys.json"))
    ours = ("/admin/v1/", "/console/")  # which no client of the service calls: docs/tenancy.md, docs/console.md
    told = {"served": (401,), "ours": (200, 503), "not": (404,)}
    served = set()
    for endpoint, here in rows("docs/compatibility.md", "Endpoints"):
        method, path = endpoint.strip("`").split(" ")
        word = re.split(r"\W", here)[0]
        assert await status(method, path.replace("{id}", "x"), settings) in told[word], endpoint
        if word != "not":
            served.add(path)
            assert await status("PUT", path.replace("{id}", "x"), settings) == 405
    paths = {str(getattr(route, "path", "")).replace("{id:path}", "{id}") for route in build(settings).routes}
    assert {path for path in paths if not path.startswith(ours)} == served


def test_the_version_has_its_entry() -> None:
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
