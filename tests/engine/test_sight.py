"""Pictures in the batch: the logits are those of the library's own helper, whatever stands before and behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import numpy.typing as npt
import pytest

from segue.core import places as layout
from segue.core.media import View
from segue.engine.llama import frames
from segue.engine.llama.context import Context, FloatRow, Model, Patch, padding
from segue.engine.llama.eyes import Eyes
from segue.engine.llama.library import library_path, open_library
from segue.engine.llama.places import Places
from segue.engine.llama.showing import placed
from tests.pictures import image, video
from tests.tiny_vl import PATCHES, Family, write_model, write_projector

_HELPER = """
struct part { const void * text; const void * bitmap; };
struct input_text { const char * text; size_t text_len; bool add_special; bool parse_special; };
void * mtmd_bitmap_init(uint32_t nx, uint32_t ny, const unsigned char * data);
void mtmd_bitmap_free(void * bitmap);
void mtmd_bitmap_set_mergeable(void * bitmap, bool mergeable);
void * mtmd_input_chunks_init(void);
void mtmd_input_chunks_free(void * chunks);
int32_t mtmd_tokenize(const void * ctx, void * out, const struct input_text * text, void ** bitmaps, size_t count);
int32_t mtmd_helper_eval_chunks(void * ctx, void * lctx, const void * chunks, int32_t n_past, int32_t seq,
                                int32_t n_batch, bool logits_last, int32_t * new_n_past);
"""
PARTS = Sequence[str | View]


@dataclass
class Bench:
    """The model with its eyes, a context of ours and one that only the library's helper touches."""

    model: Model
    eyes: Eyes
    ours: Context
    theirs: Context
    ffi: Any
    lib: Any

    def ids(self, parts: PARTS) -> tuple[list[int], list[View]]:
        made: list[int] = []
        for part in parts:
            if isinstance(part, str):
                made += self.model.vocabulary.encode([(part, False)])
            else:
                around = [(name, True) for name in ("<|vision_start|>", "<|vision_end|>")]
                begin, end = self.model.vocabulary.encode(around)
                made += [begin, *layout.ids(part, self.eyes.patch), end]
        return made, [part for part in parts if isinstance(part, View)]

    def places(self, ids: list[int], views: Sequence[View], workspace: str = "w") -> Places:
        message = frames.Open(
            workspace=workspace,
            ids=frames.pack_ids(ids),
            answer_at=len(ids),
            drawn_at=len(ids),
            seam=None,
            choices=[],
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            seed=1,
            logprobs=-1,
            deterministic=False,
            views=[
                frames.View(
                    view.sort == "video",
                    view.pictures[0].width,
                    view.pictures[0].height,
                    view.seconds,
                    [each.digest for each in view.pictures],
                )
                for view in views
            ],
        )
        pixels = {each.digest: each.pixels for view in views for each in view.pictures}
        made = placed(message, pixels, self.eyes.patch, self.eyes.clock)
        for shot in made.unseen(0):
            shot.rows = self.eyes.encode(shot.width, shot.height, shot.frames)
        return made

    def read(self, ids: list[int], places: Places, sequence: int, start: int = 0, rows: int = 24) -> FloatRow:
        """Our way: pieces of a few rows; the logits at the end."""
        for begin in range(start, len(ids), rows):
            batch: list[tuple[int, int, int, bool]] = []
            patches: dict[int, Patch] = {}
            for at in range(begin, min(begin + rows, len(ids))):
                if (patch := places.seen(at)) is not None:
                    patches[len(batch)] = patch
                batch.append((ids[at], places.position(at), sequence, at == len(ids) - 1))
            self.ours.decode(batch, padding(len(batch)), patches)
        return self.ours.logits(len(batch) - 1).copy()

    def helped(self, parts: PARTS) -> FloatRow:
        """The library's own way."""
        text = "".join(part if isinstance(part, str) else "<__media__>" * len(part.pictures) for part in parts).encode()
        pictures = [(part.sort, each) for part in parts if isinstance(part, View) for each in part.pictures]
        kept = [self.ffi.new("char[]", text), *(self.ffi.from_buffer(each.pixels) for _, each in pictures)]
        asked = self.ffi.new("struct input_text *", [kept[0], len(text), False, False])
        bitmaps = [
            self.lib.mtmd_bitmap_init(each.width, each.height, self.ffi.cast("const unsigned char *", data))
            for (_, each), data in zip(pictures, kept[1:], strict=True)
        ]
        for (sort, _), bitmap in zip(pictures, bitmaps, strict=True):
            self.lib.mtmd_bitmap_set_mergeable(bitmap, sort == "video")
        chunks = self.lib.mtmd_input_chunks_init()
        eyes = self._given(self.eyes._handle)
        assert self.lib.mtmd_tokenize(eyes, chunks, asked, self.ffi.new("void *[]", bitmaps), len(bitmaps)) == 0
        past = self.ffi.new("int32_t *")
        context = self._given(self.theirs._handle)
        assert self.lib.mtmd_helper_eval_chunks(eyes, context, chunks, 0, 0, self.theirs.rows_max, True, past) == 0
        self.lib.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps:
            self.lib.mtmd_bitmap_free(bitmap)
        pointer = self.theirs._lib.llama_get_logits_ith(self.theirs._handle, -1)
        size = self.model.vocabulary.size
        row: npt.NDArray[np.float32] = np.frombuffer(self.model.ffi.buffer(pointer, 4 * size), np.float32).copy()
        self.theirs.cut(0, 0)
        return row

    def _given(self, pointer: Any) -> Any:
        return self.ffi.cast("void *", int(self.model.ffi.cast("uintptr_t", pointer)))


