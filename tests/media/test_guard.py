"""Which addresses may be asked: a table of disguises."""

from __future__ import annotations

import pytest

from segue.media.guard import Guard, Reach

INTERNAL = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:53aa:64c::1",
    "2001:db8::1",
    "100::1",
    "no address",
    "",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INTERNAL)
def test_no_internal_address_may_be_asked(address: str) -> None:
    assert not Guard("public").may("a.example", 80, [address])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_may(address: str) -> None:
    assert Guard("public").may("a.example", 80, [address])
    assert not Guard("listed").may("a.example", 80, [address])
    assert not Guard("nobody").may("a.example", 80, [address])


def test_one_internal_address_makes_a_name_internal() -> None:
    assert not Guard("public").may("a.example", 80, ["1.1.1.1", "127.0.0.1"])
    assert not Guard("public").may("a.example", 80, [])


LISTS: list[tuple[str, str, int, str, bool]] = [
    ("127.0.0.1", "x", 80, "127.0.0.1", True),
    ("127.0.0.1", "x", 80, "127.0.0.2", False),
    ("127.0.0.1", "x", 80, "::ffff:127.0.0.1", True),
    ("127.0.0.0/8", "x", 80, "127.9.9.9", True),
    ("127.0.0.1:9000", "x", 9000, "127.0.0.1", True),
    ("127.0.0.1:9000", "x", 9001, "127.0.0.1", False),
    ("[::1]:9000", "x", 9000, "::1", True),
    ("[::1]", "x", 1, "::1", True),
    ("fd00::/8", "x", 1, "fd12::1", True),
    ("localhost", "localhost", 80, "127.0.0.1", True),
    ("localhost", "LOCALHOST.", 80, "::1", True),
    ("localhost", "evil.example", 80, "127.0.0.1", False),
    ("*.corp.example", "a.corp.example", 80, "10.0.0.1", True),
    ("*.corp.example", "corp.example", 80, "10.0.0.1", False),
    ("*.corp.example", "evilcorp.example", 80, "10.0.0.1", False),
]


@pytest.mark.parametrize(("entry", "host", "port", "address", "may"), LISTS)
@pytest.mark.parametrize("reach", ["public", "listed"])
def test_what_the_owner_lists(entry: str, host: str, port: int, address: str, may: bool, reach: Reach) -> None:
    assert Guard(reach, [entry]).may(host, port, [address]) is may
    assert not Guard("nobody", [entry]).may(host, port, [address])


@pytest.mark.parametrize("entry", ["", "*", "a*b", "10.0.0.0/99", "a:b", "a:0", "a:70000", "http://a/"])
def test_a_list_that_cannot_be_read(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Guard("public", [entry])
