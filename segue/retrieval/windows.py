"""From ranked lines to passages: what is shown of a text around a line, and how room is shared.

The best lines are shown with their neighbours, the others alone: many lines that may hold an answer are worth more than
a few of them with all that stands around them.

Laws: a passage is whole lines of one part, without the blanks at both ends (only a single line longer than all the room
is cut, between characters); passages do not overlap and are in the order of documents and of their text; every document
has a share as far as there is room, and an even one of `COMPARED_SHARE` where a question compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segue.core.documents import Passage
from segue.retrieval.index import Index
from segue.retrieval.lines import Text
from segue.retrieval.ranking import Corpus, Ranked

WINDOW_BYTES_MIN, WINDOW_BYTES_MAX = 160, 640
WINDOWS = 12
"""A wide window has so many parts of what may be shown; a narrow one is a line, and a short one's neighbour."""
WIDE_SHARE = 0.33
"""Of what may be shown, for the best lines with wide windows."""
NARROW_BYTES = 96
COMPARED_SHARE = 0.6
LEFT_MIN = 32
"""Less room than this is left."""


class _Room:
    """What has been chosen so far, and how much room is left.  Numbers of lines are the corpus's."""

    def __init__(self, corpus: Corpus, spread: frozenset[int], bytes_max: int) -> None:
        self.corpus, self.left, self._spread = corpus, bytes_max, spread
        self.scores: dict[int, float] = {}
        self._wide = min(max(bytes_max // WINDOWS, WINDOW_BYTES_MIN), WINDOW_BYTES_MAX)
        self._narrow_from = bytes_max * (1 - WIDE_SHARE)

    def take(self, line: int, score: float, widely: bool = False) -> int:
        """A line and its neighbours; how many bytes that took, 0 where it did not fit."""
        document = self.corpus.document(line)
        index, first = self.corpus.indexes[document], int(self.corpus.firsts[document])
        own, before = line - first, self.left
        widely = widely or self.left > self._narrow_from
        window = list(_window(index, own, self._wide if widely else NARROW_BYTES))
        if line in self._spread and own + 1 not in window:
            window.append(own + 1)
        for each in window:  # the line itself comes first
            start, end = index.span(each, each)
            if first + each in self.scores:
                self.scores[first + each] = max(self.scores[first + each], score)
            elif end - start <= self.left:
                self.scores[first + each] = score
                self.left -= end - start
            else:
                break
        return before - self.left


def _window(index: Index, line: int, wide: int) -> Iterator[int]:
    """A line, and its neighbours in its part while they are no more than `wide` bytes together."""
    low, high = index.lines_of(index.part_of(line))
    start, end = index.span(line, line)
    yield line
    before, after = line - 1, line + 1
    while True:
        if after < high and index.span(after, after)[1] - start <= wide:
            end = index.span(after, after)[1]
            yield after
            after += 1
        elif before >= low and end - index.span(before, before)[0] <= wide:
            start = index.span(before, before)[0]
            yield before
            before -= 1
        else:
            return


def shown(
    corpus: Corpus, texts: Sequence[Text], ranked: Ranked, spread: frozenset[int], bytes_max: int, compares: bool
) -> list[Passage]:
    """The passages.  `spread` are lines that go on in the next one; documents are numbered as in the corpus."""
    room = _Room(corpus, spread, bytes_max)
    order = list(zip(ranked.lines.tolist(), ranked.scores.tolist(), strict=True))
    documents = len(corpus.indexes)
    if documents > 1:
        share = max(int(bytes_max * COMPARED_SHARE) // documents, 1) if compares else 1
        taken = [0] * documents
        for line, score in order:
            document = corpus.document(line)
            if taken[document] < share:
                taken[document] += room.take(line, score)
    for widely in (False, True):  # what is left when all lines are shown is their neighbours'
        for line, score in order:
            if room.left < LEFT_MIN:
                break
            room.take(line, score, widely)
    if order and not room.scores:
        return _cut(corpus, texts, *order[0], bytes_max)
    return list(_passages(room, texts))


def _cut(corpus: Corpus, texts: Sequence[Text], line: int, score: float, bytes_max: int) -> list[Passage]:
    """The beginning of a line that does not fit."""
    document = corpus.document(line)
    index, own = corpus.indexes[document], line - int(corpus.firsts[document])
    start, end = trimmed(texts[document], *index.span(own, own))
    end = cut_short(texts[document], start, min(end, start + bytes_max))
    return [Passage(document, start, end, index.label_of(own), score)] if end > start else []


def _passages(room: _Room, texts: Sequence[Text]) -> Iterator[Passage]:
    """Neighbouring lines as one passage each."""
    corpus, lines = room.corpus, sorted(room.scores)
    begin = 0
    for at in range(1, len(lines) + 1):
        document = corpus.document(lines[begin])
        index, base = corpus.indexes[document], int(corpus.firsts[document])
        part = index.part_of(lines[begin] - base)
        if at < len(lines) and lines[at] == lines[at - 1] + 1 and lines[at] - base < index.lines_of(part)[1]:
            continue
        start, end = trimmed(texts[document], *index.span(lines[begin] - base, lines[at - 1] - base))
        if end > start:
            score = max(room.scores[line] for line in lines[begin:at])
            yield Passage(document, start, end, index.labels[part] if index.labels else "", score)
        begin = at


def trimmed(text: Text, start: int, end: int) -> tuple[int, int]:
    """Without the blanks at both ends."""
    piece = bytes(memoryview(text)[start:end])
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def cut_short(text: Text, start: int, end: int) -> int:
    """Where a piece ends that is to end at `end` at the latest: between characters, before blanks."""
    return max(start, trimmed(text, start, border(text, end))[1])


def border(text: Text, at: int) -> int:
    """The last border between characters that is not behind `at`."""
    while 0 < at < len(text) and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


def line(corpus: Corpus, texts: Sequence[Text], number: int) -> str:
    """What a line says."""
    document = corpus.document(number)
    own = number - int(corpus.firsts[document])
    start, end = corpus.indexes[document].span(own, own)
    return str(memoryview(texts[document])[start:end], "utf-8", "replace")


def after(corpus: Corpus, texts: Sequence[Text], number: int) -> str:
    """The next line of the same part, or nothing."""
    document = corpus.document(number)
    index, own = corpus.indexes[document], number - int(corpus.firsts[document])
    if own + 1 >= index.lines_of(index.part_of(own))[1]:
        return ""
    return line(corpus, texts, number + 1)