@pytest.fixture(scope="module")
def bench(tiny_vl: tuple[Path, Path]) -> Bench:
    return made(*tiny_vl)


def made(path: Path, projector: Path) -> Bench:
    ffi, lib = open_library()
    model = Model(ffi, lib, path)
    eyes = Eyes(model, projector, 2, 256)
    own = cffi.FFI()
    own.cdef(_HELPER)
    contexts = [Context(model, 1024, 6, 2, 64) for _ in range(2)]
    return Bench(model, eyes, contexts[0], contexts[1], own, own.dlopen(str(library_path())))


def near(one: FloatRow, other: FloatRow) -> None:
    """Equal but for the last bits of 16-bit numbers, and far from what another picture gives."""
    assert float(np.std(one)) > 0.5
    assert float(np.abs(one - other).max()) < 0.05 * float(np.std(one))


CASES: dict[str, list[str | View]] = {
    "a picture first": [image(1), "What is it?"],
    "text, picture, text": ["Look at this: ", image(2, 140, 84), " and say what it shows, in one word."],
    "two pictures": ["One: ", image(3, 84, 84), " and two: ", image(4, 28, 196), " Compare."],
    "the same picture twice": [image(5), " and ", image(5), " are equal"],
    "longer than a batch": ["So: ", image(6, 280, 280), "?"],
    "one square": ["So: ", image(7, 28, 28), "?"],
    "two frames as one": ["So: ", video(8, 2, 84, 56), "?"],
}


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_those_of_the_librarys_own_helper(bench: Bench, case: str) -> None:
    ids, views = bench.ids(CASES[case])
    ours = bench.read(ids, bench.places(ids, views), 0)
    bench.ours.cut(0, 0)
    near(ours, bench.helped(CASES[case]))


def test_they_are_others_for_another_picture(bench: Bench) -> None:
    rows = []
    for seed in (8, 9):
        ids, views = bench.ids(["See ", image(seed), " there"])
        rows.append(bench.read(ids, bench.places(ids, views), 0))
        bench.ours.cut(0, 0)
    assert float(np.abs(rows[0] - rows[1]).max()) > 0.5 * float(np.std(rows[0]))


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_the_other_families(default_model: Path, tmp_path: Path, family: Family) -> None:
    """Qwen2-VL has no windows, Qwen3-VL other squares, and rows for several layers."""
    bench = made(
        write_model(default_model, tmp_path / "tiny.gguf", family), write_projector(tmp_path / "mm.gguf", family)
    )
    side = bench.eyes.patch
    assert (side, bench.eyes.clock) == (2 * PATCHES[family], {"qwen2": "counted", "qwen3": "told"}[family])
    parts: PARTS = ["Look at this: ", image(1, 5 * side, 3 * side), " and ", image(2, side, 4 * side), " and compare"]
    ids, views = bench.ids(parts)
    near(bench.read(ids, bench.places(ids, views), 0), bench.helped(parts))
