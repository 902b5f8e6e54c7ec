"""What `segue doctor` finds in the store, the keys and the clock, without changing any of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segue.app import database_of, database_path
from segue.cli import doctor
from segue.cli.doctor import Finding, _clock, _key, _rows
from segue.config import Auth, Settings, Store
from segue.standing import take_over_keys
from tests.test_tenancy import settings


def made(folder: Path) -> Settings:
    """Settings whose store was once used."""
    known = settings(folder)

    async def begin() -> None:
        database = database_of(known)
        await database.open()
        await take_over_keys(known, database)
        await database.close()

    asyncio.run(begin())
    return known


def state(finding: Finding) -> str:
    return finding.state


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    known = settings(tmp_path)
    assert [state(each(known)) for each in (_rows, _key, _clock)] == ["ok", "warn", "ok"]  # the test's key is short
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_well(tmp_path: Path) -> None:
    known = made(tmp_path)
    assert _rows(known).state == "ok"
    known = replace(known, auth=Auth(keys_file=tmp_path / "keys.json"))
    assert "none yet" in _key(known).text


@pytest.mark.parametrize(
    ("damage", "told", "said"),
    [
        ("PRAGMA user_version = 9999", "fail", "later version"),
        ("", "fail", "cannot be read"),
    ],
)
def test_a_store_that_is_not(damage: str, told: str, said: str, tmp_path: Path) -> None:
    known = made(tmp_path)
    path = database_path(known)
    if damage:
        with sqlite3.connect(path) as connection:
            connection.execute(damage)
        connection.close()
    else:
        path.write_bytes(b"no database at all " * 1000)
    found = _rows(known)
    assert found.state == told
    assert said in found.text


def test_a_store_that_others_can_read(tmp_path: Path) -> None:
    known = made(tmp_path)
    database_path(known).chmod(0o644)
    assert _rows(known).state == "warn"
    assert "chmod 600" in _rows(known).text


@pytest.mark.skipif(os.geteuid() == 0, reason="to the superuser everything is open")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert _rows(settings(tmp_path)).state == "fail"
    tmp_path.chmod(0o700)


def test_a_clock_that_stands_before_what_has_been(tmp_path: Path) -> None:
    known = made(tmp_path)
    with sqlite3.connect(database_path(known)) as connection:
        act = "INSERT INTO acts (at, who, what, workspace, subject, details) VALUES (?, '', '', '', '', '{}')"
        connection.execute(act, (time.time() + 86400,))
    connection.close()
    assert _clock(known).state == "fail"


@pytest.mark.parametrize(
    ("ahead", "acted", "told"), [(0.5, 0, "ok"), (30, 0, "warn"), (-30, 0, "warn"), (0, 9e9, "fail")]
)
def test_a_clock_that_is_not_the_database_s(
    ahead: float, acted: float, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_clock_there", lambda url: (ahead, acted))
    known = replace(settings(tmp_path), store=Store(url="postgresql://there/segue"))
    assert _clock(known).state == told
    if told == "warn":
        assert ("behind" if ahead > 0 else "ahead of") in _clock(known).text


def test_where_the_database_is_away_the_clock_is_held_against_the_rest(tmp_path: Path) -> None:
    known = replace(settings(tmp_path), store=Store(url="postgresql://nobody@127.0.0.1:1/x"))
    assert _clock(known).state == "ok"
