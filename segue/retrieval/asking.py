"""Asks of documents wherever their text lies: in an uploaded file, whose index lies beside it, or in a message.

A text that was sent, or a file without an index of its own, gets one when it is first asked about: built apart, one
at a time, and kept by workspace and content while there is room, for it comes again with every turn of its
conversation; in another workspace the same text gets an index of its own, as if nobody had ever sent it.

Laws: nothing here holds up the event loop; what is kept has a limit in bytes, and what was used longest ago goes first;
whoever stops waiting stops the work; what loads dictionaries is imported when a question comes, in the thread that
answers it.  It knows no protocol, no template and no model.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import shutil
import tempfile
import weakref
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from segue.core import frozen
from segue.core.documents import Part, Passage
from segue.retrieval.blob import Unreadable
from segue.retrieval.index import Index
from segue.retrieval.lines import Text

Build = Callable[[Path, Sequence[Part], Path], Awaitable[None]]
"""Text, parts, and where the index goes."""

BYTES_A_TOKEN_MAX = 8
SAMPLE_BYTES = 1000


class Held(Protocol):
    """An uploaded file: its text, its parts, its index where there is one."""

    @property
    def text(self) -> Path: ...
    @property
    def parts(self) -> tuple[Part, ...]: ...
    @property
    def index(self) -> Path | None: ...


class Volume(Protocol):
    """A document: a file, or the text that was `sent`; its length, and the workspace it is read for."""

    @property
    def tokens(self) -> int: ...
    @property
    def held(self) -> Held | None: ...
    @property
    def sent(self) -> str: ...
    @property
    def owner(self) -> str: ...


@frozen
class _Open:
    index: Index
    text: Text


class Asking:
    """`build` builds an index; at most `kept_bytes_max` of texts and indexes are kept, in a folder of its own."""

    def __init__(self, build: Build, kept_bytes_max: int) -> None:
        self._build, self._kept_bytes_max = build, kept_bytes_max
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._folder: Path | None = None
        self._one = asyncio.Lock()

    async def wants_whole(self, question: str, before: Sequence[str]) -> bool:
        """Whether the question is about all of the documents and no place in them."""

        def asked() -> bool:
            from segue.retrieval.question import wants_whole

            return wants_whole(question, before)

        return await asyncio.to_thread(asked)

    async def texts(self, volumes: Sequence[Volume]) -> list[str]:
        """All of each."""
        return await asyncio.to_thread(lambda: [_text(volume) for volume in volumes])

    async def sample(self, volumes: Sequence[Volume]) -> str:
        """A little of each, from its beginning, its middle and its end."""
        return await asyncio.to_thread(lambda: "\n".join(_sampled(volume) for volume in volumes))

    async def find(
        self, volumes: Sequence[Volume], question: str, before: Sequence[str], tokens_max: int, statements: str = ""
    ) -> list[tuple[Passage, str]]:
        """The passages that fit the question best, each with its text, in the documents' order."""
        opened = await self._opened(volumes)
        bytes_max = _bytes(volumes, opened, tokens_max)

        def found() -> Sequence[Passage]:
            from segue.retrieval import meaning
            from segue.retrieval.find import find

            indexes, texts = [each.index for each in opened], [each.text for each in opened]
            return find(indexes, texts, question, bytes_max, before, meaning.vectors(), statements)

        return await asyncio.to_thread(lambda: _cut(found(), opened))

    async def digest(self, volumes: Sequence[Volume], question: str, tokens_max: int) -> list[tuple[Passage, str]]:
        """What stands for all of each document, in their order."""
        opened = await self._opened(volumes)
        bytes_max = _bytes(volumes, opened, tokens_max)

        def told() -> Sequence[Passage]:
            from segue.retrieval.digest import digest

            indexes, texts = [each.index for each in opened], [each.text for each in opened]
            return digest(indexes, texts, question, bytes_max)

        return await asyncio.to_thread(lambda: _cut(told(), opened))

    async def _opened(self, volumes: Sequence[Volume]) -> list[_Open]:
        beside = await asyncio.to_thread(lambda: [_beside(volume) for volume in volumes])
        pairs = zip(volumes, beside, strict=True)
        return [await self._own(volume) if opened is None else opened for volume, opened in pairs]

    async def _own(self, volume: Volume) -> _Open:
        """With an index of ours; built when there is none yet."""
        parts = (Part(0, ""),) if volume.held is None else volume.held.parts
        name, data = await asyncio.to_thread(_named, volume, parts)
        text, blob = self._place() / f"{name}.text", self._place() / f"{name}.index"
        self._used[name] += 1
        try:
            if name not in self._kept:
                async with self._one:
                    if name not in self._kept:  # somebody else may have waited for the same
                        await self._make(name, data, parts, text, blob)
            self._kept.move_to_end(name)
            return await asyncio.to_thread(lambda: _Open(Index.open(blob), _mapped(text)))
        finally:
            self._used[name] -= 1
            self._drop()  # what is open stays readable

    async def _make(self, name: str, data: bytes, parts: Sequence[Part], text: Path, blob: Path) -> None:
        try:
            await asyncio.to_thread(text.write_bytes, data)
            await self._build(text, parts, blob)
            self._kept[name] = len(data) + await asyncio.to_thread(lambda: blob.stat().st_size)
        finally:
            if name not in self._kept:
                self._remove(name)

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="segue-texts-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _drop(self) -> None:
        """Forget what was used longest ago and is not being opened, until the rest has room."""
        self._used = +self._used
        total = sum(self._kept.values())
        for name in list(self._kept):
            if total <= self._kept_bytes_max:
                return
            if not self._used[name]:
                total -= self._kept.pop(name)
                self._remove(name)

    def _remove(self, name: str) -> None:
        for ending in ("text", "index"):
            (self._place() / f"{name}.{ending}").unlink(missing_ok=True)


