"""Word documents: paragraphs, lists, tables, notes and text boxes, as they come in the file.

An own reader on zipfile and expat: libraries either build a tree, which a hostile file of one megabyte makes gigabytes
of, or lose list numbers, notes and headings.  Here memory is what one paragraph or one table takes.
"""

from __future__ import annotations

import dataclasses

from segue.files.parsing.archive import Archive, Attributes, office_main
from segue.files.parsing.docx_styles import Numbering, Styles, W, read_numbering, read_styles
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.table import row_line
from segue.files.parsing.unreadable import Unreadable

_W_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main "  # the same elements in the standard's strict form
_MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math t"
# What is not said: the other of two drawings of one thing, text that was moved away or deleted, how ruby is read, how
# a paragraph once looked, where its tabs stop.
_UNSAID = frozenset(
    {
        "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback",
        W + "del",
        W + "moveFrom",
        W + "rt",
        W + "pPrChange",
        W + "tabs",
    }
)
_P, _T, _TBL, _TR, _TC, _VAL = (W + local for local in ("p", "t", "tbl", "tr", "tc", "val"))
_NOTES = {W + "footnoteReference": "f", W + "endnoteReference": "e"}
_MARKS = {W + "tab": "\t", W + "br": "\n", W + "cr": "\n", W + "noBreakHyphen": "-", W + "ptab": "\t"}
_NESTING_MAX = 256  # elements within elements; writers stay below 50
_PART_LEVEL_MAX = 3  # headings down to here name parts


@dataclasses.dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = dataclasses.field(default_factory=list)
    style: str = ""
    outline: int | None = None
    number: tuple[str, int] | None = None  # which list, which level of it
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class _Table:
    row: list[str] = dataclasses.field(default_factory=list)
    above: dict[int, str] = dataclasses.field(default_factory=dict)  # by column, what a merged cell goes on with
    cell: list[str] = dataclasses.field(default_factory=list)
    span: int = 1
    merged: str | None = None


