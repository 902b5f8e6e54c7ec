"""PDF: pages, their labels, and what broken ones cost."""

from __future__ import annotations

import dataclasses

import pytest

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read, labels, part
from tests.files.parsing.samples import pdf, pdf_file


async def test_pages_in_order_with_their_numbers(read: Read) -> None:
    document = await read(pdf(["First page\nsecond line", "Café at 5 €", "last"]), "x.pdf")
    assert document.pages == 3
    assert labels(document) == ["p. 1", "p. 2", "p. 3"]
    assert part(document, 0).split() == ["First", "page", "second", "line"]
    assert part(document, 1).strip() == "Café at 5 €"


async def test_an_empty_page_keeps_its_place(read: Read) -> None:
    document = await read(pdf(["one", "", "three"]), "x.pdf")
    assert labels(document) == ["p. 1", "p. 2", "p. 3"]
    assert part(document, 2).strip() == "three"


async def test_pages_without_text_are_blank(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(pdf(["", ""]), "x.pdf")
    assert caught.value.trouble == "blank"


@pytest.mark.parametrize("name", ["x.txt", "x.docx", "x"])
async def test_a_pdf_by_any_name_is_a_pdf(read: Read, name: str) -> None:
    assert (await read(pdf(["found"]), name)).text.strip() == "found"


async def test_something_may_stand_before_it(read: Read) -> None:
    assert (await read(b"\n\n" + pdf(["found"]), "x.pdf")).text.strip() == "found"


async def test_as_many_pages_as_allowed_and_one_more(read: Read) -> None:
    limits = dataclasses.replace(ParseLimits(), pages_max=3)
    assert (await read(pdf(["a", "b", "c"]), "x.pdf", limits)).pages == 3
    with pytest.raises(Unreadable) as caught:
        await read(pdf(["a", "b", "c", "d"]), "x.pdf", limits)
    assert caught.value.trouble == "pages"


async def test_a_broken_page_costs_that_page_only(read: Read) -> None:
    data = pdf(["good one", "bad", "good two"])
    start = data.index(b"(bad)")
    document = await read(data[:start] + b"\xff\xfe{{" + data[start + 4 :], "x.pdf")
    assert "good one" in document.text
    assert "good two" in document.text


async def test_an_encrypted_file_is_not_read(read: Read) -> None:
    locked = b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P -4>>" % (b"ab" * 32, b"cd" * 32)
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>", locked]
    with pytest.raises(Unreadable) as caught:
        await read(pdf_file(bodies, b"/Encrypt 3 0 R/ID[<00><00>]"), "x.pdf")
    assert caught.value.trouble == "format"


async def test_a_file_cut_off_is_broken(read: Read) -> None:
    data = pdf([f"page {number}" for number in range(1, 30)])
    for end in (60, len(data) // 2, len(data) - 400):
        with pytest.raises(Unreadable) as caught:
            await read(data[:end], "x.pdf")
        assert caught.value.trouble == "parse"


async def test_a_table_of_places_that_is_wrong_is_made_again(read: Read) -> None:
    data = pdf(["found"])
    assert (await read(data.replace(b"startxref\n", b"startxref\n9"), "x.pdf")).text.strip() == "found"


async def test_what_was_filled_in_is_read(read: Read) -> None:
    field = b"<</Type/Annot/Subtype/Widget/FT/%b/T(%b)/V(%b)/Rect[50 700 200 720]/P 3 0 R>>"
    data = pdf_file(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R 5 0 R]>>>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Annots[4 0 R 5 0 R]>>",
            field % (b"Tx", b"name", b"Ada Lovelace"),
            field % (b"Btn", b"send", b"unseen"),
        ]
    )
    assert (await read(data, "x.pdf")).text.split() == ["Ada", "Lovelace"]


async def test_words_parted_at_line_ends_are_joined(read: Read) -> None:
    assert "example" in (await read(pdf(["an exam-\nple of it"]), "x.pdf")).text


@pytest.mark.slow
async def test_fifteen_thousand_pages_and_one_more(read: Read) -> None:
    pages = [f"page number {number}" for number in range(1, 15_001)]
    document = await read(pdf(pages), "x.pdf")
    assert document.pages == len(document.parts) == 15_000
    assert part(document, 14_999).strip() == "page number 15000"
    with pytest.raises(Unreadable) as caught:
        await read(pdf([*pages, "one more"]), "x.pdf")
    assert caught.value.trouble == "pages"
