"""Pictures and scans.  Needs the extra `ocr`; without it, that is what is tested."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
from typing import Any

import pytest

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.recognition import installed
from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read, labels, part
from tests.files.parsing.samples import pdf, png

needs_ocr = pytest.mark.skipif(
    not installed(ParseLimits()), reason="rapidocr and onnxruntime are not installed (extra `ocr`)"
)
WORDS = "Invoice 4711 of Monday"


def drawn(words: str) -> Any:
    """White paper with black words on it."""
    pytest.importorskip("PIL", reason="Pillow is not installed")
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(picture).text((40, 100), words, fill="black", font=ImageFont.load_default(48))
    return picture


def picture(words: str, form: str) -> bytes:
    out = io.BytesIO()
    drawn(words).save(out, form)
    return out.getvalue()


def scan(words: str, text: str = "", first: str = "a page of text, which is long enough") -> bytes:
    """Two pages: one of text (unless there is none: then another), and one that is a JPEG, with a little text where it
    is asked for."""
    jpeg = picture(words, "JPEG")
    image = b"<</Type/XObject/Subtype/Image/Width 900/Height 300/ColorSpace/DeviceRGB/BitsPerComponent 8"
    image += b"/Filter/DCTDecode/Length %d>>stream\n%b\nendstream" % (len(jpeg), jpeg)
    shown = b"q 540 0 0 180 20 500 cm /I Do Q BT /F 9 Tf 300 20 Td (%b) Tj ET" % text.encode()
    return pdf([first or shown, shown], resources="/XObject<</I 4 0 R>>", objects=[image])


@needs_ocr
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("PNG", "x.png"),
        pytest.param("JPEG", "x.jpg", marks=pytest.mark.slow),
        pytest.param("BMP", "x.bmp", marks=pytest.mark.slow),
        pytest.param("GIF", "x.txt", marks=pytest.mark.slow),
    ],
)
async def test_words_in_a_picture(read: Read, form: str, name: str) -> None:
    document = await read(picture(WORDS, form), name)
    assert "4711" in document.text
    assert document.pages == 1


@needs_ocr
@pytest.mark.slow
async def test_a_scanned_page_between_pages_of_text(read: Read) -> None:
    document = await read(scan(WORDS, "- 2 -"), "x.pdf")
    assert labels(document) == ["p. 1", "p. 2"]
    assert "4711" in part(document, 1)
    assert "long enough" in part(document, 0)


@needs_ocr
@pytest.mark.slow
async def test_a_picture_of_nothing_is_blank(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(picture("", "PNG"), "x.png")
    assert caught.value.trouble == "blank"


@needs_ocr
async def test_a_picture_of_too_many_pixels(read: Read) -> None:
    for data in (png(50_000, 50_000, rows=1), png(12_000, 12_000)):
        with pytest.raises(Unreadable) as caught:
            await read(data, "x.png")
        assert caught.value.trouble == "size"


@needs_ocr
async def test_a_picture_of_too_many_bytes(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(png(100, 100), "x.png", dataclasses.replace(ParseLimits(), image_bytes_max=50))
    assert caught.value.trouble == "size"


@needs_ocr
async def test_a_broken_picture(read: Read) -> None:
    for data in (picture(WORDS, "PNG")[:500], b"GIF89a" + bytes(9), b"\xff\xd8\xff\xe0" + bytes(99)):
        with pytest.raises(Unreadable) as caught:
            await read(data, "x.png")
        assert caught.value.trouble == "parse"


@needs_ocr
async def test_a_scan_of_more_pages_than_are_recognised(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(scan(WORDS, first=""), "x.pdf", dataclasses.replace(ParseLimits(), ocr_pages_max=1))
    assert caught.value.trouble == "pages"


async def test_recognition_can_be_switched_off(read: Read) -> None:
    off = dataclasses.replace(ParseLimits(), ocr_pages_max=0)
    assert (await read(scan(WORDS), "x.pdf", off)).pages == 2  # half of it is text
    with pytest.raises(Unreadable) as caught:
        await read(png(100, 100), "x.png", off)
    assert caught.value.trouble == "format"


@pytest.mark.skipif(installed(ParseLimits()), reason="rapidocr is installed")
@pytest.mark.parametrize("data", [png(100, 100), b"GIF89a" + bytes(99), b"\xff\xd8\xff\xe0" + bytes(99)])
async def test_pictures_are_no_format_without_recognition(read: Read, data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(data, "x.png")
    assert caught.value.trouble == "format"


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
async def test_a_tiff_is_another_format(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(picture(WORDS, "TIFF"), "x.tif")
    assert caught.value.trouble == "format"
