"""What a document says about itself without being asked: its headings, and the sentences nearest to its middle.

Chosen while the index is built, for the digest.  A sentence is weighed by its vector, or, without vectors, by a
sketch of its words: every word adds or takes one in one of 128 places, by its hash.

Laws: the same lines give the same choice; memory does not grow with the text beyond `CANDIDATES_MAX` rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segue.retrieval.meaning import WIDTH, Floats, unit
from segue.retrieval.stops import stop_hashes
from segue.retrieval.words import Words

Ids = npt.NDArray[np.uint32]

HEADING_CHARACTERS_MAX = 80
OUTLINE_MAX = 512
CENTRAL_MAX = 128
CANDIDATES_MAX = 1 << 14
GROUPS, FROM_GROUP = 64, 2
"""A block is divided into so many groups of lines, and so many of each are kept as candidates."""
WORDS_MIN, CHARACTERS_MIN = 6, 12
BROKEN = 0.7
"""What a line that is no whole sentence is worth of one that is."""
STRETCHES = 16
LIKENESS, CROWDING = 0.5, 0.04
"""What being like a sentence that was chosen costs, and each one chosen from the same stretch of the text."""

_NUMBER = "[0-9一二三四五六七八九十百千零〇两兩]+"
_HEADING = re.compile(
    rf"\s*(?:#{{1,6}}[ \t]+\S|第\s?{_NUMBER}\s?[章节節篇部卷回编編讲講课課]|[一二三四五六七八九十]+、"
    r"|(?:chapter|part|section|appendix|book|volume|lecture)\s+(?:[0-9]+|[ivxlc]+|[a-z])\b"
    r"|(?:abstract|introduction|preface|conclusions?|references|summary|contents)\s*$"
    r"|(?:摘要|引言|前言|序言|绪论|緒論|结论|結論|总结|總結|目录|目錄|附录|附錄|参考文献|參考文獻)\s*$"
    r"|[0-9]+(?:\.[0-9]+){1,3}\.?[ \t]+[^\W\d_]|[0-9]+\.[ \t]+[A-Z\u4e00-\u9fff])",
    re.IGNORECASE,
)
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "”", "」")
_NO_HEADING_ENDS = tuple("。！？!?；;，,、")


def heading(line: str) -> bool:
    """Does a line begin with a heading of its own?"""
    first = line.strip("\r\n").split("\n", 1)[0].strip()
    return (
        len(first) <= HEADING_CHARACTERS_MAX
        and _HEADING.match(first) is not None
        and not first.endswith(_NO_HEADING_ENDS)
    )


class Sketch:
    """Sees all lines of a text, block after block, and keeps a few."""

    def __init__(self) -> None:
        self._headings: list[int] = []
        self._sum = np.zeros(WIDTH, np.float64)
        self._ids: list[npt.NDArray[np.intp]] = []
        self._rows: list[Floats] = []
        self._count = 0

    def see(self, first: int, lines: Sequence[str], words: Words, rows: Floats | None) -> None:
        """The lines of a block, the first of which has this number; `rows` are their vectors."""
        self._headings += [first + number for number, line in enumerate(lines) if heading(line)]
        rows = _sketched(words, len(lines)) if rows is None else rows
        middle = rows.sum(axis=0, dtype=np.float64)
        self._sum += middle
        self._count = first + len(lines)
        sizes = np.fromiter(map(len, lines), np.intp, len(lines))
        whole = (np.bincount(words.lines, minlength=len(lines)) >= WORDS_MIN) & (sizes >= CHARACTERS_MIN)
        ended = np.fromiter((line.rstrip().endswith(_SENTENCE_ENDS) for line in lines), np.bool_, len(lines))
        worth = np.where(whole, rows @ middle.astype(np.float32) * np.where(ended, 1.0, BROKEN), -np.inf)
        group = np.arange(len(lines)) * GROUPS // max(len(lines), GROUPS)
        order = np.lexsort((-worth, group))
        place = np.arange(len(lines)) - np.searchsorted(group, group)  # its rank in its group
        best = np.sort(order[(place < FROM_GROUP) & np.isfinite(worth[order])])
        self._ids.append(best + first)
        self._rows.append(rows[best])
        if sum(map(len, self._ids)) > CANDIDATES_MAX:
            self._ids, self._rows = [np.concatenate(self._ids)[::2]], [np.concatenate(self._rows)[::2]]

    def outline(self) -> Ids:
        """Lines that begin with a heading, evenly thinned where there are too many."""
        found = np.array(self._headings, np.uint32)
        if len(found) > OUTLINE_MAX:
            found = found[np.linspace(0, len(found) - 1, OUTLINE_MAX).astype(np.intp)]
        return found

    def central(self) -> Ids:
        """The sentences nearest to the middle that are not like each other, best first."""
        if not self._ids:
            return np.empty(0, np.uint32)
        ids, rows = np.concatenate(self._ids), np.concatenate(self._rows)
        middle = self._sum / max(float(np.linalg.norm(self._sum)), 1e-9)
        worth = rows @ middle.astype(np.float32)
        stretch = ids * STRETCHES // max(self._count, 1)
        chosen = list[int]()
        for _ in range(min(CENTRAL_MAX, len(ids))):
            best = int(np.argmax(worth))
            chosen.append(int(ids[best]))
            worth = worth - LIKENESS * np.maximum(rows @ rows[best], 0) ** 2 - CROWDING * (stretch == stretch[best])
            worth[best] = -np.inf
        return np.array(chosen, np.uint32)


def _sketched(words: Words, count: int) -> Floats:
    """Lines as sketches of length 1 of their words."""
    said = (words.weights == 1) & ~np.isin(words.hashes, stop_hashes())
    hashes, lines = words.hashes[said], words.lines[said]
    place = lines.astype(np.intp) * WIDTH + (hashes & np.uint32(WIDTH - 1)).astype(np.intp)
    sign = np.where(hashes >> np.uint32(16) & np.uint32(1), 1.0, -1.0)
    rows = np.bincount(place, sign, count * WIDTH).reshape(count, WIDTH).astype(np.float32)
    return unit(rows)
