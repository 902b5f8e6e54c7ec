"""A loaded model and a decoding context over it: rows in, logits out.

Laws: no policy here.  A `Context` owns its key-value memory and one reusable batch; a row is
(token, position, sequence, wants logits), and one with a negative token is a picture's, whose embedding and
positions come beside it.  Logits are a view into the library's own buffer, valid
until the next `decode`, and may be overwritten by the caller.

On exactness.  The library has several kernels for one product, chosen by the number of rows, and
they round differently; a different last bit early on moves final logits by up to 0.8.  Measured on
the pinned release (x86-64, Q4_K_M, `bench/neighbours.py` repeats it), a row's result is the same to
the bit for 1 to 3 rows, and again the same for 8 and more rows in multiples of 4, whatever the
other rows are.  So `decode` pads a batch that reads prompts to `ROWS_MIN` and a multiple of `GRAIN`.
Two more things would enter the arithmetic: the tiled and the split attention kernels look at how
full the cache is, and are only chosen for equal 16-bit types of keys and values, hence 8-bit keys
here; and attention adds up in the order of the cells, see `memory.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.engine.llama.vocabulary import Vocabulary

FloatRow = npt.NDArray[np.float32]
Row = tuple[int, int, int, bool]
"""Token, position, sequence, and whether its logits are wanted."""
Patch = tuple[FloatRow, npt.NDArray[np.int32]]
"""A picture's row: its embedding and its four positions."""
GRAIN = 4
ROWS_MIN = 8
DRAWN_ROWS_MAX = 3
"""Rows of a step that draws whose results do not depend on their number."""
PROBES_MAX = 3
"""Branches that are read at once."""
BRANCHES_MAX = 12
"""Branches of a search that may be in the cache."""
_F16, _Q8_0 = 1, 8
_DECODE = 1
"""`LLAMA_PROCESS_TYPE_DECODE`."""
_NO_PATCHES: Mapping[int, Patch] = {}