def _beside(volume: Volume) -> _Open | None:
    """With the index that lies beside its text; None where there is none that can be used."""
    held = volume.held
    if held is None or held.index is None:
        return None
    try:
        index, text = Index.open(held.index), _mapped(held.text)
    except (Unreadable, FileNotFoundError):
        return None
    return _Open(index, text) if index.fits(memoryview(text)) else None


def _named(volume: Volume, parts: Sequence[Part]) -> tuple[str, bytes]:
    """What its index is called, and its text."""
    data = volume.held.text.read_bytes() if volume.held is not None else volume.sent.encode("utf-8", "replace")
    digest = hashlib.blake2b(f"{volume.owner}\n".encode(), digest_size=16)
    digest.update(data)
    for part in parts:
        digest.update(f"{part.start} {part.label}\n".encode("utf-8", "replace"))
    return digest.hexdigest(), data


def _mapped(path: Path) -> Text:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _text(volume: Volume) -> str:
    return volume.sent if volume.held is None else str(volume.held.text.read_bytes(), "utf-8", "ignore")


def _sampled(volume: Volume) -> str:
    if volume.held is None:
        size = len(volume.sent)
        return "".join(volume.sent[at : at + SAMPLE_BYTES] for at in _places(size))
    with volume.held.text.open("rb") as file:
        size, found = os.fstat(file.fileno()).st_size, list[bytes]()
        for at in _places(size):
            file.seek(at)
            found.append(file.read(SAMPLE_BYTES))
    return "".join(str(each, "utf-8", "ignore") for each in found)


def _places(size: int) -> tuple[int, ...]:
    if size <= 3 * SAMPLE_BYTES:
        return tuple(range(0, size, SAMPLE_BYTES))
    return 0, size // 2, size - SAMPLE_BYTES


def _cut(passages: Sequence[Passage], opened: Sequence[_Open]) -> list[tuple[Passage, str]]:
    """Passages with their texts."""
    return [
        (each, str(bytes(opened[each.document].text[each.start : each.end]), "utf-8", "ignore")) for each in passages
    ]


def _bytes(volumes: Sequence[Volume], opened: Sequence[_Open], tokens: int) -> int:
    """About how many bytes of these documents so many tokens are."""
    size, length = sum(len(each.text) for each in opened), sum(volume.tokens for volume in volumes)
    return int(tokens * max(1.0, min(BYTES_A_TOKEN_MAX, size / max(1, length))))
