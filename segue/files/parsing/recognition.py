"""Optical character recognition: pixels to lines of text, by the models inside the rapidocr package.

An optional part (`pip install segue[ocr]`).  It needs no network and no file beyond its package.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any

from segue.caged import cage
from segue.files.parsing.limits import ParseLimits

# A picture as rows of pixels of three bytes: blue, green, red.
Recogniser = Callable[[Any], str]


def installed(limits: ParseLimits) -> bool:
    """Whether characters can be recognised here, and shall be: no page at all is the way to say no."""
    return limits.ocr_pages_max > 0 and all(
        importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime")
    )


def recogniser() -> Recogniser:
    """Loads the models, which takes a second or two and most of the memory.  Only where it is installed."""
    cage.widen()
    logging.disable(logging.CRITICAL)
    engine = importlib.import_module("rapidocr").RapidOCR()

    def recognise(picture: Any) -> str:
        found = engine(picture)
        if found.txts is None or found.boxes is None:
            return ""
        return "\n".join(_rows(found.boxes, found.txts))

    return recognise


def _rows(boxes: Sequence[Sequence[Sequence[float]]], texts: Sequence[str]) -> list[str]:
    """Pieces of one line, next to each other.  A box is its four corners from the upper left, clockwise."""
    rows: list[str] = []
    middle = below = -1.0
    for box, text in zip(boxes, texts, strict=True):
        top, bottom = float(box[0][1]), float(box[2][1])
        if rows and top < middle < bottom and abs((top + bottom) / 2 - middle) < (below - middle) * 0.6:
            rows[-1] += f" {text}"
        else:
            rows.append(text)
            middle, below = (top + bottom) / 2, bottom
    return rows
