"""The blob: the same for the same text, refused when it is not what it was, bounded while it is built."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.documents import Part
from segue.retrieval import blob
from segue.retrieval import build as building
from segue.retrieval.blob import Unreadable
from segue.retrieval.build import build
from segue.retrieval.index import Index
from segue.retrieval.words import read
from tests.retrieval.shelf import VECTORS, Shelf, padded

TEXT = padded("The access code of the harbour archive is 48213.\n林晓燕的保险柜密码是九七三一五。")


@pytest.mark.parametrize("vectors", [None, VECTORS], ids=["words", "vectors"])
def test_the_same_text_gives_the_same_bytes(tmp_path: Path, vectors: object) -> None:
    parts = [Part(0, "p. 1"), Part(len(TEXT[:300].encode()), "p. 2")]
    for name in ("one", "other"):
        build(TEXT.encode(), parts, tmp_path / name, VECTORS if vectors else None)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the choice of central sentences, which is made block by block."""
    build(TEXT.encode(), [Part(0, "")], tmp_path / "one", VECTORS)
    monkeypatch.setattr(building, "BLOCK_BYTES", 700)
    build(TEXT.encode(), [Part(0, "")], tmp_path / "many", VECTORS)
    one, many = Index.open(tmp_path / "one"), Index.open(tmp_path / "many")
    for name in ("lines", "line_words", "passages", "terms", "term_ends", "postings", "outline"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name
    assert np.abs(one.rows.astype(int) - many.rows).max(initial=0) <= 1


def test_every_word_is_posted_on_its_line(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, TEXT)
    index, data = shelf.indexes[0], shelf.texts[0]
    lines = [data[slice(*index.span(i, i))].decode().replace("\n", " ") for i in range(index.count)]
    for number, line in enumerate(lines):
        for term in read([line]).hashes.tolist():
            assert number in index.posted(term)
    assert len(index.postings) == index.words == sum(len(read([line]).hashes) for line in lines)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=8))
@settings(deadline=None, max_examples=20)
def test_lines_keep_to_their_parts(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    parts, data = [], b""
    for number, text in enumerate(texts):
        parts.append(Part(len(data), f"part {number}"))
        data += text.encode("utf-8", "replace")
    path = tmp_path_factory.mktemp("parts") / "index"
    build(data, parts, path)
    index = Index.open(path, thorough=True)
    assert index.fits(data)
    for line in range(index.count):
        start, end = index.span(line, line)
        data[start:end].decode("utf-8", "strict")
        inside = [number for number, part in enumerate(parts) if part.start <= start]
        assert index.label_of(line) == f"part {inside[-1]}"
        assert all(not start < part.start < end for part in parts)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\0", "。。。", "\ufeff", "\u200b", "😀"])
def test_texts_without_words(tmp_path: Path, text: str) -> None:
    shelf = Shelf(tmp_path, text, vectors=VECTORS)
    assert shelf.indexes[0].text_bytes == len(text.encode())
    shelf.find("anything at all?")
    shelf.find("")


def test_parts_that_do_not_fit_the_text(tmp_path: Path) -> None:
    for parts in ([Part(3, "")], [Part(0, ""), Part(9, ""), Part(5, "")], [Part(0, ""), Part(99, "")]):
        with pytest.raises(ValueError, match="parts"):
            build(b"some text", parts, tmp_path / "index")
    with pytest.raises(ValueError, match="utf-8"):
        build(b"\xff\xfe", [Part(0, "")], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(TEXT.encode(), [Part(0, "")], path)
    whole = path.read_bytes()
    for size in (0, 1, 100, blob.HEAD.itemsize, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Unreadable):
            Index.open(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(Unreadable):
        Index.open(path)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index"
    build(TEXT.encode(), [Part(0, "")], path)
    monkeypatch.setattr(blob, "VERSION", blob.VERSION + 1)
    with pytest.raises(Unreadable, match="version"):
        Index.open(path)


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(os.urandom(10_000))
    with pytest.raises(Unreadable):
        Index.open(path)
    with pytest.raises(FileNotFoundError):
        Index.open(tmp_path / "none")


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(TEXT.encode(), [Part(0, "p. 1")], path, VECTORS)
    whole = bytearray(path.read_bytes())
    head = np.frombuffer(whole, blob.HEAD, 1)[0]
    used = np.zeros(len(whole), np.bool_)  # all but what is between two sections
    used[: blob.HEAD.itemsize] = True
    for row in head["sections"]:
        size = int(row["rows"]) * int(row["wide"]) * np.dtype(blob.KINDS[row["kind"].decode() or "u1"]).itemsize
        used[int(row["start"]) : int(row["start"]) + size] = True
    del head
    for at in np.flatnonzero(used)[:: max(1, len(whole) // 400)].tolist():
        whole[at] ^= 0x5A
        path.write_bytes(whole)
        with pytest.raises(Unreadable):
            Index.open(path, thorough=True)
        whole[at] ^= 0x5A


def test_a_broken_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        build(TEXT.encode() + b"\xff", [Part(0, "")], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_it_is_built_by_a_command(tmp_path: Path) -> None:
    text, path = tmp_path / "text", tmp_path / "index"
    text.write_bytes(TEXT.encode())
    command = [sys.executable, "-m", "segue.retrieval.build", str(text), str(path)]
    subprocess.run(command, input=b'[[0, "p. 1"], [300, "p. 2"]]', check=True)
    index = Index.open(path, thorough=True)
    assert index.labels == ("p. 1", "p. 2")
    assert bool(index.meaning) is (VECTORS is not None)
    text.write_bytes(b"")
    subprocess.run(command, input=b"", check=True)
    assert Index.open(path).count == 0


def test_building_takes_blocks_and_not_the_text(tmp_path: Path) -> None:
    """Four times the text, hardly more memory: what grows is a few bytes a line."""
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom segue.core.documents import Part\n"
        "from segue.retrieval.build import build\n"
        "text = ('这一行讲的是仓库里的第{}个箱子。The box is number {}.\\n' * int(sys.argv[1])).encode()\n"
        "build(text, [Part(0, '')], Path(sys.argv[2]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(text))\n"
    )

    def peak(rows: int) -> tuple[int, int]:
        command = [sys.executable, "-c", code, str(rows), str(tmp_path / "index")]
        kib, size = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()
        return int(kib) * 1024, int(size)

    (small, short), (large, long) = peak(10_000), peak(50_000)
    assert large - small < 6 * (long - short)


def test_many_threads_share_an_index_and_vectors(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, TEXT, vectors=VECTORS)
    wanted, found = shelf.find("access code of the archive"), []
    threads = [
        threading.Thread(target=lambda: found.append(shelf.find("access code of the archive"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 8
