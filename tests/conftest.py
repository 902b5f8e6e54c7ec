"""What many tests want: the two real models, fetched into the user's own cache once a machine."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from pathlib import Path

# Before the settings are imported, whose defaults lie there: what tests keep is not kept among the user's own things.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="segue-tests-")

import pytest
from hypothesis import settings

from segue.catalogue.pull import pull
from segue.catalogue.read import read_catalogue
from segue.catalogue.shelf import Shelf
from segue.config_read import load
from tests.databases import database as database
from tests.databases import make_database as make_database
from tests.databases import postgres as postgres
from tests.databases import postgres_server as postgres_server
from tests.tiny_vl import write_model, write_projector

# Whoever starts the tests in the background leaves them deaf to Ctrl-C, and so would be all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("shared", deadline=None)  # a busy machine is no mistake in the code
settings.load_profile("shared")


def _model(name: str) -> Path:
    """The file of a model of the catalogue.  `SEGUE_MODELS_DIR` names another folder."""
    return pull(read_catalogue().entry(name), Shelf(load().models.dir))


@pytest.fixture
def log_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `write_log` changes is undone after the test."""
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        monkeypatch.setattr(logging, name, True, raising=False)
    for name in ("segue", "uvicorn"):
        for what in ("handlers", "level", "propagate"):
            monkeypatch.setattr(logging.getLogger(name), what, getattr(logging.getLogger(name), what))


@pytest.fixture(scope="session")
def default_model() -> Path:
    """The model that is served when nothing is said (1.1 GB)."""
    return _model("qwen2.5-coder-1.5b-instruct")


@pytest.fixture(scope="session")
def small_model() -> Path:
    """A real model that is quick to load (98 MB, English)."""
    return _model("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def tiny_vl(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Qwen2.5-VL of random weights, and its projector."""
    folder = tmp_path_factory.mktemp("tiny-vl")
    return write_model(default_model, folder / "tiny-vl.gguf"), write_projector(folder / "mmproj.gguf")
