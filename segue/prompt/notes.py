"""Notes on documents that are too long to be shown: the model reads all of them, piece by piece, before it answers.

For questions about the whole of documents.  Each piece is shown with the question, and what the model says to it stands
for the piece.  It is dear: every token is read, so there is a bound to how long such documents may be, and it is the
operator's to allow any.

Laws: pieces follow each other without a gap and end at line breaks where there are some; what is noted is the model's
most likely text, so that asking again finds the same; a piece that does not fit is halved, and one that cannot be
halved is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from segue.core import frozen
from segue.core.documents import Passage
from segue.core.errors import PromptTooLong
from segue.core.request import Request
from segue.prompt.documents import Sheet, asked_for_notes

NOTE_TOKENS_MAX = 256
PIECE_CHARS_MIN = 200
LOOKED_BACK_CHARS = 400  # for a line break
FILLED = 0.8  # of the context, by the first guess


@frozen
class Source:
    """A document's name, its text and how many tokens that has."""

    name: str
    text: str
    tokens: int


@frozen
class Piece:
    """Characters `start` to `end` of document number `document`."""

    document: int
    start: int
    end: int


Say = Callable[[Request, int], Awaitable[str]]
"""What the model answers to a conversation, in so many tokens at most.  Raises PromptTooLong."""


async def noted(
    request: Request, sources: Sequence[Source], context_tokens: int, note_tokens: int, at_a_time: int, say: Say
) -> list[tuple[Passage, str]]:
    """A note on every piece, in order; `note_tokens` is how long all of them may be together."""
    pieces = [piece for place, source in enumerate(sources) for piece in _pieces(place, source, context_tokens)]
    each = min(NOTE_TOKENS_MAX, note_tokens // max(1, len(pieces)))
    if each < 1:
        return []
    places = asyncio.Semaphore(at_a_time)

    async def note(piece: Piece) -> list[tuple[Piece, str]]:
        source = sources[piece.document]
        sheet = Sheet(source.name, "", source.text[piece.start : piece.end])
        try:
            async with places:
                return [(piece, await say(asked_for_notes(request, sheet), each))]
        except PromptTooLong:
            halves = _halves(source.text, piece)
        return [found for half in halves for found in await note(half)]

    tasks = [asyncio.create_task(note(piece)) for piece in pieces]
    try:
        notes = await asyncio.gather(*tasks)
    finally:  # one that fails, or a caller who leaves, ends the others
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    found = [(piece, text) for some in notes for piece, text in some if text]
    return [(_passage(sources, piece, number, len(found)), text) for number, (piece, text) in enumerate(found, 1)]


def _pieces(document: int, source: Source, context_tokens: int) -> list[Piece]:
    """The text in as few pieces as fit, by what its tokens are long on average."""
    if not source.text:
        return []
    a_token = len(source.text) / max(1, source.tokens)
    room = max(PIECE_CHARS_MIN, int(FILLED * (context_tokens - NOTE_TOKENS_MAX) * a_token))
    count = -(-len(source.text) // room)
    cuts = [0, *(_cut(source.text, len(source.text) * place // count) for place in range(1, count)), len(source.text)]
    return [Piece(document, start, end) for start, end in pairwise(cuts) if end > start]


def _halves(text: str, piece: Piece) -> list[Piece]:
    middle = _cut(text, (piece.start + piece.end) // 2)
    if piece.end - piece.start < PIECE_CHARS_MIN or not piece.start < middle < piece.end:
        return []
    return [replace(piece, end=middle), replace(piece, start=middle)]


def _cut(text: str, at: int) -> int:
    """Behind the line break before `at`, where there is one not far away."""
    return text.rfind("\n", max(0, at - LOOKED_BACK_CHARS), at) + 1 or at


def _passage(sources: Sequence[Source], piece: Piece, number: int, count: int) -> Passage:
    text = sources[piece.document].text
    start = len(text[: piece.start].encode("utf-8", "replace"))
    end = start + len(text[piece.start : piece.end].encode("utf-8", "replace"))
    return Passage(piece.document, start, end, f"{number}/{count}", 1.0)
