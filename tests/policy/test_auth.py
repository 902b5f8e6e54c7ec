"""Keys: issued once, kept as digests, compared whole, withdrawn at once."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segue.core.errors import KeyInvalid
from segue.policy.auth import TOKEN_CHARACTERS_MAX, Auth, single
from segue.policy.keys import KeyFile, KeysUnusable


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "keys.json")


def test_a_new_key_opens_and_a_withdrawn_one_does_not(keys: KeyFile) -> None:
    auth = Auth(keys.records)
    first, one = keys.new("one")
    second, two = keys.new("two")
    assert re.fullmatch(r"sk-[0-9a-f]{48}", first)
    assert auth.authenticate(first).key == one.id
    assert auth.authenticate(second, "ws-anything").key == two.id
    assert auth.authenticate(second).workspace == "default"
    assert keys.remove(one.id)
    assert not keys.remove(one.id)
    with pytest.raises(KeyInvalid):
        auth.authenticate(first)
    assert auth.authenticate(second).key == two.id


def test_another_process_that_changes_the_file_is_heard(keys: KeyFile) -> None:
    auth = Auth(keys.records)
    secret, record = KeyFile(keys.path).new("elsewhere")
    assert auth.authenticate(secret).key == record.id
    KeyFile(keys.path).remove(record.id)
    with pytest.raises(KeyInvalid):
        auth.authenticate(secret)


def test_what_is_not_a_key(keys: KeyFile) -> None:
    secret, _ = keys.new("one")
    auth = Auth(keys.records)
    long = "k" * (TOKEN_CHARACTERS_MAX + 1)
    for token in (
        None,
        "",
        "sk-",
        secret[:-1],
        secret + "0",
        secret.upper(),
        " " + secret,
        long,
        "sk-é",
        "\udcff",
        "\0",
    ):
        with pytest.raises(KeyInvalid):
            auth.authenticate(token)


def test_every_record_is_compared(monkeypatch: pytest.MonkeyPatch, keys: KeyFile) -> None:
    secrets = [keys.new(str(n))[0] for n in range(5)]
    compared: list[bytes] = []

    def compare(one: bytes, two: bytes) -> bool:
        compared.append(one)
        return one == two

    monkeypatch.setattr("segue.policy.auth.hmac.compare_digest", compare)
    Auth(keys.records).authenticate(secrets[0])
    assert len(compared) == 5


def test_the_file_holds_no_key_and_is_its_owners_alone(keys: KeyFile) -> None:
    secret, record = keys.new("one")
    text = keys.path.read_text(encoding="utf-8")
    assert secret not in text
    assert secret.removeprefix("sk-") not in text
    assert record.sha256 in text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.path.parent.stat().st_mode) == 0o700
    keys.new("two")
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in keys.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_keys_made_at_the_same_time_are_all_kept(keys: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = [secret for secret, _ in pool.map(lambda n: KeyFile(keys.path).new(str(n)), range(16))]
    auth = Auth(keys.records)
    assert len({auth.authenticate(secret).key for secret in secrets}) == 16


def test_keys_made_by_processes_at_the_same_time_are_all_kept(keys: KeyFile) -> None:
    code = "import sys,pathlib; from segue.policy.keys import KeyFile; KeyFile(pathlib.Path(sys.argv[1])).new('p')"
    running = [subprocess.Popen([sys.executable, "-c", code, str(keys.path)]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(keys.records()) == 3


def test_a_file_that_cannot_be_read(keys: KeyFile) -> None:
    assert keys.records() == ()
    keys.path.parent.mkdir()
    for text in ("", "{", "[]", '{"version":1,"keys":[{"id":1}]}'):
        keys.path.write_text(text, encoding="utf-8")
        with pytest.raises(KeysUnusable, match="cannot be read"):
            KeyFile(keys.path).records()
        with pytest.raises(KeysUnusable):
            KeyFile(keys.path).new("more")
        assert keys.path.read_text(encoding="utf-8") == text  # never overwritten with less


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(KeysUnusable, match="cannot be written"):
        KeyFile(tmp_path / "data" / "keys.json").new("one")


def test_left_by_a_crash(keys: KeyFile) -> None:
    keys.path.parent.mkdir()
    keys.path.with_name(f"keys.json.{os.getpid()}.new").write_text("half")
    keys.new("one")
    assert len(keys.records()) == 1


def test_a_single_key_is_not_stored() -> None:
    auth = Auth(single("chosen"))
    assert auth.authenticate("chosen").key == "key-env"
    with pytest.raises(KeyInvalid):
        auth.authenticate("other")
