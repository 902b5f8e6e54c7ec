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
from segue.engine.llama.frames import Open
from segue.engine.llama.memory import Sequence
from segue.engine.llama.sampling import Sampler


@dataclass(slots=True, eq=False)
class Strand:
    """`ids` grows with the answer; `sequence` is its place in the cache, when it has one."""

    number: int
    workspace: str
    ids: list[int]
    sampler: Sampler
    tokens_left: int
    logprobs: int
    deterministic: bool
    sequence: Sequence | None = None
    cached: int = -1
    """Tokens of the prompt that were found in the cache; told once, then -1."""
    drawing: bool = False
    """Its prompt has been read: from now on one row a step."""
    cancelled: bool = False
    arrived: int = 0
    prompt: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def held(self) -> int:
        """How many of `ids` are computed."""
        return self.sequence.held if self.sequence is not None else 0

    @property
    def missing(self) -> int:
        """How many of `ids` are still to be computed before the next draw."""
        return len(self.ids) - self.held

    def array(self) -> npt.NDArray[np.int32]:
        """`ids` as an array, rebuilt only when they grew."""
        if len(self.prompt) != len(self.ids):
            self.prompt = np.asarray(self.ids, dtype=np.int32)
        return self.prompt


def strand_of(message: Open, hidden: npt.NDArray[np.int32]) -> Strand:
    """A strand at the point its message says; earlier tokens of the answer are counted again."""
    prompt = np.frombuffer(message.ids, dtype="<i4").astype(np.int32)
    ids: list[int] = prompt.tolist()
    decoding = Decoding(
        temperature=message.temperature,
        top_p=message.top_p,
        top_k=message.top_k,
        repetition_penalty=message.repetition_penalty,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        seed=message.seed,
    )
    sampler = Sampler(decoding, message.choice, hidden)
    for token in ids[message.answer_at :]:
        sampler.see(token)
    return Strand(
        number=message.strand,
        workspace=message.workspace,
        ids=ids,
        sampler=sampler,
        tokens_left=message.tokens_max,
        logprobs=message.logprobs,
        deterministic=message.deterministic,
        prompt=prompt,
    )
