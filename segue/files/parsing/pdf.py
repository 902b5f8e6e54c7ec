"""PDF, page by page, by PDFium.

Laws: the number of pages is what can be opened, not what the file says; a page that is broken costs that page only; a
page is read as an image only where it has no text of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.pdf_fields import filled_in
from segue.files.parsing.recognition import Recogniser, installed, recogniser
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.unreadable import Unreadable

_TEXTLESS_CHARS = 20  # a scan often carries a page number or a stamp
_FORM_DEPTH = 4  # how deep in form objects an image is looked for
_DRAWN_SCALE_MAX = 4.0
# What PDFium says for a hyphen that parts a word at the end of a line; the text has none there.
_HYPHENS = ("\ufffe\r\n", "\x02\r\n", "\ufffe\n", "\x02\n", "\ufffe", "\x02")


def read_pdf(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable: `format` for an encrypted file, `pages`, `parse`.  Returns the number of pages."""
    document = _open(source)
    with contextlib.suppress(pypdfium2.PdfiumError):
        document.init_forms()
    total = _pages(document, limits)
    texts: list[str] = []
    scans: list[int] = []
    broken = chars = 0
    for number in range(total):
        text, is_scan, is_broken = _page(document, number)
        chars += len(text)
        if chars > limits.text_bytes_max:
            raise Unreadable("size", "text")
        texts.append(text)
        broken += is_broken
        if is_scan:
            scans.append(number)
        scribe.progress(number + 1, total)
    if broken == total:
        raise Unreadable("parse", "no page can be opened")
    _recognise(document, texts, scans, scribe, limits)
    for number, text in enumerate(texts, start=1):
        scribe.part(f"p. {number}")
        scribe.write(text + "\n")
    return total


def _open(source: Source) -> pypdfium2.PdfDocument:
    mapped = source.mapped()
    buffer = (ctypes.c_char * source.bytes).from_buffer(mapped)
    try:
        return pypdfium2.PdfDocument(buffer)
    except pypdfium2.PdfiumError as error:
        locked = pdfium.FPDF_GetLastError() in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        raise Unreadable("format" if locked else "parse", "encrypted" if locked else "no PDF") from error


def _pages(document: pypdfium2.PdfDocument, limits: ParseLimits) -> int:
    """How many there are.  A file that claims too many is asked for the first that would be one too many."""
    claimed = len(document)
    if claimed == 0:
        raise Unreadable("blank", "no pages")
    if claimed <= limits.pages_max:
        return claimed
    try:
        document[limits.pages_max].close()
    except pypdfium2.PdfiumError as error:
        raise Unreadable("parse", "pages that are not there") from error
    raise Unreadable("pages")


def _page(document: pypdfium2.PdfDocument, number: int) -> tuple[str, bool, bool]:
    """Its text, whether it is an image of text, whether it is broken."""
    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return "", False, True
    try:
        words = page.get_textpage()
        try:
            text = _unhyphenated(words.get_text_range())
        finally:
            words.close()
        fields = filled_in(document, page)
        if fields.strip() not in text:
            text = f"{text.rstrip()}\n{fields}"
        return text, len(text.strip()) < _TEXTLESS_CHARS and _has_image(page), False
    except pypdfium2.PdfiumError:
        return "", False, True
    finally:
        page.close()


def _unhyphenated(text: str) -> str:
    for hyphen in _HYPHENS:
        if hyphen[0] in text:
            text = text.replace(hyphen, "")
    return text


def _has_image(page: pypdfium2.PdfPage) -> bool:
    return any(True for _ in page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_IMAGE,), max_depth=_FORM_DEPTH))


def _recognise(
    document: pypdfium2.PdfDocument, texts: list[str], scans: Sequence[int], scribe: Scribe, limits: ParseLimits
) -> None:
    """Read the pages that are images.  Of a text with more images than are read, those in front; a scan of more
    pages than are read is not begun."""
    if not scans or not installed(limits):
        return
    if len(scans) > limits.ocr_pages_max and 2 * len(scans) > len(texts):
        raise Unreadable("pages", "more pages to recognise than are read")
    scribe.recognising()
    reader = recogniser()
    chosen = scans[: limits.ocr_pages_max]
    for done, number in enumerate(chosen, start=1):
        found = _recognised(document, number, reader, limits)
        if len(found) > len(texts[number]):
            texts[number] = found
        scribe.progress(len(texts) + done, len(texts) + len(chosen))


def _recognised(document: pypdfium2.PdfDocument, number: int, reader: Recogniser, limits: ParseLimits) -> str:
    page = document[number]
    try:
        width, height = page.get_size()
        area = max(width * height, 1.0)
        scale = min((limits.ocr_page_pixels / area) ** 0.5, _DRAWN_SCALE_MAX)
        if width * scale < 1 or height * scale < 1:
            return ""
        bitmap = page.render(scale=scale, rev_byteorder=False)
        try:
            return reader(bitmap.to_numpy())
        finally:
            bitmap.close()
    except pypdfium2.PdfiumError:
        return ""
    finally:
        page.close()
