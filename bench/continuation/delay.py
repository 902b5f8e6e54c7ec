"""How long the search for the seam takes, in steps of decoding.

Prefixes are natural texts of the four kinds, cut at a random character so that the prompt has about 100
tokens.  Each is asked for twice, with the search and without, in changing order, each time in a workspace
of its own, so that nothing is found in a cache.  The extra time is the difference of the two times to the
first token, over the median gap between tokens in all these answers.  A pair with an answer that ended at
once, without a token, is left out.  Since reading 100 tokens takes some forty steps, a busy machine shows
here at once; so the same is told once more with all but the prefix's last twelve tokens or so in the cache,
where what is compared is short.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import report
from bench.continuation.prompt import ASKED, Said, fresh, pipeline, request, say
from bench.continuation.results import Result, Settings
from bench.continuation.texts import KINDS, passages
from bench.model import engine_for, model_file
from segue.core.generation import Segment
from segue.core.request import Sampling
from segue.engine.llama.engine import LlamaEngine
from segue.pipeline import Pipeline

EACH, QUICK_EACH = 20, 2
SHORTEST, LONGEST = 55, 85
NEW = 12
TOKENS = 4
MEDIAN_MAX, P95_MAX = 2.0, 6.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One prefix with the search and without; `warm`: its beginning was in the cache."""

    kind: str
    warm: bool
    searched: Said
    plain: Said

    @property
    def extra_s(self) -> float:
        """What the search added to the time to the first token."""
        return self.searched.first_s - self.plain.first_s


async def _prefixes(engine: LlamaEngine, kind: str, count: int) -> list[tuple[str, str]]:
    """Prefixes of the wanted length, each with a beginning of it that lacks about NEW tokens."""
    chance, found, texts = random.Random(f"delay {kind}"), [], passages(kind)
    for number in range(count):
        text = texts[number % len(texts)].text
        ids = await engine.encode([Segment(text)])
        sizes = [len(piece) for piece in await engine.pieces(ids)]
        data = text.encode()
        ends = [len(data[: sum(sizes[:tokens])].decode("utf-8", "ignore")) for tokens in (SHORTEST, LONGEST)]
        at = chance.randint(*ends)
        known = len(await engine.encode([Segment(text[:at])])) - NEW
        begun = data[: sum(sizes[:known])].decode("utf-8", "ignore")
        found.append((text[:at], begun))
    return found


async def _pair(over: Pipeline, kind: str, prefix: str, begun: str | None, first: bool) -> Pair:
    said: dict[bool, Said] = {}
    for searched in (first, not first):
        workspace = fresh()
        if begun is not None:
            await say(over, request(ASKED, begun, 1, Sampling(), workspace), searched=False)
        said[searched] = await say(over, request(ASKED, prefix, TOKENS, Sampling(), workspace), searched)
    return Pair(kind, begun is not None, said[True], said[False])


async def _measure(settings: Settings) -> Result:
    model, threads = model_file(settings.model), os.cpu_count() or 1
    each = settings.number(EACH, QUICK_EACH)
    engine = engine_for(model, 1, threads)
    await engine.start()
    pairs: list[Pair] = []
    try:
        over = pipeline(engine)
        every = {kind: await _prefixes(engine, kind, each) for kind in KINDS}
        await _pair(over, "", every["english"][0][0], None, True)  # warms
        for number in range(each):
            for kind in KINDS:
                prefix, begun = every[kind][number]
                for beginning in (None, begun):
                    pairs += [await _pair(over, kind, prefix, beginning, number % 2 == 0)]
    finally:
        await engine.close()
    asked, pairs = len(pairs), [pair for pair in pairs if pair.searched.times and pair.plain.times]
    step = median(gap for pair in pairs for said in (pair.searched, pair.plain) for gap in said.steps_s)
    head = ["prefix", "pairs", "first token without, steps", "extra with, median", "p95", "nodes, median", "target", ""]
    tables = []
    for warm, title in (
        (False, "A prompt that nobody asked before"),
        (True, f"All but its last {NEW} tokens or so in the cache"),
    ):
        chosen = [pair for pair in pairs if pair.warm == warm]
        rows = [_row(kind, [pair for pair in chosen if pair.kind == kind], step) for kind in KINDS]
        rows.append([*_row("all", chosen, step)[:-2], *_verdict(chosen, step)])
        tables.append(report.table(f"{title}: steps of {1000 * step:.1f} ms", head, rows))
    return Result("delay", f"{len(pairs)} of {asked} pairs, {model.name}, {threads} threads", "\n".join(tables))


def _row(name: str, pairs: Sequence[Pair], step: float) -> list[str]:
    extra = [pair.extra_s / step for pair in pairs]
    nodes = [pair.searched.seam.nodes for pair in pairs if pair.searched.seam]
    return [
        name,
        str(len(pairs)),
        f"{median(pair.plain.first_s for pair in pairs) / step:.1f}",
        f"{median(extra):+.1f}",
        f"{report.percentile(extra, 0.95):+.1f}",
        f"{median(nodes):g}" if nodes else "-",
        "",
        "",
    ]


def _verdict(pairs: Sequence[Pair], step: float) -> list[str]:
    extra = [pair.extra_s / step for pair in pairs]
    kept = [report.met(median(extra), most=MEDIAN_MAX), report.met(report.percentile(extra, 0.95), most=P95_MAX)]
    return [f"<= {MEDIAN_MAX:g}, <= {P95_MAX:g}", ", ".join(kept)]


def measure(settings: Settings) -> Result:
    """The tables of both."""
    return asyncio.run(_measure(settings))
