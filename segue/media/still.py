"""One picture: from its bytes to upright RGB of the size that is shown.

Laws: runs in the cage; its first bytes say what it is, whatever it is called; its pixels are counted before any is
decoded; of a moving picture the first is shown, and what is transparent lies on white.
"""

from __future__ import annotations

import importlib
import io
import warnings
from typing import Any

from PIL import Image, ImageOps

from segue.media.limits import DecodeLimits
from segue.media.sizes import Fit, shown
from segue.media.unseeable import Unseeable

FORMATS = ("BMP", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PNG", "SGI", "TIFF", "WEBP")
_READERS = ("Bmp", "Gif", "Icns", "Ico", "Jpeg", "Jpeg2K", "Mpo", "Png", "Sgi", "Tiff", "WebP")
_HEIF = "HEIF"
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
"""Orientations in which width and height change places."""
_DEEP = {"I;16": 257.0, "I;16L": 257.0, "I;16B": 257.0, "I;16N": 257.0, "I": 257.0, "F": 1.0}

warnings.simplefilter("ignore")
Image.MAX_IMAGE_PIXELS = None  # counted here


def formats() -> tuple[str, ...]:
    """What can be read; HEIC where its library is installed.  Their readers are imported, and no others."""
    for name in _READERS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        return FORMATS
    heif.register_heif_opener()
    return (*FORMATS, _HEIF)


def still(data: bytes, fit: Fit, limits: DecodeLimits, known: tuple[str, ...]) -> Image.Image:
    """The picture as it is shown.  Raises Unseeable."""
    picture, size = _opened(data, limits, known, fit)
    return _fitted(picture, size)


def stills(pieces: list[bytes], fit: Fit, limits: DecodeLimits, known: tuple[str, ...]) -> list[Image.Image]:
    """Frames: all are shown as large as the first.  Raises Unseeable."""
    made: list[Image.Image] = []
    for data in pieces:
        picture, size = _opened(data, limits, known, fit)
        made.append(_fitted(picture, made[0].size if made else size))
    return made


def _opened(data: bytes, limits: DecodeLimits, known: tuple[str, ...], fit: Fit) -> tuple[Any, tuple[int, int]]:
    """A picture of which only the head was read, and the size in which it is to be shown, upright."""
    try:
        picture = Image.open(io.BytesIO(data), formats=known)
    except (OSError, SyntaxError, ValueError, OverflowError) as error:
        raise Unseeable("format") from error
    width, height = picture.size
    if width * height > limits.picture_pixels_max:
        raise Unseeable("pixels", width * height, limits.picture_pixels_max)
    if _turned(picture):
        width, height = height, width
    return picture, shown(width, height, fit)


def _turned(picture: Any) -> bool:
    try:
        return picture.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # noqa: BLE001  a broken note about a picture is no broken picture
        return False


def _fitted(picture: Any, size: tuple[int, int]) -> Image.Image:
    """Decoded, made small as early as can be, then turned."""
    turned = _turned(picture)
    target = size[::-1] if turned else size
    try:
        picture.draft("RGB", target)
        picture.load()
        orientation = picture.getexif().get(_ORIENTATION) if turned or _noted(picture) else None
        small = _coloured(picture).resize(target, Image.Resampling.BICUBIC, reducing_gap=3.0)
        if orientation is not None:
            small.getexif()[_ORIENTATION] = orientation
            small = ImageOps.exif_transpose(small)
        if small.mode == "RGBA":
            white = Image.new("RGBA", small.size, "white")
            white.alpha_composite(small)
            small = white
        return small.convert("RGB")
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, OverflowError, EOFError, TypeError) as error:
        raise Unseeable("broken") from error


def _noted(picture: Any) -> bool:
    try:
        return bool(picture.getexif().get(_ORIENTATION, 1) != 1)
    except Exception:  # noqa: BLE001  as above
        return False


def _coloured(picture: Any) -> Image.Image:
    """In RGB, or in RGBA where something may be transparent; what has sixteen bits gets eight."""
    if picture.mode in _DEEP:
        scale = _DEEP[picture.mode]
        deep = picture if picture.mode == "F" else picture.convert("I").convert("F")
        picture = deep.point(lambda value: value * (1 / scale) + 0).convert("L")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return Image.Image.convert(picture, "RGBA")
    return picture if picture.mode == "RGB" else Image.Image.convert(picture, "RGB")
