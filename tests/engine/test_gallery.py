"""What encodes pictures: in order, once, for whoever waits, within its memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from segue.engine.llama.context import FloatRow
from segue.engine.llama.eyes import EyesError
from segue.engine.llama.gallery import Gallery
from segue.engine.llama.places import Shot

ROW_BYTES = 4 * 8


class Eyes:
    """Sees a picture as the number it is named by, when it may."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.may = threading.Event()
        self.may.set()

    def encode(self, width: int, height: int, frames: Sequence[bytes]) -> FloatRow:
        self.may.wait(10)
        self.seen.append(frames[0])
        if frames[0] == b"bad":
            raise EyesError("it is bad")
        if frames[0] == b"huge":
            raise MemoryError
        return np.full((1, 8), float(len(self.seen)), np.float32)


class Bench:
    def __init__(self, pictures_max: int) -> None:
        self.eyes = Eyes()
        self.gallery = Gallery(self.eyes, pictures_max * ROW_BYTES)  # type: ignore[arg-type]
        self.told: list[str] = []

    def see(self, *shots: Shot, wanted: bool = True) -> threading.Event:
        over = threading.Event()

        def done(wrong: str) -> None:
            self.told.append(wrong)
            over.set()

        self.gallery.see(shots, lambda: wanted, done)
        return over


def shot(name: str) -> Shot:
    return Shot(name.encode(), 28, 28, (name.encode(),))


def test_a_picture_is_encoded_once_and_its_pixels_go() -> None:
    bench = Bench(4)
    first, second = shot("a"), shot("a")
    assert bench.see(first, shot("b"), second).wait(10)
    assert bench.eyes.seen == [b"a", b"b"]
    assert first.rows is second.rows is not None
    assert (first.frames, second.frames) == ((), ())
    third = shot("a")
    bench.gallery.recall([third])
    assert third.rows is first.rows
    assert bench.told == [""]
    assert bench.gallery.encoded == 2


def test_the_least_recently_used_goes_first() -> None:
    bench = Bench(2)
    assert bench.see(shot("a"), shot("b")).wait(10)
    bench.gallery.recall([shot("a")])
    held = shot("c")
    assert bench.see(held).wait(10)
    again = [shot(name) for name in "abc"]
    bench.gallery.recall(again)
    assert [each.rows is not None for each in again] == [True, False, True]
    assert Bench(0).see(shot("a")).wait(10)  # nothing is kept, everything is seen


def test_what_nobody_waits_for_is_not_begun() -> None:
    bench = Bench(4)
    bench.eyes.may.clear()
    running = bench.see(shot("a"))
    waiting = bench.see(shot("b"), wanted=False)
    assert bench.gallery.busy
    bench.eyes.may.set()
    assert running.wait(10)
    assert waiting.wait(10)
    assert bench.eyes.seen == [b"a"]
    assert not bench.gallery.busy
    assert bench.gallery.seconds == 0.0


def test_how_long_one_takes_is_known_while_it_does() -> None:
    bench = Bench(4)
    bench.eyes.may.clear()
    running = bench.see(shot("a"))
    while not bench.gallery.seconds:
        assert not running.wait(0.01)
    bench.eyes.may.set()
    assert running.wait(10)
    assert bench.gallery.seconds == 0.0


def test_what_cannot_be_encoded_is_told() -> None:
    bench = Bench(4)
    assert bench.see(shot("a"), shot("bad"), shot("b")).wait(10)
    assert bench.told == ["it is bad"]
    assert bench.see(shot("c")).wait(10)
    assert bench.eyes.seen == [b"a", b"bad", b"c"]
    assert bench.see(shot("huge")).wait(10)
    assert bench.told == ["it is bad", "", "MemoryError"]
