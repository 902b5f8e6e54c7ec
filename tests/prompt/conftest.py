"""Cards with the templates that real models ship, over real vocabularies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.prompt.metadata import read_card
from tests.prompt.templates import CARDS, card
from tests.prompt.vocabularies import THOUGHTS, Encoder, altered, load

REAL = Path(__file__).parent / "real"


@pytest.fixture(scope="session")
def families(default_model: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Encoder]:
    """By family: its own template, and the vocabulary it has or that comes nearest.  The weights stay on the disk."""
    qwen2, small = load(default_model), load(small_model)
    qwen3 = load(altered(default_model, tmp_path_factory.mktemp("vocabulary") / "qwen3.gguf", THOUGHTS))
    made = {
        name: Encoder(card(name, (REAL / f"{name}.jinja").read_text(), tuple(vocabulary.control)), vocabulary)
        for name, vocabulary in (("qwen2.5", qwen2), ("qwen3", qwen3), ("qwen3-coder", qwen3), ("qwen3.5", qwen3))
    }
    for name, path, vocabulary in (("qwen2.5-coder", default_model, qwen2), ("smollm2", small_model, small)):
        made[name] = Encoder(replace(read_card(path), name=name, control_tokens=tuple(vocabulary.control)), vocabulary)
    made["llama-3.1"] = Encoder(CARDS["llama-3.1"], qwen2)  # its own tokens are letters here
    return made
