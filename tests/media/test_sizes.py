"""How large a picture is shown: Qwen's own arithmetic, and what must always hold of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.media import Medium, Sight, View
from segue.media.kept import Kept
from segue.media.plan import planned
from segue.media.sizes import Fit, framed, sampled, shown, spread
from segue.media.turns import Turns, share
from segue.media.unseeable import Unseeable

QWEN = Fit(28, 56 * 56, 14 * 14 * 4 * 1280)

# What `smart_resize` of Qwen's own preprocessing gives, width and height.
KNOWN = [
    ((450, 450), (448, 448)),
    ((1920, 1080), (1316, 728)),
    ((10, 10), (56, 56)),
    ((28, 2800), (28, 2800)),
    ((3000, 20), (3000 // 28 * 28, 28)),
    ((42, 42), (56, 56)),
]


@pytest.mark.parametrize(("size", "expected"), KNOWN)
def test_as_qwen_s_own_preprocessing(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shown(*size, QWEN) == expected


@given(st.integers(10, 20_000), st.integers(10, 20_000), st.sampled_from([14, 16, 28, 32]), st.integers(1, 16_384))
def test_what_always_holds(width: int, height: int, patch: int, tokens: int) -> None:
    fit = Fit(patch, 4 * patch**2, max(4, tokens) * patch**2)
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(Unseeable):
            shown(width, height, fit)
        return
    wide, high = shown(width, height, fit)
    assert wide % patch == high % patch == 0
    assert patch**2 <= wide * high <= fit.high


@given(st.floats(0.01, 10_000), st.integers(1, 100_000), st.floats(0.1, 10), st.integers(1, 768))
def test_frames_of_a_video(seconds: float, frames: int, fps: float, most: int) -> None:
    count = sampled(seconds, frames, fps, most)
    assert 1 <= count <= min(frames, most)
    assert count == 1 or count % 2 == 0


@given(st.integers(1, 512), st.integers(1, 512))
def test_what_is_kept_of_a_list(count: int, kept: int) -> None:
    places = spread(count, kept)
    assert places == sorted(set(places))
    assert len(places) == min(count, kept)
    assert places[0] == 0
    assert kept == 1 or places[-1] == count - 1


@given(st.integers(1, 600), st.integers(1, 10_000_000))
def test_frames_share_what_there_is(frames: int, total: int) -> None:
    fit, count = framed(Fit(28, 3136, 768 * 784), total, frames)
    assert 1 <= count <= frames
    assert fit.high * count <= max(total, fit.low)


def test_wishes_never_exceed_what_the_model_takes() -> None:
    small = Sight(28, 3136, 100_000, 64, 4)
    wishing = Medium("image", ("x",), pixels_min=10**9, pixels_max=10**9, high_resolution=True)
    task = planned(wishing, small, 1280).task
    assert (task.low, task.high) == (100_000, 100_000)
    assert planned(Medium("video", ("x",), frames_max=99), small, 1280).task.frames_max == 4
    listed = planned(Medium("video", tuple(map(str, range(9))), frames=True, fps=2.0), small, 1280)
    assert listed.sources == ("0", "3", "5", "8")
    assert listed.task.fps == pytest.approx(2.0 * 3 / 8)


def view(size: int) -> View:
    from segue.core.media import Picture

    return View("image", (Picture(1, 1, b"x" * size, b""),))


def test_what_is_kept_is_bounded_for_all_and_for_each() -> None:
    kept = Kept(10_000, 5_000)
    for place in range(5):
        kept.keep("a", bytes([place]), view(1_000))
    assert [place for place in range(5) if kept.find("a", bytes([place]))] == [3, 4]
    kept.keep("a", b"large", view(5_000))
    assert kept.find("a", b"large") is None
    kept.find("a", bytes([3]))
    for place in range(9):
        kept.keep(f"w{place}", b"x", view(1_000))
    assert kept.bytes <= 10_000
    assert kept.find("a", bytes([3])) is None
    assert kept.find("w8", b"x") is not None
    assert kept.find("w8", b"y") is None


async def test_no_workspace_keeps_others_waiting() -> None:
    turns = Turns(2, 1)
    order: list[str] = []

    async def work(name: str) -> None:
        async with turns.turn(name[0]):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(work(name) for name in ("a1", "a2", "a3", "a4", "b1", "c1")))
    assert order[:3] == ["a1", "b1", "a2"] or order[:3] == ["a1", "b1", "c1"]
    assert sorted(order) == ["a1", "a2", "a3", "a4", "b1", "c1"]
    assert [share(count) for count in (1, 3, 4, 16)] == [1, 1, 1, 4]


async def test_whoever_stops_waiting_leaves_its_turn() -> None:
    turns = Turns(1, 1)
    async with turns.turn("a"):
        waiting = asyncio.ensure_future(turns.turn("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), turns.turn("a"):
        await asyncio.sleep(0)
