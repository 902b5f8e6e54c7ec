"""How fast files are read and what memory it takes, each in the process that the server would start for it.

Target: a PDF of 15,000 pages in less than 60 s and 300 MB.  Every file is made here, so that the numbers can be made
again; pages carry forty lines of prose.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from segue.files.parsing.parser import Parser
from segue.files.parsing.unreadable import Unreadable

PAGES_TARGET_S, PAGES_TARGET_MB = 60.0, 300.0
_POLL_S = 0.02
_TEXT = "the parties agree that goods shall be delivered before noon unless notice in writing has been given"
_WORDS = tuple(_TEXT.split())


def main() -> int:
    """0 when the targets were met."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a hundredth of everything")
    share = 100 if options.parse_args().quick else 1
    print(f"{'file':<34}{'size':>10}{'text':>10}{'time':>9}{'memory':>9}  result")
    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "blob"
        results = []
        for name, data in _files(share):
            blob.write_bytes(data)
            results.append(asyncio.run(_measured(blob, name, len(data))))
    seconds, megabytes = results[0]
    is_met = seconds < PAGES_TARGET_S and megabytes < PAGES_TARGET_MB
    print(f"\ntarget for the first: {PAGES_TARGET_S:g} s and {PAGES_TARGET_MB:g} MB: {'met' if is_met else 'missed'}")
    return 0 if is_met else 1


async def _measured(blob: Path, name: str, size: int) -> tuple[float, float]:
    """Seconds and megabytes of the reading process; a line is printed."""
    begun = time.monotonic()
    watching = asyncio.create_task(_watch())
    try:
        document = await Parser().parse(blob, name)
        text = f"{len(document.text.encode()) / 1e6:.1f} MB"
        result = f"{document.pages} pages" if document.pages else f"{len(document.parts)} parts"
    except Unreadable as unreadable:
        text, result = "", f"refused: {unreadable.trouble}"
    seconds = time.monotonic() - begun
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    megabytes = _Peak.bytes / 1e6
    print(f"{name:<34}{size / 1e6:>7.1f} MB{text:>10}{seconds:>7.1f} s{megabytes:>6.0f} MB  {result}", flush=True)
    return seconds, megabytes


class _Peak:
    bytes = 0


async def _watch() -> None:
    """The greatest resident memory of our child, as long as it lives."""
    _Peak.bytes = 0
    while True:
        _Peak.bytes = max(_Peak.bytes, _resident_bytes())
        await asyncio.sleep(_POLL_S)


def _resident_bytes() -> int:
    """Of all our children together, of which there is one."""
    pages = 0
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError, IndexError):
            pages += int(Path(f"/proc/{child}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _files(share: int) -> Iterator[tuple[str, bytes]]:
    yield f"{15_000 // share:,} pages.pdf", _pdf(15_000 // share)
    if share == 1:
        yield "15,001 pages.pdf", _pdf(15_001)
    chinese = "合同自双方签字之日起生效，有效期三年。\n" * (2_500_000 // share)
    yield "Chinese, UTF-8.txt", chinese.encode()
    yield "Chinese, GB18030.txt", chinese.encode("gb18030")
    yield "60,000 paragraphs.docx", _docx(60_000 // share)
    yield "2,000,000 cells.xlsx", _xlsx(200_000 // share)
    yield "1,000 chapters.epub", _epub(1_000 // share)


def _prose(number: int, words: int) -> str:
    return " ".join(_WORDS[(number * 7 + place * place) % len(_WORDS)] for place in range(words))


def _pdf(pages: int) -> bytes:
    """Pages in a tree of hundreds, as writers make it; their contents deflated."""
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.7\n")
    places: list[int] = []

    def add(body: bytes) -> None:
        places.append(out.tell())
        out.write(b"%d 0 obj" % len(places) + body + b"endobj\n")

    groups = range(0, pages, 100)
    first_group, first_page = 4, 4 + len(groups)
    kids = b" ".join(b"%d 0 R" % (first_group + number) for number in range(len(groups)))
    add(b"<</Type/Catalog/Pages 2 0 R>>")
    add(b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, pages))
    add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for start in groups:
        members = range(start, min(start + 100, pages))
        kids = b" ".join(b"%d 0 R" % (first_page + 2 * number) for number in members)
        add(b"<</Type/Pages/Parent 2 0 R/Kids[%b]/Count %d>>" % (kids, len(members)))
    for number in range(pages):
        lines = "".join(f"({_prose(number * 40 + line, 12)}) Tj T* " for line in range(40))
        stream = zlib.compress(f"BT /F 9 Tf 12 TL 50 800 Td {lines}ET".encode())
        add(
            b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 595 842]/Contents %d 0 R/Resources<</Font<</F 3 0 R>>>>>>"
            % (first_group + number // 100, first_page + 2 * number + 1)
        )
        add(b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(stream), stream))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer<</Size %d/Root 1 0 R>>startxref\n%d\n%%%%EOF" % (len(places) + 1, start))
    return out.getvalue()


def _docx(paragraphs: int) -> bytes:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    rows = "".join(f"<w:p><w:r><w:t>{_prose(number, 9)}</w:t></w:r></w:p>" for number in range(paragraphs))
    return _zip({"word/document.xml": f'<w:document xmlns:w="{space}"><w:body>{rows}</w:body></w:document>'})


def _xlsx(rows: int) -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    cells = "".join(
        f'<row r="{row}">' + "".join(f'<c r="{letter}{row}"><v>{row * 7}</v></c>' for letter in "ABCDEFGHIJ") + "</row>"
        for row in range(1, rows + 1)
    )
    return _zip(
        {
            "xl/workbook.xml": f'<workbook xmlns="{space}" xmlns:r="{office}"><sheets>'
            '<sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            f'relationships"><Relationship Id="rId1" Type="{office}/worksheet" Target="sheet.xml"/></Relationships>',
            "xl/sheet.xml": f'<worksheet xmlns="{space}"><sheetData>{cells}</sheetData></worksheet>',
        }
    )


def _epub(chapters: int) -> bytes:
    numbers = range(chapters)
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in numbers)
    order = "".join(f'<itemref idref="c{n}"/>' for n in numbers)
    bodies = ["".join(f"<p>{_prose(n + paragraph, 60)}</p>" for paragraph in range(40)) for n in numbers]
    prose = {f"c{n}.xhtml": f"<html><body><h1>{n}</h1>{body}</body></html>" for n, body in enumerate(bodies)}
    return _zip(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
            "b.opf": f"<package><manifest>{items}</manifest><spine>{order}</spine></package>",
            **prose,
        }
    )


def _zip(members: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
