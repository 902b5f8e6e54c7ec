"""Where the router sends conversations: the share of tokens that need not be read again, and how evenly work lies.

    python -m bench.affinity                                 50 conversations of 8 turns over 4 replicas, up to
                                                             1,000,000 over 1,000, which takes some minutes
    python -m bench.affinity --replicas 16 --conversations 1000

The router's own code, over simulated replicas and a simulated clock: a replica remembers the conversations it has
answered last, up to its room, and takes time for each token it reads and each it writes.  `ideal` is one replica
with room for everything and time for nothing.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import report
from segue.engine.router.balance import Balance, Policy
from segue.engine.router.blocks import BLOCK_TOKENS

READ_TOKENS_PER_S, WRITTEN_TOKENS_PER_S = 4000.0, 50.0
SYSTEMS = 20
"""Different system prompts; every conversation has one."""
PAUSE_S = 20.0
"""Between an answer and the next question."""


OF_IDEAL_MIN, WORK_MAX = 0.9, 1.3


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated."""

    replicas: int
    conversations: int


CASES = (Case(4, 50), Case(4, 1000), Case(1000, 20_000), Case(1000, 1_000_000))


@dataclass(slots=True)
class Cache:
    """What one simulated replica has read: how many blocks of each conversation, and whose system prompts."""

    blocks_max: int
    kept: OrderedDict[int, int] = field(default_factory=OrderedDict)
    systems: set[int] = field(default_factory=set)
    used: int = 0

    def read(self, conversation: int, system: int, own: int, blocks: int) -> int:
        """Read a prompt of so many blocks, the first of which (all but `own`) are a system prompt.  How many of them
        were remembered."""
        known = self.kept.pop(conversation, 0)
        found = max(known, blocks - own if system in self.systems else 0)
        self.systems.add(system)
        self.kept[conversation] = blocks
        self.used += blocks - known
        while self.used > self.blocks_max:
            self.used -= self.kept.popitem(last=False)[1]
        return min(found, blocks)


@dataclass(slots=True)
class Figures:
    """Of one simulation."""

    turns: int = 0
    tokens: int = 0
    hits: int = 0
    ideal: int = 0
    seconds: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    work: dict[str, int] = field(default_factory=dict)

    @property
    def of_ideal(self) -> float:
        """Tokens remembered, over those that one replica would have remembered."""
        return self.hits / self.ideal

    def spread(self, loads: dict[str, int]) -> float:
        """The heaviest load over the mean."""
        return max(loads.values()) * len(loads) / sum(loads.values())


def simulate(
    replicas: int, conversations: int, turns: int, per_s: float, room_blocks: int, policy: Policy, seed: int = 1
) -> Figures:
    """`per_s` conversations begin a second; each replica remembers `room_blocks` blocks."""
    rng, balance, figures = random.Random(seed), Balance(policy), Figures()
    caches, ideal = {f"replica {n}": Cache(room_blocks) for n in range(replicas)}, Cache(1 << 60)
    for name in caches:
        balance.put(name, 1.0)
        balance.told(name, True, -policy.slow_start_s)
    figures.answers, figures.work = dict.fromkeys(caches, 0), dict.fromkeys(caches, 0)
    systems = [rng.randrange(1, 12) for _ in range(SYSTEMS)]
    events: list[tuple[float, int, int, int]] = []
    begun, at, began = 0, 0.0, time.process_time()
    ends: list[tuple[float, int, object]] = []
    while begun < conversations or events:
        if begun < conversations and (not events or at <= events[0][0]):
            heapq.heappush(events, (at, begun, 0, rng.randrange(1, 8)))
            begun, at = begun + 1, at + rng.expovariate(per_s)
        now, conversation, turn, own = heapq.heappop(events)
        while ends and ends[0][0] <= now:
            _, _, taken = heapq.heappop(ends)
            balance.ended(taken, now, failed=False)  # type: ignore[arg-type]
        system = conversation % SYSTEMS
        blocks = systems[system] + own
        hashes = [-(system * 1000 + n) - 1 for n in range(systems[system])]
        hashes += [conversation * 1000 + n for n in range(own)]
        hashes = [hash((each, "block")) & 0xFFFFFFFFFFFFFFFF for each in hashes]
        tokens = blocks * BLOCK_TOKENS
        taken = balance.choose(hashes, tokens, now)
        assert taken is not None
        found = caches[taken.name].read(conversation, system, own, blocks)
        figures.ideal += ideal.read(conversation, system, own, blocks) * BLOCK_TOKENS
        figures.hits += found * BLOCK_TOKENS
        figures.tokens += tokens
        figures.turns += 1
        written = rng.randrange(20, 400)
        balance.said(taken, written, now)
        figures.answers[taken.name] += 1
        figures.work[taken.name] += (blocks - found) * BLOCK_TOKENS + written
        seconds = (blocks - found) * BLOCK_TOKENS / READ_TOKENS_PER_S + written / WRITTEN_TOKENS_PER_S
        heapq.heappush(ends, (now + seconds, figures.turns, taken))
        if turn + 1 < turns:
            more = 1 + written // BLOCK_TOKENS + rng.randrange(0, 4)
            heapq.heappush(events, (now + seconds + rng.expovariate(1 / PAUSE_S), conversation, turn + 1, own + more))
    figures.seconds = time.process_time() - began
    return figures


def row(case: Case, figures: Figures) -> list[str]:
    """One simulation's figures."""
    evenly = figures.spread(figures.work)
    return [
        f"{case.conversations:,} over {case.replicas:,}",
        f"{figures.turns:,}",
        f"{figures.hits / figures.tokens:.1%}",
        f"{figures.of_ideal:.1%}",
        report.met(figures.of_ideal, least=OF_IDEAL_MIN),
        f"{figures.spread(figures.answers):.2f}",
        f"{evenly:.2f}",
        report.met(evenly, most=WORK_MAX),
        f"{figures.seconds / figures.turns * 1e6:.0f}",
    ]


def measure(cases: Sequence[Case], options: argparse.Namespace) -> str:
    """The whole report."""
    rows = []
    for case in cases:
        policy = Policy(places_max=max(200_000, 3000 * case.replicas))
        per_s = options.per_s or 0.25 * case.replicas
        found = simulate(case.replicas, case.conversations, options.turns, per_s, options.room, policy, options.seed)
        rows.append(row(case, found))
    head = report.heading("Conversations and replicas, simulated", report.command("affinity", options))
    names = ["conversations", "turns", "remembered", "of one replica's", f">= {OF_IDEAL_MIN:.0%}"]
    names += ["answers, heaviest", "work, heaviest", f"<= {WORK_MAX}", "us a turn"]
    title = f"{options.turns} turns each; the heaviest replica over the mean; processor time with the simulation's own"
    return "\n".join([head, report.table(title, names, rows)])


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=1)
    parser.add_argument("--replicas", type=int, default=0, help="one simulation of so many")
    parser.add_argument("--conversations", type=int, default=50, help="and so many of these (50)")
    parser.add_argument("--turns", type=int, default=8, help="of each conversation (8)")
    parser.add_argument("--per-s", type=float, default=0.0, help="conversations that begin a second; 0: 1 a replica")
    parser.add_argument("--room", type=int, default=20_000, help="blocks that a replica remembers")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    cases = CASES[:1] if told.quick else CASES
    if told.replicas:
        cases = (Case(told.replicas, told.conversations),)
    print(measure(cases, told))


if __name__ == "__main__":
    main()
