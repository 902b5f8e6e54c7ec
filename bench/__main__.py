"""Run every benchmark, one after the other, and keep what they print in `bench/results/`.

Nothing else should run on the machine meanwhile.  `--quick` only shows that they run; its results
are printed and not kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from bench.process import REPOSITORY

RESULTS = REPOSITORY / "bench" / "results"
SCRIPTS = (
    "overhead",
    "house",
    "decode",
    "warm",
    "neighbours",
    "load",
    "gateway",
    "crowd",
    "affinity",
    "forms",
    "calls",
    "fim",
    "parsing",
    "retrieval",
    "documents",
    "hostile_files",
    "continuation",
)


def main() -> int:
    """0 when every benchmark ran to its end, whether or not it met its targets."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="few and short rounds, kept nowhere")
    options.add_argument("only", nargs="*", metavar="NAME", help=f"some of {', '.join(SCRIPTS)}")
    given = options.parse_args()
    unknown = [name for name in given.only if name not in SCRIPTS]
    if unknown:
        options.error(f"there is no benchmark {', '.join(unknown)}")
    RESULTS.mkdir(exist_ok=True)
    failed = 0
    for name in given.only or SCRIPTS:
        command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if given.quick else [])]
        print(f"--- {name}", flush=True)
        begun = time.monotonic()
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
        print(f"{done.stdout}\n--- {name}: {time.monotonic() - begun:.0f} s", flush=True)
        if done.returncode:
            failed += 1
        elif not given.quick:
            (RESULTS / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
