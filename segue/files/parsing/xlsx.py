"""Excel workbooks: every sheet as a table, its numbers as Excel shows them.

An own reader on zipfile and expat: of the libraries, one aborts its process on a sheet with two far cells, one walks
a million rows for it, and those that are quick give 45356.0 for a date and 0.256 for 25.6%.  A sheet streams by; what
is held are the strings that cells share, and one row.
"""

from __future__ import annotations

import functools
import re

from segue.files.parsing.archive import Archive, Attributes, office_main
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.numbers import Format, read_format
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.table import row_line
from segue.files.parsing.unreadable import Unreadable

_COLUMNS_MAX = 16_384
_GAP_MAX = 24  # columns of nothing within a row, above which a cell names its place instead
_MERGED_ROWS_MAX = 2_000  # of one merged cell
_MERGED_MAX = 50_000  # cells that repeat a merged one, in one sheet
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})([0-9]{1,7}):[A-Z]{1,3}([0-9]{1,7})"')
_MERGED_OVERLAP_BYTES = 256


def read_xlsx(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable.  Returns 0: sheets are no pages."""
    archive = Archive(source.file, limits)
    main = office_main(archive)
    relations = archive.relations(main)
    sheets, is_1904 = _sheets(archive, main)
    strings = _strings(archive, archive.related(main, "sharedStrings"), limits)
    formats = _formats(archive, archive.related(main, "styles"))
    for done, (name, relation) in enumerate(sheets, start=1):
        kind, target = relations.get(relation, ("", ""))
        member = archive.find(target)
        if kind == "worksheet" and member is not None:
            scribe.part(name)
            sheet = _Sheet(name, scribe, strings, formats, is_1904, _merged(archive, member))
            archive.parse(member, sheet.start, sheet.end, sheet.text)
            scribe.write("\n")
        scribe.progress(done, len(sheets))
    return 0


def _sheets(archive: Archive, main: str) -> tuple[list[tuple[str, str]], bool]:
    """The sheets in their order: name and relation; and whether days are counted from 1904."""
    sheets: list[tuple[str, str]] = []
    is_1904 = False

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal is_1904
        local = _local(tag)
        if local == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith("relationships id")), "")
            sheets.append((attributes.get("name", ""), relation))
        elif local == "workbookPr":
            is_1904 = attributes.get("date1904", "0") in ("1", "true")

    archive.parse(main, start)
    return sheets, is_1904


def _strings(archive: Archive, name: str | None, limits: ParseLimits) -> list[str]:
    """The strings that cells share, without how they are pronounced."""
    strings: list[str] = []
    pieces: list[str] = []
    chars = 0
    in_text = spoken = False

    def start(tag: str, _attributes: Attributes) -> None:
        nonlocal in_text, spoken
        local = _local(tag)
        in_text = local == "t" and not spoken
        spoken = spoken or local == "rPh"

    def end(tag: str) -> None:
        nonlocal in_text, spoken, chars
        local = _local(tag)
        in_text = False
        if local == "rPh":
            spoken = False
        elif local == "si":
            strings.append("".join(pieces))
            pieces.clear()
            chars += len(strings[-1])
            if chars > limits.text_bytes_max:
                raise Unreadable("size", "strings")

    def text(data: str) -> None:
        if in_text:
            pieces.append(data)

    if name is not None:
        archive.parse(name, start, end, text)
    return strings


def _formats(archive: Archive, name: str | None) -> list[Format]:
    """How the cells of each style show numbers."""
    own: dict[int, str] = {}
    used: list[int] = []
    in_cells = False

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal in_cells
        local = _local(tag)
        if local == "numFmt":
            own[_number(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif local == "cellXfs":
            in_cells = True
        elif local == "xf" and in_cells:
            used.append(_number(attributes.get("numFmtId")))

    def end(tag: str) -> None:
        nonlocal in_cells
        in_cells = in_cells and _local(tag) != "cellXfs"

    if name is not None:
        archive.parse(name, start, end)
    read = {number: read_format(number, own.get(number)) for number in set(used)}
    return [read[number] for number in used]


def _merged(archive: Archive, name: str) -> dict[int, list[tuple[int, int]]]:
    """By row, the columns that go on with the cell in the row that is named.  Only downwards: each row can then be
    read alone, while a title over eight columns is still said once.

    The sheet says so behind its cells, so its bytes are looked through before they are read.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    left = _MERGED_MAX
    rest = b""
    for block in archive.blocks(name):
        rest += block
        for match in _MERGED.finditer(rest):
            column, first, last = _column(match.group(1).decode()), int(match.group(2)), int(match.group(3))
            if 0 < last - first < min(_MERGED_ROWS_MAX, left):
                left -= last - first
                for row in range(first + 1, last + 1):
                    found.setdefault(row, []).append((column, first))
        cut = rest.rfind(b">") + 1
        rest = rest[max(cut, len(rest) - _MERGED_OVERLAP_BYTES) :]
    return found


class _Sheet:
    """The handlers of one sheet."""

    def __init__(
        self,
        name: str,
        scribe: Scribe,
        strings: list[str],
        formats: list[Format],
        is_1904: bool,
        merged: dict[int, list[tuple[int, int]]],
    ) -> None:
        self._name = name  # until it has been said, above the first row
        self._scribe = scribe
        self._strings = strings
        self._formats = formats
        self._is_1904 = is_1904
        self._merged = merged
        self._wanted = {place for places in merged.values() for place in places}
        self._kept: dict[tuple[int, int], str] = {}  # by column and row, what merged cells say
        self._row: dict[int, str] = {}
        self._number = self._column = 0
        self._kind = self._style = ""
        self._value: list[str] = []
        self._formula: list[str] = []
        self._into: list[str] | None = None
        self._spoken = False

    def start(self, tag: str, attributes: Attributes) -> None:
        """An element begins."""
        local = _local(tag)
        if local == "c":
            self._column = _column(attributes.get("r", "")) or self._column + 1
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "0")
        elif local == "v" or (local == "t" and not self._spoken):
            self._into = self._value
        elif local == "f":
            self._into = self._formula
        elif local == "rPh":
            self._spoken = True
        elif local == "row":
            self._number = _number(attributes.get("r")) or self._number + 1
            self._column = 0

    def end(self, tag: str) -> None:
        """An element ends."""
        local = _local(tag)
        if local in ("v", "t", "f"):
            self._into = None
        elif local == "c":
            text = self._shown()
            if text and self._column <= _COLUMNS_MAX:
                self._row[self._column] = text
            self._value.clear()
            self._formula.clear()
        elif local == "rPh":
            self._spoken = False
        elif local == "row":
            self._finish_row()

    def text(self, data: str) -> None:
        """Characters."""
        if self._into is not None:
            self._into.append(data)

    def _shown(self) -> str:
        """The cell as it is seen; a formula that was never computed, as itself."""
        value = "".join(self._value)
        if not value:
            return f"={''.join(self._formula)}" if self._formula else ""
        match self._kind:
            case "s":
                place = _number(value.strip(), -1)
                return self._strings[place] if 0 <= place < len(self._strings) else ""
            case "b":
                return "TRUE" if value.strip() == "1" else "FALSE"
            case "n":
                place = _number(self._style)
                form = self._formats[place] if place < len(self._formats) else Format()
                return form.show(value.strip(), self._is_1904)
            case _:  # strings of the cell's own, errors, ISO dates
                return value

    def _finish_row(self) -> None:
        for place in self._merged.get(self._number, ()):
            if place in self._kept:
                self._row.setdefault(place[0], self._kept[place])
        cells: list[str] = []
        last = 0
        for column in sorted(self._row):
            text = self._row[column]
            if (column, self._number) in self._wanted:
                self._kept[column, self._number] = text
            gap = column - last - 1
            cells += [""] * gap if gap <= _GAP_MAX else []
            cells.append(text if gap <= _GAP_MAX else f"{_letters(column)}{self._number}: {text}")
            last = column
        self._row.clear()
        if cells:
            self._scribe.write(f"{self._name}\n\n" if self._name else "")
            self._name = ""
            self._scribe.write(row_line(cells))


@functools.lru_cache(maxsize=256)  # asked for every cell, of a dozen tags
def _local(tag: str) -> str:
    return tag.rpartition(" ")[2]


def _number(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def _column(reference: str) -> int:
    """From 1; 0 where the reference says none."""
    return _letters_column(reference.rstrip("0123456789"))


@functools.lru_cache(maxsize=_COLUMNS_MAX)
def _letters_column(letters: str) -> int:
    column = 0
    for letter in letters[:4]:
        if not "A" <= letter <= "Z":
            return 0
        column = column * 26 + ord(letter) - 64
    return column


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
