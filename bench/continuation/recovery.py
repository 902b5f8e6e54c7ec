"""How likely does a model find what really comes next, when the text before it is cut anywhere?

Natural passages are cut at random bytes (moved back to the beginning of their character) and put, as a
prefix, behind a neutral chat prompt.  Every figure is the same quantity, log P(the next 20 bytes | the
bytes so far) under the model, with other knowledge of the tokens before the cut:

- plain: the prefix's own tokens stand.  The next bytes may be spelled in every way behind them: the mass
  of their cover.
- seam: as Segue serves it.  The tokens before the tail stand; of the tail only the bytes are given:
  log mass(tail + next bytes) - log mass(tail), both behind the same trunk.
- uncut: the text's own tokens, those of the whole passage, stand up to the last one that ends at or
  before the cut; of the rest only the bytes are given, as above.

`uncut` is what the model would have said had nobody cut.  It knows something that no server can: that a
token ends just there, and so a little of what comes (behind seven of eight blanks it knows whether
an eighth follows).  Averaged over what the model itself would write it is therefore an upper bound on what
can be known from the bytes.  Where the prefix's own tokens end on the text's path, at a token's end, plain
and uncut are equal by construction.

Both ends of the 20 bytes may lie inside a token; a cover's mass takes all tokens that reach across.  A search
ends when the mass that it may have missed is below one fiftieth of what it found (0.001 nats a byte), or
after 200 nodes.  Where it gives up so, in a row of digits say, every one of which is a surprise, the text's own
path counts in any case; what may be missing is told under the table.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import mean, median
from typing import Protocol, TypeVar

from bench import report
from bench.continuation.prompt import header
from bench.continuation.reading import Key, Reader, opened
from bench.continuation.results import Result, Settings
from bench.continuation.texts import KINDS, NEXT, passages, whole_characters
from bench.model import model_file
from segue.core.generation import Seam
from segue.engine.seam.cover import Budget
from segue.engine.seam.tail import given_back

EACH = 75
LEAST_BEFORE = 60
MEASURED = Budget(eps=0.02, nodes=200)
TOKENS = Seam().tokens
TARGET = -0.02
FIGURES = ("plain", "seam", "uncut")
NAMES = {"chinese": "Chinese", "english": "English", "code": "code", "json": "JSON"}


class Placed(Protocol):
    """A cut of whichever kind of figures."""

    @property
    def kind(self) -> str: ...

    @property
    def inside(self) -> bool: ...


C = TypeVar("C", bound=Placed)


@dataclass(frozen=True, slots=True)
class Cut:
    """Nats for the 20 bytes behind one cut.  `inside`: the text's own token is cut in two, or its last
    ones are spelled otherwise."""

    kind: str
    at: int
    inside: bool
    plain: float
    seam: float
    uncut: float
    unread: float


class Passages:
    """The cuts of one passage after the other."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._vocabulary = reader, reader.model.vocabulary
        self._header = tuple(header(reader.model))

    def open(self, kind: str, text: str) -> None:
        """Read a passage."""
        self._kind, self._data = kind, text.encode()
        self._ids = tuple(self._vocabulary.encode([(text, False)]))
        self._ends = [0, *accumulate(len(piece) for piece in self._vocabulary.pieces(list(self._ids)))]
        self._reader.open([*self._header, *self._ids])

    def cut(self, at: int) -> Cut:
        """Everything about one cut of the open passage."""
        pieces = self._vocabulary.pieces
        given = tuple(self._vocabulary.encode([(self._data[:at].decode(), False)]))
        count = given_back(pieces(list(given[-TOKENS:])), TOKENS)
        whole = max(i for i, end in enumerate(self._ends) if end <= at)
        until = next(i for i, end in enumerate(self._ends) if end >= at + NEXT)
        self._unread = 0.0
        tail = b"".join(pieces(list(given[len(given) - count :])))
        begin = max(0, whole - TOKENS)
        self._reader.along((*self._header, *self._ids[:begin]), self._ids[begin:until])
        found = {
            "plain": self._next(given, b"", at),
            "seam": self._next(given[: len(given) - count], tail, at),
            "uncut": self._next(self._ids[:whole], self._data[self._ends[whole] : at], at),
        }
        cut = Cut(
            kind=self._kind,
            at=at,
            inside=given != self._ids[: len(given)],
            unread=self._unread,
            **found,
        )
        self._reader.forget()
        return cut

    def _next(self, trunk: Key, rest: bytes, at: int) -> float:
        """Nats of the next bytes behind the prefix's `trunk`, given that `rest` comes before them."""
        both = self._mass(trunk, rest + self._data[at : at + NEXT])
        return both - (self._mass(trunk, rest) if rest else 0.0)

    def _mass(self, trunk: Key, tail: bytes) -> float:
        behind = (*self._header, *trunk)
        cover = self._reader.mass(behind, tail, MEASURED)
        self._unread = max(self._unread, cover.bound)
        if cover.bound <= MEASURED.eps or self._ids[: len(trunk)] != trunk:
            return cover.total
        return max(cover.total, self._reader.along_path(behind, self._ids[len(trunk) :], tail))


