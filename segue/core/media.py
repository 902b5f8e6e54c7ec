"""Pictures and videos of a conversation: as the caller named them, and as a model is shown them.

Laws: a `Medium` is what a reader in `wire/` found, and nobody has fetched anything for it yet; a `Picture` has been
fetched, judged and decoded under limits, so whoever holds one may trust its size.  It knows no format of pictures,
no protocol and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from segue.core import frozen

Sort = Literal["image", "video"]


@frozen
class Medium:
    """One picture or video, as the caller named it.

    `sources` are addresses (`https:`, `http:`, `data:`, `oss:` of an upload here): one, or each frame's where a video
    was given as `frames`.  `pixels_min` and `pixels_max` bound width times height of what the model sees of each
    picture, `total_pixels_max` that of all frames together; `fps`: so many frames of
    a second of video are looked at.  None: not said.  `high_resolution`: as many pixels as the model can take.
    """

    sort: Sort
    sources: tuple[str, ...]
    frames: bool = False
    pixels_min: int | None = None
    pixels_max: int | None = None
    total_pixels_max: int | None = None
    fps: float | None = None
    frames_max: int | None = None
    high_resolution: bool = False


@frozen
class Placed:
    """A medium, which stands before the character `at` of its message's text."""

    at: int
    medium: Medium


@frozen
class Picture:
    """Decoded: `pixels` are RGB, eight bits each, row by row from the top left, upright; 3 x `width` x `height` bytes.
    `digest` is the SHA-256 of size and pixels: equal pictures have equal ones."""

    width: int
    height: int
    pixels: bytes
    digest: bytes


@frozen
class View:
    """What a model is shown of one medium: one picture, or a video's frames in order of time, of one size, a frame
    every `seconds` seconds."""

    sort: Sort
    pictures: tuple[Picture, ...]
    seconds: float = 0.0


@frozen
class Sight:
    """What a model can take in: `patch` is the side of the square of pixels behind one token; `pixels_min` and
    `pixels_max` bound width times height of a picture, `video_tokens_max` the tokens of all frames of a video together,
    `frames_max` their number."""

    patch: int
    pixels_min: int
    pixels_max: int
    video_tokens_max: int
    frames_max: int


class Viewer(Protocol):
    """Fetches, judges and decodes."""

    async def see(self, workspace: str, media: Sequence[Medium], sight: Sight) -> tuple[View, ...]:
        """One view for each medium, in their order, of a size that `sight` takes.  Raises Fault."""
        ...
