"""What was answered, kept word for word beside the checkout's other build outputs: for inspection, and to go on.

An outcome counts as long as its case is asked in the same words, so a case that was changed is asked anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.calls.cases import Case
from bench.calls.judge import Outcome
from bench.process import REPOSITORY

KEPT = REPOSITORY / "build" / "bench" / "calls.json"


@dataclass(slots=True)
class Outcomes:
    """By side and case.  `runs` are the times at which the runs that they come from began."""

    path: Path = KEPT
    found: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=dict)

    def put(self, side: str, case: Case, outcome: Outcome, run: str) -> None:
        """Add one, in place of an earlier one."""
        self.found.setdefault(side, {})[case.name] = outcome
        self.runs.setdefault(side, {})[case.name] = run

    def of(self, side: str, case: Case) -> Outcome | None:
        """One, if there is one."""
        return self.found.get(side, {}).get(case.name)

    def began(self, side: str, cases: Sequence[Case]) -> set[str]:
        """When the runs began that these cases' outcomes are from."""
        return {run for case in cases if (run := self.runs.get(side, {}).get(case.name))}

    def keep(self, cases: Mapping[str, Case]) -> None:
        """Write them down, with what was asked and expected."""
        lines = []
        for name, case in cases.items():
            came = {
                side: {**asdict(kept[name]), "run": self.runs[side][name]}
                for side, kept in self.found.items()
                if name in kept
            }
            if came:
                asked = {"mark": case.mark(), "messages": case.messages, "tools": list(case.schemas)}
                wanted = {"calls": [asdict(call) for call in case.calls], "says": case.says}
                entry = {"half": case.half, **asked, "wanted": wanted, "came": came}
                lines.append(f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        os.replace(new, self.path)


def kept(cases: Mapping[str, Case], path: Path = KEPT) -> Outcomes:
    """Those of earlier runs."""
    outcomes = Outcomes(path)
    if not path.exists():
        return outcomes
    entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name, entry in entries.items():
        case = cases.get(name)
        if case is None or case.mark() != entry["mark"]:
            continue
        for side, came in entry["came"].items():
            run = came.pop("run")
            came["calls"] = [(name, arguments) for name, arguments in came["calls"]]
            outcomes.put(side, case, Outcome(**came), run)
    return outcomes
