"""The servers of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import Server, serving

SMALL = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def server(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model, for what an answer says."""
    with serving(default_model, "qwen2.5-coder-1.5b-instruct", tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def rough(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A small quick model, for what a server has to bear."""
    with serving(small_model, SMALL, tmp_path_factory.mktemp("rough")) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def rough_http(rough: Server) -> Iterator[httpx.Client]:
    with rough.client() as client:
        yield client
