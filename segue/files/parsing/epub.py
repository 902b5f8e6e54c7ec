"""EPUB books: the files of the spine in reading order, named as the book's own table of contents names them.

An own reader: the one library with a free licence that was tried lost whole chapters whose file names have escapes.
"""

from __future__ import annotations

import posixpath
import re
from abc import ABC, abstractmethod

from segue.files.parsing.archive import Archive, Attributes, joined
from segue.files.parsing.limits import ParseLimits
from segue.files.parsing.markup import Markup
from segue.files.parsing.scribe import Scribe
from segue.files.parsing.source import Source
from segue.files.parsing.text import decode
from segue.files.parsing.unreadable import Unreadable

_PACKAGE = "application/oebps-package+xml"
_MARKUP = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml", ""})
_CONTENTS = "application/x-dtbncx+xml"
_PART_LEVEL_MAX = 2  # where a file has no name in the table of contents, headings down to here name it
_DECLARED = re.compile(rb'^\s*<\?xml[^>]*?encoding=["\']([A-Za-z0-9._-]{1,40})["\']')


def read_epub(source: Source, scribe: Scribe, limits: ParseLimits) -> int:
    """Raises Unreadable, `format` for a book that is encrypted.  Returns 0: pages are made by who shows it."""
    archive = Archive(source.file, limits)
    package = _package(archive)
    spine, contents, navigation = _spine(archive, package)
    if not spine:
        raise Unreadable("parse", "no spine")
    if _encrypted(archive) & set(spine):
        raise Unreadable("format", "encrypted")
    names = _names(archive, contents, navigation)
    for done, name in enumerate(spine, start=1):
        _Chapter(scribe, names.get(name)).read(_text(archive, name))
        scribe.progress(done, len(spine))
    return 0


class _Chapter:
    """One file of the spine.  It begins a part when it says something: some hold a picture only."""

    def __init__(self, scribe: Scribe, name: str | None) -> None:
        self._scribe = scribe
        self._name = name
        self._begun = False

    def read(self, text: str) -> None:
        Markup(self._write, self._heading).read(text)
        self._scribe.write("\n")

    def _heading(self, level: int, text: str) -> None:
        if self._name is None and level <= _PART_LEVEL_MAX and not self._begun:
            self._name = text

    def _write(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            if self._name is not None:
                self._scribe.part(self._name)
        self._scribe.write(text)


def _package(archive: Archive) -> str:
    found: list[str] = []

    def start(tag: str, attributes: Attributes) -> None:
        if _local(tag) == "rootfile" and attributes.get("media-type", _PACKAGE) == _PACKAGE:
            found.append(attributes.get("full-path", ""))

    archive.parse("META-INF/container.xml", start)
    for name in found:
        member = archive.find(joined("", name))
        if member is not None:
            return member
    raise Unreadable("parse", "no package")


def _spine(archive: Archive, package: str) -> tuple[list[str], str | None, str | None]:
    """The files in reading order; the table of contents of EPUB 2; that of EPUB 3."""
    folder = posixpath.dirname(package)
    items: dict[str, tuple[str, str]] = {}
    order: list[str] = []
    contents: list[str] = []
    navigation: list[str] = []

    def start(tag: str, attributes: Attributes) -> None:
        local = _local(tag)
        if local == "item":
            name, media = joined(folder, attributes.get("href", "")), attributes.get("media-type", "")
            items[attributes.get("id", "")] = name, media
            if media == _CONTENTS:
                contents.append(name)
            if "nav" in attributes.get("properties", "").split():
                navigation.append(name)
        elif local == "itemref":
            order.append(attributes.get("idref", ""))

    archive.parse(package, start)
    found = [archive.find(items[item][0]) for item in order if item in items and items[item][1] in _MARKUP]
    spine = list(dict.fromkeys(name for name in found if name is not None))
    first = [next(filter(None, map(archive.find, places)), None) for places in (contents, navigation)]
    return spine, first[0], first[1]


def _encrypted(archive: Archive) -> set[str]:
    """Members that need a key.  Fonts are often scrambled, which hurts nobody."""
    found: set[str] = set()

    def start(tag: str, attributes: Attributes) -> None:
        if _local(tag) == "CipherReference":
            found.add(joined("", attributes.get("URI", "")))

    if "META-INF/encryption.xml" in archive.names:
        archive.parse("META-INF/encryption.xml", start)
    return found


def _names(archive: Archive, contents: str | None, navigation: str | None) -> dict[str, str]:
    """What the table of contents calls each file: its first entry for it.  A broken one is no reason to give up."""
    names: dict[str, str] = {}
    readers = ((navigation, _Navigation), (contents, _Contents))
    for place, reader in readers:
        if place is not None and not names:
            entries = reader(posixpath.dirname(place))
            try:
                archive.parse(place, entries.start, entries.end, entries.text)
            except Unreadable as unreadable:
                if unreadable.trouble != "parse":
                    raise
            names = entries.names
    return names


class _Entries(ABC):
    """A table of contents as it is read: words, and the file they stand for."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._target = ""
        self._words: list[str] | None = None
        self.names: dict[str, str] = {}

    @abstractmethod
    def start(self, tag: str, attributes: Attributes) -> None:
        """An element begins."""

    @abstractmethod
    def end(self, tag: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        if self._words is not None:
            self._words.append(data)

    def _enter(self) -> None:
        words = " ".join("".join(self._words or ()).split())
        if words and self._target:
            self.names.setdefault(self._target, words)


class _Navigation(_Entries):
    """EPUB 3: `<nav epub:type="toc">` with links."""

    _in_contents = False

    def start(self, tag: str, attributes: Attributes) -> None:
        local = _local(tag)
        if local == "nav":
            kind = next((value for key, value in attributes.items() if _local(key) == "type"), "toc")
            self._in_contents = kind == "toc"
        elif local == "a" and self._in_contents:
            self._target = joined(self._folder, attributes.get("href", ""))
            self._words = []

    def end(self, tag: str) -> None:
        if _local(tag) == "a" and self._words is not None:
            self._enter()
            self._words = None
        elif _local(tag) == "nav":
            self._in_contents = False


class _Contents(_Entries):
    """EPUB 2: `<navPoint><navLabel><text>` and then `<content src>`."""

    def start(self, tag: str, attributes: Attributes) -> None:
        local = _local(tag)
        if local == "text":
            self._words = []
        elif local == "content":
            self._target = joined(self._folder, attributes.get("src", ""))
            self._enter()
            self._words = None

    def end(self, tag: str) -> None:
        """The words of a label are kept until its content is named."""


def _text(archive: Archive, name: str) -> str:
    data = archive.read(name)
    declared = _DECLARED.match(data)
    if declared is not None:
        try:
            return data.decode(declared.group(1).decode())
        except (LookupError, UnicodeError):
            pass
    return decode(data)


def _local(tag: str) -> str:
    return tag.rpartition(" ")[2]
