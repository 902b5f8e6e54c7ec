"""Some frames of a video, evenly over its time.

Laws: runs in the cage, and in one thread; no file but its own is opened, whatever it refers to; where frames are far
apart, what lies between is leapt over.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from segue.media.limits import DecodeLimits
from segue.media.sizes import Fit, framed, sampled, shown
from segue.media.unseeable import Unseeable

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg"
_LEAP_S = 4.0
_GUESSED_FPS = 25.0
_LOST_MAX = 100
"""Frames in a row that cannot be read."""


def moving(
    file: BinaryIO, fit: Fit, total: int, fps: float, frames_max: int, limits: DecodeLimits
) -> tuple[float, Iterator[Image.Image]]:
    """How many seconds a frame stands for, and the frames.  Raises Unseeable, also while they are read."""
    try:
        library = importlib.import_module("av")
    except ImportError:
        raise Unseeable("format") from None
    library.logging.set_level(None)
    try:
        container = library.open(file, options={"format_whitelist": _CONTAINERS, "protocol_whitelist": ""})
        stream = container.streams.video[0]
    except (library.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise Unseeable("video") from error
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.picture_pixels_max:
        raise Unseeable("pixels", width * height, limits.picture_pixels_max)
    seconds = _lasts(container, stream, library)
    if seconds > limits.video_seconds_max:
        raise Unseeable("long", seconds, limits.video_seconds_max)
    rate = float(stream.average_rate or stream.guessed_rate or _GUESSED_FPS)
    there = max(1, stream.frames or round(seconds * rate))
    each, count = framed(fit, total, sampled(seconds, there, fps, frames_max))
    times = [seconds * (place + 0.5) / count for place in range(count)]
    size = shown(width, height, each)
    return seconds / count, _pictures(container, stream, times, size, library)


def _lasts(container: Any, stream: Any, library: Any) -> float:
    """In seconds, as its head says."""
    if stream.duration:
        return max(0.0, float(stream.duration * stream.time_base))
    if container.duration:
        return max(0.0, float(container.duration / library.time_base))
    raise Unseeable("video")


def _pictures(
    container: Any, stream: Any, times: list[float], size: tuple[int, int], library: Any
) -> Iterator[Image.Image]:
    """One for each time: the first frame that is not before it, and the last one again where there are no more."""
    base = float(stream.time_base)
    start = (stream.start_time or 0) * base
    made, last, seen, lost = 0, None, start, 0
    while made < len(times):
        if times[made] + start - seen > _LEAP_S:
            container.seek(int((times[made] + start) / base), stream=stream)
        try:
            for frame in container.decode(stream):
                seen = frame.time if frame.time is not None else seen
                last, lost = frame, 0
                if seen >= times[made] + start:
                    yield _picture(frame, size)
                    made += 1
                    if made == len(times):
                        return
                    if times[made] + start - seen > _LEAP_S:
                        break
            else:
                break
        except library.error.EOFError:
            break
        except library.error.FFmpegError as error:
            lost += 1
            if lost > _LOST_MAX:
                raise Unseeable("video") from error
    if last is None:
        raise Unseeable("video")
    picture = _picture(last, size)
    for _ in range(made, len(times)):
        yield picture


def _picture(frame: Any, size: tuple[int, int]) -> Image.Image:
    """Upright, in the size that is shown."""
    turned = -int(getattr(frame, "rotation", 0) or 0) % 360
    picture = frame.to_image()
    if turned:
        picture = picture.rotate(-turned, expand=True)
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
