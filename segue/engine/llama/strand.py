"""One choice of one answer, as the engine runs it.

A strand is all that is needed to go on from any point: its ids, where its answer began, how it
draws.  That is why it can lose its place in the cache, or its whole process, and still say the
same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segue.core.generation import Decoding
from segue.engine.llama.context import DRAWN_ROWS_MAX
from segue.engine.llama.frames import Joined, Open
from segue.engine.llama.guide import Guide, Guides
from segue.engine.llama.places import NONE, Places
from segue.engine.llama.sampling import Sampler
from segue.engine.llama.seam import Seam
from segue.engine.llama.sequence import Sequence
from segue.engine.llama.vocabulary import Vocabulary


@dataclass(slots=True, eq=False)
class Strand:
    """`ids` grows with the answer; `sequence` is its place in the cache, when it has one."""

    number: int
    workspace: str
    ids: list[int]
    sampler: Sampler
    tokens_left: int
    logprobs: int
    drawn_at: int = -1
    """From here on `ids` were drawn one by one; -1: none yet when it came."""
    seam: Seam | None = None
    """The end of its prefix, as long as it is not known which tokens stand for it."""
    lasting: bool = False
    """Its prompt is worth a snapshot."""
    documents: frozenset[str] = frozenset()
    places: Places = NONE
    """Its pictures, all of which stand before its answer."""
    fleeting: bool = False
    """Nothing of it is remembered: one of its documents is to be forgotten."""
    sought: bool = False
    """Snapshots have been looked through for it."""
    guide: Guide | None = None
    """Its constraint's place: behind `ids`, or where its seam's tail begins."""
    joined: Joined | None = None
    """What became of the end of the prefix; told once, then None."""
    sequence: Sequence | None = None
    cached: int = -1
    """Tokens of the prompt that were found in the cache; told once, then -1."""
    drawing: bool = False
    """Its prompt has been read: from now on one row a step."""
    cancelled: bool = False
    arrived: int = 0
    prompt: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def __post_init__(self) -> None:
        if self.drawn_at < 0:
            self.drawn_at = len(self.ids)

    @property
    def held(self) -> int:
        """How many of `ids` are computed."""
        return self.sequence.held if self.sequence is not None else 0

    @property
    def missing(self) -> int:
        """How many of `ids` are still to be computed before the next draw."""
        return len(self.ids) - self.held

    @property
    def reading(self) -> bool:
        """Has a place, and rows of its prompt to compute."""
        return self.sequence is not None and not self.drawing and self.missing > 0

    def rereads(self, always: bool) -> bool:
        """Are the missing tokens to be computed as drawn ones are, in steps of few rows?  So they are
        where few are missing, and `always` where the last bits must not differ."""
        return self.held >= self.drawn_at and (always or self.missing <= DRAWN_ROWS_MAX)

    def same_seam(self, other: Strand) -> bool:
        """Is it about to find what `other` wants to know of the same prefix?"""
        ours, theirs = self.seam, other.seam
        if ours is None or theirs is None or self.sequence is None or self.workspace != other.workspace:
            return False
        return (ours.at, ours.budget, ours.rule) == (theirs.at, theirs.budget, theirs.rule) and self.ids == other.ids

    def array(self) -> npt.NDArray[np.int32]:
        """`ids` as an array, rebuilt only when they grew."""
        if len(self.prompt) != len(self.ids):
            self.prompt = np.asarray(self.ids, dtype=np.int32)
        return self.prompt

    def join(self, ids: list[int], path: list[int], common: int, joined: Joined) -> None:
        """`path` stands for the end of the prefix: its ids are now `ids`, of which the first `common`
        are as they were."""
        self.ids, self.prompt = ids, np.asarray(ids, dtype=np.int32)
        for token in path:
            self.sampler.see(token)
        if self.guide is not None:
            self.guide.consume(path)
        self.seam, self.joined, self.drawn_at = None, joined, common


def strands_of(
    message: Open, vocabulary: Vocabulary, guides: Guides | None = None, places: Places = NONE
) -> list[Strand]:
    """A strand for each choice, at the point the message says; earlier tokens of the answer are counted again.
    The message's grammar must be compiled.  Raises GuideError."""
    decoding = Decoding(
        temperature=message.temperature,
        top_p=message.top_p,
        top_k=message.top_k,
        repetition_penalty=message.repetition_penalty,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        seed=message.seed,
    )
    asked = np.frombuffer(message.ids, dtype="<i4").astype(np.int32)
    strands = []
    for choice in message.choices:
        kept = len(asked) - choice.back
        prompt = np.concatenate([asked[:kept], np.frombuffer(choice.generated, dtype="<i4").astype(np.int32)])
        ids: list[int] = prompt.tolist()
        seam = None
        if message.seam is not None and not choice.joined:
            seam = Seam.of(message.seam, ids, message.answer_at, vocabulary, decoding)
        guide = guides.guide(message.grammar, message.workspace) if guides is not None and message.grammar else None
        if guide is not None:
            guide.consume(ids[message.answer_at : None if seam is None else seam.at])
            if seam is not None:
                seam.guide, seam.rule = guide.copy(), message.grammar
        sampler = Sampler(decoding, choice.choice, vocabulary.hidden)
        for token in ids[message.answer_at : None if seam is None else seam.at]:
            sampler.see(token)
        strands.append(
            Strand(
                number=choice.strand,
                workspace=message.workspace,
                ids=ids,
                sampler=sampler,
                tokens_left=choice.tokens_max,
                logprobs=message.logprobs,
                drawn_at=min(message.drawn_at, kept),
                seam=seam,
                guide=guide,
                lasting=message.lasting,
                documents=frozenset(message.documents),
                places=places,
                prompt=prompt,
            )
        )
    return strands
