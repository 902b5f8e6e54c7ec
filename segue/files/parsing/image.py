"""Pictures: BMP, PNG, JPEG and GIF, for the text that can be seen in them."""

from __future__ import annotations

import importlib
import warnings

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.recognition import installed, recogniser
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.unreadable import Unreadable

_FORMATS = ("BMP", "PNG", "JPEG", "GIF")
_SIDE_MAX = 4_000  # pixels; no smaller letters are found in a larger picture


def read_image(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable: `format` where characters cannot be recognised, `size` for too many bytes or pixels.  Of a
    moving picture the first is read.  Returns one page."""
    if not installed(limits):
        raise Unreadable("format", "no recognition installed")
    if source.bytes > limits.image_bytes_max:
        raise Unreadable("size", "an image's bytes")
    picture = _picture(source, limits)
    scribe.recognising()
    scribe.write(recogniser()(picture))
    scribe.progress(1, 1)
    return 1


def _picture(source: Source, limits: ParseLimits) -> object:
    """Rows of pixels of three bytes: blue, green, red.  What is transparent becomes white."""
    pillow = importlib.import_module("PIL.Image")
    numpy = importlib.import_module("numpy")
    warnings.simplefilter("ignore")  # of many pixels; ours are fewer
    source.file.seek(0)
    try:
        opened = pillow.open(source.file, formats=_FORMATS)
        if opened.width * opened.height > limits.image_pixels_max:
            raise Unreadable("size", "an image's pixels")
        opened.draft("RGB", (_SIDE_MAX, _SIDE_MAX))
        upright = importlib.import_module("PIL.ImageOps").exif_transpose(opened)  # as telephones mean it
        coloured = upright.convert("RGBA")
    except pillow.DecompressionBombError as error:
        raise Unreadable("size", "an image's pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise Unreadable("parse", "a broken image") from error
    coloured.thumbnail((_SIDE_MAX, _SIDE_MAX))
    white = pillow.new("RGBA", coloured.size, "white")
    white.alpha_composite(coloured)
    return numpy.ascontiguousarray(numpy.asarray(white.convert("RGB"))[:, :, ::-1])
