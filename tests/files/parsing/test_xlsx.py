"""Excel: sheets as tables, and numbers as they are seen."""

from __future__ import annotations

import pytest

from segue.files.parsing.numbers import read_format
from tests.files.parsing.conftest import Read, labels, part
from tests.files.parsing.samples import cell, row, xlsx

STYLES = (
    '<numFmts><numFmt numFmtId="164" formatCode="#,##0.00\\ &quot;€&quot;"/></numFmts>'
    '<cellStyleXfs><xf numFmtId="9"/></cellStyleXfs>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="10"/><xf numFmtId="164"/></cellXfs>'
)


async def test_sheets_are_parts_and_cells_are_shown(read: Read) -> None:
    first = row(1, cell("A1", "0", "s"), cell("B1", "1", "s")) + row(
        2,
        cell("A2", "45356", style=1),
        cell("B2", "0.256", style=2),
        cell("C2", "-1234.5", style=3),
        cell("D2", "1", "b"),
    )
    second = row(
        3, '<c r="A3" t="inlineStr"><is><t>in</t><rPh><t>spoken</t></rPh></is></c>', cell("B3", "#DIV/0!", "e")
    )
    document = await read(
        xlsx(
            {"Sales": f"<sheetData>{first}</sheetData>", "第二": f"<sheetData>{second}</sheetData>"},
            ["day", "share"],
            STYLES,
        ),
        "x.xlsx",
    )
    assert labels(document) == ["Sales", "第二"]
    assert part(document, 0) == "Sales\n\n| day | share |\n| 2024-03-05 | 25.60% | -1,234.50 € | TRUE |\n\n"
    assert part(document, 1) == "第二\n\n| in | #DIV/0! |\n\n"


async def test_far_cells_name_their_places(read: Read) -> None:
    sheet = f"<sheetData>{row(1, cell('A1', '1'), cell('C1', '3'))}{row(1048576, cell('XFD1048576', '9'))}</sheetData>"
    document = await read(xlsx({"S": sheet}), "x.xlsx")
    assert document.text == "S\n\n| 1 |  | 3 |\n| XFD1048576: 9 |\n\n"


async def test_merged_cells_are_repeated_downwards(read: Read) -> None:
    sheet = (
        f"<sheetData>{row(1, cell('A1', '7'))}{row(2, cell('A2', '1', 'str'), cell('B2', '5'))}"
        f"{row(3, cell('B3', '6'))}</sheetData>"
        '<mergeCells><mergeCell ref="A1:B1"/><mergeCell ref="A2:A3"/></mergeCells>'
    )
    assert (await read(xlsx({"S": sheet}), "x.xlsx")).text == "S\n\n| 7 |\n| 1 | 5 |\n| 1 | 6 |\n\n"


async def test_formulas_show_their_values_or_themselves(read: Read) -> None:
    cells = "<c r='A1'><f>1+1</f><v>2</v></c>", "<c r='B1'><f>SUM(A1)</f></c>"
    sheet = f"<sheetData>{row(1, *cells)}</sheetData>"
    assert (await read(xlsx({"S": sheet}), "x.xlsx")).text == "S\n\n| 2 | =SUM(A1) |\n\n"


async def test_days_may_be_counted_from_1904(read: Read) -> None:
    sheet = f"<sheetData>{row(1, cell('A1', '0', style=1))}</sheetData>"
    document = await read(xlsx({"S": sheet}, (), STYLES, '<workbookPr date1904="1"/>'), "x.xlsx")
    assert document.text == "S\n\n| 1904-01-01 |\n\n"


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("General", "7", "7"),
        ("General", "7.0", "7"),
        ("General", "0.1", "0.1"),
        ("General", "0.30000000000000004", "0.3"),
        ("General", "1E+20", "1e+20"),
        ("0", "2.5", "3"),
        ("0.00", "1.005", "1.01"),
        ("#,##0", "1234567", "1,234,567"),
        ("0%", "0.5", "50%"),
        ("0.0%", "0.256", "25.6%"),
        ("#,##0,", "1234567", "1,235"),
        ("0.00E+00", "12345", "1.23E+04"),
        ('"¥"#,##0.00', "9.5", "¥9.50"),
        ("[$€-407]#,##0.00", "-9.5", "-€9.50"),
        ("#,##0.00_);(#,##0.00)", "-9.5", "(9.50)"),
        ("#,##0.00_);[Red](#,##0.00)", "9.5", "9.50"),
        ('0.0" kg"', "3", "3.0 kg"),
        ("00000", "12", "00012"),
        ("@", "12", "12"),
        ("# ?/?", "0.5", "0.5"),
        ("yyyy-mm-dd", "45356", "2024-03-05"),
        ("m/d/yy", "45356", "2024-03-05"),
        ('yyyy"年"m"月"d"日"', "45356", "2024-03-05"),
        ("dd.mm.yyyy hh:mm", "45356.5736", "2024-03-05 13:45:59"),
        ("d-mmm", "59", "1900-02-28"),
        ("d-mmm", "61", "1900-03-01"),
        ("hh:mm", "0.4305555556", "10:20"),
        ("[h]:mm:ss", "1.25", "30:00:00"),
        ("mm:ss.0", "0.001", "00:01:26"),
        ("yyyy", "99999999", "99999999"),
        ("yyyy", "-1", "-1"),
        ("0.00", "nan", "nan"),
        ("0.00", "words", "words"),
    ],
)
def test_number_formats(code: str, value: str, shown: str) -> None:
    assert read_format(164, code).show(value) == shown


@pytest.mark.parametrize(
    "code", ["", ";", ";;;", '"', "[", "[$", "\\", "0" * 300, "#" * 9 + "." * 9, "%%%%", "0.0.0.0", "*"]
)
def test_no_format_breaks_a_number(code: str) -> None:
    assert isinstance(read_format(164, code).show("1234.5"), str)
