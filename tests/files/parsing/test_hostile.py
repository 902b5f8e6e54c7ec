"""Files made to hurt: each ends in the right trouble, within its limits, and the server lives."""

from __future__ import annotations

import dataclasses
import io
import struct
import time
import zipfile
import zlib

import pytest

from segue.core.documents import Trouble
from segue.files.parsing.limits import MIB, ParseLimits
from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read
from tests.files.parsing.samples import (
    cell,
    docx,
    epub,
    mobi,
    page,
    paragraph,
    pdf,
    pdf_file,
    row,
    word_xml,
    xlsx,
    zipped,
)

XXE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
LAUGHS = (
    "<!DOCTYPE x ["
    + "".join(
        f'<!ENTITY l{number} "{"".join([f"&l{number - 1};"] * 10) if number else "lol"}">' for number in range(10)
    )
    + "]>"
)


async def trouble(read: Read, data: bytes, name: str = "x", limits: ParseLimits | None = None) -> Trouble:
    with pytest.raises(Unreadable) as caught:
        await read(data, name, limits)
    return caught.value.trouble


def with_document(document: str) -> bytes:
    return zipped({"word/document.xml": document})


def big_docx(unpacked_bytes: int) -> bytes:
    """A zip bomb: one paragraph again and again, written without holding it."""
    out = io.BytesIO()
    block = paragraph("a" * 4000).encode() * 256
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as member:
        member.write(word_xml("document", "<w:body>\n").split("\n")[0].encode())
        for _ in range(unpacked_bytes // len(block)):
            member.write(block)
        member.write(b"</w:body></w:document>")
    return out.getvalue()


async def test_a_zip_bomb(read: Read) -> None:
    data = big_docx(100 * MIB)
    assert len(data) < MIB
    limits = dataclasses.replace(ParseLimits(), unpacked_bytes_max=32 * MIB)
    assert await trouble(read, data, "x.docx", limits) == "size"


async def test_a_text_that_is_too_long(read: Read) -> None:
    limits = dataclasses.replace(ParseLimits(), text_bytes_max=4 * MIB)
    assert await trouble(read, big_docx(16 * MIB), "x.docx", limits) == "size"
    assert await trouble(read, b"x" * (5 * MIB), "x.txt", limits) == "size"


async def test_a_zip_file_of_very_many_members(read: Read) -> None:
    limits = dataclasses.replace(ParseLimits(), members_max=100)
    assert await trouble(read, zipped({f"{number}": "" for number in range(101)}), "x.docx", limits) == "size"


@pytest.mark.parametrize("definition", [XXE, LAUGHS])
async def test_no_entities_anywhere(read: Read, definition: str) -> None:
    entity = "&e;" if definition is XXE else "&l9;"
    body = word_xml("document", f"<w:body>{paragraph('x').replace('x', entity)}</w:body>")
    document = body.replace("?>", f"?>{definition}", 1)
    assert await trouble(read, with_document(document), "x.docx") == "parse"
    container = {"META-INF/container.xml": f"{definition}<x>{entity}</x>"}
    assert await trouble(read, epub({"a.xhtml": page("x")}, "", dict(container)), "x.epub") == "parse"


async def test_entities_of_a_chapter_say_nothing(read: Read) -> None:
    chapter = XXE + page("<p>one &e; two</p>")
    assert "root" not in (await read(epub({"a.xhtml": chapter}), "x.epub")).text


async def test_tables_within_tables_without_end(read: Read) -> None:
    nested = "<w:tbl><w:tr><w:tc>" * 200_000
    assert (
        await trouble(read, with_document(word_xml("document", nested).replace("</w:document>", "")), "x.docx")
        == "parse"
    )


async def test_markup_within_markup_without_end(read: Read) -> None:
    chapter = page("<table><tr><td>" * 100_000 + "deep" + "<div><ul><li>" * 100_000)
    assert "deep" in (await read(epub({"a.xhtml": chapter}), "x.epub")).text


async def test_a_sheet_of_two_far_cells(read: Read) -> None:
    sheet = f"<sheetData>{row(1, cell('A1', '1'))}{row(1048576, cell('XFD1048576', '2'))}</sheetData>"
    begun = time.monotonic()
    assert len((await read(xlsx({"S": sheet}), "x.xlsx")).text) < 100
    assert time.monotonic() - begun < 10


async def test_a_sheet_of_merged_cells_that_cover_everything(read: Read) -> None:
    merged = '<mergeCell ref="A1:XFD1048576"/>' * 1000 + "".join(f'<mergeCell ref="A1:A{n}"/>' for n in range(2, 1900))
    sheet = f"<sheetData>{row(1, cell('A1', '1'))}</sheetData><mergeCells>{merged}</mergeCells>"
    assert len((await read(xlsx({"S": sheet}), "x.xlsx")).text) < 100


def deflated_page(unpacked_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    line = b"BT /F 12 Tf (x) Tj ET\n" * 1000
    stream = b"".join(packer.compress(line) for _ in range(unpacked_bytes // len(line))) + packer.flush()
    return pdf_file(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
            b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(stream), stream),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
    )


async def test_a_page_of_a_gigabyte(read: Read) -> None:
    data = deflated_page(1024 * MIB)
    assert len(data) < 4 * MIB
    assert await trouble(read, data, "x.pdf") == "parse"


@pytest.mark.parametrize("count", [2, 14_000, 1_000_000, 2**31 - 1])
async def test_pages_that_lead_back_to_themselves(read: Read, count: int) -> None:
    loop = pdf_file(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count,
            b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R 3 0 R]/Count %d>>" % count,
        ]
    )
    assert await trouble(read, loop, "x.pdf") in ("parse", "blank")


async def test_more_pages_claimed_than_are_there(read: Read) -> None:
    assert await trouble(read, pdf(["one"], count=1_000_000), "x.pdf") == "parse"


async def test_a_file_that_takes_too_long(read: Read) -> None:
    limits = dataclasses.replace(ParseLimits(), wall_s=0.01)
    assert await trouble(read, b"hello", "x.txt", limits) == "timeout"
    limits = dataclasses.replace(ParseLimits(), cpu_s=1)
    assert await trouble(read, big_docx(250 * MIB), "x.docx", limits) == "timeout"


async def test_a_file_that_takes_too_much_memory(read: Read) -> None:
    limits = dataclasses.replace(ParseLimits(), memory_bytes_max=128 * MIB, memory_ocr_bytes_max=128 * MIB)
    huge = xlsx({"S": ""}, ["x" * 64 * MIB])
    assert await trouble(read, huge, "x.xlsx", limits) == "parse"


@pytest.mark.parametrize(
    "data",
    [
        docx(paragraph("word " * 5000)),
        xlsx(
            {"S": "<sheetData>" + "".join(row(n, cell(f"A{n}", str(n * 7919))) for n in range(1, 500)) + "</sheetData>"}
        ),
        epub({"a.xhtml": page("".join(f"<p>{n * 7919}</p>" for n in range(500)))}),
        mobi([b"text"], 1),
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\nnothing",
    ],
    ids=["docx", "xlsx", "epub", "mobi", "zip", "pdf"],
)
async def test_files_cut_off_in_the_middle(read: Read, data: bytes) -> None:
    for end in (len(data) // 2, len(data) - 10):
        if data.startswith(b"name") and end > len(data) // 2:
            continue  # a record shorter than it was is still a record
        assert await trouble(read, data[:end], "x") in ("parse", "format")


async def test_a_member_that_is_not_what_its_header_says(read: Read) -> None:
    data = bytearray(docx(paragraph("word " * 5000)))
    place = data.index(b"word/document.xml") + 60
    data[place : place + 40] = b"\xff" * 40
    assert await trouble(read, bytes(data), "x.docx") == "parse"


async def test_xml_that_is_none(read: Read) -> None:
    assert await trouble(read, with_document("<w:document"), "x.docx") == "parse"
    assert await trouble(read, with_document(""), "x.docx") == "parse"


async def test_an_encrypted_member(read: Read) -> None:
    data = bytearray(docx(paragraph("x")))
    place = 0
    while (place := data.find(b"PK\x01\x02", place)) >= 0:
        flags = struct.unpack_from("<H", data, place + 8)[0]
        struct.pack_into("<H", data, place + 8, flags | 1)
        place += 4
    assert await trouble(read, bytes(data), "x.docx") == "format"


@pytest.mark.slow
async def test_a_zip_bomb_within_every_default(read: Read) -> None:
    assert await trouble(read, big_docx(1100 * MIB), "x.docx") == "size"
