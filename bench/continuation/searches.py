"""How far the search for the seam comes with the budget it is served with.

The cuts are those of `recovery`.  Told of each: how many beginnings were read, and how many off the main path, the
only ones that cost a step; the bound on the total variation to the exact distribution; and whether what really
comes next, the next 20 bytes, can be drawn from what was found.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from statistics import median

from bench import report
from bench.continuation.prompt import header
from bench.continuation.reading import Reader, opened
from bench.continuation.recovery import EACH, TOKENS, groups_of, places
from bench.continuation.results import Result, Settings
from bench.continuation.texts import KINDS, NEXT, passages
from bench.model import model_file
from segue.core.generation import Seam
from segue.engine.seam.cover import Budget, Cover, Search
from segue.engine.seam.lexicon import Lexicon
from segue.engine.seam.tail import given_back

SERVED = Budget(eps=Seam().eps, nodes=Seam().nodes)


@dataclass(frozen=True, slots=True)
class Searched:
    """One search.  `found`: the text's own continuation is in its cover."""

    kind: str
    at: int
    inside: bool
    nodes: int
    extra: int
    bound: float
    found: bool


def measure(settings: Settings) -> Result:
    """The table of all kinds."""
    model = model_file(settings.model)
    reader = Reader(opened(model.path), os.cpu_count() or 1)
    before = tuple(header(reader.model))
    searches = []
    for kind in KINDS:
        texts = passages(kind)
        each = -(-settings.number(EACH, 8) // len(texts))
        for number, passage in enumerate(texts):
            data = passage.text.encode()
            reader.open([*before, *reader.model.vocabulary.encode([(passage.text, False)])])
            searches += [searched(reader, before, kind, data, at) for at in places(kind, number, data, each)]
    points = {"cuts": [asdict(search) | {"bound": float(f"{search.bound:.4g}")} for search in searches]}
    return Result("searches", f"{len(searches)} cuts, {model.name}", told(searches), points)


def searched(reader: Reader, before: tuple[int, ...], kind: str, data: bytes, at: int) -> Searched:
    """The search at one cut of the open passage, behind the tokens `before` it."""
    vocabulary = reader.model.vocabulary
    given = tuple(vocabulary.encode([(data[:at].decode(), False)]))
    count = given_back(vocabulary.pieces(list(given[-TOKENS:])), TOKENS)
    trunk, main = given[: len(given) - count], given[len(given) - count :]
    tail = b"".join(vocabulary.pieces(list(main)))
    known = {main[:size]: reader.behind([(*before, *trunk, *main[:size])])[0] for size in range(len(main))}
    search, extra = Search(reader.lexicon, tail, SERVED, known=known.get), 0
    while nodes := search.wanted(1):
        search.told(nodes[0], reader.behind([(*before, *trunk, *nodes[0].path)])[0])
        extra += 1
    cover = search.cover()
    own = vocabulary.encode([(data.decode(), False)])
    inside = given != tuple(own[: len(given)])
    found = agrees(reader.lexicon, cover, data[at : at + NEXT])
    reader.forget()
    return Searched(kind, at, inside, cover.nodes, extra, cover.bound, found)


def agrees(lexicon: Lexicon, cover: Cover, following: bytes) -> bool:
    """Whether any element of the cover goes on as the text does."""
    for part in cover.parts:
        rest = cover.tail[part.done :]
        fitting = {token for token, size in lexicon.inside(rest + following) if size >= len(rest)}
        if not (fitting | set(lexicon.reaching(rest + following).tolist())).isdisjoint(part.tokens.tolist()):
            return True
    return False


def told(searches: list[Searched]) -> str:
    """The report of all searches."""
    rows = []
    for name, group in groups_of(searches):
        extra, bounds = [each.extra for each in group], [each.bound for each in group]
        rows.append(
            [
                name,
                str(len(group)),
                f"{median(each.nodes for each in group):g}",
                f"{median(extra):g} / {report.percentile(extra, 0.95)} / {max(extra)}",
                f"{median(bounds):.4f} / {report.percentile(bounds, 0.95):.4f} / {max(bounds):.4f}",
                f"{sum(bound > SERVED.eps for bound in bounds)}",
                f"{sum(each.found for each in group)}",
            ]
        )
    head = ["text", "cuts", "read, median", "off the main path, median / p95 / most"]
    head += ["bound, median / p95 / most", f"above {SERVED.eps:g}", "the text can go on"]
    limits = f"eps {SERVED.eps:g}, at most {SERVED.nodes} beginnings off the main path, {TOKENS} tokens given back"
    return report.table(f"The search as it is served: {limits}", head, rows)
