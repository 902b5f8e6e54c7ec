"""EPUB and MOBI: chapters in reading order."""

from __future__ import annotations

import struct

import pytest

from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read, labels, part
from tests.files.parsing.samples import epub, huffman_packed, mobi, page, palm_file, palmdoc_packed, point

BOOK = (
    "<html><body><h1>One</h1><p>It was the best of times, it was the worst of times.</p>"
    "<h2>Two</h2><p>End é.</p></body>"
)
BOOK_TEXT = "# One\nIt was the best of times, it was the worst of times.\n## Two\nEnd é.\n"


async def test_the_spine_is_the_order_and_the_contents_name_it(read: Read) -> None:
    data = epub(
        {
            "z%20z.xhtml": page("<h1>I</h1><p>one</p>"),
            "cover.xhtml": page("<img/>"),
            "a.xhtml": page("<h1>Last</h1>two"),
        },
        point("The Beginning", "z%20z.xhtml#start"),
    )
    document = await read(data, "x.epub")
    assert labels(document) == ["The Beginning", "Last"]
    assert part(document, 0).strip() == "# I\none"
    assert part(document, 1) == "# Last\ntwo\n\n"


async def test_the_contents_of_epub_3(read: Read) -> None:
    data = epub({"a.xhtml": page("<p>one</p>")}, point("old", "a.xhtml"))
    assert labels(await read(data, "x.epub")) == ["old"]
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/></spine></package>'
    )
    nav = (
        '<nav xmlns:e="http://www.idpf.org/2007/ops" e:type="toc"><ol><li><a href="a.xhtml">第一章</a></li></ol></nav>'
    )
    data = epub({"a.xhtml": page("<p>one</p>")}, "", {"book/book.opf": package, "book/nav.xhtml": page(nav)})
    assert labels(await read(data, "x.epub")) == ["第一章"]


async def test_markup_of_books(read: Read) -> None:
    body = (
        "<p>caf&eacute; <b>bold</b>\n and</p><br/><ul><li>one</li><li>two<p>more</p></li></ul>"
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1<br/>2</td><td><p>x</p></td></tr></table>"
        "<pre>  kept\n as is</pre><script>no</script><ruby>漢<rt>kan</rt></ruby><p>unclosed<p>next &lt;tag&gt;"
    )
    document = await read(epub({"a.xhtml": page(body)}), "x.epub")
    assert document.text.splitlines() == [
        "café bold and",
        "- one",
        "- two",
        "more",
        "| a | b |",
        "| 1 2 | x |",
        "  kept",
        " as is",
        "漢",
        "unclosed",
        "next <tag>",
        "",
    ]


async def test_declared_encodings(read: Read) -> None:
    text = '<?xml version="1.0" encoding="gb2312"?>' + page("<p>中文内容</p>")
    document = await read(epub({"a.xhtml": ""}, "", {"book/a.xhtml": text.encode("gb2312")}), "x.epub")
    assert document.text.strip() == "中文内容"


async def test_an_encrypted_book_is_not_read(read: Read) -> None:
    def encryption(name: str) -> dict[str, str | bytes]:
        return {
            "META-INF/encryption.xml": f'<encryption><EncryptedData><CipherData><CipherReference URI="{name}"/>'
            "</CipherData></EncryptedData></encryption>"
        }

    chapters = {"a.xhtml": page("found")}
    assert "found" in (await read(epub(chapters, "", encryption("book/font.otf")), "x.epub")).text
    with pytest.raises(Unreadable) as caught:
        await read(epub(chapters, "", encryption("book/a.xhtml")), "x.epub")
    assert caught.value.trouble == "format"


async def test_a_stored_mobi(read: Read) -> None:
    data = BOOK.encode()
    document = await read(mobi([data[:60], data[60:]], 1), "x.mobi")
    assert document.text == BOOK_TEXT
    assert labels(document) == ["One", "Two"]


async def test_a_mobi_packed_as_palmdoc_with_entries_behind_its_records(read: Read) -> None:
    data = (BOOK * 3).encode()
    records = [palmdoc_packed(data[:100]), palmdoc_packed(data[100:])]
    assert len(b"".join(records)) < len(data) * 0.6
    plain = await read(mobi(records, 2), "x.mobi")
    assert plain.text == BOOK_TEXT * 3
    # One entry of three bytes, the last of which says so; and behind the text one byte that is not of this record.
    trailed = [record + b"\0" + b"ab\x83" for record in records]
    assert (await read(mobi(trailed, 2, trailing=0b11), "x.mobi")).text == plain.text


async def test_a_mobi_packed_by_huffman(read: Read) -> None:
    packed, behind = huffman_packed(BOOK.replace("é", "e"))
    assert (await read(mobi([packed], 17480, behind), "x.mobi")).text == BOOK_TEXT.replace("é", "e")


async def test_a_text_of_palmdoc(read: Read) -> None:
    text = b"Plain words, no markup: 1 < 2.\n"
    head = struct.pack(">HHIHHHH", 2, 0, len(text), 1, 4096, 0, 0)
    document = await read(palm_file(b"TEXtREAd", [head, palmdoc_packed(text)]), "x.pdb")
    assert document.text == text.decode()


async def test_a_mobi_with_a_lock(read: Read) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(mobi([b"secret"], 1, encryption=2), "x.mobi")
    assert caught.value.trouble == "format"


@pytest.mark.parametrize("packing", [1, 2, 17480, 3])
async def test_a_broken_mobi(read: Read, packing: int) -> None:
    data = mobi([b"\x80\x00" * 50] * 4, packing, [b"HUFF" + bytes(30)])
    for broken in (data[:90], data[:-230], data):
        if packing == 1 and broken is data:
            continue
        with pytest.raises(Unreadable) as caught:
            await read(broken, "x.mobi")
        assert caught.value.trouble == "parse"
