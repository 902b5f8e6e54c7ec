"""How soon a long answer goes on when it is sent back, in steps of its own decoding.

A prompt is answered to 1,000 tokens; its text goes back as the prefix for 12 more; the whole of that goes
back, and so on, in turns with llama.cpp's own server, which gets the same prompt on its chat endpoint.
Time to the first token is from the request to the first piece of text, the rendering of the prompt and all
else included (for the server over HTTP on the same machine); a step is the median gap between the pieces
of the same answer.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from statistics import median

from bench import report
from bench.continuation.prompt import GREEDY, Said, fresh, pipeline, request, say
from bench.continuation.results import Result, Settings
from bench.continuation.servers import LlamaServer
from bench.model import engine_for, model_file
from bench.peer import Peer
from segue.engine.llama.engine import LlamaEngine
from segue.pipeline import Pipeline

ROUNDS = 15
TOKENS, QUICK_TOKENS = 1000, 200
MORE = 12
CONTEXT = 4096
USER = "Write out the numbers from 1 to 2000 in digits, one number a line, and nothing else. Do not stop early."
STEPS_MAX = 2.0


@dataclass(slots=True)
class Rounds:
    """One side's answers behind ever longer prefixes."""

    text: str = ""
    said: list[Said] = field(default_factory=list)

    def add(self, said: Said) -> None:
        """One more resumed answer."""
        self.text += said.text
        self.said.append(said)

    def row(self, name: str, most: float | None) -> list[str]:
        """A line of the table."""
        first = [1000 * one.first_s for one in self.said]
        steps = [1000 * median(one.steps_s) for one in self.said]
        ratio = report.ratios(first, steps)
        missing = [one.prompt_tokens - one.cached_tokens for one in self.said]
        verdict = [f"<= {most:g}", report.met(ratio.median, most=most)] if most else ["", ""]
        cells = [report.spread(first).text(1), report.spread(steps).text(1), ratio.text(), *verdict]
        found = [str(max(missing)), report.met(max(missing), most=1) if most else ""]
        return [name, *cells, str(self.said[-1].prompt_tokens), *found]


async def _measure(settings: Settings) -> Result:
    model, threads = model_file(settings.model), os.cpu_count() or 1
    tokens, rounds = QUICK_TOKENS if settings.quick else TOKENS, settings.number(ROUNDS, 5)
    engine: LlamaEngine = engine_for(model, 1, threads, CONTEXT)
    await engine.start()
    ours, theirs, workspace = Rounds(), Rounds(), fresh()
    try:
        over: Pipeline = pipeline(engine)
        with Peer(model.path, threads, 1, CONTEXT) as peer:
            server = LlamaServer(peer)
            ours.text = (await say(over, request(USER, None, tokens, GREEDY, workspace))).text
            theirs.text = (await server.say(USER, None, tokens, GREEDY)).text
            for _ in range(rounds):
                ours.add(await say(over, request(USER, ours.text, MORE, GREEDY, workspace)))
                theirs.add(await server.say(USER, theirs.text, MORE, GREEDY))
    finally:
        await engine.close()
    modes = sorted({one.seam.mode for one in ours.said if one.seam})
    head = [
        "",
        "first token, ms",
        "a step, ms",
        "in steps",
        "target",
        "",
        "prompt and answer, tokens",
        "not cached, most",
        "",
    ]
    title = f"An answer of {tokens} tokens resumed {rounds} times, {MORE} tokens each: median (least .. greatest)"
    rows = [ours.row("Segue", STEPS_MAX), theirs.row("llama.cpp's server", None)]
    text = f"{report.table(title, head, rows)}\nSegue's seam was: {', '.join(modes)}.\n"
    return Result("warm", f"{model.name}, {threads} threads", text)


def measure(settings: Settings) -> Result:
    """The table of both."""
    return asyncio.run(_measure(settings))
