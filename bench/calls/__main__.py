"""Calls of functions: which are made, with what, and which are not.

Segue and llama.cpp's own server are asked the same questions (`bench/calls/cases.py`) on the same file in one run,
case by case, the one that is asked first in turns, greedily.  Of the peer two readings are scored: the
calls that it gives as such, and also JSON in its text.  What each answered is kept in build/bench/calls.json;
the tables, of a run over everything, in bench/results/calls.txt.

    python -m bench.calls --limit 30 --only segue        # a few of every kind
    python -m bench.calls --kinds irrelevant --half tune
    python -m bench.calls --resume                       # what has no outcome yet
    python -m bench.calls --show --failures              # asks nothing
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.calls import tables
from bench.calls.cases import HALVES, KINDS, Case, cases, chosen
from bench.calls.outcomes import Outcomes, kept
from bench.calls.sides import SIDES, outcome, started
from bench.model import DEFAULT, ModelFile, model_file
from bench.process import REPOSITORY

RESULT = REPOSITORY / "bench" / "results" / "calls.txt"
QUICK = 2 * len(KINDS)


async def run(model: ModelFile, listed: Sequence[Case], sides: Sequence[str], known: Outcomes, resume: bool) -> None:
    """Ask; `known` grows case by case, and is written down each time."""
    everything = {case.name: case for case in cases()}
    run = time.strftime("%Y-%m-%dT%H:%M:%S")
    async with started(model, sides) as servers:
        for number, case in enumerate(listed):
            order = sides if number % 2 else tuple(reversed(sides))
            asked = [side for side in order if not (resume and known.of(side, case))]
            for side in asked:
                known.put(side, case, await outcome(servers[side], case, model), run)
            if asked:
                known.keep(everything)
            said = "; ".join(tables.line(case, known, side) for side in sides)
            print(f"{number + 1}/{len(listed)} {case.name}  {said}", file=sys.stderr, flush=True)


def command(given: argparse.Namespace) -> str:
    """The command that repeats a run, without the folder of a model file."""
    words = ["python -m bench.calls", f"--model {Path(given.model).name}"]
    words += [f"--limit {given.limit}"] if given.limit else []
    words += [f"--kinds {given.kinds}"] if given.kinds != ",".join(KINDS) else []
    words += [f"--{name} {value}" for name in ("half", "only") if (value := getattr(given, name))]
    return " ".join(words)


def options() -> argparse.Namespace:
    """What was asked for."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="two of every kind, tables kept nowhere")
    made.add_argument("--limit", type=int, metavar="N", help="so many cases, of all kinds alike")
    made.add_argument("--kinds", default=",".join(KINDS), metavar="KIND,...", help=f"some of {', '.join(KINDS)}")
    made.add_argument("--half", choices=HALVES, help="one half of the cases")
    made.add_argument("--only", choices=SIDES, help="one server; the other's earlier outcomes are shown beside it")
    made.add_argument("--resume", action="store_true", help="keep the outcomes there are, ask what has none")
    made.add_argument("--show", action="store_true", help="ask nothing: the tables of the outcomes there are")
    made.add_argument("--failures", action="store_true", help="list what was not right, on standard error")
    made.add_argument("--model", default=DEFAULT, help=f"a name in the catalogue or a GGUF file ({DEFAULT})")
    given = made.parse_args()
    if given.quick:
        given.limit = min(given.limit or QUICK, QUICK)
    if unknown := set(given.kinds.split(",")) - set(KINDS):
        made.error(f"there is no kind {', '.join(sorted(unknown))}")
    return given


def main() -> None:
    """Print the report."""
    given = options()
    model = model_file(given.model)
    listed = chosen(given.kinds.split(","), given.half, given.limit)
    sides = (given.only,) if given.only else SIDES
    known = kept({case.name: case for case in cases()})
    if not given.show:
        asyncio.run(run(model, listed, sides, known, given.resume))
    title = f"Calls of functions: {model.name}, {len(listed)} of {len(cases())} cases, greedy"
    text = f"{report.heading(title, command(given))}\n{tables.text(listed, known)}"
    print(text, end="")
    if given.failures:
        print(tables.failures(listed, known), file=sys.stderr)
    complete = len(listed) == len(cases()) and all(known.of(side, case) for side in SIDES for case in listed)
    if complete and not given.show:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
