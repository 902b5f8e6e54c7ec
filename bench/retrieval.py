"""Is the evidence among the passages that are found?  Texts of up to 10,000,000 tokens with sentences hidden in them.

A needle counts as found where all sentences that answer its question are whole within the passages, which have at most
3,000 bytes together (about 900 tokens).  `bench/needles/plant.py` says what the kinds are and what else is hidden.
A token is reckoned as 3.8 bytes.  Indexes are built in a process of their own; questions are asked in another, which
maps index and text; its growth is of its resident memory, mapped pages included (`own`: without them).  `by words
alone` has no vectors.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import report
from bench.needles.plant import KINDS, haystack
from bench.needles.prose import Language
from bench.process import REPOSITORY

BYTES_A_TOKEN = 3.8
LENGTHS = {"32k": 32_000, "128k": 128_000, "1M": 1_000_000, "10M": 10_000_000}
LANGUAGES: tuple[Language, ...] = ("en", "zh")
NEEDLES, QUICK_NEEDLES = 36, 6
BUDGET_BYTES = 3000
RECALL_MIN = 0.97
BUILD_CPU_S_MAX, QUERY_MS_MAX, GROWTH_MIB_MAX = 40.0, 100.0, 300.0
DEPTHS = 5


@dataclass(slots=True)
class Cell:
    """One text and its needles.  `found` is by kind; `depths` tells of the kinds in one place, by depth."""

    language: str
    length: str
    bytes: int
    build_cpu_s: float
    build_mib: float
    blob_bytes: int
    growth_mib: float = 0.0
    anonymous_mib: float = 0.0
    query_ms: list[float] = field(default_factory=list)
    query_cpu_ms: list[float] = field(default_factory=list)
    found: dict[str, list[bool]] = field(default_factory=dict)
    alone: dict[str, list[bool]] = field(default_factory=dict)
    depths: list[list[bool]] = field(default_factory=list)


def resident_mib(name: str = "VmRSS") -> float:
    """Of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cell(language: Language, length: str, seed: int, needles: int) -> Cell:
    """One text: written, indexed in a child, asked about in another."""
    hidden = haystack(language, int(LENGTHS[length] * BYTES_A_TOKEN), seed, needles)
    with tempfile.TemporaryDirectory() as folder:
        text, blob, questions = (Path(folder) / name for name in ("text", "index", "questions"))
        text.write_bytes(hidden.text)
        questions.write_text(json.dumps([asdict(each) for each in hidden.needles]), encoding="utf-8")
        command = [sys.executable, "-m", "segue.retrieval.build", str(text), str(blob)]
        child = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the index was not built: {child.returncode}")
        command = [sys.executable, "-m", "bench.retrieval", "--ask", folder]
        answer = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
        cpu_s = used.ru_utime + used.ru_stime
        return Cell(
            language, length, len(hidden.text), cpu_s, used.ru_maxrss / 1024, blob.stat().st_size, **json.loads(answer)
        )


def ask(folder: Path) -> dict[str, Any]:
    """All questions about one text: the fields of `Cell` that only this process knows."""
    from segue.retrieval import meaning
    from segue.retrieval.find import find
    from segue.retrieval.index import Index

    needles = json.loads((folder / "questions").read_text(encoding="utf-8"))
    before, anonymous = resident_mib(), resident_mib("RssAnon")
    found, alone = defaultdict[str, list[bool]](list), defaultdict[str, list[bool]](list)
    depths: list[list[bool]] = [[] for _ in range(DEPTHS)]
    times, cpu_times = list[float](), list[float]()
    with (folder / "text").open("rb") as file:
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    index, vectors = Index.open(folder / "index"), meaning.vectors()
    find([index], [text], needles[0]["question"], BUDGET_BYTES, (), vectors)  # what is loaded once is no question's
    for needle in needles:
        for table, kept in ((vectors, found), (None, alone)):
            begun, cpu = time.perf_counter(), time.process_time()
            passages = find([index], [text], needle["question"], BUDGET_BYTES, (), table)
            if table is not None:
                times.append((time.perf_counter() - begun) * 1000)
                cpu_times.append((time.process_time() - cpu) * 1000)
            seen = all(
                any(each.start <= start and end <= each.end for each in passages) for start, end in needle["spans"]
            )
            kept[needle["kind"]].append(seen)
            if table is not None and len(needle["spans"]) == 1 and needle["kind"] in ("literal", "reworded", "apart"):
                depths[min(int(needle["depth"] * DEPTHS), DEPTHS - 1)].append(seen)
    return {
        "growth_mib": resident_mib() - before,
        "anonymous_mib": resident_mib("RssAnon") - anonymous,
        "query_ms": times,
        "query_cpu_ms": cpu_times,
        "found": found,
        "alone": alone,
        "depths": depths,
    }


