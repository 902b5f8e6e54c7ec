"""What a picture takes up in a prompt: places, and an id for each.

A model with eyes gives each square of pixels, `Sight.patch` wide, one place in the prompt, and two frames of a video
share theirs.  No token of the vocabulary stands there; the ids are made from what is seen, negative, so that equal
pictures have equal ids and different ones have not, and whatever compares prompts by their ids (caches, records of
answers, the choice of a replica) holds for pictures too.

Law: all that decides what the model computes for a place is in its id: pixels, size, order, time.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from segue.core.media import Picture, View

FRAMES_TOGETHER = 2
"""So many frames of a video are seen as one."""
_SIGN = 1 << 31


def grid(view: View, patch: int) -> tuple[int, int, int]:
    """How often, how many rows and how many columns of squares."""
    first = view.pictures[0]
    times = 1 if view.sort == "image" else -(-len(view.pictures) // FRAMES_TOGETHER)
    return times, first.height // patch, first.width // patch


def count(view: View, patch: int) -> int:
    """How many places it takes."""
    times, rows, columns = grid(view, patch)
    return times * rows * columns


def together(view: View) -> list[tuple[Picture, ...]]:
    """What is seen as one: a picture, or two frames of a video; the last frame twice where one is left over."""
    if view.sort == "image":
        return [view.pictures[:1]]
    frames = [*view.pictures, view.pictures[-1]]
    return [(frames[at], frames[at + 1]) for at in range(0, len(view.pictures), FRAMES_TOGETHER)]


def ids(view: View, patch: int) -> list[int]:
    """The id of each of its places."""
    digest = hashlib.shake_256(struct.pack("<?id", view.sort == "video", patch, view.seconds))
    for picture in view.pictures:
        digest.update(struct.pack("<ii", picture.width, picture.height) + picture.digest)
    places = count(view, patch)
    drawn = struct.unpack(f"<{places}I", digest.digest(4 * places))
    return [(each | _SIGN) - (1 << 32) for each in drawn]


def runs(prompt: Sequence[int], views: Sequence[View], patch: int) -> list[int]:
    """Where in a prompt's ids each view begins.  Raises ValueError where the two do not go together."""
    starts: list[int] = []
    at = 0
    for view in views:
        size = count(view, patch)
        at = next((index for index in range(at, len(prompt)) if prompt[index] < 0), len(prompt))
        if at + size > len(prompt) or any(each >= 0 for each in prompt[at : at + size]):
            raise ValueError("a picture has another number of places than it takes up")
        starts.append(at)
        at += size
    if any(each < 0 for each in prompt[at:]):
        raise ValueError("there are places of no picture")
    return starts
