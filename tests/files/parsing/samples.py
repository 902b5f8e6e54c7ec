"""Small files of every kind, written by hand, so that a test says what is in them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def relations(targets: Iterable[tuple[str, str]]) -> str:
    """Relationships `rId1`, `rId2`, ... of kinds to targets."""
    rows = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target={quoteattr(target)}/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE}">{rows}</Relationships>'


# --- Word ---------------------------------------------------------------------------------------------------------


def paragraph(text: str, properties: str = "", more: str = "") -> str:
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r>{more}</w:p>'


def word_xml(element: str, content: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><w:{element} xmlns:w="{_W}" xmlns:mc="{MC}">{content}</w:{element}>'


MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"


def docx(body: str, members: Mapping[str, str] | None = None) -> bytes:
    """`members` by kind of relation: the content of `word/<kind>.xml`, as it is."""
    members = members or {}
    return zipped(
        {
            "_rels/.rels": relations([("officeDocument", "word/document.xml")]),
            "word/document.xml": word_xml("document", f"<w:body>{body}</w:body>"),
            "word/_rels/document.xml.rels": relations((kind, f"{kind}.xml") for kind in members),
            **{f"word/{kind}.xml": content for kind, content in members.items()},
        }
    )


# --- Excel --------------------------------------------------------------------------------------------------------


def xlsx(
    sheets: Mapping[str, str],
    strings: Sequence[str] = (),
    styles: str = "",
    workbook: str = "",
) -> bytes:
    """`sheets` by name: what stands in `<worksheet>`."""
    targets = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
    rows = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, start=1)
    )
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in strings)
    return zipped(
        {
            "_rels/.rels": relations([("officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_OFFICE}">{workbook}'
            f"<sheets>{rows}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": relations(
                [*targets, ("sharedStrings", "sharedStrings.xml"), ("styles", "styles.xml")]
            ),
            "xl/sharedStrings.xml": f'<sst xmlns="{_S}">{shared}</sst>',
            "xl/styles.xml": f'<styleSheet xmlns="{_S}">{styles}</styleSheet>',
            **{
                f"xl/worksheets/sheet{number}.xml": f'<worksheet xmlns="{_S}">{content}</worksheet>'
                for number, content in enumerate(sheets.values(), start=1)
            },
        }
    )


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def cell(reference: str, value: str, kind: str = "", style: int = 0) -> str:
    return f'<c r="{reference}" s="{style}"{f" t={quoteattr(kind)}" if kind else ""}><v>{escape(value)}</v></c>'


# --- EPUB ---------------------------------------------------------------------------------------------------------


def epub(chapters: Mapping[str, str], contents: str = "", members: Mapping[str, str | bytes] | None = None) -> bytes:
    """`chapters` by reference: a whole file each.  `contents`: the navigation points of EPUB 2."""
    items = "".join(
        f'<item id="c{number}" href={quoteattr(name)} media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "book/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="2.0"><manifest>'
            '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
            f'{items}</manifest><spine toc="ncx">{order}</spine></package>',
            "book/toc.ncx": '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" '
            '"http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
            f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{contents}</navMap></ncx>',
            **{f"book/{name.replace('%20', ' ')}": text for name, text in chapters.items()},
            **(members or {}),
        }
    )


def page(body: str) -> str:
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>unsaid</title></head><body>{body}</body></html>'


def point(label: str, target: str) -> str:
    return f'<navPoint><navLabel><text>{escape(label)}</text></navLabel><content src="{target}"/></navPoint>'


# --- PDF ----------------------------------------------------------------------------------------------------------


def pdf(
    pages: Sequence[str | bytes], count: int | None = None, resources: str = "", objects: Sequence[bytes] = ()
) -> bytes:
    """A page is its text, or its content stream.  `count`: what the file claims.  `objects` are numbered from 4."""
    first = 4 + len(objects)
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(len(pages)))
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages) if count is None else count}>>".encode(),
        font,
        *objects,
    ]
    for number, content in enumerate(pages):
        stream = content if isinstance(content, bytes) else _shown(content)
        bodies.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {first + 2 * number + 1} 0 R"
            f"/Resources<</Font<</F 3 0 R>>{resources}>>>>".encode()
        )
        bodies.append(b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream))
    return pdf_file(bodies)


def pdf_file(bodies: Sequence[bytes], trailer: bytes = b"") -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(bodies, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj" % number + body + b"endobj\n")
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer<</Size %d/Root 1 0 R%b>>startxref\n%d\n%%%%EOF" % (len(bodies) + 1, trailer, start))
    return out.getvalue()


def _shown(text: str) -> bytes:
    lines = b"".join(b"(%b)Tj T* " % line.encode("cp1252") for line in text.splitlines())
    return b"BT /F 12 Tf 14 TL 50 800 Td " + lines + b"ET"


# --- MOBI ---------------------------------------------------------------------------------------------------------


def palm_file(kind: bytes, records: Sequence[bytes]) -> bytes:
    place = 78 + 8 * len(records)
    table = b""
    for record in records:
        table += struct.pack(">II", place, 0)
        place += len(record)
    return b"name".ljust(60, b"\0") + kind + bytes(8) + struct.pack(">H", len(records)) + table + b"".join(records)


def mobi(
    texts: Sequence[bytes], packing: int, behind: Sequence[bytes] = (), encryption: int = 0, trailing: int = 0
) -> bytes:
    """`texts` are packed already; `behind` are the records behind them."""
    head = struct.pack(">HHIHHHH", packing, 0, 4096 * len(texts), len(texts), 4096, encryption, 0)
    head = (head + b"MOBI" + struct.pack(">IIII", 232, 2, 65001, 0)).ljust(112, b"\0")
    head += struct.pack(">II", len(texts) + 1, len(behind))
    head = head.ljust(242, b"\0") + struct.pack(">H", trailing)
    return palm_file(b"BOOKMOBI", [head.ljust(256, b"\0"), *texts, *behind])


def palmdoc_packed(text: bytes) -> bytes:
    """With every kind of code: pairs of distance and length, blanks with letters, runs of bytes."""
    out = bytearray()
    place = 0
    while place < len(text):
        back = text.rfind(text[place : place + 3], max(0, place - 2047), place)
        if back >= 0 and place + 3 <= len(text):
            length = 3
            while length < 10 and place + length < len(text) and text[back + length] == text[place + length]:
                length += 1
            out += struct.pack(">H", 0x8000 | place - back << 3 | length - 3)
            place += length
        elif text[place] == 0x20 and place + 1 < len(text) and 0x40 <= text[place + 1] < 0x80:
            out.append(text[place + 1] | 0x80)
            place += 2
        elif 0x09 <= text[place] < 0x80:
            out.append(text[place])
            place += 1
        else:
            out += bytes((1, text[place]))
            place += 1
    return bytes(out)


def huffman_packed(text: str) -> tuple[bytes, list[bytes]]:
    """The text with a code of 9 bits for its first character and of 8 for the others; and HUFF and CDIC.  The second
    character's phrase is itself packed."""
    letters = list(dict.fromkeys(text))
    assert 2 < len(letters) < 200
    bits = "".join("000000000" if letter == letters[0] else f"{255 - letters.index(letter) - 2:08b}" for letter in text)
    bits += "0" * (-len(bits) % 8)
    packed = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    # Phrase 0 is the last letter again, 1 the first letter; 2 is never used; from 2 + index on the letters.
    phrases = [(letters[-1].encode(), True), (letters[0].encode(), True)]
    phrases += [(letter.encode(), True) for letter in letters]
    inner = f"{255 - len(phrases):08b}"
    phrases[3] = (bytes([int(inner, 2)]), False)
    phrases.append((letters[1].encode(), True))
    short = [9] + [8 | 0x80 | 255 << 8] * 255
    limits = [0] * 64
    limits[2 * 8], limits[2 * 8 + 1] = 0, 1
    huff = b"HUFF" + struct.pack(">IIIII", 24, 24, 24 + 1024, 0, 0)
    huff += struct.pack(">256I", *short) + struct.pack(">64I", *limits)
    places, data = [], b""
    for phrase, is_whole in phrases:
        places.append(2 * len(phrases) + len(data))
        data += struct.pack(">H", len(phrase) | (0x8000 if is_whole else 0)) + phrase
    cdic = b"CDIC" + struct.pack(">III", 16, len(phrases), 8) + struct.pack(f">{len(places)}H", *places) + data
    return packed, [huff, cdic]


# --- pictures -----------------------------------------------------------------------------------------------------


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """White, one bit a pixel.  `rows`: how many are really there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + b"\xff" * ((width + 7) // 8)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = zlib.compress(line * (height if rows is None else rows))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")
