"""Stand-ins for the library of uploaded files and for what looks into documents, and a pipeline that reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from segue.core.documents import File, Part, Passage
from segue.core.errors import Fault, FileUnknown
from segue.core.request import Message, Request, Source
from segue.engine.scripted import Echo, Scripted, scripted_card
from segue.pipeline import Job, Pipeline
from segue.policy.rules import DocumentLimits
from segue.prompt.reading import Limits, Reader, Volume
from tests.requests import request

WHERE = Path("nowhere")


@dataclass(frozen=True, slots=True)
class Held:
    file: File
    content: str
    text: Path = WHERE
    parts: tuple[Part, ...] = (Part(0, ""),)
    index: Path | None = None


def held(name: str, content: str, tokens: int | None = None) -> Held:
    """A file whose id is its name; `tokens` are its bytes where nothing is said."""
    size = len(content.encode())
    row = File(
        name, "space-1", name, size, "", "", "file-extract", 0, "processed", None, size if tokens is None else tokens
    )
    return Held(row, content)


@dataclass
class Library:
    """`faults` by id; everything that was asked for is in `asked`, what is held now in `open`."""

    files: Mapping[str, Held] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, tuple[str, ...], float]] = field(default_factory=list)
    open: int = 0

    @asynccontextmanager
    async def reading(
        self, workspace: str, ids: Sequence[str], wait_s: float
    ) -> AsyncGenerator[tuple[Held, ...], None]:
        self.asked.append((workspace, tuple(ids), wait_s))
        await asyncio.sleep(0)
        for id in ids:
            if fault := self.faults.get(id):
                raise fault
            if id not in self.files or self.files[id].file.workspace != workspace:
                raise FileUnknown(id)
        self.open += 1
        try:
            yield tuple(self.files[id] for id in ids)
        finally:
            self.open -= 1


def content(volume: Volume) -> str:
    if volume.held is None:
        return volume.sent
    assert isinstance(volume.held, Held)
    return volume.held.content


@dataclass
class Finder:
    """Finds the lines that have a word of the question, each a passage on page 1, while there is room; of a document
    that has none, its first line, where any was found."""

    found: list[tuple[str, tuple[str, ...], int]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    statements: list[str] = field(default_factory=list)

    async def wants_whole(self, question: str, before: Sequence[str]) -> bool:
        return "about" in question

    async def texts(self, volumes: Sequence[Volume]) -> list[str]:
        return [content(volume) for volume in volumes]

    async def sample(self, volumes: Sequence[Volume]) -> str:
        return "".join(content(volume)[:100] for volume in volumes)

    async def find(
        self, volumes: Sequence[Volume], question: str, before: Sequence[str], tokens_max: int, statements: str = ""
    ) -> list[tuple[Passage, str]]:
        self.found.append((question, tuple(before), tokens_max))
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        self.statements.append(statements)
        words = set(f"{question} {statements}".lower().replace("?", "").split())
        passages: list[tuple[Passage, str]] = []
        for document, volume in enumerate(volumes):
            start = 0
            for line in content(volume).splitlines(keepends=True):
                size, score = len(line.encode()), len(words & set(line.lower().split()))
                if score and size <= tokens_max:
                    passages.append((Passage(document, start, start + size, "p. 1", score), line))
                    tokens_max -= size
                start += size
        if passages:
            seen = {passage.document for passage, _ in passages}
            for document in set(range(len(volumes))) - seen:
                line = content(volumes[document]).partition("\n")[0]
                passages.append((Passage(document, 0, len(line.encode()), "p. 1", 0.0), line))
        return sorted(passages, key=lambda each: (each[0].document, each[0].start))

    async def digest(self, volumes: Sequence[Volume], question: str, tokens_max: int) -> list[tuple[Passage, str]]:
        share = max(1, tokens_max // len(volumes))
        texts = [content(volume)[:share] for volume in volumes]
        return [(Passage(place, 0, len(text.encode()), "", 1.0), text) for place, text in enumerate(texts)]


FILES = {
    each.file.id: each
    for each in (held("a.txt", "Apples are red.\nPears are green.\n"), held("b.txt", "Plums are blue.\n"))
}
FRUIT = "".join(f"Fruit number {number} is a {name}.\n" for number, name in enumerate(["apple", "pear", "plum"] * 400))
LONG = {"long.txt": held("long.txt", FRUIT), "other.txt": held("other.txt", "Nuts are brown.\n" * 900)}


def asked(*messages: Message, files: tuple[str, ...] = (), texts: tuple[str, ...] = (), **fields: object) -> Request:
    sources = (*(Source(id) for id in files), *(Source(text=text) for text in texts))
    return request(*messages, documents=sources, **fields)


class Desk:
    """A pipeline over the scripted engine with stand-ins behind its reader."""

    def __init__(
        self,
        context: int = 4096,
        output: int = 256,
        strict: bool = True,
        output_tokens_default: int = 0,
        **limits: object,
    ) -> None:
        self.engine = Scripted(Echo(), scripted_card(context_tokens=context, output_tokens=output))
        self.library = Library(FILES | LONG)
        self.finder = Finder()
        reader = Reader(self.library, self.finder, Limits(**limits))  # type: ignore[arg-type]
        self.pipeline = Pipeline(
            lambda name: self.engine, reader=reader, limits=DocumentLimits(strict, 99, output_tokens_default)
        )

    async def prepare(self, sent: Request) -> Job:
        await self.engine.start()
        return await self.pipeline.prepare(sent)

    async def shown(self, sent: Request) -> str:
        job = await self.prepare(sent)
        pieces = await self.engine.pieces(job.prompt.ids)
        return b"".join(pieces).decode()

    async def refused(self, sent: Request) -> Fault:
        with pytest.raises(Fault) as fault:
            await self.prepare(sent)
        assert self.library.open == 0
        return fault.value
