"""Going on with a long conversation: the time to the first token when only 20 tokens are new.

The conversation of 2,000 tokens is in the cache; each round adds 20 other tokens to it.  A finished
answer's last token was never computed, so 21 tokens are to be computed: that is what the bare loop
does, on a sequence that holds 2,000 tokens, as the floor.  The peer is llama.cpp's own server with
its prompt cache, one slot.  All three take turns.
How long each took to read the conversation in the first place is told too, from one run each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import defaultdict
from contextlib import aclosing

from bench import report
from bench.bare import Bare
from bench.model import DEFAULT, GREEDY, engine_for, model_file, prompt_of, words
from bench.peer import TEXT, Peer
from segue.core.generation import Chunk, Opened, Segment
from segue.engine.llama.engine import LlamaEngine

NEW = 21
CONTEXT = 4096


async def with_segue(engine: LlamaEngine, ids: list[int]) -> tuple[float, int]:
    """(Milliseconds to the first token, tokens found in the cache)."""
    asked, cached = time.perf_counter(), 0
    async with aclosing(engine.generate(prompt_of(ids, 1, GREEDY, "warm"))) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Opened):
                cached = chunk.cached_tokens
            if isinstance(chunk, Chunk):
                break
    return 1000 * (time.perf_counter() - asked), cached


async def with_peer(peer: Peer, ids: list[int]) -> float:
    """Milliseconds to the first token."""
    answer = await peer.complete(ids, 1, GREEDY, cache=True)
    return 1000 * (answer.times(TEXT)[0] - answer.asked)


def with_bare(bare: Bare, ids: list[int], held: int) -> float:
    """Milliseconds to compute what is behind `held`, on a sequence that holds that much."""
    bare.cut(held)
    asked = time.perf_counter()
    bare.read(ids[held:])
    return 1000 * (time.perf_counter() - asked)


async def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    held, rounds = (300, 3) if options.quick else (2000, options.rounds)
    model, threads = model_file(options.model), os.cpu_count() or 1
    title = f"Going on: {held} tokens cached, {NEW - 1} new; {model.name}, {threads} threads, {rounds} rounds"
    head = report.heading(title, report.command("warm", options))
    engine = engine_for(model, 4, threads)
    await engine.start()
    spent: dict[str, list[float]] = defaultdict(list)
    cached: list[float] = []
    try:
        told = (await engine.encode([Segment(words(2 * held, 0))]))[:held]
        bare = Bare(model.path, CONTEXT, threads)
        with Peer(model.path, threads, 1, CONTEXT) as peer:
            first = {
                "bare loop": with_bare(bare, told, 0),
                "Segue": (await with_segue(engine, told))[0],
                "peer": await with_peer(peer, told),
            }
            for number in range(-1, rounds):
                new = (await engine.encode([Segment(words(2 * NEW, number + 2))]))[:NEW]
                spent["bare"].append(with_bare(bare, told + new, held))
                took, found = await with_segue(engine, told + new)
                spent["segue"].append(took)
                cached.append(found)
                spent["peer"].append(await with_peer(peer, told + new))
    finally:
        await engine.close()
    kept = {name: values[1:] for name, values in spent.items()}  # the first round warms
    found_text = f"Segue found {report.spread(cached[1:]).text(0)} tokens in its cache."
    return "\n".join([head, _table(kept), found_text, "", _first_table(first, held)])


def _table(spent: dict[str, list[float]]) -> str:
    ratio = report.ratios(spent["segue"], spent["bare"])
    peer = report.ratios(spent["peer"], spent["bare"])
    rows = [
        [f"bare loop, {NEW} tokens", report.spread(spent["bare"]).text(1), "1.00", "", ""],
        ["Segue", report.spread(spent["segue"]).text(1), ratio.text(), "1.30", report.met(ratio.median, most=1.3)],
        ["peer", report.spread(spent["peer"]).text(1), peer.text(), "", ""],
    ]
    head = ["first token after", "ms", "of bare", "target", ""]
    return report.table("Milliseconds from the asking to the first token: median (least .. greatest)", head, rows)


def _first_table(first: dict[str, float], held: int) -> str:
    rows = [[name, f"{spent / 1000:.1f}", f"{1000 * held / spent:.0f}"] for name, spent in first.items()]
    return report.table(f"Reading the {held} tokens before that, once each", ["", "s", "tokens/s"], rows)


def main() -> None:
    """Print the report."""
    options = report.parser(__doc__, rounds=11, model=DEFAULT).parse_args()
    print(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
