"""Hostile forms of the answer, thousands of them, and what they do to a neighbour.

A neighbour's streams run, one at a time: alone, then while clients ask for short answers of a harmless form, then while
the same clients ask for hostile ones (`bench/hostile.py`), then alone again.  No two forms are alike.  Each request has
to be answered with 200 or 400.  The gaps between the neighbour's tokens are told for each of these spans; a gap that
touches the attack belongs to it.  What the harmless form costs is what company costs; the rest is the hostility.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench import report
from bench.client import Answer, ask, chat
from bench.hostile import PLACE, harmless, hostile
from bench.load import TEXT
from bench.model import SUBJECTS
from bench.process import KEY

ATTACKS, CLIENTS = 2000, 4
ANSWER_TOKENS = 8
ATTACK_S_MAX, HARMLESS_MAX = 3600.0, 100_000
ANSWER_S_MAX = 120.0
SPAN_S = 30.0
"""Each span but the attack."""
NEIGHBOUR_TOKENS = 500
SPANS = ("alone", "beside harmless forms", "beside hostile forms", "alone again")
_STORY = "{}: write a very long story of that name."
_LAST = re.compile(rb'"finish_reason":"(stop|length)"')


@dataclass(slots=True)
class Crowd:
    """What became of the clients' requests: by the forms' names, statuses (0: no answer) and seconds."""

    began: float = 0.0
    ended: float = 0.0
    answers: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def count(self, *statuses: int) -> int:
        """How many were answered so."""
        return sum(status in statuses for each in self.answers.values() for status, _ in each)

    @property
    def sent(self) -> int:
        """All."""
        return sum(map(len, self.answers.values()))


async def crowd(port: int, forms: Mapping[str, Mapping[str, object]], requests: int, seconds_max: float) -> Crowd:
    """All clients, one request after the other each, until so many were sent or the time is over."""
    text = "Answer in JSON, as you must."
    asked = [(name, chat(text, ANSWER_TOKENS, False, KEY, **form)) for name, form in forms.items()]
    numbers, made = iter(range(requests)), Crowd(time.perf_counter())
    await asyncio.gather(*(_client(port, asked, numbers, made, seconds_max) for _ in range(CLIENTS)))
    made.ended = time.perf_counter()
    return made


async def _client(
    port: int, asked: list[tuple[str, bytes]], numbers: Iterator[int], made: Crowd, seconds_max: float
) -> None:
    for number in numbers:
        begun = time.perf_counter()
        if begun > made.began + seconds_max:
            return
        name, request = asked[number % len(asked)]
        try:
            answer = await asyncio.wait_for(ask(port, request.replace(PLACE.encode(), b"%08d" % number)), ANSWER_S_MAX)
            status = answer.status
        except (OSError, EOFError, ValueError, IndexError):  # no answer, or none in HTTP
            status = 0
        made.answers[name].append((status, time.perf_counter() - begun))


async def neighbour(port: int, streams: list[Answer], broken: list[str]) -> None:
    """One stream after the other, until cancelled; what comes goes to `streams`, what should not to `broken`."""
    for number in itertools.count():
        content = _STORY.format(SUBJECTS[number % len(SUBJECTS)])
        answer = Answer()
        streams.append(answer)
        try:
            await ask(port, chat(content, NEIGHBOUR_TOKENS, True, KEY, seed=number), answer)
        except (OSError, EOFError, ValueError, IndexError) as error:
            broken.append(repr(error))
            await asyncio.sleep(1.0)
            continue
        if answer.status != 200 or not _LAST.search(answer.body()):
            broken.append(answer.body()[-200:].decode("utf-8", "replace"))
            await asyncio.sleep(1.0)


def span(begin: float, end: float, company: Crowd, attack: Crowd) -> str:
    """The span that a wait belongs to."""
    if end <= company.began:
        return SPANS[0]
    if end <= attack.began:
        return SPANS[1]
    return SPANS[2] if begin < attack.ended else SPANS[3]


def gaps_table(streams: list[Answer], company: Crowd, attack: Crowd) -> str:
    """How the neighbour fared."""
    gaps: dict[str, list[float]] = {name: [] for name in SPANS}
    firsts: dict[str, list[float]] = {name: [] for name in SPANS}
    for stream in streams:
        times = stream.times(TEXT)
        for at, later in itertools.pairwise(times):
            gaps[span(at, later, company, attack)].append(1000 * (later - at))
        if times:
            firsts[span(stream.asked, times[0], company, attack)].append(1000 * (times[0] - stream.asked))
    rows = []
    for name, found in gaps.items():
        shown = [report.percentile(found, share) for share in (0.5, 0.99)] + [max(found)] if found else []
        cells = [f"{value:.0f}" for value in shown] or ["-"] * 3
        rows.append([name, str(len(found)), *cells, f"{max(firsts[name]):.0f}" if firsts[name] else "-"])
    head = ["a neighbour's stream", "gaps", "p50, ms", "p99, ms", "longest, ms", "longest first token, ms"]
    return report.table("Gaps between the tokens of a neighbour", head, rows)


def attack_table(attack: Crowd, attacks: int, broken: list[str]) -> str:
    """What became of the requests, by name, and of the neighbour's streams."""
    rows = []
    for name in hostile():
        each = attack.answers.get(name)
        if each:
            statuses = [status for status, _ in each]
            counts = [statuses.count(200), statuses.count(400)]
            seconds = report.spread([took for _, took in each])
            rows.append([name, *map(str, counts), str(len(each) - sum(counts)), seconds.text()])
    title = f"{attack.sent} hostile forms from {CLIENTS} clients in {attack.ended - attack.began:.0f} s"
    first = report.table(title, ["", "200", "400", "others", "seconds"], rows)
    others = attack.sent - attack.count(200, 400)
    rows = [
        ["sent", str(attack.sent), str(attacks), report.met(attack.sent, least=attacks)],
        ["answered with 200", str(attack.count(200)), ">= 1", report.met(attack.count(200), least=1)],
        ["answered with 400", str(attack.count(400)), ">= 1", report.met(attack.count(400), least=1)],
        ["answered otherwise, or not", str(others), "0", report.met(others, most=0)],
        ["streams of the neighbour that broke off", str(len(broken)), "0", report.met(len(broken), most=0)],
    ]
    return first + "\n" + report.table("In all", ["", "", "target", ""], rows)


async def beside(port: int, attacks: int, span_s: float) -> str:
    """The neighbour before, during and after the attack."""
    streams: list[Answer] = []
    broken: list[str] = []
    running = asyncio.create_task(neighbour(port, streams, broken))
    try:
        await asyncio.sleep(span_s)
        company = await crowd(port, harmless(), HARMLESS_MAX, span_s)
        attack = await crowd(port, hostile(), attacks, ATTACK_S_MAX)
        await asyncio.sleep(span_s)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    tables = [gaps_table(streams, company, attack), attack_table(attack, attacks, broken)]
    return "\n".join([*tables, *broken[:5]])
