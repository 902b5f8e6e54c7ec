"""Where the caller's prefix meets the answer, over an upstream that can score: from scores to the beginning of strands.

Law: the cover is the embedded engine's, searched by `seam/drive.py`, and an element of it is drawn by the same
steps with the same noise; what is not known of a score stays in the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.generation import Alternative, Chunk, Joined, Prompt, Seam, TokenLogprob
from segue.engine.llama.guide import Guide
from segue.engine.llama.sampling import Sampler
from segue.engine.remote.upstream import Upstream
from segue.engine.seam.cover import Budget, Cover, Element, rivals
from segue.engine.seam.drive import Told, covered
from segue.engine.seam.tail import given_back


@dataclass(slots=True)
class Join:
    """The end of one prompt's prefix: its ids from `at` on, which spell `tail`."""

    upstream: Upstream
    prompt: Prompt
    space: str
    at: int
    tail: bytes
    cover: Cover
    cached: int | None = None
    """How much of the prompt was remembered when the first score was asked for."""

    @classmethod
    async def of(cls, upstream: Upstream, prompt: Prompt, how: Seam, guide: Guide | None, space: str) -> Join | None:
        """Search the cover; `guide` stands at the answer's beginning.  None where there is nothing to join.
        Raises Faults, and GuideError."""
        ids, words = prompt.ids, upstream.model.words
        begin = max(prompt.answer_at, len(ids) - how.tokens, 1)
        at = len(ids) - given_back(words.pieces(ids[begin:]), how.tokens)
        tail = b"".join(words.pieces(ids[at:]))
        if not tail:
            return None
        legal = None
        if guide is not None:
            guide = guide.copy()
            guide.consume(ids[prompt.answer_at : at])
            legal = guide.behind
        join = cls(upstream, prompt, space, at, tail, Cover(tail, (), 1.0, 0))
        budget = Budget(how.eps, how.nodes, prompt.decoding.temperature == 0.0)
        seconds = float("inf") if prompt.deterministic else how.seconds
        lexicon, abreast = upstream.model.lexicon, upstream.kind.abreast
        join.cover = await covered(join, lexicon, ids[:at], tail, budget, seconds, legal, abreast)
        return join

    async def score(self, ids: Sequence[int], candidates: Sequence[int]) -> Told:
        """Keeps `segue.engine.seam.drive.Scorer`."""
        values: list[float] = []
        unknown = -np.inf
        most = self.upstream.kind.scored_max or len(candidates)
        for begin in range(0, len(candidates), max(most, 1)):
            part = candidates[begin : begin + most]
            scores = await self.upstream.scores(ids, part, self.space)
            if self.cached is None:
                self.cached = scores.cached
            found = [scores.known.get(token, -np.inf) for token in part]
            if -np.inf in found:
                unknown = float(np.logaddexp(unknown, scores.unknown))
            values += found
        return Told(values, unknown)

    def draw(self, choice: int) -> tuple[list[int], Joined, Chunk | None]:
        """What stands for the prompt's ids in one choice, how it was joined, and the chunk that this already says."""
        prompt, words = self.prompt, self.upstream.model.words
        main = tuple(prompt.ids[self.at :])
        sampler = Sampler(prompt.decoding, prompt.first_choice + choice, words.hidden)
        for token in prompt.ids[prompt.answer_at : self.at]:
            sampler.see(token)
        element = sampler.join(self.cover) if self.cover.parts else None
        path = main if element is None else (*element.path, element.token)
        overhang = b"" if element is None else self._overhang(element)
        joined = Joined(len(main), path[:-1] if overhang else path)
        ids = [*prompt.ids[: self.at], *path]
        if element is None or not overhang:
            return ids, joined, None
        return ids, joined, Chunk(choice, (element.token,), overhang, self._share(element), None, joined)

    def _share(self, element: Element) -> tuple[TokenLogprob, ...]:
        count = self.prompt.logprobs
        if count is None:
            return ()
        best = rivals(self.cover, self._overhang, count)
        top = tuple(Alternative(data, value) for data, value in best)
        return (TokenLogprob(self._overhang(element), element.logprob, top),)

    def _overhang(self, element: Element) -> bytes:
        return self.upstream.model.words.piece(element.token)[element.used :]
