"""The table of vectors: the one we know, or none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from segue.retrieval import meaning
from segue.retrieval.words import read
from tests.retrieval.shelf import VECTORS


def test_another_table_is_none(tmp_path: Path) -> None:
    assert meaning.vectors(tmp_path) is None
    (tmp_path / "pieces.txt").write_text("a\nb\n")
    (tmp_path / "vectors.npy").write_bytes(b"nothing")
    meaning.vectors.cache_clear()
    assert meaning.vectors(tmp_path) is None
    meaning.vectors.cache_clear()


def test_no_code_of_the_wheel_is_run() -> None:
    meaning.vectors()
    assert meaning.PACKAGE not in sys.modules


@pytest.mark.skipif(VECTORS is None, reason="without vectors")
def test_likeness() -> None:
    assert VECTORS is not None
    lines = ["The ship sank.", "A vessel went down.", "船沉没了。", "Taxes were raised in April.", ""]
    rows = VECTORS.lines(read(lines).reading, len(lines))
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 1, 0], atol=1e-5)
    like = rows @ rows.T
    assert like[0, 1] > like[0, 3]
    assert like[0, 2] > like[0, 3]


@pytest.mark.skipif(VECTORS is None, reason="without vectors")
def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert VECTORS is not None
    lines = [f"word{i} and other things 第{i}个" for i in range(50)]
    reading = read(lines).reading
    before = VECTORS.lines(reading, len(lines))
    monkeypatch.setattr(VECTORS, "_remembered_max", 10)
    assert np.allclose(VECTORS.lines(reading, len(lines)), before, atol=1e-6)


def test_the_rotation_is_one() -> None:
    turn = meaning._rotation()
    assert np.allclose(turn @ turn.T, np.eye(meaning.WIDTH), atol=1e-5)
