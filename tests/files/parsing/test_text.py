"""Plain text in the encodings that people use, and what its kind makes of it."""

from __future__ import annotations

import pytest

from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read, labels, part

CHINESE = "合同编号：二〇二四第三号。甲方应于每月十日前支付货款，逾期按日加收千分之一的违约金。\n"
TAIWANESE = "本公司於每季結束後三十日內公告財務報表，股東得隨時查閱會議紀錄與帳冊。\n"
JAPANESE = "契約書は二部作成し、各自一部を保管する。これはテストのための文章です。\n"
KOREAN = "계약서는 두 부를 작성하여 각자 한 부씩 보관한다. 이것은 시험입니다.\n"
RUSSIAN = "Настоящий договор составлен в двух экземплярах, по одному для каждой из сторон.\n"
FRENCH = "Le présent contrat est établi à Genève, déjà signé ; la créance échoit à l'été.\n"
GERMAN = "Über die Kündigung müssen größere Gläubiger gemäß § 5 benachrichtigt werden.\n"
POLISH = "Umowę sporządzono w dwóch egzemplarzach, każda ze stron otrzymała jeden. Zażółć gęślą jaźń.\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "gb18030"),
        (CHINESE + "𠮷", "gb18030"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (FRENCH, "utf-32"),
        (TAIWANESE, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (KOREAN, "euc_kr"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (FRENCH, "latin-1"),
        (GERMAN, "cp1252"),
        (POLISH, "cp1250"),
        ("nothing but ASCII\n", "ascii"),
    ],
)
async def test_every_encoding_is_found(read: Read, text: str, encoding: str) -> None:
    document = await read((text * 8).encode(encoding), "letter.txt")
    assert document.text == text * 8
    assert (document.pages, labels(document)) == (0, [""])


async def test_ascii_for_a_long_time_before_the_first_chinese(read: Read) -> None:
    text = "plain English, line after line\n" * 40_000 + CHINESE * 20
    assert (await read(text.encode("gb18030"), "log.txt")).text == text


async def test_a_character_that_two_blocks_share(read: Read) -> None:
    text = "x" + "語" * 700_000
    assert (await read(text.encode(), "x.txt")).text == text


async def test_utf8_cut_off_inside_a_character_is_still_utf8(read: Read) -> None:
    assert (await read((CHINESE * 8).encode()[:-3], "x.txt")).text == (CHINESE * 8)[:-2] + "\ufffd"


async def test_line_ends_and_controls(read: Read) -> None:
    document = await read(b"one\r\ntwo\rthree\x0cfour\x07\n", "x.txt")
    assert document.text == "one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(
    "name", ["notes.txt", "notes", "notes.csv", "notes.pdf", "notes.docx", "notes.jpg", ".", "a.b.c"]
)
async def test_text_by_any_name_is_text(read: Read, name: str) -> None:
    assert (await read(b"name,amount\nBolt,7\n", name)).text == "name,amount\nBolt,7\n"


async def test_markdown_has_its_headings_as_parts(read: Read) -> None:
    text = "before\n\n# First #\n\none\n\n```\n# no heading\n```\n## 第二\ntwo\n#### small\n#hash\n"
    document = await read(text.encode(), "x.md")
    assert document.text == text
    assert labels(document) == ["", "First", "第二"]
    assert part(document, 2) == "## 第二\ntwo\n#### small\n#hash\n"


async def test_json_says_its_characters_and_keeps_its_escapes(read: Read) -> None:
    written = rb'{"\u4e2d\u6587": "a\u0041\n\\u4e2d \ud83d\ude00 \ud83d \u00e9\u0000"}'
    document = await read(written, "x.json")
    assert document.text == '{"中文": "a\\u0041\\n\\\\u4e2d 😀 \\ud83d é\\u0000"}'


async def test_json_of_one_line_is_cut_at_no_escape(read: Read) -> None:
    document = await read(b'["' + rb"\u4e2d\\" * 400_000 + b'"]', "x.json")
    assert document.text == '["' + "中\\\\" * 400_000 + '"]'


@pytest.mark.parametrize("data", [b"", b" \n\t \r\n", b"\xef\xbb\xbf", b"\xff\xfe", "\u3000\n".encode()])
async def test_nothing_is_blank(read: Read, data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(data, "x.txt")
    assert caught.value.trouble == "blank"


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 64,
        b"\x7fELF\x02\x01\x01" + bytes(500),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        b"{\\rtf1\\ansi hello}",
        b"\x1f\x8b\x08\x00" + bytes(20),
        b"text with zeros" + bytes(4000),
    ],
)
async def test_what_is_no_text_is_another_format(read: Read, data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        await read(data, "x.txt")
    assert caught.value.trouble == "format"
