"""Which numbers of rows in a batch give one row the same logits, to the bit.

One sequence of 40 tokens is given one row more, in batches of 1 to 32 rows; the other rows belong to
other sequences, twice with other tokens.  Row counts whose logits are the same are one kind; the
context is the engine's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import report
from bench.bare import passive

COUNTS = (*range(1, 13), 16, 17, 20, 24, 28, 32)
_HELD = 40
_FIRST_TOKEN = 1000


def kinds_table(path: Path, threads: int) -> str:
    """The kinds, and how far each is from a row alone."""
    passive()
    from segue.engine.llama.context import Context, Model
    from segue.engine.llama.library import open_library

    context = Context(Model(*open_library(), path), 512, max(COUNTS), threads, 64)
    context.decode([(_FIRST_TOKEN + at, at, 0, at == _HELD - 1) for at in range(_HELD)])
    kinds: dict[bytes, list[int]] = {}
    apart: dict[bytes, float] = {}
    alone = None
    for count in COUNTS:
        for shift in (0, 1):
            others = [(_FIRST_TOKEN + 7 * (other + shift), 0, other, False) for other in range(1, count)]
            context.decode([(_FIRST_TOKEN, _HELD, 0, True), *others])
            logits = context.logits(0).copy()
            for sequence in range(count):
                context.cut(sequence, 0 if sequence else _HELD)
            alone = logits if alone is None else alone
            kinds.setdefault(logits.tobytes(), []).append(count)
            apart[logits.tobytes()] = float(np.abs(logits - alone).max())
    rows = [[_runs(sorted(set(counts))), f"{apart[kind]:.4f}"] for kind, counts in kinds.items()]
    return report.table("Rows in a batch that give one row the same logits", ["rows", "furthest from alone"], rows)


def _runs(counts: list[int]) -> str:
    """`1, 2, 3, 8` as `1-3, 8`."""
    runs: list[list[int]] = []
    for count in counts:
        if runs and count == runs[-1][-1] + 1:
            runs[-1].append(count)
        else:
            runs.append([count])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
