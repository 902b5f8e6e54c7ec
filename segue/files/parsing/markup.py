"""HTML of books to text: paragraphs, headings, lists, tables.  Markup may be wrong in any way."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

from segue.files.parsing.table import row_line

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _HEADINGS | {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "div", "dl", "dt", "figcaption"),
    *("figure", "footer", "form", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section", "table"),
    *("tr", "ul", "mbp:pagebreak"),
}
_UNSAID = frozenset({"script", "style", "head", "rt", "rp", "template", "svg"})
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_FEED_CHARS = 1 << 16
_TABLES_MAX = 16  # within each other; what is deeper is text of its cell

Write = Callable[[str], None]
Heading = Callable[[int, str], None]


class Markup(HTMLParser):
    """Feed it markup; it writes text.  `heading` is told of every heading, with its level, before that is written."""

    def __init__(self, write: Write, heading: Heading | None = None) -> None:
        super().__init__(convert_charrefs=True)
        self._put = write
        self._on_heading = heading
        self._line: list[str] = []
        self._rows: list[list[str]] = []  # of the tables that are open, innermost last
        self._unsaid: list[str] = []
        self._deeper = 0  # open tables beyond those
        self._verbatim = 0
        self._level = 0

    def read(self, text: str) -> None:
        """All of it."""
        for start in range(0, len(text), _FEED_CHARS):
            self.feed(text[start : start + _FEED_CHARS])
        self.close()
        self._finish_line()
        while self._rows:
            self._finish_row()
            self._rows.pop()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        if tag in _UNSAID:
            self._unsaid.append(tag)
        elif tag == "body":
            self._unsaid.clear()  # whatever was left open in the head
        if self._unsaid:
            return
        if tag == "br":
            self._finish_line()
        elif tag in ("td", "th") and self._rows and not self._deeper:
            self._finish_line()
            self._rows[-1].append("")
        elif tag in _BLOCKS:
            self._finish_line()
            if tag == "table" and len(self._rows) >= _TABLES_MAX:
                self._deeper += 1
            elif tag == "table":
                self._rows.append([])
            elif tag == "tr" and not self._deeper:
                self._finish_row()
            elif tag == "li":
                self._line.append("- ")
            elif tag == "pre":
                self._verbatim += 1
            elif tag in _HEADINGS:
                self._level = int(tag[1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<br/>`; and `<title/>`, which XHTML means and HTML would leave open."""
        self.handle_starttag(tag, attrs)
        if tag in _UNSAID or tag in _BLOCKS:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if tag in self._unsaid:
            while self._unsaid.pop() != tag:
                pass
        elif tag in _BLOCKS and not self._unsaid:
            self._finish_line()
            if tag == "tr" and not self._deeper:
                self._finish_row()
            elif tag == "table" and self._deeper:
                self._deeper -= 1
            elif tag == "table" and self._rows:
                self._finish_row()
                self._rows.pop()
            elif tag == "pre":
                self._verbatim = max(0, self._verbatim - 1)
            elif tag in _HEADINGS:
                self._level = 0

    def handle_data(self, data: str) -> None:
        """Characters."""
        if not self._unsaid:
            self._line.append(data)

    def _finish_line(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        text = text.strip("\n") if self._verbatim else _BLANKS.sub(" ", text).strip(" ")
        if not text or text == "-":
            return
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += f" {text}" if self._rows[-1][-1] else text
            return
        if self._level:
            if self._on_heading is not None:
                self._on_heading(self._level, text)
            text = f"{'#' * self._level} {text}"
        self._put(text + "\n")

    def _finish_row(self) -> None:
        """A table within a cell is one line of it."""
        if not self._rows or not self._rows[-1]:
            return
        row, outer = self._rows[-1][:], self._rows[-2] if len(self._rows) > 1 else None
        self._rows[-1].clear()
        if outer:
            outer[-1] += ", ".join(filter(None, row)) + "; "
        else:
            self._put(f"{row[0]}\n" if len(row) == 1 and row[0] else row_line(row))
