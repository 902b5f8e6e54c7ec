"""Where a process stands that serves together with others: its number among them, and the folder that they share.

Law: the folder is nobody else's, and gone with those who used it; nothing in it outlives them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from segue.core import frozen


@frozen
class Post:
    """One of the places.  `number` is that of whoever takes it, also after another has died there."""

    folder: Path
    number: int

    def door(self, model: str) -> Path:
        """Where the engine of a model that all share is to be found."""
        return door_of(self.folder, model)


def door_of(folder: Path, model: str) -> Path:
    """See `Post.door`.  A socket's path may be short only, and a model's name long."""
    return folder / hashlib.sha256(model.encode()).hexdigest()[:12]
