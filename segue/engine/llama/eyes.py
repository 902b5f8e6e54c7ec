"""The encoder of pictures that belongs to a model: pixels in, rows of embeddings out.

Laws: a picture comes in the size in which it is seen, and not a pixel of it is changed here; what the model cannot be
shown as this program lays it out (`places.py`) is refused when the file is opened, in words.  Knows no conversation and
no cache.

The projector's file says which family it is of.  Qwen2-VL and its successors are what is known here: a grid of squares
for a picture, two frames of a video for one, positions in three dimensions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from segue.core.generation import Clock
from segue.engine.llama.context import FloatRow, Model

CLOCKS: Final[dict[str, Clock]] = {
    "qwen2vl_merger": "counted",
    "qwen2.5vl_merger": "timed",
    "qwen3vl_merger": "told",
}
_PROBE_PIXELS = 224
"""A side that every known square divides: 28, 32."""
_TOKENS_MIN = 1
"""The library is to enlarge nothing; what is too small has been enlarged before."""
_IMAGE, _GGUF_STRING = 1, 8


class EyesError(Exception):
    """A picture could not be encoded."""


class Eyes:
    """A projector's file over its model.  Raises OSError when it cannot be used."""

    def __init__(self, model: Model, path: Path, threads: int, tokens_max: int) -> None:
        self._ffi, self._lib = model.ffi, model.lib
        self.clock = _clock(model, path)
        self._log = self._ffi.callback("void(int, const char *, void *)", self._complain)
        self._lib.mtmd_log_set(self._log, self._ffi.NULL)
        params = self._lib.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.warmup = False, False, False
        params.n_threads = threads
        params.image_min_tokens, params.image_max_tokens = _TOKENS_MIN, tokens_max
        self._handle = self._lib.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if self._handle == self._ffi.NULL:
            raise OSError(f"{path} is not a projector that belongs to this model")
        mrope = self._lib.mtmd_decode_use_mrope(self._handle)
        if not mrope or self._lib.mtmd_decode_use_non_causal(self._handle, self._ffi.NULL):
            raise OSError(f"{path} belongs to a model that is not of the Qwen-VL family")
        self.width: int = self._lib.llama_model_n_embd_inp(model.handle)
        """Numbers in a row."""
        try:
            with _Chunks(self._ffi, self._lib, self._handle, _PROBE_PIXELS, _PROBE_PIXELS, [None]) as chunk:
                side = self._lib.mtmd_image_tokens_get_nx(self._lib.mtmd_input_chunk_get_tokens_image(chunk))
        except EyesError as error:
            raise OSError(f"{path}: {error}") from error
        self.patch = _PROBE_PIXELS // int(side)
        """The side of the square of pixels behind one row."""

    def encode(self, width: int, height: int, frames: Sequence[bytes]) -> FloatRow:
        """The rows of one picture, or of two frames that are seen as one: row by row from the top left.
        Raises EyesError."""
        with _Chunks(self._ffi, self._lib, self._handle, width, height, frames) as chunk:
            count = int(self._lib.mtmd_input_chunk_get_n_tokens(chunk))
            across = int(self._lib.mtmd_image_tokens_get_nx(self._lib.mtmd_input_chunk_get_tokens_image(chunk)))
            if (across * self.patch, count * self.patch**2) != (width, width * height):
                raise EyesError(f"a picture of {width} x {height} pixels would be seen in another size")
            if self._lib.mtmd_encode_chunk(self._handle, chunk) != 0:
                raise EyesError("the picture could not be encoded")
            size = count * self.width
            rows = self._ffi.buffer(self._lib.mtmd_get_output_embd(self._handle), 4 * size)
            return np.frombuffer(rows, np.float32).reshape(count, self.width).copy()

    def _complain(self, level: int, text: Any, _: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            sys.stderr.write(self._ffi.string(text).decode("utf-8", "replace"))


class _Chunks:
    """What the library makes of pixels: one chunk, which lives as long as this does.  None: no pixels, only sizes."""

    def __init__(
        self, ffi: Any, lib: Any, handle: Any, width: int, height: int, frames: Sequence[bytes | None]
    ) -> None:
        self._ffi, self._lib, self._handle = ffi, lib, handle
        self._bitmaps = []
        for pixels in frames:
            if pixels is not None and len(pixels) != 3 * width * height:
                raise EyesError("the pixels are not those of a picture of its size")
            data = ffi.NULL if pixels is None else ffi.from_buffer(pixels)
            bitmap = lib.mtmd_bitmap_init(width, height, ffi.cast("const unsigned char *", data))
            lib.mtmd_bitmap_set_mergeable(bitmap, len(frames) > 1)
            self._bitmaps.append(bitmap)
        self._chunks = lib.mtmd_input_chunks_init()

    def __enter__(self) -> Any:
        made = [self._ffi.new("struct mtmd_input_part *", [self._ffi.NULL, bitmap]) for bitmap in self._bitmaps]
        parts = self._ffi.new("struct mtmd_input_part *[]", made)
        try:
            if self._lib.mtmd_tokenize_from_parts(self._handle, self._chunks, parts, len(made), False) == 0:
                found = [
                    self._lib.mtmd_input_chunks_get(self._chunks, at)
                    for at in range(self._lib.mtmd_input_chunks_size(self._chunks))
                ]
                pictures = [chunk for chunk in found if self._lib.mtmd_input_chunk_get_type(chunk) == _IMAGE]
                if len(pictures) == 1:
                    return pictures[0]
            raise EyesError("the library does not see one picture in it")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._lib.mtmd_input_chunks_free(self._chunks)
        for bitmap in self._bitmaps:
            self._lib.mtmd_bitmap_free(bitmap)


def _clock(model: Model, path: Path) -> Clock:
    """How a video's time is told, which the file's family decides.  Raises OSError."""
    ffi, lib = model.ffi, model.lib
    params = ffi.new("struct gguf_init_params *", [True, ffi.NULL])
    handle = lib.gguf_init_from_file(str(path).encode(), params[0])
    if handle == ffi.NULL:
        raise OSError(f"{path} is not a file llama.cpp can load")
    try:
        for key in (b"clip.vision.projector_type", b"clip.projector_type"):
            at = lib.gguf_find_key(handle, key)
            if at >= 0 and lib.gguf_get_kv_type(handle, at) == _GGUF_STRING:
                family = ffi.string(lib.gguf_get_val_str(handle, at)).decode("utf-8", "replace")
                if family in CLOCKS:
                    return CLOCKS[family]
                raise OSError(f"{path} is a projector of the family {family!r}; known are {', '.join(CLOCKS)}")
    finally:
        lib.gguf_free(handle)
    raise OSError(f"{path} is not a projector")
