"""MOBI books (and the plain texts of PalmDoc): no library with a free licence reads them.

The format is described at wiki.mobileread.com/wiki/MOBI and /PalmDOC; HUFF/CDIC after the public descriptions there.
A file is a table of records; record 0 says how the text in those behind it is packed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.markup import Markup
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.text import decode
from segue.files.parsing.unreadable import Unreadable

_STORED, _PALMDOC, _HUFFMAN = 1, 2, 17480
_ENCODINGS = {65001: "utf-8", 1252: "cp1252"}
_PART_LEVEL_MAX = 2
_EXPANSIONS_MAX = 32  # phrases within phrases
_RECORD_BYTES_MAX = 1 << 16  # of text in one record; writers make 4096

Unpack = Callable[[bytes], bytes]


def read_mobi(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable, `format` for a book that is encrypted.  Returns 0: it has no pages."""
    try:
        data, is_markup, encoding = _unpacked(source, scribe, limits)
    except (struct.error, IndexError) as error:
        raise Unreadable("parse", "records that are not there") from error
    named = _ENCODINGS.get(encoding)
    text = data.decode(named, "replace") if named else decode(data)
    if not is_markup:
        scribe.write(text)
        return 0

    def heading(level: int, words: str) -> None:
        if level <= _PART_LEVEL_MAX:
            scribe.part(words)

    Markup(scribe.write, heading).read(text)
    return 0


def _unpacked(source: Source, scribe: Scribe, limits: ParseLimits) -> tuple[bytes, bool, int]:
    """The text, whether it is HTML, its code page (0: not said)."""
    records = _records(source)
    head = records(0)
    packing, _, length, count, _, encryption, _ = struct.unpack_from(">HHIHHHH", head)
    if encryption:
        raise Unreadable("format", "encrypted")
    if length > limits.text_bytes_max:
        raise Unreadable("size", "text")
    has_header = head[16:20] == b"MOBI"
    header_bytes, encoding = (_word(head, 20), _word(head, 28)) if has_header else (0, 0)
    trailing = struct.unpack_from(">H", head, 242)[0] if has_header and header_bytes >= 228 else 0
    unpack = _unpacker(packing, head, records)
    pieces: list[bytes] = []
    size = 0
    for number in range(1, count + 1):
        pieces.append(unpack(_without_trailing(records(number), trailing)))
        size += len(pieces[-1])
        if size > limits.text_bytes_max:
            raise Unreadable("size", "text")
    return b"".join(pieces), has_header, encoding


def _records(source: Source) -> Callable[[int], bytes]:
    """Record number so and so.  The last one ends with the file."""
    mapped = source.mapped()
    count = struct.unpack_from(">H", mapped, 76)[0]
    places = [struct.unpack_from(">I", mapped, 78 + 8 * number)[0] for number in range(count)]
    places.append(source.bytes)

    def record(number: int) -> bytes:
        if not 0 <= places[number] <= places[number + 1] <= source.bytes:
            raise IndexError(number)
        return mapped[places[number] : places[number + 1]]

    return record


def _word(data: bytes, place: int) -> int:
    value: int = struct.unpack_from(">I", data, place)[0]
    return value


def _unpacker(packing: int, head: bytes, records: Callable[[int], bytes]) -> Unpack:
    if packing == _STORED:
        return lambda data: data
    if packing == _PALMDOC:
        return _palmdoc
    if packing == _HUFFMAN:
        first, count = _word(head, 112), _word(head, 116)
        return _Huffman(records(first), [records(first + place) for place in range(1, min(count, 1 << 16))]).unpack
    raise Unreadable("parse", "an unknown packing")


def _without_trailing(data: bytes, flags: int) -> bytes:
    """Behind a record's text may stand entries, each with its size at its very end, seven bits a byte."""
    for _ in range((flags >> 1).bit_count()):
        size = 0
        for byte in data[-4:]:  # a size begins at the byte whose highest bit is set
            size = (0 if byte & 0x80 else size) << 7 | byte & 0x7F
        data = data[: max(0, len(data) - size)]
    if flags & 1 and data:  # bytes of a character that goes on in the next record
        data = data[: max(0, len(data) - (data[-1] & 3) - 1)]
    return data


