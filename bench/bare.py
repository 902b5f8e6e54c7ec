"""The floor of every engine: `llama_decode` and argmax in a loop, and nothing else.

It runs in the benchmark's own process on Segue's own binding, but with a context of its own: one
sequence, llama.cpp's default parameters but for the sizes and the threads.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

_ROWS_MAX = 512
OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""How threads wait, the same for all that is compared: Segue's own choice, see its engine."""


def passive() -> None:
    """Let this process's OpenMP threads wait as the engine's do.  To be called before the library is opened."""
    os.environ.update(OPENMP)


class Bare:
    """One model, one sequence of up to `cells` tokens."""

    def __init__(self, path: Path, cells: int, threads: int) -> None:
        passive()
        from segue.engine.llama.context import Model
        from segue.engine.llama.library import open_library

        self._ffi, self._lib = open_library()
        model = Model(self._ffi, self._lib, path)
        params = self._lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = cells, _ROWS_MAX, _ROWS_MAX
        params.n_threads = params.n_threads_batch = threads
        self._context = self._lib.llama_init_from_model(model.handle, params)
        self._memory = self._lib.llama_get_memory(self._context)
        self._model, self._logits_bytes = model, 4 * model.vocabulary.size
        self._sequence = self._ffi.new("llama_seq_id[1]", [0])
        self._held = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` tokens."""
        self._lib.llama_memory_seq_rm(self._memory, 0, count, -1)
        self._held = count

    def read(self, ids: list[int]) -> int:
        """Append tokens.  Returns the likeliest next one."""
        for at in range(0, len(ids), _ROWS_MAX):
            self._decode(ids[at : at + _ROWS_MAX])
        pointer = self._lib.llama_get_logits_ith(self._context, -1)
        return int(np.frombuffer(self._ffi.buffer(pointer, self._logits_bytes), np.float32).argmax())

    def go_on(self, ids: list[int], tokens: int) -> tuple[list[int], list[float]]:
        """Forget everything, read `ids`, add `tokens` more.  Returns them and the time each was known."""
        self.cut(0)
        said, times = [self.read(ids)], [time.perf_counter()]
        while len(said) < tokens:
            said.append(self.read(said[-1:]))
            times.append(time.perf_counter())
        return said, times

    def _decode(self, ids: list[int]) -> None:
        new: Any = self._ffi.new
        count = len(ids)
        kept = [
            new("llama_token[]", ids),
            new("llama_pos[]", list(range(self._held, self._held + count))),
            new("int32_t[]", [1] * count),
            new("llama_seq_id *[]", [self._sequence] * count),
            new("int8_t[]", [0] * (count - 1) + [1]),
        ]
        batch = new("struct llama_batch *")
        batch.n_tokens = count
        batch.token, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits = kept
        if self._lib.llama_decode(self._context, batch[0]) != 0:
            raise OSError("llama_decode failed")
        self._held += count
