"""Word: what a reader of the printed page would see, in its order."""

from __future__ import annotations

import pytest

from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read, labels, part
from tests.files.parsing.samples import docx, paragraph, word_xml, zipped

STYLES = word_xml(
    "styles",
    '<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Own"><w:basedOn w:val="H1"/></w:style>'
    '<w:style w:styleId="H2"><w:name w:val="heading 2"/>'
    '<w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="1"/></w:numPr></w:pPr></w:style>',
)
NUMBERING = word_xml(
    "numbering",
    '<w:abstractNum w:abstractNumId="7">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>'
    "</w:abstractNum>"
    '<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="x"/></w:lvl>'
    "</w:abstractNum>"
    '<w:abstractNum w:abstractNumId="9"><w:lvl w:ilvl="0"><w:start w:val="1"/>'
    '<w:numFmt w:val="chineseCountingThousand"/><w:lvlText w:val="第%1条"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'
    '<w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
    '<w:num w:numId="3"><w:abstractNumId w:val="9"/></w:num>'
    '<w:num w:numId="4"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/>'
    "</w:lvlOverride></w:num>",
)


def style(name: str) -> str:
    return f'<w:pStyle w:val="{name}"/>'


def listed(number: int, level: int = 0) -> str:
    return f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'


def cells(*texts: str) -> str:
    return "<w:tr>" + "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in texts) + "</w:tr>"


async def test_paragraphs_and_marks(read: Read) -> None:
    run = "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r>"
    stops = "<w:pPr><w:tabs><w:tab w:val='left' w:pos='720'/></w:tabs></w:pPr>"
    document = await read(docx(f"{paragraph('合同 <1> & 2')}\n  <w:p>{stops}{run}</w:p>"), "x.docx")
    assert document.text == "合同 <1> & 2\na\tb\nc-d\n"
    assert labels(document) == [""]


async def test_headings_name_parts(read: Read) -> None:
    body = paragraph("before") + paragraph("One", style("H1")) + paragraph("text") + paragraph("Two", style("Own"))
    document = await read(docx(body, {"styles": STYLES}), "x.docx")
    assert labels(document) == ["", "One", "Two"]
    assert part(document, 1) == "# One\ntext\n"


async def test_lists_are_numbered_as_they_are_seen(read: Read) -> None:
    body = (
        paragraph("first", listed(1))
        + paragraph("under", listed(1, 1))
        + paragraph("under too", listed(1, 1))
        + paragraph("second", listed(1))
        + paragraph("again", listed(1, 1))
        + paragraph("point", listed(2))
        + paragraph("heading", style("H2"))
        + paragraph("总则", listed(3))
        + paragraph("定义", listed(3))
        + paragraph("from five", listed(4))
        + paragraph("no list", listed(0))
    )
    document = await read(docx(body, {"styles": STYLES, "numbering": NUMBERING}), "x.docx")
    assert document.text.splitlines() == [
        "1. first",
        "1.a) under",
        "1.b) under too",
        "2. second",
        "2.a) again",
        "- point",
        "## 2.b) heading",
        "第一条 总则",
        "第二条 定义",
        "5. from five",
        "no list",
    ]


async def test_tables_with_merged_cells(read: Read) -> None:
    rows = (
        cells("Region", "Year", "Sum")
        + "<w:tr><w:tc><w:tcPr><w:vMerge w:val='restart'/></w:tcPr>"
        + paragraph("North")
        + "</w:tc>"
        + f"<w:tc>{paragraph('2023')}</w:tc><w:tc>{paragraph('1')}</w:tc></w:tr>"
        + "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>"
        + f"<w:tc>{paragraph('2024')}</w:tc><w:tc>{paragraph('2')}</w:tc></w:tr>"
        + f"<w:tr><w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr>{paragraph('both')}</w:tc>"
        + f"<w:tc>{paragraph('3')}</w:tc></w:tr>"
    )
    document = await read(docx(f"<w:tbl>{rows}</w:tbl>{paragraph('after')}"), "x.docx")
    assert document.text.splitlines() == [
        "| Region | Year | Sum |",
        "| North | 2023 | 1 |",
        "| North | 2024 | 2 |",
        "| both |  | 3 |",
        "",
        "after",
    ]


