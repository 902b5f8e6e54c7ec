"""The scores as tables: each half of the cases by itself."""

from __future__ import annotations

from collections.abc import Sequence

from bench import report
from bench.calls.cases import CALLED, HALVES, SAID, Case
from bench.calls.judge import Verdict, judge
from bench.calls.outcomes import Outcomes

READINGS = (
    ("Segue", "segue", False),
    ("llama.cpp's server", "peer", False),
    ("  and JSON in its text", "peer", True),
)
"""Who answered, under which name it is kept, and whether JSON in the text is read as a call."""
_HALVES = {"held": "held out (odd numbers)", "tune": "for tuning (even numbers)"}


def text(cases: Sequence[Case], outcomes: Outcomes) -> str:
    """All tables of these cases."""
    parts = [_made(cases, outcomes)]
    for half in reversed(HALVES):
        listed = [case for case in cases if case.half == half]
        parts += [_called(listed, outcomes, _HALVES[half]), _said(listed, outcomes, _HALVES[half])]
    runs = {side: outcomes.began(side, cases) for _, side, _ in READINGS}
    apart = len({run for began in runs.values() for run in began}) > 1
    return "\n".join([*filter(None, parts), *(["The outcomes are from several runs.\n"] if apart else [])])


def failures(cases: Sequence[Case], outcomes: Outcomes) -> str:
    """What was not right, in short."""
    lines = []
    for case in cases:
        wrong = [(name, side) for name, side, also in READINGS if not also and _wrong(case, outcomes, side)]
        if wrong:
            calls = ", ".join(f"{call.name}({dict(call.arguments)})" for call in case.calls)
            asked = [message["content"] for message in case.messages if message["role"] == "user"]
            lines.append(f"{case.name}: {asked[-1]}")
            lines.append(f"  wanted {calls or case.says or 'text'}; offered {', '.join(case.schemas)}")
            lines += [f"  {name}: {_short(case, outcomes, side)}" for name, side in wrong]
    return "\n".join(lines)


def line(case: Case, outcomes: Outcomes, side: str) -> str:
    """One outcome in a word."""
    found = outcomes.of(side, case)
    if found is None:
        return f"{side}: -"
    verdict = judge(case, found)
    steps = ("answered", "called", "parsed", "functions", "right") if case.calling else ("answered", "right")
    missed = next((step for step in steps if not getattr(verdict, step)), None)
    word = "right" if missed is None else "called" if verdict.called and not case.calling else f"not {missed}"
    return f"{side}: {word}, {found.seconds:.1f} s"


def _verdicts(cases: Sequence[Case], outcomes: Outcomes, side: str, also_text: bool) -> list[Verdict]:
    found = [(case, outcomes.of(side, case)) for case in cases]
    return [judge(case, outcome, also_text) for case, outcome in found if outcome is not None]


def _made(cases: Sequence[Case], outcomes: Outcomes) -> str:
    """Whatever is called must parse and fit."""
    rows = []
    for name, side, also in READINGS:
        verdicts = _verdicts(cases, outcomes, side, also)
        calling = [verdict for verdict in verdicts if verdict.called]
        parsed, valid = (sum(getattr(verdict, what) for verdict in calling) for what in ("parsed", "valid"))
        verdict = report.met(valid, least=len(calling)) if side == "segue" else ""
        if verdicts:
            answered = sum(verdict.answered for verdict in verdicts)
            row = [name, str(len(verdicts)), str(answered), str(len(calling)), str(parsed), str(valid)]
            rows.append([*row, "all" if side == "segue" else "", verdict])
    head = ["", "cases", "answered", "with calls", "all parse", "all fit their schemas", "target", ""]
    return report.table("Answers and their calls", head, rows)


def _called(cases: Sequence[Case], outcomes: Outcomes, half: str) -> str:
    rows = []
    for kind in (*CALLED, "all"):
        listed = [case for case in cases if case.calling and kind in (case.kind, "all")]
        for name, side, also in READINGS:
            if verdicts := _verdicts(listed, outcomes, side, also):
                counts = [
                    sum(getattr(verdict, what) for verdict in verdicts)
                    for what in ("parsed", "valid", "functions", "right")
                ]
                cells = [_of(count, len(verdicts), kind == "all") for count in counts]
                rows.append([kind, name, str(len(verdicts)), *cells])
    head = ["kind", "", "cases", "parsed", "fit the schema", "right functions", "right arguments"]
    return report.table(f"Calls are wanted: {half}", head, rows, left=2) if rows else ""


def _said(cases: Sequence[Case], outcomes: Outcomes, half: str) -> str:
    rows = []
    for kind in SAID:
        listed = [case for case in cases if case.kind == kind]
        for name, side, also in READINGS:
            if verdicts := _verdicts(listed, outcomes, side, also):
                called, leaked, right = (
                    sum(getattr(verdict, what) for verdict in verdicts) for what in ("called", "leaked", "right")
                )
                rows.append([kind, name, str(len(verdicts)), str(called), str(leaked), _of(right, len(verdicts), True)])
    head = ["kind", "", "cases", "calls all the same", "text like a call", "right text"]
    return report.table(f"Text is wanted: {half}", head, rows, left=2) if rows else ""


def _of(count: int, whole: int, share: bool) -> str:
    return f"{count} ({100 * count / whole:.0f} %)" if share else str(count)


def _wrong(case: Case, outcomes: Outcomes, side: str) -> bool:
    found = outcomes.of(side, case)
    return found is not None and not judge(case, found).right


def _short(case: Case, outcomes: Outcomes, side: str) -> str:
    found = outcomes.of(side, case)
    assert found is not None
    said = found.error or "; ".join(f"{name}({arguments})" for name, arguments in found.calls) or repr(found.text)
    return said if len(said) <= 300 else said[:300] + " ..."
