"""Files damaged at random: whatever comes of them, it is a document or a trouble, and never another error."""

from __future__ import annotations

import random

import pytest

from segue.core.documents import Document
from segue.files.parsing.unreadable import Unreadable
from tests.files.parsing.conftest import Read
from tests.files.parsing.samples import cell, docx, epub, huffman_packed, mobi, page, paragraph, pdf, row, xlsx

_PACKED, _BEHIND = huffman_packed("the quick brown fox jumps over the lazy dog " * 40)
SAMPLES = {
    "docx": docx(paragraph("one") * 50),
    "xlsx": xlsx({"S": f"<sheetData>{row(1, cell('A1', '0', 's'), cell('B1', '7'))}</sheetData>"}, ["text"]),
    "epub": epub({"a.xhtml": page("<h1>x</h1><table><tr><td>y</table>" * 20)}),
    "pdf": pdf(["one page", "another"] * 5),
    "mobi": mobi([_PACKED], 17480, _BEHIND),
}
ENDS = {"read", "parse", "blank", "format", "pages", "size"}
_QUICK, _MANY = 4, 100


def damaged(data: bytes, seed: int) -> bytes:
    """Some bytes changed, and sometimes a piece moved or lost."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 4, 30))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    if chance.random() < 0.3:
        start = chance.randrange(len(changed))
        del changed[start : start + chance.randrange(1, 200)]
    return bytes(changed)


async def end(read: Read, kind: str, seed: int) -> str:
    """The trouble, or `read`."""
    try:
        document: Document = await read(damaged(SAMPLES[kind], seed), f"x.{kind}")
    except Unreadable as unreadable:
        return unreadable.trouble
    return "read" if document.text else "no text"


@pytest.mark.parametrize("seed", range(_QUICK))
@pytest.mark.parametrize("kind", SAMPLES)
async def test_damaged_files(read: Read, kind: str, seed: int) -> None:
    assert await end(read, kind, seed) in ENDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAMPLES)
async def test_many_damaged_files(read: Read, kind: str) -> None:
    for seed in range(_QUICK, _MANY):
        assert await end(read, kind, seed) in ENDS, seed