async def test_a_table_in_a_cell_is_one_line_of_it(read: Read) -> None:
    inner = f"<w:tbl>{cells('a', 'b')}{cells('c', 'd')}</w:tbl><w:p/>"
    document = await read(
        docx(f"<w:tbl><w:tr><w:tc>{inner}</w:tc><w:tc>{paragraph('x')}</w:tc></w:tr></w:tbl>"), "x.docx"
    )
    assert document.text.splitlines() == ["| a, b; c, d; | x |", ""]


async def test_a_table_of_one_column_is_a_frame(read: Read) -> None:
    document = await read(
        docx(f"<w:tbl><w:tr><w:tc>{paragraph('one')}{paragraph('two')}</w:tc></w:tr></w:tbl>"), "x.docx"
    )
    assert document.text == "one\ntwo\n\n"


async def test_notes_stand_behind_their_paragraph(read: Read) -> None:
    body = paragraph("fact", more='<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:endnoteReference w:id="2"/></w:r>')
    notes = {
        "footnotes": word_xml("footnotes", f'<w:footnote w:id="2">{paragraph("source")}</w:footnote>'),
        "endnotes": word_xml("endnotes", f'<w:endnote w:id="2">{paragraph("remark")}</w:endnote>'),
    }
    document = await read(docx(body + paragraph("next"), notes), "x.docx")
    assert document.text == "fact[^2][^e2]\n[^2]: source\n[^e2]: remark\nnext\n"


async def test_changes_are_read_as_accepted(read: Read) -> None:
    body = paragraph(
        "kept",
        more="<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>"
        "<w:ins><w:r><w:t> new</w:t></w:r></w:ins>",
    )
    assert (await read(docx(body), "x.docx")).text == "kept new\n"


async def test_a_text_box_is_said_once(read: Read) -> None:
    box = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    choices = f"<mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
    drawing = f"<w:r><mc:AlternateContent>{choices}</mc:AlternateContent></w:r>"
    document = await read(docx(paragraph("around", more=drawing)), "x.docx")
    assert sorted(document.text.split()) == ["around", "boxed"]


async def test_headers_and_footers_are_said_once(read: Read) -> None:
    margins = {
        "header": word_xml("hdr", paragraph("ACME Ltd")),
        "footer": word_xml("ftr", paragraph("confidential")),
    }
    assert (await read(docx(paragraph("body"), margins), "x.docx")).text == "ACME Ltd\n\nbody\nconfidential\n\n"


async def test_the_strict_form_reads_the_same(read: Read) -> None:
    heading = paragraph("One", "<w:outlineLvl w:val='0'/>")
    loose = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    strict = word_xml("document", heading).replace(loose, "http://purl.oclc.org/ooxml/wordprocessingml/main")
    document = await read(zipped({"word/document.xml": strict}), "x.docx")
    assert document.text == (await read(docx(heading), "x.docx")).text == "# One\n"


@pytest.mark.parametrize("name", ["x.xlsx", "x.txt", "x"])
async def test_word_by_any_name_is_word(read: Read, name: str) -> None:
    assert (await read(docx(paragraph("found")), name)).text == "found\n"


async def test_no_text_is_blank(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(docx("<w:p/>"), "x.docx")
    assert caught.value.trouble == "blank"


@pytest.mark.parametrize("members", [{"a.txt": "hello"}, {"ppt/presentation.xml": "<p/>"}])
async def test_another_zip_file_is_another_format(read: Read, members: dict[str, str]) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(zipped(members), "x.docx")
    assert caught.value.trouble == "format"
