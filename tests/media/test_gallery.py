"""Pictures of every kind, good and bad, through the real process: the right view or the documented refusal, and never
more memory than the process may have."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from segue.caged.process import entry, killed, started
from segue.core.errors import MediumRefused, TimedOut
from segue.core.media import Medium, Picture, View
from segue.core.places import count
from segue.media import words
from segue.media.decoder import Decoder, _Hearing
from segue.media.gallery import Gallery
from segue.media.limits import DecodeLimits, FetchLimits, MediaLimits
from segue.media.words import Asked, Task, asked_to
from tests.media.pictures import (
    COLOUR,
    SIGHT,
    Reply,
    deep,
    film,
    gallery,
    halves,
    plain,
    saved,
    site,
    turned,
    uri,
)

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


async def seen(data: bytes, viewer: Gallery | None = None) -> Picture:
    views = await (viewer or gallery(limits=MediaLimits(uri_bytes_max=1 << 30))).see("w", [image(uri(data))], SIGHT)
    return views[0].pictures[0]


def image(address: str) -> Medium:
    return Medium("image", (address,))


def pixel(picture: Picture, x: int, y: int) -> tuple[int, int, int]:
    at = 3 * (y * picture.width + x)
    return picture.pixels[at], picture.pixels[at + 1], picture.pixels[at + 2]


def near(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return all(abs(left - right) <= 3 for left, right in zip(one, other, strict=True))


def palette(see_through: bool) -> bytes:
    picture = plain(280, 280, "P", 0)
    picture.putpalette([*COLOUR] * 256)
    return saved(picture, transparency=0) if see_through else saved(picture)


KINDS: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: saved(plain()), COLOUR),
    "jpeg": (lambda: saved(plain(), "JPEG"), COLOUR),
    "webp": (lambda: saved(plain(), "WEBP"), COLOUR),
    "gif": (lambda: saved(plain(), "GIF"), COLOUR),
    "moving gif": (
        lambda: saved(plain(), "GIF", save_all=True, append_images=[plain(colour=(0, 0, 9))]),
        COLOUR,
    ),
    "bmp": (lambda: saved(plain(), "BMP"), COLOUR),
    "tiff": (lambda: saved(plain(), "TIFF"), COLOUR),
    "jpeg 2000": (lambda: saved(plain(), "JPEG2000"), COLOUR),
    "cmyk": (lambda: saved(plain().convert("CMYK"), "JPEG"), COLOUR),
    "grey": (lambda: saved(plain(mode="L", colour=90)), (90, 90, 90)),
    "sixteen bits": (deep, (200, 200, 200)),
    "one bit": (lambda: saved(plain(mode="1", colour=1)), WHITE),
    "palette": (lambda: palette(False), COLOUR),
    "palette that is seen through": (lambda: palette(True), WHITE),
    "alpha": (lambda: saved(plain(mode="RGBA", colour=(0, 0, 0, 0))), WHITE),
    "half alpha": (lambda: saved(plain(mode="RGBA", colour=(0, 0, 0, 128))), (127, 127, 127)),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_shown(kind: str) -> None:
    make, colour = KINDS[kind]
    picture = await seen(make())
    assert near(pixel(picture, 5, 5), colour)
    assert picture.width % SIGHT.patch == picture.height % SIGHT.patch == 0
    assert len(picture.pixels) == 3 * picture.width * picture.height
    assert len(picture.digest) == 32


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="HEIC is an extra")
async def test_heic_is_shown_where_its_library_is() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    assert near(pixel(await seen(saved(plain(), "HEIF")), 5, 5), COLOUR)


@pytest.mark.parametrize("orientation", [3, 6, 8])
async def test_a_camera_s_note_turns_it_upright(orientation: int) -> None:
    picture = await seen(turned(orientation))
    assert near(pixel(picture, 100, 20), COLOUR)
    assert near(pixel(picture, 100, 250), (0, 0, 255))


async def test_its_bytes_say_what_it_is_and_not_its_label() -> None:
    viewer = gallery()
    address = uri(saved(plain(), "JPEG"), "image/png")
    picture = (await viewer.see("w", [image(address)], SIGHT))[0].pictures[0]
    assert near(pixel(picture, 5, 5), COLOUR)
    text = image(uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/jpeg"))
    with pytest.raises(MediumRefused, match="format"):
        await viewer.see("w", [text], SIGHT)


def bomb() -> bytes:
    """A few bytes that say they are 30,000 x 30,000."""
    whole = bytearray(saved(plain(10, 10, "1", 0)))
    whole[16:24] = (30_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


def chunk_bomb() -> bytes:
    """A text chunk that unpacks to half a gigabyte."""
    packed = zlib.compress(b"\0" * (512 << 20))
    body = b"zTXtk\0\0" + packed
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    whole = saved(plain())
    return whole[:33] + chunk + whole[33:]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "1 x 1": (lambda: saved(plain(1, 1)), "small"),
    "9 high": (lambda: saved(plain(40, 9)), "small"),
    "narrow": (lambda: saved(plain(4000, 10)), "narrow"),
    "truncated jpeg": (lambda: saved(halves(), "JPEG")[:-300], "broken"),
    "truncated png": (lambda: saved(plain())[:-200], "broken"),
    "only a head": (lambda: saved(plain(), "WEBP")[:40], "format broken"),
    "empty": (lambda: b"", "format"),
    "text": (lambda: b"hello world", "format"),
    "a program": (lambda: Path(sys.executable).read_bytes()[:4096], "format"),
    "bomb": (bomb, "pixels"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_cannot_be_shown_is_told(kind: str) -> None:
    make, why = BAD[kind]
    with pytest.raises(MediumRefused) as refusal:
        await seen(make())
    assert refusal.value.why in why.split()


@pytest.mark.slow
async def test_a_bomb_in_a_chunk_is_refused_within_the_limit() -> None:
    with pytest.raises(MediumRefused):
        await seen(chunk_bomb())


@pytest.fixture(scope="module")
def vast() -> bytes:
    """8,000 x 8,000, four bytes a pixel once it is decoded."""
    return saved(plain(8000, 8000, "RGBA", (1, 2, 3, 255)), compress_level=1)


async def test_eight_thousand_by_eight_thousand(vast: bytes) -> None:
    for data in (vast, saved(plain(8000, 8000, "L", 2), "JPEG")):
        picture = await seen(data)
        assert picture.width == picture.height == 980  # 1,225 tokens: within what is shown where nothing is said
        assert near(pixel(picture, 0, 0), (2, 2, 2))


async def test_more_memory_than_the_limit_is_not_to_be_had(vast: bytes) -> None:
    viewer = gallery(limits=MediaLimits(uri_bytes_max=1 << 30), decoding=DecodeLimits(memory_bytes_max=400 << 20))
    with pytest.raises(MediumRefused) as refusal:
        await seen(vast, viewer)
    assert refusal.value.why in ("pixels", "broken")


async def test_the_process_has_the_limits_that_are_set(tmp_path: Path) -> None:
    """Read of a process that is caged and waits for more of a pipe that never comes."""
    limits = DecodeLimits(memory_bytes_max=777 << 20, cpu_s=7)
    code = entry("segue.media.child").replace(
        "sys.exit(",
        "import segue.media.child as c, resource\n"
        "c.formats = lambda: ()\n"
        "c._say = lambda pipe, word: (pipe.write(repr([resource.getrlimit(k) for k in (resource.RLIMIT_AS,"
        " resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]).encode()), sys.exit(0))\n"
        "sys.exit(",
    )
    with (tmp_path / "empty").open("w+b") as file:
        process = await started(code, (asked_to(Asked([], limits)),), file.fileno())
        assert process.stdout is not None
        told = (await process.stdout.read()).decode()
        await killed(process)
    assert told == repr([(777 << 20, 777 << 20), (7, 7), (0, 0)])


async def test_one_process_serves_a_whole_request_and_equal_pictures_are_decoded_once() -> None:
    viewer = gallery()
    first, other = image(uri(saved(plain()))), image(uri(saved(halves())))
    views = await viewer.see("w", [first, other, first], SIGHT)
    assert views[0] is views[2]
    assert views[0].pictures[0].digest != views[1].pictures[0].digest
    again = await viewer.see("w", [other], SIGHT)
    assert again[0] is views[1]
    elsewhere = await viewer.see("another", [other], SIGHT)
    assert elsewhere[0] is not views[1]
    assert elsewhere == again


async def test_a_caller_s_wishes_bound_the_pixels() -> None:
    viewer = gallery()
    address = uri(saved(plain(1400, 1400)))
    sizes = []
    for medium in (
        Medium("image", (address,)),
        Medium("image", (address,), high_resolution=True),
        Medium("image", (address,), pixels_max=100_000),
        Medium("image", (uri(saved(plain(28, 28))),), pixels_min=90_000),
    ):
        picture = (await viewer.see("w", [medium], SIGHT))[0].pictures[0]
        sizes.append(picture.width * picture.height)
    assert sizes == [980 * 980, 1400 * 1400, 308 * 308, 308 * 308]


async def test_limits_of_a_whole_request() -> None:
    address = uri(saved(plain()))
    few = gallery(limits=MediaLimits(media_max=2, stills_bytes_max=1500, uri_bytes_max=5000))
    with pytest.raises(MediumRefused, match="many"):
        await few.see("w", [image(address)] * 3, SIGHT)
    with pytest.raises(MediumRefused, match="large"):
        await few.see("w", [image(address), image(uri(saved(plain(401))))], SIGHT)
    with pytest.raises(MediumRefused, match="long_uri"):
        await few.see("w", [image(address + "A" * 5000)], SIGHT)
    small = gallery(decoding=DecodeLimits(decoded_bytes_max=1000))
    with pytest.raises(MediumRefused, match="large"):
        await small.see("w", [image(address)], SIGHT)
    hasty = gallery(limits=MediaLimits(whole_s=0.01))
    with pytest.raises(TimedOut):
        await hasty.see("w", [image(address)], SIGHT)


@pytest.mark.parametrize(
    "address",
    ["data:image/png;base64", "data:image/png;base64,!!!", "data:image/png;base64,A", "data:" + "x" * 999 + ",A"],
)
async def test_a_data_uri_that_is_none(address: str) -> None:
    with pytest.raises(MediumRefused, match="address"):
        await gallery().see("w", [image(address)], SIGHT)


async def test_a_data_uri_in_other_spellings() -> None:
    plainly = uri(saved(plain()))
    head, _, body = plainly.partition(",")
    others = [
        head + "," + body.replace("+", "-").replace("/", "_").rstrip("="),
        head + "," + body.replace("+", "%2B").replace("/", "%2F"),
        head.upper().replace("DATA", "Data") + ",\n" + body,
    ]
    viewer = gallery()
    expected = await viewer.see("w", [image(plainly)], SIGHT)
    assert await viewer.see("w", [image(other) for other in others], SIGHT) == expected * 3


# --- videos ---


def moved(*sources: str, frames: bool = False, **said: float) -> Medium:
    return Medium("video", sources, frames=frames, **said)  # type: ignore[arg-type]


def reds(view: View) -> list[int]:
    return [picture.pixels[0] for picture in view.pictures]


async def test_frames_of_a_video_are_even_over_its_time() -> None:
    address = uri(film(seconds=4), "video/mp4")
    viewer = gallery()
    (view,) = await viewer.see("w", [moved(address)], SIGHT)
    assert view.sort == "video"
    assert len(view.pictures) == 8
    assert view.seconds == pytest.approx(0.5, abs=0.02)
    assert {(picture.width, picture.height) for picture in view.pictures} == {(168, 112)}
    steps = [after - before for before, after in zip(reds(view), reds(view)[1:], strict=False)]
    assert all(20 <= step <= 44 for step in steps)
    fewer = await viewer.see("w", [moved(address, fps=0.5), moved(address, frames_max=2)], SIGHT)
    assert [len(view.pictures) for view in fewer] == [4, 2]


async def test_all_frames_together_stay_within_what_the_model_takes() -> None:
    address = uri(film(seconds=8, rate=4, width=640, height=480), "video/mp4")
    (view,) = await gallery().see("w", [moved(address, fps=4.0)], SIGHT)
    assert 0.8 * SIGHT.video_tokens_max < count(view, SIGHT.patch) <= SIGHT.video_tokens_max
    (bounded,) = await gallery().see("w", [moved(address, fps=4.0, total_pixels_max=200_000)], SIGHT)
    assert sum(picture.width * picture.height for picture in bounded.pictures) <= 200_000


async def test_a_list_of_frames() -> None:
    addresses = [uri(saved(plain(280, 280, colour=(shade, 0, 0)))) for shade in range(0, 250, 25)]
    (view,) = await gallery().see("w", [moved(*addresses, frames=True, fps=1.0)], SIGHT)
    assert (view.sort, view.seconds, len(view.pictures)) == ("video", 1.0, 10)
    assert reds(view) == list(range(0, 250, 25))
    (fewer,) = await gallery().see("w", [moved(*addresses, frames=True, fps=1.0, frames_max=4)], SIGHT)
    assert (reds(fewer), fewer.seconds) == ([0, 75, 150, 225], 3.0)


@pytest.mark.parametrize("count", [1, 3, 513])
async def test_a_list_that_is_too_short_or_too_long(count: int) -> None:
    with pytest.raises(MediumRefused) as refusal:
        await gallery().see("w", [moved(*["data:,"] * count, frames=True)], SIGHT)
    assert (refusal.value.why, refusal.value.one, refusal.value.other) == ("frames", 4, 512)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no video", "video"),
        (saved(plain(), "PNG"), "video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video"),
        (film(seconds=2)[:600], "video"),
    ],
    ids=["text", "picture", "playlist", "concat", "cut off"],
)
async def test_what_is_no_video(data: bytes, why: str) -> None:
    with pytest.raises(MediumRefused) as refusal:
        await gallery().see("w", [moved(uri(data, "video/mp4"))], SIGHT)
    assert refusal.value.why == why


async def test_a_video_that_is_too_long() -> None:
    viewer = gallery(decoding=DecodeLimits(video_seconds_max=3))
    with pytest.raises(MediumRefused, match="long"):
        await viewer.see("w", [moved(uri(film(seconds=4), "video/mp4"))], SIGHT)


async def test_one_picture_many_times_is_not_written_down_without_limit() -> None:
    data = saved(plain(280, 280))
    tight = gallery(limits=MediaLimits(stills_bytes_max=6 * len(data)))
    (view,) = await tight.see("w", [moved(*[uri(data)] * 4, frames=True)], SIGHT)
    assert len(view.pictures) == 4
    for media in (
        [moved(*[uri(data)] * 8, frames=True)],
        [moved(*[uri(data)] * 4, frames=True, fps=n) for n in (1, 3)],
    ):
        with pytest.raises(MediumRefused, match="large"):
            await tight.see("w", media, SIGHT)


async def test_more_than_can_be_asked_at_once_is_refused() -> None:
    tasks = [Task("frames", [1000] * 512, 28, 1, 1, 1, 1.0, 512)] * 60
    with pytest.raises(MediumRefused, match="large"):
        await Decoder(DecodeLimits(), 1).decode("w", 0, tasks)


@pytest.mark.parametrize(
    "word",
    [
        *(words.Picture(0, 28, 28, seconds) for seconds in (float("nan"), float("inf"), -1.0, 1e9)),
        words.Failed("long", float("nan"), 0.0),
        words.Failed("small", 0.0, float("-inf")),
    ],
    ids=str,
)
async def test_a_process_that_says_nonsense_is_not_believed(word: words.Word) -> None:
    pipe = asyncio.StreamReader()
    pipe.feed_data(words.pack(word))
    pipe.feed_eof()
    with pytest.raises(ValueError, match=r"nobody asked|no numbers"):
        await _Hearing([Task("video", [0], 28, 1, 784, 784, 2.0, 4)], DecodeLimits()).hear(pipe)


async def test_a_video_is_fetched_to_a_file_and_bounded() -> None:
    async with site({"/v.mp4": Reply(film(seconds=2))}) as served:
        viewer = gallery()
        (view,) = await viewer.see("w", [moved(served.url("/v.mp4"))], SIGHT)
        assert len(view.pictures) == 4
        tight = gallery(fetching=FetchLimits(video_bytes_max=100))
        with pytest.raises(MediumRefused, match="large"):
            await tight.see("w", [moved(served.url("/v.mp4"))], SIGHT)


async def test_whoever_leaves_leaves_no_process(vast: bytes) -> None:
    viewer = gallery(limits=MediaLimits(uri_bytes_max=1 << 30))
    task = asyncio.create_task(viewer.see("w", [image(uri(vast))], SIGHT))
    await asyncio.sleep(0.6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not decoding()


def decoding() -> list[Path]:
    """The processes of ours that decode."""
    return [each for each in Path("/proc").iterdir() if each.name.isdigit() and _decodes(each)]


def _decodes(process: Path) -> bool:
    try:
        ours = f"PPid:\t{os.getpid()}\n" in (process / "status").read_text()
        return ours and b"segue.media.child" in (process / "cmdline").read_bytes()
    except OSError:
        return False
