"""How often an answer changes because others are computed in the same batch.

The library multiplies with another kernel when more rows share a step, and that rounds in another
way: logits move a little, and where two tokens are that close, another one wins.  Answers of 60 tokens are asked for
alone and then eight at a time, greedy and sampled at temperature 0.8; those that differ are counted,
with the deciding gap at the first differing token: by how much, alone, the winner's score led the
other one's (log-probability, for sampled ones over the temperature and with the draw's own noise).
Then the same with `deterministic`, greedy and sampled in turns, where none may differ, and what that
costs.  No run finds its prompt in a cache.  `bench/rows.py` says which numbers of rows are alike.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from bench import report
from bench.model import DEFAULT, GREEDY, engine_for, model_file, prompt_of, story_ids
from bench.rows import kinds_table
from segue.core.generation import Chunk, Decoding, TokenLogprob
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.sampling import gumbel

GROUP = 8
ALTERNATIVES = 5
EXACT = "both, deterministic"


@dataclass(slots=True)
class Said:
    """One answer and when its tokens came."""

    ids: list[int]
    logprobs: list[TokenLogprob]
    times: list[float]


@dataclass(slots=True)
class Comparison:
    """The answers of one kind.  Rates are tokens a second: of one alone, and over eight together."""

    answers: int
    gaps: list[float | None]
    alone: float
    together: float


async def said(engine: LlamaEngine, ids: list[int], tokens: int, how: Decoding, place: str, exact: bool) -> Said:
    """One answer."""
    got = Said([], [], [])
    async with aclosing(engine.generate(prompt_of(ids, tokens, how, place, ALTERNATIVES, exact))) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Chunk):
                got.ids.extend(chunk.ids)
                got.logprobs.extend(chunk.logprobs)
                got.times.extend([time.perf_counter()] * len(chunk.ids))
    return got


async def deciding_gap(engine: LlamaEngine, alone: Said, together: Said, how: Decoding) -> float | None:
    """By how much the winner led the other at the first difference; None where the other was not near the top."""
    at = next((i for i, (one, other) in enumerate(zip(alone.ids, together.ids, strict=False)) if one != other), -1)
    if at < 0:
        return None  # one of them ended earlier
    winner, other = alone.ids[at], together.ids[at]
    piece = (await engine.pieces([other]))[0]
    logged = alone.logprobs[at]
    near = [alternative.logprob for alternative in logged.top if alternative.data == piece]
    if not near:
        return None
    lead = logged.logprob - near[0]
    if how.temperature == 0.0:
        return lead
    noise = gumbel(how.seed, 0, at, np.asarray([winner, other], np.intp))
    return lead / how.temperature + float(noise[0] - noise[1])


async def compare(engine: LlamaEngine, hows: list[Decoding], tokens: int, exact: bool) -> Comparison:
    """Every answer alone, then eight at a time.  `hows` has one entry an answer."""
    answers = len(hows)
    prompts = [await story_ids(engine, number) for number in range(answers)]
    names = [f"{exact} {how.temperature} {number}" for number, how in enumerate(hows)]
    alone = [
        await said(engine, ids, tokens, how, f"{name} alone", exact)
        for ids, how, name in zip(prompts, hows, names, strict=True)
    ]
    together: list[Said] = []
    rates: list[float] = []
    for start in range(0, answers, GROUP):
        group = range(start, min(answers, start + GROUP))
        asked = [said(engine, prompts[i], tokens, hows[i], f"{names[i]} together", exact) for i in group]
        came = await asyncio.gather(*asked)
        together += came
        begin, end = max(one.times[0] for one in came), max(one.times[-1] for one in came)
        rates.append(sum(at > begin for one in came for at in one.times) / (end - begin))
    gaps = [
        await deciding_gap(engine, one, other, how)
        for one, other, how in zip(alone, together, hows, strict=True)
        if one.ids != other.ids
    ]
    single = [(len(one.times) - 1) / (one.times[-1] - one.times[0]) for one in alone]
    return Comparison(answers, gaps, report.spread(single).median, report.spread(rates).median)


def tables(found: dict[str, Comparison]) -> str:
    """The counts, and what determinism costs."""
    rows = []
    for kind, one in found.items():
        known = [gap for gap in one.gaps if gap is not None]
        gaps = report.spread(known).text(3) if known else "-"
        target, verdict = ("0", report.met(len(one.gaps), most=0)) if kind == EXACT else ("", "")
        rows.append([kind, f"{len(one.gaps)} of {one.answers}", gaps, target, verdict])
    head = ["answers", "differ", "deciding gap", "target", ""]
    first = report.table(f"Alone or with {GROUP - 1} others", head, rows)
    usual, exact = found["sampled"], found[EXACT]
    rates = (("alone", usual.alone, exact.alone), (f"{GROUP} together", usual.together, exact.together))
    rows = [[what, f"{one:.1f}", f"{other:.1f}", f"{other / one:.2f}"] for what, one, other in rates]
    head = ["tokens a second", "usual", "deterministic", "of usual"]
    return first + "\n" + report.table("What determinism costs, in tokens a second over all", head, rows)


async def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    answers, tokens = (GROUP, 12) if options.quick else (options.rounds * GROUP, 60)
    model, threads = model_file(options.model), os.cpu_count() or 1
    engine = engine_for(model, GROUP, threads, context_tokens=1024)
    greedy = [GREEDY] * answers
    sampled = [replace(model.decoding, temperature=0.8, seed=seed) for seed in range(answers)]
    mixed = [(greedy, sampled)[number % 2][number] for number in range(answers)]
    head = report.heading(
        f"Neighbours in the batch: {model.name}, {threads} threads, answers of {tokens} tokens",
        report.command("neighbours", options),
    )
    kinds = kinds_table(model.path, threads)
    await engine.start()
    try:
        found = {
            "greedy": await compare(engine, greedy, tokens, exact=False),
            "sampled": await compare(engine, sampled, tokens, exact=False),
            EXACT: await compare(engine, mixed, tokens, exact=True),
        }
    finally:
        await engine.close()
    return "\n".join([head, tables(found), kinds])


def main() -> None:
    """Print the report."""
    options = report.parser(__doc__, rounds=1, model=DEFAULT).parse_args()
    print(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
