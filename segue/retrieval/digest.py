"""What stands for documents as wholes: their headings, their beginning and end, and their most central sentences.

Extracts only, chosen when the index was built; nothing is summarised here.

Laws: every document has an even share of the room, what one does not need goes to the others; passages are as in
`windows`; a document that fits its share is given whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from segue.core.documents import Passage
from segue.retrieval.index import Index
from segue.retrieval.lines import Text
from segue.retrieval.question import wants_structure
from segue.retrieval.windows import cut_short, trimmed

BYTES_MAX = 6000
OUTLINE_SHARE, STRUCTURE_SHARE = 0.25, 0.75
"""Of a document's room, for its headings; and where the question is about how it is divided."""
HEAD_SHARE, TAIL_SHARE = 0.3, 0.1
HEADING_BYTES_MAX = 160
GAP_BYTES = 2
"""Blanks between pieces that are given as one; reckoned with every piece."""
PARTS_MAX = 200
"""A document in more parts is not told by their beginnings."""

_PAGE = re.compile(r"\W*(?:p|pp|page|slide|第)?\W*[0-9]+\W*(?:页|頁)?\W*", re.IGNORECASE)


def digest(
    indexes: Sequence[Index], texts: Sequence[Text], question: str = "", bytes_max: int = BYTES_MAX
) -> tuple[Passage, ...]:
    """Passages of every document, at most `bytes_max` bytes of text together.

    Raises ValueError where a text is not the one its index was built from.
    """
    for index, text in zip(indexes, texts, strict=True):
        if not index.fits(text):
            raise ValueError("an index belongs to another text")
    outlined = STRUCTURE_SHARE if wants_structure(question) else OUTLINE_SHARE
    left, found = bytes_max, list[tuple[Passage, ...]]()
    # The shortest first, so that what they leave is known when the longer ones are asked.
    order = sorted(range(len(indexes)), key=lambda number: (indexes[number].text_bytes, number))
    for place, number in enumerate(order):
        passages = tuple(_extract(number, indexes[number], texts[number], left // (len(order) - place), outlined))
        left -= sum(passage.end - passage.start for passage in passages)
        found.append(passages)
    return tuple(sorted((each for one in found for each in one), key=lambda each: (each.document, each.start)))


class _Extract:
    """Pieces of one text, which do not overlap, while there is room."""

    def __init__(self, index: Index, text: Text, bytes_max: int) -> None:
        self._index, self._text, self.left = index, text, bytes_max
        self.pieces: list[tuple[int, int, float]] = []
        self._taken = set[int]()

    def take(self, lines: Iterable[int], bytes_max: int, score: float, heading: bool = False) -> None:
        """Lines in this order, while they have at most `bytes_max` bytes; of headings, no more than their own row."""
        room = min(bytes_max, self.left)
        for line in lines:
            if line in self._taken:
                continue
            start, end = trimmed(self._text, *self._index.span(line, line))
            if heading:
                row = bytes(memoryview(self._text)[start:end]).split(b"\n", 1)[0].rstrip()
                end = cut_short(self._text, start, start + min(len(row), HEADING_BYTES_MAX))
            if end - start + GAP_BYTES > room:
                if self.pieces and score < 0.5:
                    continue  # a shorter one may fit
                if self.pieces or room <= GAP_BYTES:
                    return
                end = cut_short(self._text, start, start + room - GAP_BYTES)
            if end > start:
                self._taken.add(line)
                self.pieces.append((start, end, score))
                room, self.left = room - (end - start) - GAP_BYTES, self.left - (end - start) - GAP_BYTES


def _extract(number: int, index: Index, text: Text, bytes_max: int, outlined: float) -> Iterator[Passage]:
    if not index.count or bytes_max <= 0:
        return
    start, end = trimmed(text, 0, index.text_bytes) if index.text_bytes <= 2 * bytes_max else (0, index.text_bytes)
    if end - start <= bytes_max:
        yield from _whole(number, index, text)
        return
    found = _Extract(index, text, bytes_max)
    found.take(range(index.count), int(bytes_max * HEAD_SHARE), 1.0)
    headings = _thinned(sorted({*index.outline.tolist(), *_part_lines(index)}), int(bytes_max * outlined))
    found.take(headings, int(bytes_max * outlined), 0.75, heading=True)
    found.take(_last(index, text, int(bytes_max * TAIL_SHARE)), int(bytes_max * TAIL_SHARE), 0.5)
    found.take(index.central.tolist(), found.left, 0.25)
    yield from _merged(number, index, text, sorted(found.pieces))


def _whole(number: int, index: Index, text: Text) -> Iterator[Passage]:
    """Part after part."""
    for part in range(len(index.parts)):
        first, behind = index.lines_of(part)
        if behind > first:
            start, end = trimmed(text, *index.span(first, behind - 1))
            if end > start:
                yield Passage(number, start, end, index.label_of(first), 1.0)


def _part_lines(index: Index) -> list[int]:
    """Where parts begin, if they are few and have names: the number of a page is none."""
    if len(index.labels) > PARTS_MAX:
        return []
    named = (line for line, label in zip(index.parts.tolist(), index.labels, strict=False) if label)
    return [line for line in named if line < index.count and not _PAGE.fullmatch(index.label_of(line))]


def _thinned(lines: list[int], bytes_max: int) -> list[int]:
    """No more headings than there may be room for, over all of the document."""
    count = max(bytes_max // 40, 1)
    if len(lines) <= count:
        return lines
    return [lines[place * len(lines) // count] for place in range(count)]


def _last(index: Index, text: Text, bytes_max: int) -> list[int]:
    """The lines at the end that have so many bytes together, in order."""
    line = index.count
    while line and index.text_bytes - int(index.lines[line - 1]) <= bytes_max:
        line -= 1
    return list(range(line, index.count))


def _merged(number: int, index: Index, text: Text, pieces: list[tuple[int, int, float]]) -> Iterator[Passage]:
    """Pieces between which nothing but blanks stands as one, within a part."""
    begin = 0
    for at in range(1, len(pieces) + 1):
        if at < len(pieces):
            gap = bytes(memoryview(text)[pieces[at - 1][1] : pieces[at - 1][1] + GAP_BYTES + 1])
            near = pieces[at][0] - pieces[at - 1][1] <= GAP_BYTES
            same = index.label_at(pieces[at][0]) == index.label_at(pieces[begin][0])
            if same and near and not gap[: pieces[at][0] - pieces[at - 1][1]].strip():
                continue
        start, end = pieces[begin][0], pieces[at - 1][1]
        yield Passage(number, start, end, index.label_at(start), max(piece[2] for piece in pieces[begin:at]))
        begin = at
