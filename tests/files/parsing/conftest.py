"""How a test reads a file: as the server does, in a process of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from segue.core.documents import Document
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.parser import Parser

Read = Callable[..., Awaitable[Document]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`await read(data, name="x", limits=None)`: the document, or Unreadable."""

    async def reading(data: bytes, name: str = "file", limits: ParseLimits | None = None) -> Document:
        blob = tmp_path / "blob"
        blob.write_bytes(data)
        return await Parser(limits).parse(blob, name)

    return reading


def part(document: Document, number: int) -> str:
    """The text of one part."""
    data = document.text.encode()
    ends = [*(each.start for each in document.parts[1:]), len(data)]
    return data[document.parts[number].start : ends[number]].decode()


def labels(document: Document) -> list[str]:
    return [each.label for each in document.parts]
