"""Which tokens spell given bytes, so many of them: for upstreams that do not tell of every token."""

from __future__ import annotations

from segue.engine.seam.lexicon import Lexicon

BYTES_MAX = 64
STEPS_MAX = 2000


def spelled(lexicon: Lexicon, data: bytes, count: int) -> list[int] | None:
    """`count` tokens that spell `data`; None where there are none, or finding them takes too long."""
    if len(data) > BYTES_MAX or not 0 < count <= len(data):
        return None
    steps = 0
    paths: list[tuple[list[int], int]] = [([], 0)]
    while paths and steps < STEPS_MAX:
        steps += 1
        path, at = paths.pop()
        left = count - len(path)
        if left == 1:
            if last := lexicon.exactly(data[at:]):
                return [*path, last[0]]
            continue
        for token, size in reversed(lexicon.inside(data[at:])):
            if len(data) - at - size >= left - 1:
                paths.append(([*path, token], at + size))
    return None
