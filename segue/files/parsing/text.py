"""Plain text, Markdown, CSV and JSON: which encoding, and then the text as it stands.

A byte order mark decides; else strict UTF-8; else what chardet takes a sample for, if the whole file can be read so;
else GB18030, which the service's own users write most.  Nothing is held but one block.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Literal

import chardet

from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.unreadable import Unreadable

_BLOCK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DAMAGE_SHARE_MAX = 0.01  # of the characters beyond ASCII: above it, this is no UTF-8 with a few broken bytes
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_CONTROLS_SHARE_MAX = 0.002
# A byte beyond ASCII between letters within it: so accents stand in Latin script, and no other script's letters.
_ALONE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_ALONE_SHARE_MIN = 0.75
_LATIN = frozenset({"cp1250", "cp1252", "cp1254", "cp1257", "cp1258", "iso8859-1", "iso8859-15"})
_ESCAPED_JAPANESE = re.compile(rb"\x1b\$[@B].*?\x1b\([BJ]", re.DOTALL)
_CHINESE = re.compile("[\n\r\t -~\u2010-\u2026\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]")
_STOPS = re.compile("[\n 、。，]")
_HEADING = re.compile(r"#{1,3}[ \t]+(\S.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
# A backslash with what it escapes: of all escapes only \\uXXXX is written out, and never one that JSON needs.
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|.)", re.DOTALL)
_ESCAPE_CHARS_MAX = 12


def read_text(source: Source, scribe: Scribe, kind: Literal["text", "markdown", "json"]) -> int:
    """Raises Unreadable: `format` for bytes that are no text.  Returns 0: it has no pages."""
    encoding, errors = _encoding(source)
    blocks = _decoded(source, encoding, errors)
    match kind:
        case "markdown":
            _markdown(blocks, scribe)
        case "json":
            _json(blocks, scribe)
        case "text":
            for block in blocks:
                scribe.write(block)
    return 0


def decode(data: bytes) -> str:
    """A text that is at hand, such as a book's, by the same rules."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    for name in _guesses(data[:_SAMPLE_BYTES]):
        try:
            return data.decode(name)
        except UnicodeError:
            continue
    return data.decode("gb18030", "replace")


# --- the encoding -------------------------------------------------------------------------------------------------


