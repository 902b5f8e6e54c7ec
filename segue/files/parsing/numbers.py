"""A number of a cell, as its number format shows it: dates, times, percents, grouped digits, currencies.

The format's language is ECMA-376 part 1, 18.8.31.  What is shown is what a reader would copy: dates in ISO order
whatever the format's order, since 03/04/05 says nothing without the file's locale; else the format's own digits and
words.  What is not known here is shown as the plain number.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Mapping
from typing import Literal

Shape = Literal["general", "text", "date", "time", "moment", "span", "decimal", "scientific"]

# Formats that every file may use by their number.  14-22 and 27-58 differ by locale, but are dates everywhere.
_BUILT_IN: Mapping[int, str] = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    18: "h:mm",
    19: "h:mm:ss",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm",
    32: "h:mm",
    33: "h:mm:ss",
    37: "#,##0",
    38: "#,##0",
    39: "#,##0.00",
    40: "#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss",
    48: "0.0E+0",
    49: "@",
}
_DATES = frozenset({14, 15, 16, 17, *range(27, 32), 34, 35, 36, *range(50, 59)})
_FORMAT_CHARS_MAX = 255  # Excel's own limit
_QUOTED = re.compile(r'"([^"]*)"|\\(.)|_.|\*.')
_BRACKETED = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]|\[[^\]]*\]")
_SPAN = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_DIGITS = re.compile(r"[0#?][0#?,]*(?:\.[0#?]*)?|\.[0#?]+")
_EXACT_DIGITS = 15
_DAYS_MAX = 2_958_466  # the year 10000


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """How a number is shown.  A `decimal` stands between `before` and `after`, with `digits` behind the point."""

    shape: Shape = "general"
    digits: int = 0
    whole: int = 1  # figures before the point, at least
    grouped: bool = False
    factor: float = 1.0
    before: str = ""
    after: str = ""
    negative: Format | None = None

    def show(self, value: str, is_1904: bool = False) -> str:
        """The value as the file has it, shown."""
        if self.shape == "general" and len(value) < _EXACT_DIGITS and value.isdecimal():
            return value  # as most are
        try:
            number = float(value)
        except ValueError:
            return value
        if not math.isfinite(number):
            return value
        match self.shape:
            case "general" | "text":
                return _plain(value, number)
            case "date" | "time" | "moment" | "span":
                return _dated(self.shape, number, is_1904) or _plain(value, number)
            case "scientific":
                return f"{number:.{self.digits}E}"
            case "decimal":
                if number < 0 and self.negative is not None:
                    return self.negative._decimal(-number)
                return self._decimal(number)

    def _decimal(self, number: float) -> str:
        scaled = number * self.factor
        if abs(scaled) >= 1e21:
            return _plain(repr(number), number)
        # Excel rounds the decimal figures that it shows, of which it has 15, and halves away from zero.
        digits = f"{_round(abs(scaled), self.digits):{',' if self.grouped else ''}.{self.digits}f}"
        if not self.grouped:
            digits = digits.zfill(self.whole + bool(self.digits) + self.digits)
        minus = "-" if scaled < 0 and digits.strip("0.,") else ""
        return f"{minus}{self.before}{digits}{self.after}"


def read_format(number: int, code: str | None) -> Format:
    """The format of a style: `number` says which, `code` is the file's own definition of it."""
    if code is None and number in _DATES:
        return Format("date")
    code = _BUILT_IN.get(number, "") if code is None else code[:_FORMAT_CHARS_MAX]
    sections = _sections(code)
    form = _section(sections[0])
    if form.shape == "decimal" and len(sections) > 1 and sections[1]:
        negative = _section(sections[1])
        if negative.shape == "decimal":
            return dataclasses.replace(form, negative=negative)
    return form