def read_docx(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable.  Returns 0: pages are made by who prints it."""
    archive = Archive(source.file, limits)
    main = office_main(archive)
    related = sorted(set(archive.relations(main).values()))
    styles, numbering = read_styles(archive, main), read_numbering(archive, main)
    notes: dict[str, str] = {}
    for kind in ("footnote", "endnote"):
        for name in _named(archive, related, f"{kind}s"):
            notes |= _Notes(kind, styles).read(archive, name)
    _margins(archive, _named(archive, related, "header"), scribe, styles)
    body = _Body(scribe, styles, numbering, notes)
    archive.parse(main, body.start, body.end, body.text)
    _margins(archive, _named(archive, related, "footer"), scribe, styles)
    return 0


def _named(archive: Archive, related: list[tuple[str, str]], kind: str) -> list[str]:
    found = [archive.find(target) for relation, target in related if relation == kind]
    return [name for name in found if name is not None]


def _margins(archive: Archive, names: list[str], scribe: Scribe, styles: Styles) -> None:
    """What stands above or below every page, once."""
    said: set[str] = set()
    for name in names:
        margin = _Collected(styles)
        archive.parse(name, margin.start, margin.end, margin.text)
        text = margin.collected.strip()
        if text and not text.isdigit() and text not in said:
            said.add(text)
            scribe.write(text + "\n\n")


class _Body:
    """The handlers of the main text."""

    def __init__(self, scribe: Scribe | None, styles: Styles, numbering: Numbering, notes: dict[str, str]) -> None:
        self._scribe = scribe
        self._styles = styles
        self._numbering = numbering
        self._notes = notes
        self._paragraphs: list[_Paragraph] = []
        self._tables: list[_Table] = []
        self._depth = self._unsaid = 0
        self._in_text = False

    def start(self, tag: str, attributes: Attributes) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > _NESTING_MAX:
            raise Unreadable("parse", "elements within elements")
        if tag.startswith(_W_STRICT):
            tag = W + tag[len(_W_STRICT) :]
            attributes = {key.replace(_W_STRICT, W): value for key, value in attributes.items()}
        if self._unsaid or tag in _UNSAID:
            self._unsaid += 1
        elif tag in (_T, _MATH):
            self._in_text = True
        elif tag == _P:
            self._paragraphs.append(_Paragraph())
        elif tag.startswith(W) and self._paragraphs:
            self._in_paragraph(tag, attributes)
        elif tag.startswith(W):
            self._in_table(tag, attributes)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._depth -= 1
        if self._unsaid:
            self._unsaid -= 1
            return
        tag = tag.replace(_W_STRICT, W)
        if tag in (_T, _MATH):
            self._in_text = False
        elif tag == _P and self._paragraphs:
            self._write(self._finished(self._paragraphs.pop()))
        elif tag == _TC and self._tables:
            self._cell(self._tables[-1])
        elif tag == _TR and self._tables:
            self._row(self._tables[-1])
        elif tag == _TBL and self._tables:
            self._tables.pop()
            self._write("\n", of_row=False)

    def text(self, data: str) -> None:
        """Characters; outside of `w:t` they are the file's own line breaks."""
        if self._in_text and not self._unsaid and self._paragraphs:
            self._paragraphs[-1].pieces.append(data)

    def _in_paragraph(self, tag: str, attributes: Attributes) -> None:
        paragraph = self._paragraphs[-1]
        value = attributes.get(_VAL, "")
        if tag in _MARKS:
            paragraph.pieces.append(_MARKS[tag])
        elif tag == W + "pStyle":
            paragraph.style = value
        elif tag == W + "outlineLvl":
            paragraph.outline = int(value) if value.isdigit() else None
        elif tag == W + "ilvl":
            paragraph.number = (paragraph.number[0] if paragraph.number else "", int(value) if value.isdigit() else 0)
        elif tag == W + "numId":
            paragraph.number = (value, paragraph.number[1] if paragraph.number else 0)
        elif tag == W + "sym":
            paragraph.pieces.append(_symbol(attributes.get(W + "char", "")))
        elif tag in _NOTES:
            note = _NOTES[tag] + attributes.get(W + "id", "")
            if note in self._notes:
                paragraph.notes.append(note)
                paragraph.pieces.append(_mark(note))
        elif tag == _TBL:
            self._tables.append(_Table())

    def _in_table(self, tag: str, attributes: Attributes) -> None:
        if tag == _TBL:
            self._tables.append(_Table())
        elif self._tables:
            table = self._tables[-1]
            value = attributes.get(_VAL, "")
            if tag == W + "gridSpan":
                table.span = max(1, min(int(value), 64)) if value.isdigit() else 1
            elif tag == W + "vMerge":
                table.merged = value or "continue"

    def _cell(self, table: _Table) -> None:
        """A cell that goes on from the row above says again what it says there, so that each row can be read alone."""
        column = len(table.row)
        text = "".join(table.cell).strip()
        if table.merged == "continue":
            text = text or table.above.get(column, "")
        if table.merged is not None:
            table.above[column] = text
        else:
            table.above.pop(column, None)
        table.row += [text, *[""] * (table.span - 1)]
        table.cell.clear()
        table.span, table.merged = 1, None

    def _row(self, table: _Table) -> None:
        """A table of one column is there for its frame: its paragraphs stay paragraphs.  A table within a cell is one
        line of it."""
        line = f"{table.row[0]}\n" if len(table.row) == 1 else row_line(table.row)
        if len(self._tables) > 1:
            line = ", ".join(filter(None, table.row)) + "; "
        table.row.clear()
        self._write(line, of_row=True)

    def _finished(self, paragraph: _Paragraph) -> str:
        """A paragraph with its number, and its notes behind it."""
        text = "".join(paragraph.pieces)
        if not text.strip():
            return ""
        style = self._styles.get(paragraph.style)
        number = paragraph.number or (style.number if style else None)
        if number is not None and not number[0] and style is not None and style.number is not None:
            number = style.number[0], number[1]  # its own level of its style's list
        label = self._numbering.label(number) if number else ""
        level = paragraph.outline if paragraph.outline is not None else style.outline if style else None
        text = f"{label}{text}"
        if level is not None and level < 9 and not self._tables and len(self._paragraphs) == 0:
            if level < _PART_LEVEL_MAX and self._scribe is not None:
                self._scribe.part(text)
            text = f"{'#' * min(level + 1, 6)} {text}"
        notes = "".join(f"\n{_mark(n)}: {self._notes[n].strip()}" for n in paragraph.notes)
        return f"{text}{notes}\n"

    def _write(self, text: str, of_row: bool = False) -> None:
        """To the cell that is open, or to the text.  A row belongs to the cell around its table."""
        around = self._tables[:-1] if of_row else self._tables
        if around:
            around[-1].cell.append(text)
        else:
            self.put(text)

    def put(self, text: str) -> None:
        """A finished piece of text."""
        assert self._scribe is not None
        self._scribe.write(text)


class _Collected(_Body):
    """A text that is not written down at once: a note, a header."""

    def __init__(self, styles: Styles) -> None:
        super().__init__(None, styles, Numbering(), {})
        self.collected = ""

    def put(self, text: str) -> None:
        self.collected += text


class _Notes(_Collected):
    """All footnotes, or all endnotes."""

    def __init__(self, kind: str, styles: Styles) -> None:
        super().__init__(styles)
        self._kind = kind
        self._id = ""
        self._found: dict[str, str] = {}

    def read(self, archive: Archive, name: str) -> dict[str, str]:
        """By its letter and its id, each note's text."""
        archive.parse(name, self.start, self.end, self.text)
        return self._found

    def start(self, tag: str, attributes: Attributes) -> None:
        local = tag.rpartition(" ")[2]
        if local == self._kind:
            self._id = next((value for key, value in attributes.items() if key.endswith(" id")), "")
            self.collected = ""
        super().start(tag, attributes)

    def end(self, tag: str) -> None:
        super().end(tag)
        if tag.rpartition(" ")[2] == self._kind and self.collected.strip():
            self._found[self._kind[0] + self._id] = self.collected.strip()


def _mark(note: str) -> str:
    """How a note is named, in its place and before itself."""
    return f"[^{note.removeprefix('f')}]"


def _symbol(code: str) -> str:
    """A character of a symbol font; those of the private area mean nothing outside their font but for the bullet."""
    try:
        point = int(code, 16)
    except ValueError:
        return ""
    return "•" if point == 0xF0B7 else "" if 0xE000 <= point < 0xF900 or point > 0x10FFFF else chr(point)
