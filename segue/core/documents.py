"""What callers upload, and what it is once it has been read.

Laws: a `File` is a row of the store; a `Document` is the text that was found in it, with its parts; offsets are
bytes of that text in UTF-8 (the text lies in a file of its own and is mapped, not loaded).  A file belongs to one
workspace and is nothing to any other.  This file knows no protocol, no store and no parser.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from segue.core import frozen

# `upload`: a picture or video that is asked about for a while, and in no list.
Purpose = Literal["file-extract", "batch", "batch_output", "upload"]

# `processing`: its text is not there yet.  `processed`: a question about it will be answered.  `error`: `trouble` says
# why it never will.
Status = Literal["processing", "processed", "error"]

# blank: no text in it; pages, size: beyond the limit; format: not one that is read here; parse: the parser gave up or
# died, three times; timeout: it took too long, three times.
Trouble = Literal["blank", "pages", "format", "size", "parse", "timeout"]


@frozen
class Part:
    """A page, sheet, chapter or section.  `start` is its first byte in the document's text; `label` is how a reader
    would cite it: `p. 12`, `Sheet1`, `Chapter 3`."""

    start: int
    label: str


@frozen
class Document:
    """The text of a file.  `parts` are in order, the first starts at 0; a file without parts has one, with an empty
    label.  `pages` is what counts against the page limit (0: not a paged format)."""

    text: str
    parts: tuple[Part, ...]
    pages: int = 0


@frozen
class File:
    """An uploaded file.  `created_at` is in unix seconds, `sha256` and `md5` in hex, `tokens` the length of its text as
    the served model counts it (0 until it is processed)."""

    id: str
    workspace: str
    name: str
    bytes: int
    sha256: str
    md5: str
    purpose: Purpose
    created_at: int
    status: Status
    trouble: Trouble | None = None
    tokens: int = 0
    description: str = ""


@frozen
class Passage:
    """A piece of one of the documents a question is asked about: bytes `start` to `end` of the text of document number
    `document` (from 0, in the order they were named), in the part called `label`.  Higher `score` fits better.  `key`
    are the bytes of its text that name what is asked for, None where nothing in it does or that cannot be told."""

    document: int
    start: int
    end: int
    label: str
    score: float
    key: tuple[int, int] | None = None


def mark(workspace: str, sha256: str) -> str:
    """What stands for a file's content where it must not be said which it is: one mark for all files of a workspace
    that have it."""
    return hashlib.blake2b(f"{workspace}\0{sha256}".encode(), digest_size=16).hexdigest()
