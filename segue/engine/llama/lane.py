"""Runs many strands over one context: what goes into the next step, and what comes out of it.

A step takes one row from every strand that is drawing tokens, and fills up with pieces of
prompts that are still being read.  Laws:
- a strand that draws is in every step; prompts only get what keeps the step short;
- of the room for prompts half goes to the oldest, the rest to the shortest: neither a long nor a
  short one starves;
- a strand whose prompt begins like one that is being read just now waits for that part of it;
- no room in the cache: remembered sequences go first, then the youngest strand gives up its
  place, waits, and later goes on from its ids;
- a prefix that may end inside a token is read to its end like any prompt; then its cover is searched,
  a few branches before each step, and the strand goes on from the element it draws;
- a prompt that is to last has its cells in a snapshot when its answer is over, and back from there when
  that saves more than it costs; one with pictures is left out;
- a strand whose pictures are not encoded, and not in the cache either, gives its place back to be taken later;
- a `solitary` lane runs one strand at a time, in pieces of fixed size counted from its beginning,
  and remembers nothing, so that neither neighbours nor the past can change the last bits of its
  arithmetic, on any processor.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

import numpy as np

from segue.engine.llama.batch import Batch, common, rows
from segue.engine.llama.context import DRAWN_ROWS_MAX, Context, DecodeError, FloatRow, padding
from segue.engine.llama.frames import Token
from segue.engine.llama.guide import GuideError
from segue.engine.llama.memory import Memory
from segue.engine.llama.pace import Pace, Plan
from segue.engine.llama.searching import Searching
from segue.engine.llama.snapshots import Snapshots
from segue.engine.llama.strand import Strand
from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.llama.voice import Voice
from segue.engine.seam.cover import Cover
from segue.engine.seam.lexicon import Lexicon

SNAPSHOT_TOKENS_MIN = 512
"""What a snapshot must spare, or have that no other has: with fewer, reading is as quick as the disk."""


class Lane:
    """`failed(strand, detail, form)` is called for strands that can never run (`form`: since what they are to look like
    became too complex), `blind(strand)` for one that has lost its pictures' cells before it had its place; it comes
    back by `add`."""

    def __init__(
        self,
        context: Context,
        memory: Memory,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        slots: int,
        pace: Pace,
        failed: Callable[[Strand, str, bool], None],
        solitary: bool = False,
        snapshots: Snapshots | None = None,
        blind: Callable[[Strand], None] | None = None,
    ) -> None:
        self._context, self._memory, self._lexicon = context, memory, lexicon
        self._slots, self._pace, self._failed, self._solitary = slots, pace, failed, solitary
        self._snapshots, self._blind = snapshots, blind
        self._voice = Voice(vocabulary, context.cells)
        self._searching = Searching(context, memory, self._room, self._give_up, solitary)
        self.waiting: deque[Strand] = deque()
        self.running: list[Strand] = []
        self.batches = 0
        """What the model was given to compute since the lane began, searches included."""
        self._arrivals = 0

    @property
    def cells_used(self) -> int:
        """Cells that answers hold, or what is remembered of them."""
        return self._context.cells - self._memory.free_cells

    def add(self, strand: Strand) -> None:
        """Queue a strand.  One that could never fit is failed at once."""
        if len(strand.ids) + 1 > self._context.cells:
            self._failed(strand, f"{len(strand.ids)} tokens in a cache of {self._context.cells}", False)
            return
        self._arrivals += 1
        strand.arrived = self._arrivals
        self.waiting.append(strand)

    def remembered(self, strand: Strand) -> int:
        """How many of its leading tokens are in the cache just now."""
        return self._memory.best(strand.workspace, strand.array())[1]

    @property
    def busy(self) -> bool:
        """Is there anything to do?"""
        return bool(self.running or self.waiting)

    def drop_cancelled(self) -> None:
        """Free the places of strands nobody waits for."""
        self.waiting = deque(strand for strand in self.waiting if not strand.cancelled)
        for strand in [strand for strand in self.running if strand.cancelled]:
            self._leave(strand)

    def forget(self, documents: Collection[str]) -> None:
        """Keep nothing of these documents, neither now nor of what runs."""
        for strand in (*self.waiting, *self.running):
            strand.fleeting = strand.fleeting or not strand.documents.isdisjoint(documents)
        self._memory.forget_documents(documents)

    def step(self) -> list[Token]:
        """One step.  Returns what the strands said; empty when nothing was complete."""
        self._admit()
        self.batches += self._searching.step(self.running)
        said: list[Token] = []
        for strand in list(self.running):  # what is found for one may serve the next, in this very step
            if not strand.drawing and self._placed(strand):
                said.extend(self._prepared(strand))
        if said:  # not to be kept waiting for a step
            return said
        for plan in self._alone() if self._solitary else self._together():
            said.extend(self._run(plan))
        return said

    def _prepared(self, strand: Strand) -> list[Token]:
        """What a strand that has its place can say without a step: what was found for the same prompt before."""
        said: list[Token] = []
        if (seam := strand.seam) is not None:
            ids, ends = strand.array(), self._memory.ends
            kept = ends.cover(strand.workspace, ids, seam.at, seam.budget, seam.rule)
            cover = None if kept is None else kept[0]
            if cover is None and seam.search is not None and seam.search.over:
                assert strand.sequence is not None
                cover = seam.cover()
                if not seam.search.given_up:  # else a slow moment would last
                    ends.keep_cover(strand.workspace, ids, seam.at, seam.budget, cover, strand.sequence, seam.rule)
            if cover is None:
                return said
            said = self._join(strand, cover)
        if strand in self.running and strand.missing == 0:
            assert strand.sequence is not None
            end = self._memory.ends.logits(strand.workspace, strand.array())
            if end is not None:
                said.extend(self._draw(strand, end))
            else:  # forgotten just now: its last token is read again
                self._memory.shorten(strand.sequence, strand.held - 1)
        return said

    def _join(self, strand: Strand, cover: Cover) -> list[Token]:
        """The strand goes on from one element of its prefix's cover."""
        self._searching.end(strand)
        try:
            common, said = self._voice.join(strand, cover)
        except GuideError as error:
            return self._astray(strand, error)
        if strand.sequence is not None:
            self._memory.shorten(strand.sequence, min(common, strand.held))
            strand.sequence.asked = common  # what lies behind was drawn
        if said:
            # Its last token is the answer's first: from here on it is in the middle of its answer.
            strand.drawing = strand.rereads(always=self._solitary)
        return self._heard(strand, said)

    def _draw(self, strand: Strand, logits: FloatRow) -> list[Token]:
        """What the strand says next; overwrites `logits`."""
        try:
            return self._heard(strand, self._voice.draw(strand, logits))
        except GuideError as error:
            return self._astray(strand, error)

    def _heard(self, strand: Strand, said: list[Token]) -> list[Token]:
        if said and said[-1].finish:
            self._leave(strand)
        return said

    def _astray(self, strand: Strand, error: GuideError) -> list[Token]:
        self._give_up(strand, f"it cannot be followed any further: {error}", form=True)
        return []

    def _give_up(self, strand: Strand, why: str, form: bool = False) -> None:
        self._failed(strand, why, form)
        self._leave(strand, remember=False)

    def _alone(self) -> list[Plan]:
        assert len(self.running) <= 1
        plan: Plan = []
        for strand in self.running:
            if strand.sequence is None or not strand.missing:
                continue
            if strand.rereads(always=True):
                plan = [(strand, min(strand.missing, DRAWN_ROWS_MAX))]
            else:
                plan = [(strand, min(strand.drawn_at - strand.held, self._context.rows_max))]
        return [self._fit(plan)]

    def _together(self) -> list[Plan]:
        drawing = [
            (strand, strand.missing)
            for strand in self.running
            if strand.drawing or (strand.reading and strand.rereads(always=False))
        ]
        reading = [strand for strand in self.running if strand.reading and not strand.rereads(always=False)]
        plan = self._fit(drawing + self._pieces(reading, sum(count for _, count in drawing)))
        return [plan] if self._reads(plan) else self._pace.cut(plan)

    def _reads(self, plan: Plan) -> bool:
        """Does a step read prompts, or only go on with answers?"""
        return any(not strand.drawing and not strand.rereads(always=self._solitary) for strand, _ in plan)

    def _padding(self, plan: Plan) -> int:
        """Rows that make a step which reads prompts one of the common kind; none for drawing alone."""
        return padding(rows(plan)) if self._reads(plan) else 0

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
        if strand.lasting and not strand.sought and self._recalled(strand, remembered):
            _, remembered = self._memory.best(strand.workspace, ids)
        for other in self.running:
            if other is strand or other.sequence is None or other.workspace != strand.workspace or other.drawing:
                continue
            shared = common(other, strand) if self._memory.divisible else 0
            if shared > remembered and other.held < shared:
                return False
        most, holder = None, None
        if (seam := strand.seam) is not None:
            known = self._memory.ends.cover(strand.workspace, ids, seam.at, seam.budget, seam.rule)
            if known is None and any(other.same_seam(strand) for other in self.running if other is not strand):
                return False
            # The logits behind each of its tokens are wanted; where they are known, so is whose cells they came
            # from, and in any others the same tokens may have been computed in another kind of step.
            most, holder = seam.at - 1, None if known is None else known[1]
        begun = self._memory.begin(strand.workspace, ids, strand.tokens_left, most, holder, strand.places)
        if begun is None:
            return False
        strand.sequence, found = begun
        if self._blind is not None and strand.places.unseen(found):
            self._memory.forget(strand.sequence)
            strand.sequence = None
            self.running.remove(strand)
            self._blind(strand)
            return False
        strand.sequence.documents = strand.documents
        strand.cached = found if strand.cached < 0 else strand.cached
        return True

    def _recalled(self, strand: Strand, remembered: int) -> bool:
        """Remember the prompt's beginning from a snapshot that has much more of it."""
        strand.sought = True
        if self._snapshots is None:
            return False
        found, length = self._snapshots.best(strand.workspace, strand.array())
        if found is None or length < remembered + SNAPSHOT_TOKENS_MIN:
            return False
        saved = self._snapshots.load(found)
        return saved is not None and self._memory.recall(strand.workspace, found.ids, saved, found.documents)

    def _keep(self, strand: Strand) -> None:
        """Take a snapshot of the strand's prompt, where much of it is in none."""
        sequence = strand.sequence
        if self._snapshots is None or sequence is None or not strand.lasting or self._snapshots.busy or strand.places:
            return
        ids = sequence.tokens[: min(sequence.asked, sequence.held)]
        _, kept = self._snapshots.best(strand.workspace, ids)
        if len(ids) >= kept + SNAPSHOT_TOKENS_MIN:
            saved = self._context.save_head(sequence.number, len(ids))
            self._snapshots.keep(strand.workspace, ids, saved, strand.documents)

    def _fit(self, plan: Plan) -> Plan:
        """Make room in the cache for the plan, giving up places from the youngest on if need be."""
        while plan and not self._memory.reserve(rows(plan) + self._padding(plan)):
            holders = [strand for strand in self.running if strand.sequence is not None]
            youngest = max(holders, key=lambda strand: strand.arrived)
            if len(holders) == 1:
                # Alone and still too large: it has filled the whole cache.
                self._failed(youngest, "the key-value cache is full", False)
                self._leave(youngest)
                return []
            self._set_aside(youngest)
            plan = [(strand, count) for strand, count in plan if strand is not youngest]
        return plan

    def _room(self, count: int, searching: Strand) -> bool:
        """Make room for a search, giving up places from the youngest on.  False: it is alone, and too large."""
        while searching.sequence is not None and not self._memory.reserve(count):
            holders = [strand for strand in self.running if strand.sequence is not None]
            if len(holders) == 1:
                return False
            self._set_aside(max(holders, key=lambda strand: strand.arrived))
        return True

    def _set_aside(self, strand: Strand) -> None:
        assert strand.sequence is not None
        self._searching.end(strand)
        self._memory.forget(strand.sequence)
        strand.sequence, strand.drawing = None, False
        if strand.seam is not None:
            strand.seam.restart()
        self.running.remove(strand)
        self.waiting.appendleft(strand)

    def _run(self, plan: Plan) -> list[Token]:
        step = Batch.of(plan)
        if not step.rows:
            return []
        began = time.perf_counter()
        self.batches += 1
        try:
            self._context.decode(step.rows, self._padding(plan), step.patches)
        except DecodeError as error:
            for strand, _ in plan:
                self._give_up(strand, str(error))
            return []
        for strand, count in plan:
            assert strand.sequence is not None
            start = strand.held
            self._memory.extend(strand.sequence, np.asarray(strand.ids[start : start + count], np.int32))
        said: list[Token] = []
        for strand, at, row in step.ends:
            logits = self._context.logits(row)
            last = at == len(strand.ids) - 1
            if last and strand.drawn_at == len(strand.ids):
                assert strand.sequence is not None
                self._memory.ends.keep(strand.workspace, strand.array(), logits, strand.sequence)
            if strand.seam is not None:
                strand.seam.learn(at, logits)
                if last:
                    strand.seam.begin(self._lexicon)
            elif last:
                said.extend(self._draw(strand, logits))
        self._pace.took(len(step.rows), time.perf_counter() - began)
        return said

    def _leave(self, strand: Strand, remember: bool = True) -> None:
        self.running.remove(strand)
        self._searching.end(strand)
        if strand.sequence is not None:
            if remember and not self._solitary and not strand.fleeting:
                self._keep(strand)
                self._memory.finish(strand.sequence)
            else:
                self._memory.forget(strand.sequence)
            strand.sequence = None
