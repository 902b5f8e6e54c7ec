"""The floor of every engine: `llama_decode` and argmax in a loop, and nothing else.

It runs in the benchmark's own process, on Segue's own binding, with one sequence.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROWS_MAX = 512


class Bare:
    """One model, one sequence of up to `cells` tokens."""

    def __init__(self, path: Path, cells: int, threads: int) -> None:
        # Read by the OpenMP runtime when it is loaded, which is now; the engine's process has the same.
        os.environ["OMP_WAIT_POLICY"] = "passive"
        from segue.engine.llama.context import Context, Model
        from segue.engine.llama.library import open_library

        self._context = Context(Model(*open_library(), path), cells, 1, threads, _ROWS_MAX, unified=False)
        self._held = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` tokens."""
        self._context.cut(0, count)
        self._held = count

    def read(self, ids: list[int]) -> int:
        """Append tokens.  Returns the likeliest next one."""
        for at in range(0, len(ids), _ROWS_MAX):
            piece = ids[at : at + _ROWS_MAX]
            rows = [(token, self._held + i, 0, False) for i, token in enumerate(piece)]
            rows[-1] = (*rows[-1][:3], True)
            self._context.decode(rows)
            self._held += len(piece)
        return int(self._context.logits(len(rows) - 1).argmax())

    def go_on(self, ids: list[int], tokens: int) -> tuple[list[int], list[float]]:
        """Forget everything, read `ids`, add `tokens` more.  Returns them and the time each was known."""
        self.cut(0)
        said, times = [self.read(ids)], [time.perf_counter()]
        while len(said) < tokens:
            said.append(self.read(said[-1:]))
            times.append(time.perf_counter())
        return said, times