class DecodeError(Exception):
    """`llama_decode` failed; `code` is its return value (1: no room in the cache)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"llama_decode returned {code}")
        self.code = code


class Model:
    """The weights and the vocabulary, or without `weights` the vocabulary alone.  Raises OSError when the file cannot
    be loaded."""

    def __init__(self, ffi: Any, lib: Any, path: Path, weights: bool = True) -> None:
        self.ffi, self.lib = ffi, lib
        self._log = _quiet(ffi)
        lib.llama_log_set(self._log, ffi.NULL)
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        params.vocab_only = not weights
        self.handle = lib.llama_model_load_from_file(str(path).encode(), params)
        if self.handle == ffi.NULL:
            raise OSError(f"{path} is not a model llama.cpp can load")
        self.vocabulary = Vocabulary(ffi, lib, lib.llama_model_get_vocab(self.handle))
        self.context_train: int = lib.llama_model_n_ctx_train(self.handle)
        # Recurrent state and sliding windows cannot be cut at an arbitrary token, so such models
        # share no prefixes between sequences.
        self.divisible = not (
            lib.llama_model_is_recurrent(self.handle)
            or lib.llama_model_is_hybrid(self.handle)
            or lib.llama_model_n_swa(self.handle) > 0
        )

    def template(self) -> str:
        """The chat template inside the file, or ""."""
        found = self.lib.llama_model_chat_template(self.handle, self.ffi.NULL)
        return "" if found == self.ffi.NULL else self.ffi.string(found).decode("utf-8")


class Context:
    """Key-value memory of `cells` tokens for `sequences` sequences, and the means to decode."""

    def __init__(self, model: Model, cells: int, sequences: int, threads: int, rows_max: int) -> None:
        self._ffi, self._lib, self._model = model.ffi, model.lib, model
        self.rows_max = rows_max - rows_max % GRAIN
        params = self._lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = self.rows_max
        params.n_seq_max = sequences + 1 + BRANCHES_MAX
        self._scratch = sequences  # the padding's own sequence
        self.trials = range(sequences + 1, sequences + 1 + BRANCHES_MAX)
        """Sequences for what is read on trial."""
        params.flash_attn_type = 1
        params.type_k, params.type_v = _Q8_0, _F16
        # The library insists on one a sequence; the ends of prefixes want several rows of one.
        params.n_outputs_max = max(sequences + 1 + BRANCHES_MAX, self.rows_max)
        params.n_outputs_max_per_seq = params.n_outputs_max
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        self._handle = self._lib.llama_init_from_model(model.handle, params)
        if self._handle == self._ffi.NULL:  # heads that 8-bit blocks do not divide
            params.type_k, params.flash_attn_type = _F16, -1
            self._handle = self._lib.llama_init_from_model(model.handle, params)
        if self._handle == self._ffi.NULL:
            raise OSError(f"no context of {cells} tokens for {sequences} sequences could be made")
        self.cells: int = self._lib.llama_n_ctx(self._handle)
        self._memory = self._lib.llama_get_memory(self._handle)
        self._vocab_size = model.vocabulary.size
        self._rows = _Rows(self._ffi, rows_max)
        self._mixed = self._ffi.gc(self._lib.llama_batch_ext_init(self._handle), self._lib.llama_batch_ext_free)

    def decode(
        self,
        rows: Sequence[Row],
        padding: int = 0,
        patches: Mapping[int, Patch] = _NO_PATCHES,
    ) -> None:
        """Run one batch, with so many rows more that belong to nobody and leave nothing behind; `patches` by row.
        Raises DecodeError; the memory is then as before the call."""
        rows = [*rows, *((0, at, self._scratch, False) for at in range(padding))]
        if patches:
            code = self._process(rows, patches)
        else:
            self._rows.fill(rows)
            code = self._lib.llama_decode(self._handle, self._rows.batch[0])
        if padding:
            self.cut(self._scratch, 0)
        if code != 0:
            raise DecodeError(code)

    def _process(self, rows: Sequence[Row], patches: Mapping[int, Patch]) -> int:
        """A batch in which pictures' rows stand beside tokens."""
        ffi, lib, batch = self._ffi, self._lib, self._mixed
        lib.llama_batch_ext_clear(batch)
        for at, (token, position, sequence, wanted) in enumerate(rows):
            patch = patches.get(at)
            if patch is None:
                index = lib.llama_batch_ext_add_token(batch, sequence, token)
                where = ffi.new("llama_pos[]", [position])
            else:
                row, positions = np.ascontiguousarray(patch[0]), patch[1].astype(np.int32)
                embedding = ffi.new("struct llama_embd *", [ffi.from_buffer("float[]", row), 1, len(row)])
                index = lib.llama_batch_ext_add_embd(batch, sequence, embedding[0])
                where = ffi.new("llama_pos[]", positions.tolist())
            if index != at or not lib.llama_batch_ext_set_pos(batch, index, where):
                return -1
            lib.llama_batch_ext_set_output_logits(batch, index, wanted)
        code: int = lib.llama_process(self._handle, _DECODE, batch)
        return code

    def probe(self, rows: Sequence[Row]) -> list[FloatRow]:
        """Run one batch.  Returns copies of the logits that were wanted.  Raises DecodeError."""
        self.decode(rows)
        return [self.logits(at).copy() for at, (*_, wanted) in enumerate(rows) if wanted]

    def logits(self, row: int) -> FloatRow:
        """The logits after the batch's `row`, which must have asked for them."""
        pointer = self._lib.llama_get_logits_ith(self._handle, row)
        return np.frombuffer(self._ffi.buffer(pointer, 4 * self._vocab_size), dtype=np.float32)

    def share(self, source: int, target: int, end: int) -> None:
        """Let `target` begin with all that `source` has before position `end`; no computation, no copy."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def cut(self, sequence: int, end: int) -> None:
        """Keep what a sequence has before position `end`; 0 forgets it."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, end if end else -1, -1)

    def save_head(self, sequence: int, end: int) -> memoryview:
        """A copy of the cells that a sequence has before position `end`."""
        self.share(sequence, self._scratch, end)
        try:
            return memoryview(self._ffi.buffer(self.save(self._scratch)))
        finally:
            self.cut(self._scratch, 0)

    def save(self, sequence: int) -> Any:
        """A copy of a sequence's cells."""
        size = self._lib.llama_state_seq_get_size(self._handle, sequence)
        data = self._ffi.new("uint8_t[]", size)
        if self._lib.llama_state_seq_get_data(self._handle, data, size, sequence) != size:
            raise DecodeError(1)
        return data

    def load(self, sequence: int, saved: Any) -> None:
        """What `save` gave, into an empty sequence.  Raises DecodeError."""
        data = self._ffi.from_buffer("uint8_t[]", saved) if isinstance(saved, bytearray) else saved
        if self._lib.llama_state_seq_set_data(self._handle, data, len(saved), sequence) == 0:
            raise DecodeError(1)


def padding(rows: int) -> int:
    """How many rows a batch that reads prompts lacks to be of the common kind."""
    return max(ROWS_MIN, rows + -rows % GRAIN) - rows


class _Rows:
    """The batch's arrays, allocated once and filled anew each step."""

    def __init__(self, ffi: Any, capacity: int) -> None:
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._sequence = np.zeros(capacity, np.int32)
        self._wanted = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        start = self._sequence.ctypes.data
        self._pointers = ffi.new(
            "llama_seq_id *[]", [ffi.cast("llama_seq_id *", start + 4 * i) for i in range(capacity)]
        )
        self.batch = ffi.new("struct llama_batch *")
        self.batch.token = ffi.cast("llama_token *", self._token.ctypes.data)
        self.batch.pos = ffi.cast("llama_pos *", self._position.ctypes.data)
        self.batch.n_seq_id = ffi.cast("int32_t *", self._ones.ctypes.data)
        self.batch.seq_id = self._pointers
        self.batch.logits = ffi.cast("int8_t *", self._wanted.ctypes.data)

    def fill(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        count = len(rows)
        table = np.asarray(rows, dtype=np.int32)
        self._token[:count] = table[:, 0]
        self._position[:count] = table[:, 1]
        self._sequence[:count] = table[:, 2]
        self._wanted[:count] = table[:, 3]
        self.batch.n_tokens = count


def _quiet(ffi: Any) -> Any:
    def log(level: int, text: Any, _: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            sys.stderr.write(ffi.string(text).decode("utf-8", "replace"))

    return ffi.callback("void(int, const char *, void *)", log)
