"""Models that run elsewhere, as a catalogue describes them, and what is wrong in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.catalogue.read import names_served, read_catalogue
from segue.catalogue.table import CatalogueInvalid
from segue.catalogue.upstreams import Remote, Upstream
from segue.config import Models, Settings
from segue.engine.remote.fleet import Fleet
from segue.engines import engine_of
from segue.upstreams import fleet_of

WHOLE = """
[models.big]
engine = "remote"
kind = "sglang"
tokenizer = "./Qwen3-32B"
served_as = "Qwen/Qwen3-32B"
context_tokens = 32768

[[models.big.upstreams]]
url = "http://gpu-1:8000"

[[models.big.upstreams]]
url = "https://gpu-2.example.org/v1"
weight = 2
key_env = "BIG_KEY"
ca = "ca.pem"
addresses = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_entry(tmp_path: Path) -> None:
    entry = read_catalogue(written(tmp_path, WHOLE)).entry("big")
    assert entry.engine == "remote"
    assert entry.remote == Remote(
        "sglang",
        "Qwen/Qwen3-32B",
        str(tmp_path / "Qwen3-32B"),
        (
            Upstream("http://gpu-1:8000"),
            Upstream("https://gpu-2.example.org/v1", 2.0, "BIG_KEY", tmp_path / "ca.pem", addresses=True),
        ),
    )
    assert entry.file == "", "nothing is to be fetched for it"


def test_a_vocabulary_by_a_models_name(tmp_path: Path) -> None:
    text = WHOLE.replace("./Qwen3-32B", "smollm2-135m-instruct")
    remote = read_catalogue(written(tmp_path, text)).entry("big").remote
    assert remote is not None
    assert remote.tokenizer == "smollm2-135m-instruct"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tokenizer = "./Qwen3-32B"', "", "models.big.tokenizer is missing"),
        ('"sglang"', '"tgi"', "models.big.kind is not one of llama-server, vllm, sglang, chat"),
        ("http://gpu-1:8000", "gpu-1:8000", "upstreams.0.url is not an address"),
        ("http://gpu-1:8000", "http://me:key@gpu-1:8000", "upstreams.0.url is not an address"),
        ("BIG_KEY", "sk-1234-5678", "upstreams.1.key_env is not the name of an environment variable"),
        ("weight = 2", "weight = 0", "upstreams.1.weight is not a number from 0.01 to 16"),
        ("weight = 2", "wait = 2", "upstreams.1.wait is not a known field"),
        ("addresses = true", 'addresses = "yes"', "upstreams.1.addresses is not true or false"),
        ('kind = "sglang"\n', 'kind = "chat"\nprefix = "half"\n', "models.big.prefix is not one of"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(CatalogueInvalid) as raised:
        read_catalogue(written(tmp_path, WHOLE.replace(old, new)))
    assert any(said in problem for problem in raised.value.problems), raised.value.problems


def test_no_upstream_at_all(tmp_path: Path) -> None:
    text = WHOLE.partition("[[")[0]
    with pytest.raises(CatalogueInvalid, match=r"models\.big\.upstreams is missing"):
        read_catalogue(written(tmp_path, text))
    with pytest.raises(CatalogueInvalid, match="is not a list of tables"):
        read_catalogue(written(tmp_path, text + 'upstreams = ["http://a"]'))


def test_a_key_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(models=Models(catalogue=written(tmp_path, WHOLE), default="big"))
    (entry,) = names_served(read_catalogue(settings.models.catalogue), "big").entries
    monkeypatch.delenv("BIG_KEY", raising=False)
    with pytest.raises(CatalogueInvalid, match="BIG_KEY"):
        fleet_of(entry, settings)
    monkeypatch.setenv("BIG_KEY", "sk-secret")
    assert "sk-secret" not in repr(fleet_of(entry, settings)._sites)
    assert isinstance(engine_of(entry, settings), Fleet)
