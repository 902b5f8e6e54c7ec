"""The reading process: shut the cage, find out what the file is, read it, say what was found, end.

Started by `parser.py` with the file as standard input and the pipe to the server as standard output.  Arguments: the
limits, and the extension of the caller's name.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import assert_never

from segue.caged import cage
from segue.files.parsing.kinds import Kind, kind_of
from segue.files.parsing.limits import ParseLimits, limits_from
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.unreadable import Unreadable


def main(arguments: list[str]) -> int:
    """The process's exit status."""
    limits = limits_from(arguments[0])
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not to be taken for our own word
    scribe = Scribe(pipe, limits)
    scribe.caged(cage.enter(limits.means))
    try:
        source = Source(0, arguments[1])
        pages = _read(kind_of(source, limits), source, scribe, limits)
        scribe.done(pages)
    except Unreadable as unreadable:
        scribe.failed(unreadable)
    except Exception as error:  # noqa: BLE001  whatever a hostile file brings about in a library
        scribe.failed(Unreadable("parse", _where(error)))
    return 0


def _read(kind: Kind, source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """How many pages it has.  A reader is imported when its kind comes, so that a text file does not wait for PDF."""
    match kind:
        case "text" | "markdown" | "json":
            from segue.files.parsing.text import read_text

            return read_text(source, scribe, kind)
        case "pdf":
            from segue.files.parsing.pdf import read_pdf

            return read_pdf(source, scribe, limits)
        case "docx":
            from segue.files.parsing.docx import read_docx

            return read_docx(source, scribe, limits)
        case "xlsx":
            from segue.files.parsing.xlsx import read_xlsx

            return read_xlsx(source, scribe, limits)
        case "epub":
            from segue.files.parsing.epub import read_epub

            return read_epub(source, scribe, limits)
        case "mobi":
            from segue.files.parsing.mobi import read_mobi

            return read_mobi(source, scribe, limits)
        case "image":
            from segue.files.parsing.image import read_image

            return read_image(source, scribe, limits)
        case _:
            assert_never(kind)


def _where(error: Exception) -> str:
    """The error's class and place; its words may quote the file."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" at {os.path.basename(last.filename)}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
