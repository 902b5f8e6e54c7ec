"""What is kept: one text file of all parts, and their points for the pictures.

A part that ran takes the place of its earlier result and leaves the others': parts that measure time
want a quiet machine, the others do not, so that they seldom run together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import report
from bench.process import REPOSITORY

TABLES = REPOSITORY / "bench" / "results" / "continuation.txt"
POINTS = REPOSITORY / "bench" / "results" / "continuation.json"
_HEAD = re.compile(r"^(?=Continuation, [a-z]+: )", re.MULTILINE)

Points = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Result:
    """A part's report and its points."""

    part: str
    title: str
    text: str
    points: Points = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run was asked for.  `vllm` is a Python that has vLLM, `vllm_model` what it is to serve;
    `vllm_eager`: without compiling it first, which takes minutes on processors."""

    model: str
    quick: bool = False
    count: int | None = None
    vllm: str | None = None
    vllm_model: str | None = None
    vllm_eager: bool = False

    def command(self, part: str) -> str:
        """The command that repeats a part, without the folder of a model file."""
        words = ["python -m bench.continuation", part, f"--model {Path(self.model).name}"]
        words += [f"--count {self.count}"] if self.count else []
        words += ["--vllm PYTHON"] if self.vllm else []
        return " ".join([*words, "--quick"] if self.quick else words)

    def number(self, whole: int, quick: int) -> int:
        """How many of something: as asked for, or by default."""
        return self.count or (quick if self.quick else whole)


def headed(result: Result, settings: Settings) -> str:
    """The report under its heading."""
    title = f"Continuation, {result.part}: {result.title}"
    return f"{report.heading(title, settings.command(result.part))}\n{result.text.rstrip()}\n\n"


def keep(part: str, text: str, points: Points, order: tuple[str, ...]) -> None:
    """Put a part's report into the files, in the order of the parts."""
    before = TABLES.read_text(encoding="utf-8") if TABLES.exists() else ""
    parts = {section.split(",")[1].split(":")[0].strip(): section for section in _HEAD.split(before) if section.strip()}
    parts[part] = text
    TABLES.parent.mkdir(exist_ok=True)
    TABLES.write_text("".join(parts[name] for name in order if name in parts), encoding="utf-8")
    known = json.loads(POINTS.read_text(encoding="utf-8")) if POINTS.exists() else {}
    if points:
        known[part] = points
    lines = [f"{json.dumps(name)}: {_lines(known[name])}" for name in order if name in known]
    POINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def points(part: str) -> dict[str, list[dict[str, object]]]:
    """A part's points, as they were kept.  Raises KeyError, OSError."""
    kept: dict[str, list[dict[str, object]]] = json.loads(POINTS.read_text(encoding="utf-8"))[part]
    return kept


def _lines(found: Points) -> str:
    """A line a point."""
    lists = []
    for name, values in found.items():
        assert isinstance(values, list)
        lists.append(f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(value) for value in values) + "\n]")
    return "{" + ",\n".join(lists) + "}"