def _encoding(source: Source) -> tuple[str, str]:
    """Its name, and what becomes of bytes that it cannot read."""
    head = source.head(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, "replace"
    if _ESCAPED_JAPANESE.search(source.head(_SAMPLE_BYTES)) and _reads(source, "iso2022_jp"):
        return "iso2022_jp", "strict"
    if _reads(source, "utf-8"):
        return "utf-8", "strict"
    wide = _wide(source.head(_SAMPLE_BYTES))
    if wide:
        return wide, "replace"
    if _slightly_damaged(source):
        return "utf-8", "replace"
    for name in _guesses(_sample(source)):
        if _reads(source, name):
            return name, "strict"
    if _reads(source, "gb18030"):
        return "gb18030", "strict"
    raise Unreadable("format", "no text in any encoding")


def _reads(source: Source, encoding: str) -> bool:
    """Whether the whole file can be read so, and is text when it is."""
    chars = controls = 0
    try:
        for block in _decoded(source, encoding, "strict"):
            chars += len(block)
            controls += len(_CONTROLS.findall(block))
            if controls > chars * _CONTROLS_SHARE_MAX + 4:
                return False
    except UnicodeError:
        return False
    return True


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark.  In most scripts one byte of each pair is zero much more often than the other; Chinese is
    known by its characters, of which another encoding read as UTF-16 makes rare ones."""
    pairs = len(sample) // 2
    if pairs < 2:
        return None
    low, high = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    is_lopsided = max(low, high) >= pairs * 0.02 and min(low, high) <= max(low, high) * 0.1
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            found = sample.decode(encoding, "strict" if len(sample) < _SAMPLE_BYTES else "ignore")
        except UnicodeDecodeError:
            continue
        if is_lopsided:
            likely = (high > low) == (encoding == "utf-16-le")
        else:
            likely = len(_CHINESE.findall(found)) > 0.97 * len(found) and bool(_STOPS.search(found))
        if likely and len(_CONTROLS.findall(found)) <= len(found) * _CONTROLS_SHARE_MAX:
            return encoding
    return None


def _slightly_damaged(source: Source) -> bool:
    """Whether it is UTF-8 but for a byte here and there, or cut off inside a character."""
    beyond = broken = controls = 0
    for block in _decoded(source, "utf-8", "replace"):
        beyond += 0 if block.isascii() else sum(char > "\x7f" for char in block)
        broken += block.count("\ufffd")
        controls += len(_CONTROLS.findall(block))
    return 0 < broken <= max(1, beyond * _DAMAGE_SHARE_MAX) and beyond > broken and controls == 0


def _sample(source: Source) -> bytes:
    """A piece of the file around its first byte beyond ASCII."""
    source.file.seek(0)
    while block := source.file.read(_BLOCK_BYTES):
        if not block.isascii():
            first = next(place for place, byte in enumerate(block) if byte > 0x7F)
            return block[max(0, first - 256) :][:_SAMPLE_BYTES]
    return source.head(_SAMPLE_BYTES)


def _guesses(sample: bytes) -> Iterator[str]:
    """What chardet takes it for, best first.  GB2312 and GBK are parts of GB18030."""
    latin = len(_ALONE.findall(sample)) > _ALONE_SHARE_MIN * sum(byte > 0x7F for byte in sample)
    for found in chardet.detect_all(sample, encoding_era=chardet.EncodingEra.MODERN_WEB):
        if found["encoding"] is None:
            continue
        name = codecs.lookup(found["encoding"]).name
        if not latin or name in _LATIN:
            yield "gb18030" if name in ("gb2312", "gbk") else name
    if latin:
        yield from ("cp1252", "latin-1")


def _decoded(source: Source, encoding: str, errors: str) -> Iterator[str]:
    """The text in blocks.  Raises UnicodeError where the encoding does not fit."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    source.file.seek(0)
    while block := source.file.read(_BLOCK_BYTES):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


# --- what the text is ---------------------------------------------------------------------------------------------


def _markdown(blocks: Iterator[str], scribe: Scribe) -> None:
    """Its headings name its parts; those in fenced code are no headings."""
    fenced = False
    for line in _lines(blocks):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and line.startswith("#") and (heading := _HEADING.match(line.rstrip("\r\n"))):
            scribe.part(heading.group(1))
        scribe.write(line)


def _lines(blocks: Iterator[str]) -> Iterator[str]:
    """Lines with their ends.  One without an end is given out in pieces as long as a block."""
    rest = ""
    for block in blocks:
        lines = (rest + block).splitlines(keepends=True)
        rest = lines.pop() if lines and len(lines[-1]) < _BLOCK_BYTES and not lines[-1].endswith("\n") else ""
        yield from lines
    if rest:
        yield rest


def _json(blocks: Iterator[str], scribe: Scribe) -> None:
    """As it stands, but for characters that were written as numbers, which no reader would find again."""
    rest = ""
    for block in blocks:
        text = rest + block
        cut = _whole(text)
        scribe.write(_ESCAPE.sub(_written_out, text[:cut]))
        rest = text[cut:]
    scribe.write(_ESCAPE.sub(_written_out, rest))


def _whole(text: str) -> int:
    """Where to cut, so that no escape goes through it: behind the last line, or else before the last backslashes."""
    line = text.rfind("\n") + 1
    if line:
        return line
    cut = len(text)
    while (found := text.rfind("\\", max(0, cut - _ESCAPE_CHARS_MAX), cut)) >= 0:
        cut = found
    return cut


def _written_out(match: re.Match[str]) -> str:
    first, second = match.group(1), match.group(2)
    if first is None:
        return match.group()
    code = int(first, 16)
    if 0xD800 <= code < 0xDC00 and second is not None:
        return chr(0x10000 + ((code - 0xD800) << 10) + int(second, 16) - 0xDC00)
    if code < 0xA0 or 0xD800 <= code < 0xE000:
        return match.group()
    return chr(code) + (f"\\u{second}" if second is not None else "")
