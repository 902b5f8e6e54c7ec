"""What a strand says: the tokens it draws, those its constraint forces, and how its prefix is joined.

Laws: every token is counted by the sampler and the constraint before the next one is thought of; the last
one of an answer says why it is the last; what is told once (tokens found in the cache, the joined prefix)
goes with the first.  Places in the cache are the lane's.
"""

from __future__ import annotations

from segue.engine.llama.context import FloatRow
from segue.engine.llama.frames import Joined, Logprob, Token, pack_ids
from segue.engine.llama.sampling import logprobs
from segue.engine.llama.strand import Strand
from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.seam.cover import Cover, Element, rivals


class Voice:
    """`tokens_max` is the longest that prompt and answer can be together."""

    def __init__(self, vocabulary: Vocabulary, tokens_max: int) -> None:
        self._vocabulary, self._tokens_max = vocabulary, tokens_max

    def draw(self, strand: Strand, logits: FloatRow) -> list[Token]:
        """The strand's next token, and what its constraint then forces; overwrites `logits`.  Raises GuideError."""
        strand.drawing = True
        said = self._forced(strand)
        if not said:
            said = [self._drawn(strand, logits)]
            if not said[-1].finish:
                said += self._forced(strand)
        return said

    def join(self, strand: Strand, cover: Cover) -> tuple[int, list[Token]]:
        """The strand draws which tokens stand for the end of its prefix.  How many of its ids are as they were,
        and what it says beyond the prefix.  Raises GuideError."""
        seam = strand.seam
        assert seam is not None
        element = strand.sampler.join(cover) if cover.parts else None
        path = seam.main if element is None else (*element.path, element.token)
        common = seam.at + seam.common(path)
        overhang = b"" if element is None else self._overhang(element)
        kept = path if not overhang else path[:-1]
        joined = Joined(len(seam.main), pack_ids(list(kept)), cover.bound, cover.nodes, len(cover.tail))
        strand.join([*strand.ids[: seam.at], *path], list(path), common, joined)
        if not overhang or element is None:
            return common, []
        said = self._said(strand, element.token, overhang)
        if strand.logprobs >= 0:
            said.logprob = self._share(strand, cover, element)
        self._count(strand, said)
        return common, [said] if said.finish else [said, *self._forced(strand)]

    def _drawn(self, strand: Strand, logits: FloatRow) -> Token:
        wants = strand.logprobs >= 0
        raw = logits.copy() if wants else logits
        token = strand.sampler.draw(logits, None if strand.guide is None else strand.guide.allowed())
        if token in self._vocabulary.eog:
            said = self._said(strand, -1, b"")
            said.finish = "stop"
            return said
        said = self._said(strand, token, self._vocabulary.piece(token))
        if wants:
            total, best = logprobs(raw, strand.logprobs)
            top = [(self._vocabulary.piece(i), value) for i, value in best]
            said.logprob = Logprob(said.data, float(raw[token]) - total, top)
        self._take(strand, token)
        self._count(strand, said)
        return said

    def _forced(self, strand: Strand) -> list[Token]:
        """What every legal answer goes on with: said without asking the model."""
        said: list[Token] = []
        if strand.guide is None or strand.guide.ended:
            return said
        for token in strand.guide.forced():
            each = self._said(strand, token, self._vocabulary.piece(token))
            if strand.logprobs >= 0:
                each.logprob = Logprob(each.data, 0.0, [(each.data, 0.0)] if strand.logprobs else [])
            self._take(strand, token)
            self._count(strand, each)
            said.append(each)
            if each.finish:
                break
        return said

    def _take(self, strand: Strand, token: int) -> None:
        strand.ids.append(token)
        strand.sampler.see(token)
        if strand.guide is not None:
            strand.guide.consume([token])

    def _said(self, strand: Strand, token: int, data: bytes) -> Token:
        """A token, with what is told once."""
        cached, strand.cached = strand.cached, -1
        joined, strand.joined = strand.joined, None
        return Token(strand.number, token, data, "", cached, joined=joined)

    def _count(self, strand: Strand, said: Token) -> None:
        """A token more was said; perhaps the last."""
        strand.tokens_left -= 1
        if strand.guide is not None and strand.guide.ended:
            said.finish = "stop"
        elif strand.tokens_left <= 0 or len(strand.ids) >= self._tokens_max:
            said.finish = "length"

    def _share(self, strand: Strand, cover: Cover, element: Element) -> Logprob:
        """Shares in the cover, before penalties and temperature; rivals are told by what they add."""
        best = rivals(cover, self._overhang, strand.logprobs)
        return Logprob(self._overhang(element), element.logprob, best)

    def _overhang(self, element: Element) -> bytes:
        return self._vocabulary.piece(element.token)[element.used :]
