"""What a URL may have us do: nothing beyond what the guard allows, and never for long."""

from __future__ import annotations

import time

import pytest

from segue.core.errors import MediumRefused
from segue.core.media import Medium
from segue.media.fetch import mirror
from segue.media.gallery import Gallery
from segue.media.limits import FetchLimits
from tests.media.pictures import SIGHT, Reply, gallery, plain, saved, site

GOOD = saved(plain())
QUICK = FetchLimits(whole_s=0.5)


async def refused(viewer: Gallery, address: str) -> str:
    with pytest.raises(MediumRefused) as refusal:
        await viewer.see("w", [Medium("image", (address,))], SIGHT)
    return refusal.value.why


async def test_a_picture_is_fetched_without_saying_who_we_serve() -> None:
    async with site({"/a.png?x=%2F1": Reply(GOOD)}) as served:
        views = await gallery().see("w", [Medium("image", (served.url("/a.png?x=%2F1#part"),))], SIGHT)
        assert views[0].pictures[0].width == 392
        (head,) = served.heads
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "accept-encoding: identity" in head.lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_not_asked_unless_it_is_listed(host: str) -> None:
    async with site({"/a.png": Reply(GOOD)}) as served:
        assert await refused(gallery(hosts=()), served.url("/a.png", host)) == "lost"
        assert served.asked == []


async def test_a_redirection_is_judged_anew() -> None:
    async with site({"/secret": Reply(GOOD)}) as inner:
        leading = {"/a": Reply(status=302, headers={"location": inner.url("/secret")})}
        async with site(leading) as outer:
            assert await refused(gallery(hosts=(f"127.0.0.1:{outer.port}",)), outer.url("/a")) == "lost"
            assert (outer.asked, inner.asked) == (["/a"], [])
            both = (f"127.0.0.1:{outer.port}", f"127.0.0.1:{inner.port}")
            await gallery(hosts=both).see("w", [Medium("image", (outer.url("/a"),))], SIGHT)
            assert inner.asked == ["/secret"]


async def test_a_name_that_means_another_address_a_moment_later() -> None:
    """The connection goes to what was judged; a name is asked for once a step."""
    async with site({"/a.png": Reply(GOOD)}) as served:
        asked: list[str] = []

        async def turning(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        viewer = gallery(hosts=("127.0.0.1",), resolve=turning)
        await viewer.see("w", [Medium("image", (served.url("/a.png", "pictures.example"),))], SIGHT)
        assert asked == ["pictures.example"]
        assert served.heads[0].lower().count(f"host: pictures.example:{served.port}") == 1
        assert await refused(viewer, served.url("/a.png", "pictures.example")) == "lost"

    async def mixed(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "10.0.0.1"]

    assert await refused(gallery(hosts=(), resolve=mixed), "http://pictures.example/") == "lost"


async def test_redirections_end() -> None:
    loop = {
        "/a": Reply(status=302, headers={"location": "/b"}),
        "/b": Reply(status=307, headers={"location": "/a"}),
        "/ftp": Reply(status=301, headers={"location": "ftp://a.example/x"}),
        "/nowhere": Reply(status=301),
        "/data": Reply(status=301, headers={"location": "data:image/png;base64,AAAA"}),
    }
    async with site(loop) as served:
        assert await refused(gallery(), served.url("/a")) == "lost"
        assert served.asked == ["/a", "/b", "/a", "/b"]
        for path in ("/ftp", "/nowhere", "/data"):
            assert await refused(gallery(), served.url(path)) == "lost"


async def test_slow_servers_are_left() -> None:
    replies = {
        "/head": Reply(GOOD, slow_s=5),
        "/body": Reply(b"x" * (1 << 20), slow_s=0.2),
        "/short": Reply(GOOD, length=9999),
    }
    async with site(replies) as served:
        began = time.monotonic()
        for path in ("/head", "/body"):
            assert await refused(gallery(fetching=QUICK), served.url(path)) == "slow"
        assert await refused(gallery(fetching=QUICK), served.url("/short")) == "lost"
        assert time.monotonic() - began < 5


async def test_bytes_are_counted_whatever_the_head_says() -> None:
    tight = FetchLimits(image_bytes_max=1000)
    replies = {
        "/honest": Reply(b"x" * 2000),
        "/silent": Reply(b"x" * 2_000_000, headers={"content-length": ""}),
        "/packed": Reply(GOOD, headers={"content-encoding": "gzip"}),
    }
    async with site(replies) as served:
        assert await refused(gallery(fetching=tight), served.url("/honest")) == "large"
        assert await refused(gallery(fetching=tight), served.url("/silent")) == "large"
        assert await refused(gallery(), served.url("/packed")) == "format"


@pytest.mark.parametrize(
    ("status", "why"), [(401, "barred"), (403, "barred"), (404, "lost"), (500, "lost"), (206, "lost")]
)
async def test_answers_that_have_no_picture(status: int, why: str) -> None:
    async with site({"/a": Reply(GOOD, status=status)}) as served:
        assert await refused(gallery(), served.url("/a")) == why


@pytest.mark.parametrize(
    "address",
    [
        "ftp://a.example/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "http://",
        "http:///x",
        "//a.example/x",
        "picture.png",
        "http://user:password@a.example/x",
        "http://a.example/x y",
        "http://a.example/x\r\nHost: b",
        "http://a.example\\@127.0.0.1/",
        "http://a.example:99999/",
        "http://a.example/" + "x" * 9000,
        "http://[::1/",
    ],
)
async def test_addresses_that_are_none(address: str) -> None:
    assert await refused(gallery(), address) == "address"


async def test_nobody_is_asked_where_nobody_may_be() -> None:
    async with site({"/a": Reply(GOOD)}) as served:
        assert await refused(gallery("nobody"), served.url("/a")) == "lost"
        assert await refused(gallery("listed", ("10.0.0.1",)), served.url("/a")) == "lost"
        assert served.asked == []


async def test_a_port_where_nobody_listens_and_a_name_there_is_not() -> None:
    assert await refused(gallery(), "http://127.0.0.1:1/x") == "lost"
    assert await refused(gallery(), "http://no-such-name.invalid/x") == "lost"


async def test_uploads_of_nobody_are_lost() -> None:
    assert await refused(gallery(), "oss://a/b") == "lost"
    assert await refused(gallery(), "fileid://file-fe-1") == "lost"


async def test_a_mirror_stands_for_what_is_out_of_reach() -> None:
    async with site({"/cdn/a.png?x=1": Reply(GOOD), "/secret": Reply(GOOD)}) as served:
        listed = [mirror(f"https://pictures.example/i/={served.url('/cdn/')}")]
        viewer = gallery(mirrors=listed)
        await viewer.see("w", [Medium("image", ("https://pictures.example/i/a.png?x=1",))], SIGHT)
        for rest in (
            "../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "%252e%252e/secret",
            "/secret",
            "a/../../secret",
            "..",
        ):
            assert await refused(viewer, "https://pictures.example/i/" + rest) in ("address", "lost")
        assert await refused(gallery(hosts=(), mirrors=listed), "https://pictures.example/i/a.png?x=1") == "lost"
        assert served.asked == ["/cdn/a.png?x=1"]


@pytest.mark.parametrize(
    "text", ["", "a=b", "https://a.example/", "https://a.example=http://b/", "https://a.example/=b/"]
)
def test_a_mirror_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no two beginnings"):
        mirror(text)
