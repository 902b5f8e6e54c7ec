"""Tokens a second: Segue's embedded engine beside a bare loop and beside llama.cpp's own server.

One sequence: the prompt is a turn of about 60 tokens; a run's rate is taken from its first token to
its last, so that reading the prompt does not count.  Runs: a bare `llama_decode` loop with argmax;
Segue, greedy and with the model's usual sampling; the peer with the same.  Eight sequences: eight
different prompts asked at once, with the model's usual sampling; the rate over all is taken from the
asking to the last token, so that reading the prompts counts, and again while all eight are drawing.
No run finds its prompt in a cache.  The processes live side by side, but only one computes at a
time, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass

from bench import report
from bench.bare import Bare
from bench.model import DEFAULT, GREEDY, engine_for, model_file, prompt_of, story_ids
from bench.peer import TEXT, Peer
from segue.core.generation import Chunk, Decoding
from segue.engine.llama.engine import LlamaEngine

TOGETHER = 8
CONTEXT = 2048
Rates = dict[str, list[float]]


@dataclass(slots=True)
class Run:
    """One answer: when it was asked for, its tokens where they are known, and when each came."""

    asked: float
    ids: list[int]
    times: list[float]

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])


async def with_segue(engine: LlamaEngine, ids: list[int], tokens: int, decoding: Decoding, workspace: str) -> Run:
    """One answer of the embedded engine."""
    run = Run(time.perf_counter(), [], [])
    async with aclosing(engine.generate(prompt_of(ids, tokens, decoding, workspace))) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Chunk):
                run.ids.extend(chunk.ids)
                run.times.extend([time.perf_counter()] * len(chunk.ids))
    if len(run.ids) < tokens:
        print(f"note: a story ended after {len(run.ids)} of {tokens} tokens")
    return run


async def with_peer(peer: Peer, ids: list[int], tokens: int, decoding: Decoding) -> Run:
    """One answer of the peer."""
    answer = await peer.complete(ids, tokens, decoding)
    return Run(answer.asked, [], answer.times(TEXT))


def whole_rate(runs: list[Run]) -> float:
    """Tokens a second over all, from the asking to the last token."""
    tokens = sum(len(run.times) for run in runs)
    return tokens / (max(run.times[-1] for run in runs) - min(run.asked for run in runs))


def steady_rate(runs: list[Run]) -> float:
    """Tokens a second while every run is drawing; 0 when they never all were."""
    begin, end = max(run.times[0] for run in runs), min(run.times[-1] for run in runs)
    if end <= begin:
        return 0.0
    return sum(begin < at <= end for run in runs for at in run.times) / (end - begin)


async def one(
    engine: LlamaEngine, bare: Bare, peer: Peer, rounds: int, tokens: int, usual: Decoding
) -> tuple[Rates, str]:
    """The rates of one sequence by kind of run, and what the greedy tokens were like."""
    rates: Rates = defaultdict(list)
    equal = 0
    run_id = time.monotonic_ns()  # a workspace of another name shares no cache
    for number in range(rounds):
        ids = await story_ids(engine, number)
        said, times = bare.go_on(ids, tokens)
        rates["bare"].append(Run(0.0, said, times).rate)
        for kind, decoding in (("greedy", GREEDY), ("sampled", usual)):
            run = await with_segue(engine, ids, tokens, decoding, f"{run_id} {number} {kind}")
            equal += kind == "greedy" and run.ids == said
            rates[f"segue {kind}"].append(run.rate)
            rates[f"peer {kind}"].append((await with_peer(peer, ids, tokens, decoding)).rate)
    return rates, f"Segue's greedy answer has the bare loop's very tokens in {equal} of {rounds} rounds."


async def eight(engine: LlamaEngine, peer: Peer, rounds: int, tokens: int, usual: Decoding) -> Rates:
    """The rates of eight sequences with the model's usual sampling."""
    rates: Rates = defaultdict(list)
    run_id = time.monotonic_ns()
    prompts = [await story_ids(engine, number) for number in range(TOGETHER)]
    for number in range(rounds):
        ours = [with_segue(engine, ids, tokens, usual, f"{run_id} {number}") for ids in prompts]
        theirs = [with_peer(peer, ids, tokens, usual) for ids in prompts]
        for name, runs in (("segue", await asyncio.gather(*ours)), ("peer", await asyncio.gather(*theirs))):
            rates[name].append(whole_rate(runs))
            rates[f"{name} steady"].append(steady_rate(runs))
    return rates


def one_table(rates: Rates) -> str:
    """Against the floor and the peer."""
    rows = [["bare loop, argmax", report.spread(rates["bare"]).text(), "", "", "", ""]]
    for kind in ("greedy", "sampled"):
        ours = rates[f"segue {kind}"]
        bare, peer = report.ratios(ours, rates["bare"]), report.ratios(ours, rates[f"peer {kind}"])
        verdict = f"{report.met(bare.median, least=0.95)}, {report.met(peer.median, least=1.0)}"
        rows.append(
            [f"Segue, {kind}", report.spread(ours).text(), bare.text(), peer.text(), ">= 0.95, >= 1.00", verdict]
        )
        rows.append([f"peer, {kind}", report.spread(rates[f"peer {kind}"]).text(), "", "", "", ""])
    head = ["one sequence", "tokens/s", "of bare", "of peer", "target", ""]
    return report.table("One sequence, tokens a second: median (least .. greatest)", head, rows)


def eight_table(rates: Rates) -> str:
    """Against the peer."""
    rows = []
    for what, suffix in (("prompts and answers", ""), ("while all eight draw", " steady")):
        ours, theirs = rates[f"segue{suffix}"], rates[f"peer{suffix}"]
        if not all(theirs):
            continue  # answers too short for all to have drawn at once
        ratio = report.ratios(ours, theirs)
        target, verdict = ("", "") if suffix else (">= 1.00", report.met(ratio.median, least=1.0))
        rows.append([what, report.spread(ours).text(), report.spread(theirs).text(), ratio.text(), target, verdict])
    head = [f"{TOGETHER} sequences", "Segue", "peer", "of peer", "target", ""]
    return report.table(f"{TOGETHER} sequences at once, usual sampling, tokens a second over all", head, rows)


async def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    tokens, rounds = (16, 2) if options.quick else (64, options.rounds)
    model, threads = model_file(options.model), os.cpu_count() or 1
    title = f"Decoding: {model.name}, {threads} threads, {tokens} tokens an answer, {rounds} rounds"
    head = report.heading(title, report.command("decode", options))
    engine = engine_for(model, TOGETHER, threads)
    await engine.start()
    try:
        bare = Bare(model.path, CONTEXT, threads)
        with Peer(model.path, threads, 1, CONTEXT) as peer:
            await one(engine, bare, peer, 1, 4, model.decoding)  # warms all three
            single, likeness = await one(engine, bare, peer, rounds, tokens, model.decoding)
        with Peer(model.path, threads, TOGETHER, CONTEXT) as peer:
            await eight(engine, peer, 1, 4, model.decoding)
            several = await eight(engine, peer, rounds, tokens, model.decoding)
    finally:
        await engine.close()
    return "\n".join([head, one_table(single), likeness, "", eight_table(several)])


def main() -> None:
    """Print the report."""
    options = report.parser(__doc__, rounds=3, model=DEFAULT).parse_args()
    print(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
