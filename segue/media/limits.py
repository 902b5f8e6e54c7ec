"""What pictures and videos may cost, and what they must be.

Laws: each limit has its unit in its name; those that the service documents have its number.
"""

from __future__ import annotations

from segue.caged.cage import Means
from segue.core import frozen

MIB = 1 << 20

SIDE_MIN = 10
"""The shortest side of a picture, in pixels, as documented."""
RATIO_MAX = 200
"""How many times as long as the other a side may be, as documented."""
LIST_MIN, LIST_MAX = 4, 512
"""How many frames a list of them may have, as documented."""
SAMPLED_MIN = 4
"""Fewest frames that are looked at of a video that has them."""
FPS = 2.0
"""How many frames of a second are looked at where nothing is said, as documented."""
FRAME_TOKENS_MAX = 768
"""Most tokens of one frame of a video where nothing is said."""


@frozen
class DecodeLimits:
    """Of the process that decodes what one request sends.  `picture_pixels_max` is of the picture as it was sent."""

    memory_bytes_max: int = 1536 * MIB
    cpu_s: int = 60
    wall_s: float = 60.0
    picture_pixels_max: int = 100_000_000
    decoded_bytes_max: int = 256 * MIB
    video_seconds_max: float = 3600.0

    @property
    def means(self) -> Means:
        """The same narrow and wide: nothing ever asks for more."""
        return Means(self.memory_bytes_max, self.cpu_s, self.memory_bytes_max, self.cpu_s)


@frozen
class FetchLimits:
    """Of what is fetched.  `whole_s` is for one address with all its redirections."""

    image_bytes_max: int = 20 * MIB
    video_bytes_max: int = 1024 * MIB
    redirects_max: int = 3
    whole_s: float = 20.0
    video_s: float = 120.0
    running_max: int = 32


@frozen
class MediaLimits:
    """Of one request, but for `requests_max` and the two of `kept_`, which are of all.  `stills_bytes_max` is of all
    its pictures, as they were sent; `image_tokens_max` how many tokens a picture becomes where nothing is said."""

    media_max: int = 250
    uri_bytes_max: int = 10 * MIB
    stills_bytes_max: int = 64 * MIB
    image_tokens_max: int = 1280
    requests_max: int = 16
    whole_s: float = 180.0
    kept_bytes_max: int = 256 * MIB
    kept_workspace_bytes_max: int = 64 * MIB
