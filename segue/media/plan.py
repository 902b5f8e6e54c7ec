"""What is to be done for one medium, as its caller and the model want it: pure.

Laws: a caller's wish never exceeds what the model can take; of a list of frames those that will not be shown are not
even fetched.
"""

from __future__ import annotations

from segue.core import frozen
from segue.core.errors import MediumRefused
from segue.core.media import Medium, Sight
from segue.core.places import FRAMES_TOGETHER
from segue.media.limits import FPS, FRAME_TOKENS_MAX, LIST_MAX, LIST_MIN
from segue.media.sizes import Fit, framed, spread
from segue.media.words import Task


@frozen
class Plan:
    """The addresses of what is fetched, and what is made of it; `task` has no lengths yet."""

    sources: tuple[str, ...]
    task: Task


def planned(medium: Medium, sight: Sight, image_tokens_max: int) -> Plan:
    """Raises MediumRefused."""
    area = sight.patch**2
    tokens = FRAME_TOKENS_MAX if medium.sort == "video" else image_tokens_max
    wished = medium.pixels_max or (sight.pixels_max if medium.high_resolution else tokens * area)
    high = max(area, min(wished, sight.pixels_max))
    low = min(high, max(sight.pixels_min, medium.pixels_min or 0))
    fps = medium.fps or FPS
    total = sight.video_tokens_max * area * FRAMES_TOGETHER
    if medium.total_pixels_max is not None:
        total = min(total, medium.total_pixels_max)
    most = max(1, min(sight.frames_max, medium.frames_max or sight.frames_max))
    sources = medium.sources
    if medium.sort == "image":
        return Plan(sources, Task("image", [], sight.patch, low, high, high, fps, 1))
    if not medium.frames:
        return Plan(sources, Task("video", [], sight.patch, low, high, total, fps, most))
    if not LIST_MIN <= len(sources) <= LIST_MAX:
        raise MediumRefused("frames", LIST_MIN, LIST_MAX)
    _, count = framed(Fit(sight.patch, low, high), total, min(most, len(sources)))
    kept = spread(len(sources), count)
    apart = (len(sources) - 1) / max(1, count - 1)
    chosen = tuple(sources[place] for place in kept)
    return Plan(chosen, Task("frames", [], sight.patch, low, high, total, fps / apart, count))