def share(seen: Sequence[bool]) -> str:
    """`0.97 (35/36)`."""
    return f"{sum(seen) / len(seen):.2f} ({sum(seen)}/{len(seen)})" if seen else "-"


def recall_table(cells: Sequence[Cell], language: str, alone: bool = False) -> str:
    """Kinds by lengths."""
    lengths = [length for length in LENGTHS if any(each.length == length for each in cells)]
    rows = []
    for kind in KINDS:
        row, last = [str(kind)], list[bool]()
        for length in lengths:
            some = [each for each in cells if (each.language, each.length) == (language, length)]
            last = [ok for each in some for ok in (each.alone if alone else each.found).get(kind, [])]
            row.append(share(last))
        wanted = kind in ("literal", "reworded") and not alone
        row += [f">= {RECALL_MIN}", report.met(sum(last) / max(len(last), 1), least=RECALL_MIN)] if wanted else ["", ""]
        rows.append(row)
    title = f"Needles found, {'English' if language == 'en' else 'Chinese'}{', by words alone' if alone else ''}"
    return report.table(title, ["kind", *lengths, "target", ""], rows)


def depth_table(cells: Sequence[Cell]) -> str:
    """Literal, reworded and apart, by where in the text they are."""
    rows = []
    for length in LENGTHS:
        for language in LANGUAGES:
            some = [each for each in cells if (each.language, each.length) == (language, length)]
            if some:
                by_depth = [[ok for each in some for ok in each.depths[number]] for number in range(DEPTHS)]
                rows.append([f"{length} {language}", *map(share, by_depth)])
    head = ["", *(f"{100 * n // DEPTHS} to {100 * (n + 1) // DEPTHS} %" for n in range(DEPTHS))]
    return report.table("Literal, reworded and apart together, by depth", head, rows)


def cost_table(cells: Sequence[Cell]) -> str:
    """What building and asking cost.  The targets for time are held against processor time: machines are shared."""
    rows = []
    for each in cells:
        row = [f"{each.length} {each.language}", f"{each.bytes / 1e6:.1f}", f"{each.build_cpu_s:.1f}"]
        row += [f"{each.build_mib:.0f}", f"{each.blob_bytes / 1e6:.1f}"]
        row += [f"{report.percentile(each.query_cpu_ms, at):.0f}" for at in (0.5, 0.95)]
        row += [f"{report.percentile(each.query_ms, at):.0f}" for at in (0.5, 0.95)]
        rows.append([*row, f"{each.growth_mib:.0f}", f"{each.anonymous_mib:.0f}"])
    long = [each for each in cells if each.length == "10M"]
    if long:
        built, grown = max(each.build_cpu_s for each in long), max(each.growth_mib for each in long)
        asked = max(report.percentile(each.query_cpu_ms, 0.5) for each in long)
        limits = [f"< {BUILD_CPU_S_MAX:.0f}", f"< {QUERY_MS_MAX:.0f}", f"< {GROWTH_MIB_MAX:.0f}"]
        kept = [report.met(built, most=BUILD_CPU_S_MAX), report.met(asked, most=QUERY_MS_MAX)]
        kept.append(report.met(grown, most=GROWTH_MIB_MAX))
        for name, cells_of in (("target at 10M", limits), ("", kept)):
            rows.append([name, "", cells_of[0], "", "", cells_of[1], "", "", "", cells_of[2], ""])
    head = ["", "text MB", "build CPU s", "peak MiB", "index MB", "ask CPU ms", "p95", "ask ms", "p95"]
    return report.table("What it costs", [*head, "growth MiB", "own"], rows)


def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    lengths = ["32k"] if options.quick else list(LENGTHS)
    needles, seeds = (QUICK_NEEDLES, 1) if options.quick else (NEEDLES, options.rounds)
    cells = [
        cell(language, length, seed, needles)
        for seed in range(1, seeds + 1)
        for length in lengths
        for language in LANGUAGES
    ]
    title = f"Retrieval: evidence within {BUDGET_BYTES} bytes, {seeds} texts of each length and language"
    parts = [recall_table(cells, language) for language in LANGUAGES]
    parts += [recall_table(cells, language, alone=True) for language in LANGUAGES]
    return "\n".join(
        [report.heading(title, report.command("retrieval", options)), *parts, depth_table(cells), cost_table(cells)]
    )


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=1)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    print(json.dumps(ask(options.ask)) if options.ask else measure(options))


if __name__ == "__main__":
    main()
