"""What a Word document's styles and lists say about its paragraphs: which are headings, and how they are numbered."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from segue.files.parsing.archive import Archive, Attributes

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main "
_INHERITANCE_MAX = 16
_HEADING = re.compile(r"(?:heading|标题|標題) ?([1-9])$", re.IGNORECASE)
_LEVELS_MAX = 9


@dataclasses.dataclass(slots=True)
class Style:
    """`outline` is the level of a heading from 0; `number` is a list and the level in it from 0."""

    based_on: str = ""
    outline: int | None = None
    number: tuple[str, int] | None = None


Styles = dict[str, Style]


@dataclasses.dataclass(slots=True)
class Level:
    """How one level of a list is numbered: from where, in which figures, in which words."""

    start: int = 1
    figures: str = "decimal"
    words: str = ""


@dataclasses.dataclass(slots=True)
class Numbering:
    """The lists and how far each has been counted.  `kinds` by list, `levels` by kind; several lists may go on with one
    count."""

    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    levels: dict[str, dict[int, Level]] = dataclasses.field(default_factory=dict)
    starts: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)
    _counts: dict[str, dict[int, int]] = dataclasses.field(default_factory=dict)
    _begun: set[tuple[str, int]] = dataclasses.field(default_factory=set)

    def label(self, number: tuple[str, int]) -> str:
        """What stands before the next paragraph of this list on this level."""
        listed, depth = number
        kind = self.kinds.get(listed)
        if kind is None or depth >= _LEVELS_MAX:
            return ""
        levels = self.levels.get(kind, {})
        level = levels.get(depth, Level())
        if level.figures in ("bullet", "none"):
            return f"{'  ' * depth}- " if level.figures == "bullet" else ""
        self._count(listed, kind, depth, level)
        counts = self._counts[kind]

        def figure(match: re.Match[str]) -> str:
            named = int(match.group(1)) - 1
            at = levels.get(named, Level())
            return _figures(counts.get(named, at.start), at.figures)

        words = re.sub(r"%([1-9])", figure, level.words)
        return f"{words} " if words.strip() else ""

    def _count(self, listed: str, kind: str, depth: int, level: Level) -> None:
        counts = self._counts.setdefault(kind, {})
        restart = self.starts.get((listed, depth))
        if restart is not None and (listed, depth) not in self._begun:
            self._begun.add((listed, depth))
            counts[depth] = restart
        else:
            counts[depth] = counts[depth] + 1 if depth in counts else level.start
        for deeper in [other for other in counts if other > depth]:
            del counts[deeper]


def read_styles(archive: Archive, main: str) -> Styles:
    """By their ids, with what they inherit."""
    styles: Styles = {}
    current = Style()

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal current
        local, value = _local(tag), _value(attributes, "val")
        if local == "style":
            current = styles.setdefault(_value(attributes, "styleId"), Style())
        elif local == "name" and (heading := _HEADING.match(value)):
            current.outline = int(heading.group(1)) - 1
        elif local == "name" and value.lower() == "title":
            current.outline = 0
        elif local == "basedOn":
            current.based_on = value
        elif local == "outlineLvl" and value.isdigit():
            current.outline = int(value)
        elif local == "ilvl" and value.isdigit():
            current.number = (current.number[0] if current.number else "", int(value))
        elif local == "numId":
            current.number = (value, current.number[1] if current.number else 0)

    _parse(archive, main, "styles", start)
    for style in styles.values():
        _inherit(style, styles)
    return styles


def read_numbering(archive: Archive, main: str) -> Numbering:
    """The lists, all of them at their beginnings."""
    numbering = Numbering()
    kind, listed, level, depth = "", "", Level(), 0

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal kind, listed, level, depth
        local, value = _local(tag), _value(attributes, "val")
        if local == "abstractNum":
            kind = _value(attributes, "abstractNumId")
            numbering.levels[kind] = {}
        elif local == "num":
            listed = _value(attributes, "numId")
        elif local == "abstractNumId":
            numbering.kinds[listed] = value
        elif local in ("lvl", "lvlOverride"):
            depth = _number(_value(attributes, "ilvl"))
            level = Level()
            if local == "lvl" and not listed:
                numbering.levels[kind][depth] = level
        elif local == "start":
            level.start = _number(value)
        elif local == "startOverride":
            numbering.starts[listed, depth] = _number(value)
        elif local == "numFmt":
            level.figures = value
        elif local == "lvlText":
            level.words = value

    _parse(archive, main, "numbering", start)
    return numbering


def _parse(archive: Archive, main: str, kind: str, start: Callable[[str, Attributes], None]) -> None:
    name = archive.related(main, kind)
    if name is not None:
        archive.parse(name, start)


def _inherit(style: Style, styles: Styles) -> None:
    base = styles.get(style.based_on)
    for _ in range(_INHERITANCE_MAX):
        if base is None:
            return
        style.outline = base.outline if style.outline is None else style.outline
        style.number = base.number if style.number is None else style.number
        base = styles.get(base.based_on)


def _local(tag: str) -> str:
    return tag.rpartition(" ")[2]


def _value(attributes: Attributes, name: str) -> str:
    return next((value for key, value in attributes.items() if _local(key) == name), "")


def _number(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else 0


# --- figures ------------------------------------------------------------------------------------------------------

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_ROMAN_SMALL = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))
_CHINESE = "〇一二三四五六七八九"
_CHINESE_FIGURES = frozenset(
    {"chineseCounting", "chineseCountingThousand", "ideographDigital", "japaneseCounting", "taiwaneseCountingThousand"}
)


def _figures(count: int, figures: str) -> str:
    """A count in words of a list; kinds of figures that are rare come out as decimal ones."""
    if figures.endswith("Letter") and count > 0:
        letters = chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, 8)
        return letters.upper() if figures.startswith("upper") else letters
    if figures.endswith("Roman") and 0 < count < 4000:
        roman = _roman(count)
        return roman.upper() if figures.startswith("upper") else roman
    if figures in _CHINESE_FIGURES and 0 < count < 100:
        return _chinese(count)
    return f"{count:02d}" if figures == "decimalZero" else str(count)


def _roman(count: int) -> str:
    roman = ""
    for value, letters in _ROMAN + _ROMAN_SMALL:
        times, count = divmod(count, value)
        roman += letters * times
    return roman


def _chinese(count: int) -> str:
    tens, ones = divmod(count, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_CHINESE[tens]}十"
    return head + (_CHINESE[ones] if ones or not tens else "")
