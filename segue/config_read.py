"""Fill the tree of settings: defaults < TOML file < `SEGUE_*` environment < command-line flags.

Laws: all bad values are reported together, each with where it came from; an unknown name is an
error with the nearest known one, not a shrug; a secret's value is never repeated.  Which settings
there are is `config`'s to say.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.config import (
    API_KEY_VARIABLE,
    CONFIG_VARIABLE,
    FILE_NAME,
    URL_VARIABLE,
    Row,
    Settings,
    plain,
    rows,
    sections,
)

_OTHERS = (CONFIG_VARIABLE, API_KEY_VARIABLE, URL_VARIABLE)
# A container orchestrator that runs a service named "segue" sets these; they are not ours.
_ORCHESTRATOR = re.compile(r"SEGUE_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+)")


class SettingsInvalid(Exception):
    """Some settings cannot be used.  `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Raw:
    """A value nobody has looked at yet.  `base` is the folder its relative paths start from."""

    value: object
    source: str
    base: Path


def load(
    flags: Mapping[str, object] | None = None,
    file: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """The settings of this process.  `flags` are by key (`server.port`); `file` is `--config`.

    Raises SettingsInvalid with every problem found.
    """
    env = os.environ if env is None else env
    cwd = Path.cwd() if cwd is None else cwd
    problems: list[str] = []
    raw: dict[str, _Raw] = {}
    known = {row.key: row for row in rows()}
    _read_file(file, env, cwd, known, raw, problems)
    _read_env(env, cwd, known, raw, problems)
    for key, value in (flags or {}).items():
        assert key in known, key
        if value is not None:
            raw[key] = _Raw(value, "the command line", cwd)
    values: dict[str, dict[str, object]] = {section: {} for section in sections()}
    for key, given in raw.items():
        row = known[key]
        try:
            values[row.section][row.name] = _checked(row, given)
        except ValueError as problem:
            problems.append(f"{key}: {problem} (from {given.source})")
    if problems:
        raise SettingsInvalid(problems)
    return Settings(**{section: cls(**values[section]) for section, cls in sections().items()})


def _read_file(
    file: Path | None,
    env: Mapping[str, str],
    cwd: Path,
    known: Mapping[str, Row],
    raw: dict[str, _Raw],
    problems: list[str],
) -> None:
    named = file or (Path(env[CONFIG_VARIABLE]) if env.get(CONFIG_VARIABLE) else None)
    path = cwd / (named or FILE_NAME)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            problems.append(f"{path}: there is no such file")
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{path}: {error}")
        return
    tables = sections()
    for section, table in tree.items():
        if section not in tables or not isinstance(table, dict):
            problems.append(f"{path}: there is no section [{section}]{_nearest(section, tables)}")
            continue
        for name, value in table.items():
            key = f"{section}.{name}"
            if key in known:
                raw[key] = _Raw(value, str(path), path.parent)
            else:
                problems.append(f"{path}: there is no setting {key}{_nearest(key, known)}")


def _read_env(
    env: Mapping[str, str], cwd: Path, known: Mapping[str, Row], raw: dict[str, _Raw], problems: list[str]
) -> None:
    by_variable = {row.variable: key for key, row in known.items()}
    if env.get(API_KEY_VARIABLE):
        raw["auth.api_key"] = _Raw(env[API_KEY_VARIABLE], API_KEY_VARIABLE, cwd)
    for variable, value in sorted(env.items()):
        if variable in by_variable:
            raw[by_variable[variable]] = _Raw(value, variable, cwd)
            continue
        foreign = _ORCHESTRATOR.fullmatch(variable) or (variable == "SEGUE_PORT" and "://" in value)
        if variable.startswith("SEGUE_") and not foreign and variable not in _OTHERS:
            problems.append(f"{variable}: there is no such setting{_nearest(variable, by_variable)}")


def _nearest(name: str, names: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _checked(row: Row, raw: _Raw) -> object:
    """The value in the setting's own type.  Raises ValueError with what is wrong."""
    value = _typed(row.kind, raw.value, raw.base)
    # A secret's value is never repeated, not even to say what is wrong with it.
    told = "the value" if row.secret else repr(raw.value)
    if value is _WRONG:
        raise ValueError(f"{told} is not {_KINDS[row.kind]}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if row.low is not None and value < row.low:
            raise ValueError(f"{told} is below {plain(row.low)}")
        if row.high is not None and value > row.high:
            raise ValueError(f"{told} is above {plain(row.high)}")
    if row.choices and value not in row.choices:
        raise ValueError(f"{told} is not one of {', '.join(row.choices)}")
    if row.secret and not re.fullmatch(r"[\x21-\x7e]{0,256}", str(value)):
        raise ValueError(f"{told} must be at most 256 visible ASCII characters")
    return value


_WRONG = object()
_KINDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    Path | None: "a path",
    tuple[str, ...]: "a list of text",
}


def _typed(kind: Any, value: object, base: Path) -> object:
    """`value` as `kind`, or `_WRONG`.  The environment and flags give text for everything."""
    if kind is bool:
        words = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        return value if isinstance(value, bool) else words.get(str(value).lower(), _WRONG)
    if kind in (int, float):
        return _number(kind, value)
    if kind == tuple[str, ...]:
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        ok = isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts)
        return tuple(parts) if ok and isinstance(parts, list | tuple) else _WRONG
    if kind is str:
        return value if isinstance(value, str) else _WRONG
    if not isinstance(value, str | Path):
        return _WRONG
    if kind == Path | None and not str(value):
        return None
    return base / Path(value).expanduser() if str(value) else _WRONG


def _number(kind: Any, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _WRONG
    if kind is int and isinstance(value, float):
        return _WRONG
    try:
        number = kind(value)
    except ValueError:
        return _WRONG
    return number if abs(number) < float("inf") else _WRONG
