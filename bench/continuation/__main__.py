"""How well an answer goes on from where its prefix ends, in parts; each part may run by itself.

    fidelity   is the prefix in the prompt byte for byte?
    reach      can the tokens of a text still come behind a cut in it?
    recovery   how likely is a text's true continuation behind a cut in it?
    searches   how far the search for the seam comes with its budget
    live       what is said behind prefixes that end inside a token
    resume     is an answer that was interrupted and resumed the one that was not?
    warm       how soon a resumed answer goes on
    delay      how long the search for the seam takes

The parts that ran take their places in bench/results/continuation.txt and .json; with `--quick`
they are only printed.  `warm` and `delay` measure time and want a machine where nothing else runs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from bench.bare import passive
from bench.continuation import results
from bench.model import DEFAULT

PARTS = ("fidelity", "reach", "recovery", "searches", "live", "resume", "warm", "delay")


def main() -> int:
    """0 when every part ran to its end, whether or not it met its targets."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help="all by default")
    options.add_argument("--quick", action="store_true", help="a few of everything, kept nowhere")
    options.add_argument("--model", default=DEFAULT, help=f"a name in the catalogue or a GGUF file ({DEFAULT})")
    options.add_argument("--count", type=int, help="how many cuts, prompts or rounds a part takes")
    options.add_argument("--vllm", metavar="PYTHON", help="a Python that has vLLM, to measure beside (live, resume)")
    options.add_argument("--vllm-model", metavar="MODEL", help="what vLLM is to serve; the model file by default")
    options.add_argument("--vllm-eager", action="store_true", help="without compiling the model first")
    given = options.parse_args()
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        options.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    passive()
    settings = results.Settings(given.model, given.quick, given.count, given.vllm, given.vllm_model, given.vllm_eager)
    for name in given.parts or PARTS:
        begun = time.monotonic()
        part = importlib.import_module(f"bench.continuation.{name}")
        result = part.measure(settings)
        text = results.headed(result, settings)
        print(text, end="", flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if not given.quick:
            results.keep(name, text, result.points, PARTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
