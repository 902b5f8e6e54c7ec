"""Decoded pictures, kept for the next question about them.

Laws: what one workspace sent is found by nobody else; a workspace keeps no more than its share, and all together no
more than there is room for; what was used last stays longest.
"""

from __future__ import annotations

from collections import OrderedDict

from segue.core.media import View

_VIEW_BYTES = 1000
"""What a view costs beside its pixels, about."""


class Kept:
    """`bytes_max` is of all, `workspace_bytes_max` of one."""

    def __init__(self, bytes_max: int, workspace_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._workspace_bytes_max = min(workspace_bytes_max, bytes_max)
        self._views: OrderedDict[tuple[str, bytes], tuple[View, int]] = OrderedDict()
        self._of: dict[str, int] = {}
        self.bytes = 0

    def find(self, workspace: str, key: bytes) -> View | None:
        """One that is still there."""
        known = self._views.get((workspace, key))
        if known is None:
            return None
        self._views.move_to_end((workspace, key))
        return known[0]

    def keep(self, workspace: str, key: bytes, view: View) -> None:
        """Remember it, unless it is too large."""
        cost = _VIEW_BYTES + sum(len(picture.pixels) for picture in view.pictures)
        if cost > self._workspace_bytes_max or (workspace, key) in self._views:
            return
        self._views[workspace, key] = view, cost
        self._count(workspace, cost)
        while self._of.get(workspace, 0) > self._workspace_bytes_max:
            self._drop(next(place for place in self._views if place[0] == workspace))
        while self.bytes > self._bytes_max:
            self._drop(next(iter(self._views)))

    def _drop(self, place: tuple[str, bytes]) -> None:
        self._count(place[0], -self._views.pop(place)[1])

    def _count(self, workspace: str, cost: int) -> None:
        self.bytes += cost
        left = self._of.get(workspace, 0) + cost
        if left:
            self._of[workspace] = left
        else:
            del self._of[workspace]
