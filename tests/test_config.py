"""Settings: which source wins, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue import config
from segue.config import Row, Settings, rows
from segue.config_read import SettingsInvalid, load


def problems(tmp_path: Path, toml: str = "", env: dict[str, str] | None = None, **flags: object) -> list[str]:
    (tmp_path / "segue.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as raised:
        load({key.replace("__", "."): value for key, value in flags.items()}, env=env or {}, cwd=tmp_path)
    return raised.value.problems


def test_defaults(tmp_path: Path) -> None:
    assert load(env={}, cwd=tmp_path) == Settings()


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "segue.toml").write_text('[server]\nport = 1\nhost = "a"\nbody_wait_s = 5\n[log]\nlevel = "debug"\n')
    env = {"SEGUE_SERVER_PORT": "2", "SEGUE_SERVER_HOST": "b"}
    settings = load({"server.port": 3, "log.level": None}, env=env, cwd=tmp_path)
    assert (settings.server.port, settings.server.host) == (3, "b")
    assert (settings.server.body_wait_s, settings.log.level) == (5.0, "debug")


def other(row: Row) -> object:
    """A lawful value that is not the default."""
    match row.default:
        case bool(default):
            return not default
        case int() | float() as number:
            return number + 1 if row.high is None or number < row.high else number / 2
        case tuple():
            return ("x",)
        case str() if row.choices:
            return row.choices[-1] if row.choices[-1] != row.default else row.choices[0]
        case str():
            return "x"
        case _:
            return Path("/x")


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.key)
def test_every_setting_can_come_from_the_environment(tmp_path: Path, row: Row) -> None:
    wanted = other(row)
    text = "x" if wanted == ("x",) else str(wanted)
    settings = load(env={row.variable: text}, cwd=tmp_path)
    assert getattr(getattr(settings, row.section), row.name) == wanted != row.default


def test_lists_and_paths(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "own.toml").write_text('[models]\ndir = "files"\nalso = ["a", "b"]\n')
    env = {
        "SEGUE_CONFIG": str(folder / "own.toml"),
        "SEGUE_SERVER_CORS_ORIGINS": "https://a.example, https://b.example",
    }
    settings = load(env=env, cwd=tmp_path)
    assert settings.models.dir == folder / "files"  # relative to the file that says so
    assert settings.models.also == ("a", "b")
    assert settings.server.cors_origins == ("https://a.example", "https://b.example")
    assert load(env={"SEGUE_MODELS_DIR": "here"}, cwd=tmp_path).models.dir == tmp_path / "here"
    assert load(env={"SEGUE_MODELS_DIR": "~/there"}, cwd=tmp_path).models.dir == Path.home() / "there"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    toml = '[server]\nport = 99999\nhots = "x"\n[engin]\nslots = 1\n[log]\nlevel = "loud"\n'
    env = {"SEGUE_ENGINE_SLOTS": "many", "SEGUE_SERVER_PROT": "1", "SEGUE_MODELS_PULL": "perhaps"}
    found = problems(tmp_path, toml, env, server__drain_s=-1)
    toml_path = tmp_path / "segue.toml"
    assert sorted(found) == sorted(
        [
            f"server.port: 99999 is above 65535 (from {toml_path})",
            f"{toml_path}: there is no setting server.hots; did you mean server.host?",
            f"{toml_path}: there is no section [engin]; did you mean engine?",
            f"log.level: 'loud' is not one of debug, info, warning, error (from {toml_path})",
            "engine.slots: 'many' is not a whole number (from SEGUE_ENGINE_SLOTS)",
            "SEGUE_SERVER_PROT: there is no such setting; did you mean SEGUE_SERVER_PORT?",
            "models.pull: 'perhaps' is not true or false (from SEGUE_MODELS_PULL)",
            "server.drain_s: -1 is below 0 (from the command line)",
        ]
    )


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        ("[server]\nport = 1.5", "not a whole number"),
        ("[server]\nport = true", "not a whole number"),
        ("[server]\nbody_wait_s = inf", "not a number"),
        ("[server]\nbody_wait_s = nan", "not a number"),
        ("[server]\nhost = 1", "not text"),
        ('[server]\ncors_origins = ["a", 1]', "not a list of text"),
        ("[server]\ncors_origins = 1", "not a list of text"),
        ("[models]\ndir = 1", "not a path"),
        ('[models]\ndir = ""', "not a path"),
        ("[models]\npull = 2", "not true or false"),
        ("[server", "segue.toml"),
        ("server = 1", "no section"),
    ],
)
def test_wrong_kinds(tmp_path: Path, toml: str, word: str) -> None:
    (found,) = problems(tmp_path, toml)
    assert word in found


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, env={"SEGUE_CONFIG": "missing.toml"})
    assert "there is no such file" in found


def test_the_key_has_a_short_name_and_is_never_repeated(tmp_path: Path) -> None:
    settings = load(env={"SEGUE_API_KEY": "sk-secret"}, cwd=tmp_path)
    assert settings.auth.api_key == "sk-secret"
    assert "sk-secret" not in repr(settings)
    for bad in ("sk with space", "sk-" + "x" * 300, "sk-ü"):
        (found,) = problems(tmp_path, env={"SEGUE_API_KEY": bad})
        assert bad not in found
    (found,) = problems(tmp_path, "[auth]\napi_key = 12345")
    assert "12345" not in found


def test_what_an_orchestrator_sets_is_not_ours(tmp_path: Path) -> None:
    env = {
        "SEGUE_SERVICE_HOST": "10.0.0.1",
        "SEGUE_SERVICE_PORT": "80",
        "SEGUE_PORT": "tcp://10.0.0.1:80",
        "SEGUE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(env=env, cwd=tmp_path) == Settings()
    assert problems(tmp_path, env={"SEGUE_PORT": "80"}) == [
        "SEGUE_PORT: there is no such setting; did you mean SEGUE_SERVER_PORT?"
    ]


def test_every_number_has_its_unit_in_its_name() -> None:
    units = (
        "_per_minute",
        "_per_second",
        "_per_month",
        "_days",
        "concurrent",
        "_s",
        "_ms",
        "_bytes_max",
        "_max",
        "_tokens",
        "_tokens_default",
        "share",
        "port",
        "threads",
        "workers",
        "slots",
        "queue",
    )
    for row in rows():
        assert row.kind not in (int, float) or row.name.endswith(units), row.key
        assert row.text.endswith(".") or row.text.endswith("slower."), row.key


def test_the_page_of_settings_is_current() -> None:
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == config.markdown(), "run: python -m segue.config > docs/settings.md"
