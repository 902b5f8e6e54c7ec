"""From what the server says of an answer's pictures to where they stand in its prompt.

Law: a picture's key is made from its pixels' digest and the workspace, so that what was encoded for one workspace is
never told of to another, not even by how long it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from segue.core import places as layout
from segue.core.generation import Clock
from segue.core.media import Picture, View
from segue.engine.llama.frames import Open, unpack_ids
from segue.engine.llama.places import NONE, Places, Shot, laid_out


def placed(message: Open, pictures: Mapping[bytes, bytes], patch: int, clock: Clock) -> Places:
    """Where the message's pictures stand.  Raises ValueError where they do not go with its ids."""
    if not message.views:
        return NONE
    views = [
        View(
            "video" if view.video else "image",
            tuple(Picture(view.width, view.height, pictures[digest], digest) for digest in view.digests),
            view.seconds,
        )
        for view in message.views
    ]
    starts = layout.runs(unpack_ids(message.ids), views, patch)
    made = []
    for start, view in zip(starts, views, strict=True):
        shots = [_shot(message.workspace, frames) for frames in layout.together(view)]
        made.append(laid_out(start, layout.grid(view, patch), view.seconds, clock, shots))
    return Places(tuple(made))


def _shot(workspace: str, frames: tuple[Picture, ...]) -> Shot:
    digest = hashlib.blake2b(workspace.encode("utf-8", "surrogatepass") + b"\0", digest_size=32)
    for frame in frames:
        digest.update(frame.digest)
    first = frames[0]
    return Shot(digest.digest(), first.width, first.height, tuple(frame.pixels for frame in frames))
