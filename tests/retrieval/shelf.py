"""Small documents, indexed in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from segue.core.documents import Part, Passage
from segue.retrieval import meaning
from segue.retrieval.build import build
from segue.retrieval.find import BYTES_MAX, find
from segue.retrieval.index import Index

VECTORS = meaning.vectors()
"""None where the wheel is not installed: everything works on words alone."""


class Shelf:
    """Documents by number.  `vectors` None: by words alone."""

    def __init__(self, folder: Path, *texts: str, vectors: meaning.Vectors | None = None) -> None:
        self._folder, self.vectors = folder, vectors
        self.texts: list[bytes] = []
        self.indexes: list[Index] = []
        for text in texts:
            self.add(text)

    def add(self, text: str, parts: Sequence[Part] = (Part(0, ""),)) -> Index:
        """One more."""
        data, path = text.encode(), self._folder / f"{len(self.texts)}.index"
        build(data, parts, path, self.vectors)
        self.texts.append(data)
        self.indexes.append(Index.open(path, thorough=True))
        return self.indexes[-1]

    def find(self, question: str, bytes_max: int = BYTES_MAX, history: Sequence[str] = ()) -> tuple[Passage, ...]:
        """Passages of all of them."""
        found = find(self.indexes, self.texts, question, bytes_max, history, self.vectors)
        check(found, self.texts, bytes_max)
        return found

    def said(self, question: str, bytes_max: int = BYTES_MAX, history: Sequence[str] = ()) -> str:
        """What is found, as one text."""
        return "\n".join(self.text(each) for each in self.find(question, bytes_max, history))

    def text(self, passage: Passage) -> str:
        """What a passage says; it begins and ends between characters."""
        return self.texts[passage.document][passage.start : passage.end].decode("utf-8", "strict")


def check(found: Sequence[Passage], texts: Sequence[bytes], bytes_max: int) -> None:
    """The laws that hold for passages of any text."""
    assert sum(each.end - each.start for each in found) <= max(bytes_max, 0)
    for each in found:
        assert 0 <= each.start < each.end <= len(texts[each.document])
        data = texts[each.document][each.start : each.end]
        data.decode("utf-8", "strict")
        assert data == data.strip()
    for one, other in pairwise(found):
        assert (one.document, one.end) <= (other.document, other.start)
        assert one.document < other.document or one.end <= other.start


FILLER = (
    "The committee met on Tuesday and talked about the weather. Nobody had read the minutes of the last meeting. ",
    "Several members asked for more coffee, and the chairman promised to order some. ",
    "会议在星期二举行，大家谈论了天气。没有人读过上次的会议记录。",
    "几位成员想要更多的咖啡，主席答应去订购。",
)


WHO = ("The baker", "A neighbour", "Our teacher", "The painter", "An old friend", "The driver", "The grocer")
DID = ("bought", "painted", "forgot", "described", "cleaned", "found", "repaired", "measured", "returned")
WHAT = ("a green chair", "the long table", "some warm bread", "a paper lamp", "the garden fence", "two wooden spoons")
ZH_WHO = ("面包师", "邻居", "老师", "画家", "一位老朋友", "司机", "杂货商")
ZH_DID = ("买了", "粉刷了", "忘记了", "描述了", "清洗了", "找到了", "修理了", "测量了", "归还了")
ZH_WHAT = ("一把绿椅子", "长桌子", "热面包", "一盏纸灯", "花园的篱笆", "两把木勺")


def filler(number: int) -> str:
    """One of 756 paragraphs."""
    if number % 2:
        return f"{ZH_WHO[number % 7]}在第{number}天{ZH_DID[number % 9]}{ZH_WHAT[number % 6]}，然后回家休息去了。"
    return f"{WHO[number % 7]} {DID[number % 9]} {WHAT[number % 6]} on day {number} and went home to rest."


def padded(middle: str, times: int = 60) -> str:
    """A text with something in its middle, on a line of its own."""
    before, after = ("\n\n".join(map(filler, numbers)) for numbers in (range(times), range(times, 2 * times)))
    return f"{before}\n\n{middle}\n\n{after}\n"
