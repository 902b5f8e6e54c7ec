"""What a file is called, whatever its sender wrote."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.wire.names import NAME_CHARS_MAX, file_name, parameters, sane

NAMED: dict[str, tuple[bytes, str | None]] = {
    "plain": (b'filename="a.txt"', "a.txt"),
    "a token": (b"filename=a.txt", "a.txt"),
    "spaces and case": (b' FileName = "a b.txt" ', "a b.txt"),
    "none": (b"", None),
    "another parameter": (b'filenames="a"', None),
    "utf-8": ('filename="名字.txt"'.encode(), "名字.txt"),
    "gb18030": ('filename="名字.txt"'.encode("gb18030"), "名字.txt"),
    "html's quote": (b'filename="a%22b.txt"', 'a"b.txt'),
    "a quote": (rb'filename="a\"b.txt"', 'a"b.txt'),
    "a semicolon": (b'filename="a;b=c.txt"', "a;b=c.txt"),
    "percent": (b'filename="100%.txt"', "100%.txt"),
    "RFC 5987": (b"filename*=UTF-8''%E5%90%8D.txt", "名.txt"),
    "RFC 5987, with a language": (b"filename*=utf-8'zh'%E5%90%8D.txt", "名.txt"),
    "RFC 5987 beside a plain one": (b"filename=\"_.txt\"; filename*=UTF-8''%E5%90%8D.txt", "名.txt"),
    "RFC 5987 before a plain one": (b"filename*=UTF-8''%E5%90%8D.txt; filename=\"_.txt\"", "名.txt"),
    "RFC 5987, latin": (b"filename*=iso-8859-1''%E9.txt", "é.txt"),
    "RFC 5987, another set": (b"filename*=koi8-r''%E5.txt", "\ufffd.txt"),
    "RFC 5987 without a set": (b"filename*=a%20b.txt", "a b.txt"),
    "RFC 2231": (b'filename*0="a"; filename*1="b.txt"', "ab.txt"),
    "RFC 2231, encoded": (b"filename*0*=UTF-8''%E5%90; filename*1*=%8D; filename*2=\".txt\"", "名.txt"),
    "RFC 2231, out of order": (b'filename*1="b.txt"; filename*0="a"', "ab.txt"),
    "a path": (b'filename="/etc/passwd"', "passwd"),
    "a path upwards": (b'filename="../../a.txt"', "a.txt"),
    "a path of Windows": (rb'filename="C:\Users\me\a.txt"', "a.txt"),
    "an encoded path": (b"filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
    "only a path": (b'filename="../"', "file"),
    "only dots": (b'filename=".."', "file"),
    "empty": (b'filename=""', "file"),
    "control characters": (b'filename="a\x00\x07\x1b[31mb.txt"', "a[31mb.txt"),
    "line ends": (b'filename="a%0D%0Ab.txt"', "a  b.txt"),
    "the other direction": ('filename="a\u202etxt.exe"'.encode(), "atxt.exe"),
    "a hidden file": (b'filename=".bashrc"', ".bashrc"),
}


@pytest.mark.parametrize("case", NAMED)
def test_names(case: str) -> None:
    written, expected = NAMED[case]
    given = parameters(b'form-data; name="file"; ' + written)
    assert given[b"name"] == b"file"
    assert file_name(given) == expected


def test_a_long_name_keeps_its_ending() -> None:
    name = sane("x" * 5000 + ".txt")
    assert name == "x" * 251 + ".txt"
    assert sane("文" * 5000 + ".PDF") == "文" * 251 + ".PDF"
    assert sane("x" * 5000) == "x" * NAME_CHARS_MAX
    assert sane("a." + "x" * 5000) == "a." + "x" * 253
    assert sane("." + "x" * 5000) == "." + "x" * 254


@given(st.text())
def test_any_name_is_made_sane(name: str) -> None:
    found = sane(name)
    assert 0 < len(found) <= NAME_CHARS_MAX
    assert "/" not in found
    assert "\\" not in found
    assert found not in (".", "..")
    assert all(unicodedata.category(char)[0] != "C" for char in found)
    found.encode()


@given(st.binary())
def test_any_header_is_read(disposition: bytes) -> None:
    file_name(parameters(disposition))


@pytest.mark.parametrize("piece", [b";", b';a="', b"; =", b"; a", b'\\"', b";filename*0=x", b'"', b";a=b"])
def test_no_header_takes_long(piece: bytes) -> None:
    before = time.perf_counter()
    file_name(parameters(b"form-data" + piece * (65536 // len(piece))))
    assert time.perf_counter() - before < 1.0
