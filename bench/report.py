"""What every benchmark prints: the machine, the command, and tables of plain text.

Laws: a figure that is compared comes from one interleaved run (A B A B ...), and a ratio is the
median of the rounds' own ratios, printed with its least and its greatest, because machines are
noisy; nothing here names a host, a user or a path.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segue import __version__

_VERSIONS = ("xllamacpp", "uvicorn", "uvloop", "httptools", "starlette", "msgspec", "numpy", "granian")


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest of one figure's rounds."""

    low: float
    median: float
    high: float

    def text(self, digits: int = 2) -> str:
        """`median (low .. high)`."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} .. {self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(min(values), statistics.median(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Round by round, ours over theirs."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def met(value: float, least: float | None = None, most: float | None = None) -> str:
    """Whether a figure keeps its target."""
    kept = (least is None or value >= least) and (most is None or value <= most)
    return "met" if kept else "MISSED"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as they need; the first `left` are set to the left, the others to the right."""
    widths = [max(_columns(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        blanks = [" " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = (
            cell + blank if i in lefts else blank + cell
            for i, (cell, blank) in enumerate(zip(row, blanks, strict=True))
        )
        return "  ".join(cells).rstrip()

    lefts = range(left)

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([title, "", line(head), rule, *map(line, rows), ""])


def heading(title: str, command: str) -> str:
    """The title, the machine and how to repeat the run."""
    versions = ", ".join(f"{name} {found}" for name in _VERSIONS if (found := _version(name)))
    lines = [
        title,
        "=" * len(title),
        f"machine   {_processor()}, {_cores()} cores, {_memory()}, {platform.system()} {platform.machine()}",
        f"load      {os.getloadavg()[0]:.2f} runnable on average in the minute before",
        f"versions  segue {__version__}, python {platform.python_version()}, {versions}",
        f"repeat    {command}",
        "",
    ]
    return "\n".join(lines)


def parser(doc: str | None, rounds: int, model: str | None = None) -> argparse.ArgumentParser:
    """The options that every benchmark has; `rounds` and `model` are the defaults."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few and short rounds: does it run, not how fast")
    made.add_argument("--rounds", type=int, default=rounds, help=f"interleaved rounds ({rounds})")
    if model:
        made.add_argument("--model", default=model, help=f"a name in the catalogue or a GGUF file ({model})")
    return made


def command(script: str, options: argparse.Namespace) -> str:
    """The command that repeats a run, without the folder of a model file."""
    words = [f"python -m bench.{script}", f"--rounds {options.rounds}"]
    if getattr(options, "model", None):
        words.append(f"--model {Path(options.model).name}")
    return " ".join([*words, "--quick"] if options.quick else words)


def _columns(cell: str) -> int:
    """How wide a terminal shows a text."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in cell)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    family = f"family {said['cpu family']} model {said['model']}" if "cpu family" in said else ""
    widest = next((name for name in ("amx_int8", "avx512_vnni", "avx2") if name in said.get("flags", "").split()), "")
    return " ".join(word for word in (said.get("model name", platform.machine()), family, widest) if word)


def _cores() -> int:
    return os.cpu_count() or 1


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
