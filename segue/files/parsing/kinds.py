"""What kind of file it is: its bytes decide, its name only where bytes cannot."""

from __future__ import annotations

from typing import Literal

from segue.files.parsing.archive import Archive, office_main
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.source import Source
from segue.files.parsing.unreadable import Unreadable

Kind = Literal["text", "markdown", "json", "pdf", "docx", "xlsx", "epub", "mobi", "image"]

_HEAD_BYTES = 1024
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # sizes of the header behind the file's own
# Known, and not read here: old Office and encrypted new one, RTF, archives, programs, other images.
_OTHERS = (
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"{\\rtf",
    b"%!PS",
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x7fELF",
    b"II*\x00",
    b"MM\x00*",
)
_TEXTS: dict[str, Kind] = {"md": "markdown", "markdown": "markdown", "json": "json"}


def kind_of(source: Source, limits: ParseLimits) -> Kind:
    """Raises Unreadable: `format` for what is not read here, `parse` for a broken zip file, `blank` for no bytes."""
    if source.bytes == 0:
        raise Unreadable("blank", "no bytes")
    head = source.head(_HEAD_BYTES)
    if b"%PDF-" in head:  # readers have always let something stand before it
        return "pdf"
    if head.startswith(b"PK"):
        return _kind_of_zip(source, limits)
    if head[60:68] in (b"BOOKMOBI", b"TEXtREAd"):
        return "mobi"
    if head.startswith(_IMAGES) or _is_bitmap(head):
        return "image"
    if head.startswith(_OTHERS) or head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        raise Unreadable("format", "another format")
    return _TEXTS.get(source.extension, "text")


def _is_bitmap(head: bytes) -> bool:
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS


def _kind_of_zip(source: Source, limits: ParseLimits) -> Kind:
    archive = Archive(source.file, limits)
    if "META-INF/container.xml" in archive.names:
        return "epub"
    main = office_main(archive)
    if main.startswith("xl/") and main.endswith(".xml"):
        return "xlsx"
    if main.startswith("word/"):
        return "docx"
    raise Unreadable("format", "another kind of zip file")
