"""Why a picture or video cannot be shown: the one exception of the process that decodes."""

from __future__ import annotations

from segue.core.errors import Unfit


class Unseeable(Exception):
    """`why`, `one` and `other` as in `MediumRefused`; none of them quotes what was sent."""

    def __init__(self, why: Unfit, one: float = 0, other: float = 0) -> None:
        super().__init__(why, one, other)
        self.why: Unfit = why
        self.one = one
        self.other = other