def places(kind: str, number: int, data: bytes, each: int) -> list[int]:
    """Where a passage is cut: the same places each time."""
    chance = random.Random(f"{kind} {number}")
    return sorted({whole_characters(data, at) for at in chance.sample(range(LEAST_BEFORE, len(data) - NEXT), each)})


def measure(settings: Settings) -> Result:
    """The tables of all kinds."""
    model = model_file(settings.model)
    reader = Reader(opened(model.path), os.cpu_count() or 1)
    over = Passages(reader)
    cuts = []
    for kind in KINDS:
        texts = passages(kind)
        each = -(-settings.number(EACH, 8) // len(texts))
        for number, passage in enumerate(texts):
            over.open(kind, passage.text)
            cuts += [over.cut(at) for at in places(kind, number, passage.text.encode(), each)]
    return told(cuts, model.name)


def told(cuts: list[Cut], name: str) -> Result:
    """The report of all cuts."""
    text = "\n".join([_chances(cuts), _unread(cuts)])
    points = {"cuts": [{name: _rounded(value) for name, value in asdict(cut).items()} for cut in cuts]}
    title = f"{len(cuts)} cuts, the next {NEXT} bytes, {name}"
    return Result("recovery", title, text, points)


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def groups_of(cuts: Sequence[C]) -> list[tuple[str, list[C]]]:
    """Cuts by kind of text, by where they are, and all."""
    groups = [(NAMES[kind], [cut for cut in cuts if cut.kind == kind]) for kind in KINDS]
    inside, end = [cut for cut in cuts if cut.inside], [cut for cut in cuts if not cut.inside]
    groups += [("all inside a token", inside), ("all at a token's end", end), ("all", list(cuts))]
    return [(name, group) for name, group in groups if group]


def _chances(cuts: list[Cut]) -> str:
    rows = []
    for name, group in groups_of(cuts):
        means = {figure: mean(getattr(cut, figure) for cut in group) / NEXT for figure in FIGURES}
        over = means["seam"] - means["uncut"]
        rows.append(
            [
                name,
                str(len(group)),
                *(f"{means[figure]:.3f}" for figure in FIGURES),
                f"{means['seam'] - means['plain']:+.3f}",
                f"{over:+.3f}",
                f">= {TARGET}",
                report.met(over, least=TARGET),
            ]
        )
    head = ["text", "cuts", *FIGURES, "seam-plain", "seam-uncut", "target", ""]
    return report.table("log P(the next 20 bytes | the bytes so far), mean, nats a byte", head, rows)


def _unread(cuts: list[Cut]) -> str:
    unread = [cut.unread for cut in cuts]
    far = sum(value > MEASURED.eps for value in unread)
    return (
        f"A search may have missed at most this share of its mass: median {median(unread):.4f}, "
        f"p95 {report.percentile(unread, 0.95):.4f}, greatest {max(unread):.4f}; above {MEASURED.eps:g} in {far} cuts."
    )
