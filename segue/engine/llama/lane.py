"""Runs many strands over one context: what goes into the next step, and what comes out of it.

A step takes one row from every strand that is drawing tokens, and fills up with pieces of
prompts that are still being read.  Laws:
- a strand that draws is in every step; prompts only get what keeps the step short;
- of the room for prompts half goes to the oldest, the rest to the shortest: neither a long nor a
  short one starves;
- a strand whose prompt begins like one that is being read just now waits for that part of it;
- no room in the cache: remembered sequences go first, then the youngest strand gives up its
  place, waits, and later goes on from its ids;
- a `solitary` lane runs one strand at a time, in pieces of fixed size counted from its beginning,
  and remembers nothing, so that neither neighbours nor the past can change the last bits of its
  arithmetic, on any processor.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from segue.engine.llama.context import Context, DecodeError, FloatRow, padding
from segue.engine.llama.frames import Logprob, Token
from segue.engine.llama.memory import Memory
from segue.engine.llama.pace import Pace, Plan
from segue.engine.llama.sampling import logprobs
from segue.engine.llama.strand import Strand
from segue.engine.llama.vocabulary import Vocabulary

Row = tuple[int, int, int, bool]


class Lane:
    """`failed(strand, detail)` is called for strands that can never run."""

    def __init__(
        self,
        context: Context,
        memory: Memory,
        vocabulary: Vocabulary,
        slots: int,
        pace: Pace,
        failed: Callable[[Strand, str], None],
        solitary: bool = False,
    ) -> None:
        self._context, self._memory, self._vocabulary = context, memory, vocabulary
        self._slots, self._pace, self._failed, self._solitary = slots, pace, failed, solitary
        self.waiting: deque[Strand] = deque()
        self.running: list[Strand] = []
        self._arrivals = 0

    def add(self, strand: Strand) -> None:
        """Queue a strand.  One that could never fit is failed at once."""
        if len(strand.ids) + 1 > self._context.cells:
            self._failed(strand, f"{len(strand.ids)} tokens in a cache of {self._context.cells}")
            return
        self._arrivals += 1
        strand.arrived = self._arrivals
        self.waiting.append(strand)

    @property
    def busy(self) -> bool:
        """Is there anything to do?"""
        return bool(self.running or self.waiting)

    def drop_cancelled(self) -> None:
        """Free the places of strands nobody waits for."""
        self.waiting = deque(strand for strand in self.waiting if not strand.cancelled)
        for strand in [strand for strand in self.running if strand.cancelled]:
            self._leave(strand)

    def step(self) -> list[Token]:
        """One step.  Returns what the strands said; empty when nothing was complete."""
        self._admit()
        said: list[Token] = []
        for strand in [strand for strand in self.running if not strand.drawing and self._placed(strand)]:
            end = self._memory.end(strand.workspace, strand.array()) if strand.missing == 0 else None
            if end is not None:
                said.append(self._draw(strand, end))
        for plan in self._alone() if self._solitary else self._together():
            said.extend(self._run(plan))
        return said

    def _alone(self) -> list[Plan]:
        assert len(self.running) <= 1
        placed = [strand for strand in self.running if strand.sequence is not None]
        return [self._fit([(strand, min(strand.missing, self._context.rows_max))]) for strand in placed]

    def _together(self) -> list[Plan]:
        drawing = [(strand, 1) for strand in self.running if strand.drawing]
        reading = [strand for strand in self.running if not strand.drawing and strand.sequence is not None]
        plan = self._fit(drawing + self._pieces(reading, len(drawing)))
        return [plan] if any(not strand.drawing for strand, _ in plan) else self._pace.cut(plan)

    def _admit(self) -> None:
        """First come, first served; whoever is next waits for room to read its whole prompt."""
        while self.waiting and len(self.running) < self._slots:
            if self.running and len(self.waiting[0].ids) >= self._context.cells - self._memory.running_cells():
                return
            self.running.append(self.waiting.popleft())

    def _pieces(self, reading: list[Strand], drawing: int) -> Plan:
        """How much of which prompt goes into this step."""
        if not reading:
            return []
        room = self._pace.prompt_rows(drawing)
        reading = sorted(reading, key=lambda strand: strand.arrived)
        eldest, others = reading[0], sorted(reading[1:], key=lambda strand: strand.missing)
        share = room if not others else max(room // 2, room - sum(strand.missing for strand in others))
        plan = [(eldest, min(eldest.missing, share))]
        room -= plan[0][1]
        for strand in others:
            if room <= 0:
                break
            count = min(strand.missing, room)
            plan.append((strand, count))
            room -= count
        return plan

    def _placed(self, strand: Strand) -> bool:
        """Give a strand its sequence, unless a better head is about to be there."""
        if strand.sequence is not None:
            return True
        ids = strand.array()
        _, remembered = self._memory.best(strand.workspace, ids)
        for other in self.running:
            if other is strand or other.sequence is None or other.workspace != strand.workspace:
                continue
            if not self._memory.divisible or other.drawing:
                continue
            common = _common(other, strand)
            if common > remembered and other.held < common:
                return False
        begun = self._memory.begin(strand.workspace, ids, strand.tokens_left)
        if begun is None:
            return False
        strand.sequence, found = begun
        if strand.cached < 0:
            strand.cached = found
        return True

    def _fit(self, plan: Plan) -> Plan:
        """Make room in the cache for the plan, giving up places from the youngest on if need be."""
        while plan and not self._memory.reserve(_rows(plan) + _padding(plan)):
            holders = [strand for strand in self.running if strand.sequence is not None]
            youngest = max(holders, key=lambda strand: strand.arrived)
            if len(holders) == 1:
                # Alone and still too large: it has filled the whole cache.
                self._failed(youngest, "the key-value cache is full")
                self._leave(youngest)
                return []
            self._set_aside(youngest)
            plan = [(strand, count) for strand, count in plan if strand is not youngest]
        return plan

    def _set_aside(self, strand: Strand) -> None:
        assert strand.sequence is not None
        self._memory.forget(strand.sequence)
        strand.sequence, strand.drawing = None, False
        self.running.remove(strand)
        self.waiting.appendleft(strand)

    def _run(self, plan: Plan) -> list[Token]:
        rows: list[Row] = []
        ends: list[tuple[Strand, int]] = []
        for strand, count in plan:
            assert strand.sequence is not None
            start, number = strand.held, strand.sequence.number
            last = start + count == len(strand.ids)
            rows.extend((strand.ids[at], at, number, False) for at in range(start, start + count))
            if last:
                rows[-1] = (*rows[-1][:3], True)
                ends.append((strand, len(rows) - 1))
        if not rows:
            return []
        began = time.perf_counter()
        try:
            self._context.decode(rows, _padding(plan))
        except DecodeError as error:
            for strand, _ in plan:
                self._failed(strand, str(error))
                self._leave(strand, remember=False)
            return []
        for strand, count in plan:
            assert strand.sequence is not None
            start = strand.held
            self._memory.extend(strand.sequence, np.asarray(strand.ids[start : start + count], np.int32))
        said: list[Token] = []
        for strand, row in ends:
            logits = self._context.logits(row)
            if not strand.drawing:
                self._memory.keep_end(strand.workspace, strand.array(), logits)
            said.append(self._draw(strand, logits))
        self._pace.took(len(rows), time.perf_counter() - began)
        return said

    def _draw(self, strand: Strand, logits: FloatRow) -> Token:
        """Draw the strand's next token; overwrites `logits`."""
        strand.drawing = True
        wants = strand.logprobs >= 0
        raw = logits.copy() if wants else logits
        token = strand.sampler.draw(logits)
        cached, strand.cached = strand.cached, -1
        if token in self._vocabulary.eog:
            self._leave(strand)
            return Token(strand.number, -1, b"", "stop", cached)
        said = Token(strand.number, token, self._vocabulary.piece(token), "", cached)
        if wants:
            total, best = logprobs(raw, strand.logprobs)
            top = [(self._vocabulary.piece(i), value) for i, value in best]
            said.logprob = Logprob(said.data, float(raw[token]) - total, top)
        strand.ids.append(token)
        strand.sampler.see(token)
        strand.tokens_left -= 1
        if strand.tokens_left <= 0 or len(strand.ids) >= self._context.cells:
            said.finish = "length"
            self._leave(strand)
        return said

    def _leave(self, strand: Strand, remember: bool = True) -> None:
        self.running.remove(strand)
        if strand.sequence is not None:
            if remember and not self._solitary:
                self._memory.finish(strand.sequence)
            else:
                self._memory.forget(strand.sequence)
            strand.sequence = None


def _rows(plan: Plan) -> int:
    return sum(count for _, count in plan)


def _padding(plan: Plan) -> int:
    """Rows that make a step which reads prompts one of the common kind; none for drawing alone."""
    return padding(_rows(plan)) if any(not strand.drawing for strand, _ in plan) else 0


def _common(other: Strand, strand: Strand) -> int:
    """The length of the two prompts' common head; never all of the second."""
    ours, theirs = strand.array(), other.array()
    size = min(len(ours) - 1, len(theirs))
    differing = (ours[:size] != theirs[:size]).nonzero()[0]
    return int(differing[0]) if len(differing) else size
