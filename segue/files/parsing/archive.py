"""Zip files and the XML in them, as Office files and books have it.

Laws: what is unpacked counts, all members together, whatever their headers claim; no XML defines entities or reads
another file; nothing is read as a tree.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import unquote
from xml.parsers import expat

from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.unreadable import Unreadable

_BLOCK_BYTES = 1 << 16
_ENCRYPTED = 0x1
_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"

Attributes = dict[str, str]
Start = Callable[[str, Attributes], None]
End = Callable[[str], None]
Text = Callable[[str], None]


class Archive:
    """A zip file of limited members and bytes.  Raises Unreadable, `parse` where it is no whole zip file."""

    def __init__(self, file: BinaryIO, limits: ParseLimits) -> None:
        self._left = limits.unpacked_bytes_max
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Unreadable("parse", "no whole zip file") from error
        members = self._zip.infolist()
        if len(members) > limits.members_max:
            raise Unreadable("size", "members")
        self._members = {member.filename: member for member in members}
        self._by_lower = {name.lower(): name for name in self._members}
        self.names = frozenset(self._members)

    def find(self, name: str) -> str | None:
        """The member of this name, in any case: some writers are not sure of theirs."""
        return name if name in self._members else self._by_lower.get(name.lower())

    def blocks(self, name: str) -> Iterator[bytes]:
        """A member's bytes, as they are unpacked."""
        member = self._members[name]
        if member.flag_bits & _ENCRYPTED:
            raise Unreadable("format", "encrypted")
        try:
            with self._zip.open(member) as opened:
                while block := opened.read(_BLOCK_BYTES):
                    self._left -= len(block)
                    if self._left < 0:
                        raise Unreadable("size", "unpacked")
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise Unreadable("parse", "a member is broken") from error

    def read(self, name: str) -> bytes:
        """All of a member."""
        return b"".join(self.blocks(name))

    def parse(self, name: str, start: Start, end: End | None = None, text: Text | None = None) -> None:
        """Hand a member's elements over as they come.  Names are `namespace local`, or `local` without one."""
        parser = _parser(start, end, text)
        try:
            for block in self.blocks(name):
                parser.Parse(block, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Unreadable("parse", f"XML {error.code}") from error

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """What a member refers to: by id, the last word of the kind and the member's name.  "" stands for the file."""
        folder, base = posixpath.split(name)
        place = self.find(posixpath.join(folder, "_rels", f"{base}.rels"))
        found: dict[str, tuple[str, str]] = {}

        def start(tag: str, attributes: Attributes) -> None:
            if tag == f"{_RELATIONSHIPS} Relationship" and attributes.get("TargetMode") != "External":
                kind = attributes.get("Type", "").rpartition("/")[2]
                found[attributes.get("Id", "")] = (kind, joined(folder, attributes.get("Target", "")))

        if place is not None:
            self.parse(place, start)
        return found

    def related(self, name: str, kind: str) -> str | None:
        """The member of a kind that a member refers to."""
        for found, target in self.relations(name).values():
            if found == kind:
                return self.find(target)
        return None


def joined(folder: str, reference: str) -> str:
    """The member that a reference within a folder means; a fragment is none of its name."""
    path = unquote(reference.partition("#")[0])
    if path.startswith("/"):
        return path.lstrip("/")
    return posixpath.normpath(posixpath.join(folder, path)) if path else ""


def office_main(archive: Archive) -> str:
    """The member an Office file begins with; empty when it is none."""
    named = archive.related("", "officeDocument")
    usual = (archive.find("word/document.xml"), archive.find("xl/workbook.xml"))
    return named or next(filter(None, usual), "")


def _parser(start: Start, end: End | None, text: Text | None) -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _no_definitions
    parser.EntityDeclHandler = _no_entities
    if end is not None:
        parser.EndElementHandler = end
    if text is not None:
        parser.CharacterDataHandler = text
    return parser


def _no_definitions(_name: str, _system: str | None, _public: str | None, has_internal_subset: bool) -> None:
    """A document type may be named, as the tables of contents of old books do; it is never fetched."""
    if has_internal_subset:
        raise Unreadable("parse", "a document type definition")


def _no_entities(*_declared: object) -> None:
    raise Unreadable("parse", "an entity")
