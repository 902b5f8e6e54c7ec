"""Pictures for tests: drawn from a seed, in the size that is said."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from segue.core.media import Picture, View


def picture(seed: int, width: int = 56, height: int = 84) -> Picture:
    """Smooth enough to be a picture, and unlike any other seed's."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (height // 28 + 1, width // 28 + 1, 3), np.uint8)
    pixels = np.repeat(np.repeat(coarse, 28, 0), 28, 1)[:height, :width]
    noise = draw.integers(0, 32, pixels.shape, np.uint8)
    data = (pixels // 2 + noise).astype(np.uint8).tobytes()
    return Picture(width, height, data, hashlib.sha256(struct.pack("<ii", width, height) + data).digest())


def image(seed: int, width: int = 56, height: int = 84) -> View:
    """One picture."""
    return View("image", (picture(seed, width, height),))


def video(seed: int, frames: int, width: int = 56, height: int = 56, seconds: float = 0.5) -> View:
    """So many frames."""
    return View("video", tuple(picture(1000 * seed + at, width, height) for at in range(frames)), seconds)
