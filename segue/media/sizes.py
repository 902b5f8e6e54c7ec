"""How large a picture is shown, and how many frames of a video: pure arithmetic.

Laws: as in Qwen's own preprocessing (`smart_resize`, `smart_nframes`) both sides are multiples of the square behind
one token, the area is within bounds, the shape is kept as near as can be; frames come in pairs.
"""

from __future__ import annotations

import math

from segue.core import frozen
from segue.media.limits import RATIO_MAX, SAMPLED_MIN, SIDE_MIN
from segue.media.unseeable import Unseeable


@frozen
class Fit:
    """`patch`: the side of the square behind one token; `low` and `high` bound width times height."""

    patch: int
    low: int
    high: int


def shown(width: int, height: int, fit: Fit) -> tuple[int, int]:
    """Width and height of what is shown.  Raises Unseeable: `small`, `narrow`."""
    if min(width, height) < SIDE_MIN:
        raise Unseeable("small", height, width)
    if max(width, height) > RATIO_MAX * min(width, height):
        raise Unseeable("narrow", round(max(width, height) / min(width, height), 1), RATIO_MAX)
    patch = fit.patch
    wide, high = max(patch, round(width / patch) * patch), max(patch, round(height / patch) * patch)
    if wide * high > fit.high:
        shrunk = math.sqrt(width * height / fit.high)
        wide, high = (max(patch, math.floor(side / shrunk / patch) * patch) for side in (width, height))
        if wide * high > fit.high:  # a side that cannot get shorter: the other has to
            if wide > high:
                wide = max(patch, fit.high // high // patch * patch)
            else:
                high = max(patch, fit.high // wide // patch * patch)
    elif wide * high < fit.low:
        grown = math.sqrt(fit.low / (width * height))
        wide, high = (math.ceil(side * grown / patch) * patch for side in (width, height))
        if wide * high > fit.high:
            return shown(width, height, Fit(patch, 0, fit.high))
    return wide, high


def sampled(seconds: float, frames: int, fps: float, frames_max: int) -> int:
    """How many frames are looked at of a video that lasts so long and has so many."""
    most = max(1, min(frames, frames_max))
    wanted = min(most, max(min(SAMPLED_MIN, most), round(seconds * fps)))
    return wanted // 2 * 2 if wanted > 1 else 1


def spread(count: int, kept: int) -> list[int]:
    """Which of `count` things are kept, evenly, first and last among them."""
    if kept >= count:
        return list(range(count))
    return [round(place * (count - 1) / max(1, kept - 1)) for place in range(kept)]


def framed(fit: Fit, total: int, frames: int) -> tuple[Fit, int]:
    """What each frame is fitted into, and how many there are, so that all have at most `total` pixels together."""
    low = max(fit.low, fit.patch**2)
    frames = max(1, min(frames, total // low))
    shares = frames + frames % 2  # one that is left over takes as much as two
    return Fit(fit.patch, low, max(low, min(fit.high, total // shares))), frames
