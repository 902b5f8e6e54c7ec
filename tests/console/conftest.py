"""What the console is looked at with: one browser and one server for a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console import browser as browsers
from tests.e2e.server import Server, serving

ADMIN = "sk-console-administrator"
SMALL = "smollm2-135m-instruct"
PRICES = """
currency = "CNY"
[models."smollm2-135m-instruct".prices]
input = 1.0
cached = 0.25
output = 2.0
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept."""
    named = os.environ.get("CONSOLE_SHOTS")
    return Path(named) if named else tmp_path_factory.mktemp("console-shots")


@pytest.fixture(scope="module")
def small(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A small real model, with prices."""
    folder = tmp_path_factory.mktemp("console")
    (folder / "catalogue.toml").write_text(PRICES, encoding="utf-8")
    told = {
        "SEGUE_API_KEY": "",
        "SEGUE_AUTH_ADMIN_KEY": ADMIN,
        "SEGUE_MODELS_CATALOGUE": str(folder / "catalogue.toml"),
    }
    with serving(small_model, SMALL, folder, **told) as server:
        yield server


@pytest.fixture(scope="module")
def large(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The model that is served when nothing is said."""
    folder = tmp_path_factory.mktemp("console-large")
    told = {"SEGUE_API_KEY": "", "SEGUE_AUTH_ADMIN_KEY": ADMIN}
    with serving(default_model, "qwen2.5-coder-1.5b-instruct", folder, **told) as server:
        yield server