def _sections(code: str) -> list[str]:
    """For positive, negative, zero and text; a semicolon in quotes parts nothing."""
    sections, quoted, start = [], False, 0
    for place, char in enumerate(code):
        if char == '"' and code[place - 1 : place] != "\\":
            quoted = not quoted
        elif char == ";" and not quoted and code[place - 1 : place] != "\\":
            sections.append(code[start:place])
            start = place + 1
    return [*sections, code[start:]]


def _section(code: str) -> Format:
    if not code or code.lower() == "general":
        return Format()
    if _SPAN.search(code):
        return Format("span")
    bare = _BRACKETED.sub("", _QUOTED.sub("", code))
    if "@" in bare:
        return Format("text")
    words = bare.lower().replace("general", "")
    if re.search(r"[ymdhs年月日時时分秒]", words) and not _DIGITS.search(re.sub(r"s+\.0+", "", words)):
        return Format(_moment(words))
    digits = _DIGITS.search(bare)
    if digits is None or "/" in bare:
        return Format()
    shown = digits.group()
    behind = sum(char in "0#?" for char in shown.partition(".")[2])
    if re.search(r"E[+-]", bare, re.IGNORECASE):
        return Format("scientific", behind)
    thousands = len(shown) - len(shown.rstrip(","))
    before, after = _around(code)
    return Format(
        "decimal",
        behind,
        shown.partition(".")[0].count("0"),
        "," in shown.rstrip(",").partition(".")[0],
        100.0 ** bare.count("%") / 1000.0**thousands,
        before,
        after,
    )


def _moment(words: str) -> Shape:
    """A date, a time of the day, or both.  An m beside hours or seconds is minutes."""
    has_day = bool(re.search(r"[yd年月日]", words)) or not re.search(r"[hs時时分秒]", words)
    has_time = bool(re.search(r"[hs時时分秒]", words))
    return "moment" if has_day and has_time else "date" if has_day else "time"


def _around(code: str) -> tuple[str, str]:
    """The words before and behind the digits."""
    marks: list[str] = []

    def keep(text: str) -> str:
        marks.append(text)
        return chr(0xE000 + len(marks) - 1)

    code = _QUOTED.sub(lambda match: keep(match.group(1) or match.group(2) or ""), code)
    code = _BRACKETED.sub(lambda match: keep(match.group(1) or ""), code)
    digits = _DIGITS.search(code)
    assert digits is not None

    def said(text: str) -> str:
        return "".join(marks[ord(c) - 0xE000] if 0xE000 <= ord(c) < 0xE000 + len(marks) else c for c in text)

    behind = _DIGITS.sub("", code[digits.end() :])
    return said(code[: digits.start()]).lstrip(), said(behind).rstrip()


def _plain(value: str, number: float) -> str:
    """Without format: whole numbers whole, others to the 15 digits that Excel keeps."""
    if number == int(number) and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.15g}" if "." in value or "e" in value.lower() else value


def _round(number: float, digits: int) -> float:
    shown = float(f"{number:.15g}")
    scale = 10.0 ** min(digits, 15)
    scaled = float(f"{shown * scale:.15g}")
    return math.floor(scaled + 0.5) / scale if scaled < 1e15 else shown


def _dated(shape: Shape, days: float, is_1904: bool) -> str | None:
    """Days since the file's first day.  None: no day of any calendar."""
    seconds = round(days * 86_400)
    if shape == "span":
        hours, rest = divmod(abs(seconds), 3600)
        return f"{'-' if seconds < 0 else ''}{hours}:{rest // 60:02d}:{rest % 60:02d}"
    if seconds < 0 or days > _DAYS_MAX:
        return None
    whole, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}" + (f":{rest % 60:02d}" if rest % 60 else "")
    if shape == "time" or (whole == 0 and not is_1904):
        return clock
    # 1900 was no leap year, but is one here, as it was in an older program: days before March are off by one.
    first = datetime.date(1904, 1, 1) if is_1904 else datetime.date(1899, 12, 30 if whole >= 60 else 31)
    try:
        day = (first + datetime.timedelta(days=whole)).isoformat()
    except OverflowError:
        return None
    return f"{day} {clock}" if shape == "moment" else day