def _palmdoc(data: bytes) -> bytes:
    """LZ77 as of 1997: bytes, runs of bytes, pairs of distance and length, and a blank with a letter."""
    out = bytearray()
    place = 0
    while place < len(data):
        byte = data[place]
        place += 1
        if 1 <= byte <= 8:
            out += data[place : place + byte]
            place += byte
        elif byte < 0x80:
            out.append(byte)
        elif byte >= 0xC0:
            out += bytes((0x20, byte ^ 0x80))
        elif place < len(data):
            pair = byte << 8 | data[place]
            place += 1
            distance, length = pair >> 3 & 0x7FF, (pair & 7) + 3
            if not 0 < distance <= len(out):
                raise IndexError(distance)
            for _ in range(length):
                out.append(out[-distance])
    return bytes(out)


class _Huffman:
    """HUFF records name codes, CDIC records the phrases they stand for; a phrase may itself be packed."""

    def __init__(self, table: bytes, dictionaries: list[bytes]) -> None:
        if table[:4] != b"HUFF":
            raise Unreadable("parse", "no table of codes")
        short, long = _word(table, 8), _word(table, 12)
        self._short = struct.unpack_from(">256I", table, short)
        limits = struct.unpack_from(">64I", table, long)
        self._least = [0, *(limits[2 * bits] << (32 - bits - 1) for bits in range(32))]
        self._most = [0, *((limits[2 * bits + 1] + 1 << (32 - bits - 1)) - 1 for bits in range(32))]
        self._phrases: list[tuple[bytes, bool]] = []
        for dictionary in dictionaries:
            self._add(dictionary)
        self._known: dict[int, bytes] = {}

    def _add(self, dictionary: bytes) -> None:
        if dictionary[:4] != b"CDIC":
            raise Unreadable("parse", "no phrases")
        total, bits = _word(dictionary, 8), _word(dictionary, 12)
        count = min(1 << min(bits, 16), total - len(self._phrases))
        for number in range(max(0, count)):
            place = 16 + struct.unpack_from(">H", dictionary, 16 + 2 * number)[0]
            size = struct.unpack_from(">H", dictionary, place)[0]
            phrase = dictionary[place + 2 : place + 2 + (size & 0x7FFF)]
            self._phrases.append((phrase, bool(size & 0x8000)))

    def unpack(self, data: bytes, depth: int = 0) -> bytes:
        """The text of one record, or of one phrase."""
        if depth > _EXPANSIONS_MAX:
            raise Unreadable("parse", "phrases within phrases")
        out = bytearray()
        left = len(data) * 8
        number = int.from_bytes(data + bytes(8))
        shift = left + 32  # so that the next 32 bits are the lowest ones
        while left > 0:
            code = number >> shift & 0xFFFFFFFF
            bits, index = self._code(code)
            left -= bits
            shift -= bits
            if left < 0:
                break
            out += self._phrase(index, depth)
            if len(out) > _RECORD_BYTES_MAX:
                raise Unreadable("parse", "a record too long")
        return bytes(out)

    def _code(self, code: int) -> tuple[int, int]:
        """How many bits the next code has, and which phrase it stands for."""
        entry = self._short[code >> 24]
        bits, is_whole = entry & 0x1F, entry & 0x80
        if bits == 0:
            raise IndexError(bits)
        most = ((entry >> 8) + 1 << (32 - bits)) - 1
        if not is_whole:
            while code < self._least[bits]:
                bits += 1
            most = self._most[bits]
        return bits, most - code >> (32 - bits)

    def _phrase(self, index: int, depth: int) -> bytes:
        phrase, is_whole = self._phrases[index]
        if is_whole:
            return phrase
        if index not in self._known:
            self._known[index] = self.unpack(phrase, depth + 1)
        return self._known[index]
