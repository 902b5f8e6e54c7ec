"""Whether contents are inspected, and against what.

Laws: what is asked is inspected before the model sees it; a list that was changed holds within `LOOK_S` and the time it
takes to read, and one that is broken leaves the old one in force; of a file it is inspected what the model is given,
each time, for the list may be another by then; what has passed is remembered for its workspace alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from segue.core import frozen
from segue.core.errors import InspectionFailed
from segue.core.request import Request
from segue.policy.inspection.callout import Judge, Piece
from segue.policy.inspection.watch import Watch
from segue.policy.inspection.words import Finder, WordsInvalid, finder, read_words

log = logging.getLogger("segue")

LOOK_S = 1.0
_ASIDE_CHARS = 100_000  # as much is searched while others wait; more in a thread
_PIECE_CHARS = 100_000  # as much a judge is asked about at a time
PASSED_MAX = 1024
"""Contents of files that are remembered to have passed."""

When = Literal["always", "asked", "never"]
"""Inspect every request, those whose caller asks for it, or none."""

_NOTHING = finder((), "input")


class Words:
    """The list at `path`.  Raises WordsInvalid where it cannot be used at first."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._look()
        self.finders = read_words(path)
        self._looked_at = clock()
        self._reading: asyncio.Task[None] | None = None

    def fresh(self) -> tuple[Finder, Finder]:
        """What is looked for in what is asked, and in what is answered.  Needs a running event loop."""
        now = self._clock()
        if now - self._looked_at >= LOOK_S and self._reading is None:
            self._looked_at = now
            if (stamp := self._look()) != self._stamp:
                self._stamp = stamp
                self._reading = asyncio.get_running_loop().create_task(self._read())
        return self.finders

    async def _read(self) -> None:
        try:
            self.finders = await asyncio.to_thread(read_words, self._path)
            log.info("the list of words has been read again")
        except WordsInvalid as error:
            log.error("the list of words is not read again, the old one holds: %s", error)
        finally:
            self._reading = None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


@frozen
class Sides:
    """When each side is inspected."""

    input: When = "always"
    output: When = "always"


class Inspector:
    """Inspects requests, and gives what inspects their answers."""

    def __init__(self, words: Words | None, judge: Judge | None, sides: Sides) -> None:
        self._words = words
        self._judge = judge
        self._sides = sides
        self._passed: OrderedDict[tuple[str, bytes], Finder] = OrderedDict()

    async def inspect(self, request: Request) -> Watch | None:
        """What inspects the answer, None for nothing.  Raises InspectionFailed, InspectionLost."""
        asked, answered = (_NOTHING, _NOTHING) if self._words is None else self._words.fresh()
        wanted = request.inspection
        if self._looks_at(request):
            await self._input(request, list(_texts(request)), asked)
        if self._sides.output == "never" or (self._sides.output == "asked" and not wanted.output):
            return None
        if not answered and self._judge is None:
            return None
        caller = request.caller
        before = request.prefix or request.thought or ""
        if request.plain is not None:
            before = request.plain.text
        return Watch(request.id, caller.workspace, request.model, before, answered, self._judge)

    async def given(self, request: Request, shown: Request) -> None:
        """What the model is given beside what was sent: the contents of files.  Raises as `inspect` does."""
        if not self._looks_at(request):
            return
        asked = _NOTHING if self._words is None else self._words.fresh()[0]
        sent = set(_texts(request))
        fresh: list[str] = []
        places: list[tuple[str, bytes]] = []
        for text in _texts(shown):
            if text in sent:
                continue
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            place = request.caller.workspace, digest
            if self._passed.get(place) is asked:
                self._passed.move_to_end(place)
            else:
                fresh.append(text)
                places.append(place)
        await self._input(request, fresh, asked)
        for place in places:
            self._passed[place] = asked
        while len(self._passed) > PASSED_MAX:
            self._passed.popitem(last=False)

    def _looks_at(self, request: Request) -> bool:
        return self._sides.input == "always" or (self._sides.input == "asked" and request.inspection.input)

    async def _input(self, request: Request, texts: Sequence[str], asked: Finder) -> None:
        if asked:
            aside = sum(map(len, texts)) > _ASIDE_CHARS
            found = await asyncio.to_thread(_any, asked, texts) if aside else _any(asked, texts)
            if found:
                raise InspectionFailed("input")
        if self._judge is None or not texts:
            return
        text, context = "\n".join(texts), ""
        for at in range(0, len(text), _PIECE_CHARS):
            some, last = text[at : at + _PIECE_CHARS], at + _PIECE_CHARS >= len(text)
            piece = Piece(request.id, request.caller.workspace, request.model, "input", some, context, last)
            if (ban := await self._judge.judge(piece)) is not None:
                raise InspectionFailed("input", ban)
            context = some[-200:]


def _any(asked: Finder, texts: Sequence[str]) -> bool:
    return any(map(asked.finds, texts))


def _texts(request: Request) -> Iterator[str]:
    """Every text of the caller's that reaches the model."""
    for message in request.messages:
        yield message.content
        if message.reasoning:
            yield message.reasoning
        for call in message.tool_calls:
            yield call.arguments
    for begun in (request.prefix, request.thought):
        if begun:
            yield begun
    if request.plain is not None:
        yield request.plain.text
        yield request.plain.suffix or ""
    for source in request.documents or ():
        if source.text:
            yield source.text
    for tool in request.offered:
        yield tool.name
        yield tool.description
        yield from _strings(tool.parameters)


def _strings(value: object) -> Iterator[str]:
    """Every string in a JSON value; as deep as the reader lets one be."""
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                yield str(name)
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)
