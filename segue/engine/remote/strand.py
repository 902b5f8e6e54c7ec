"""One choice of one answer, from an upstream.

The upstream draws; here every token is checked before it is handed on.  One that the constraint forbids, or that may
not stand in text, is drawn again: alone, among those that may come.  So a constraint holds over the whole answer,
prefix included, whatever the upstream makes of it, and the draw stays the model's own: a forbidden token's
probability goes to the others in proportion.

Laws: what was handed on is never taken back; an upstream that says more than was asked, or what is no token, fails
the answer.  The noise of an answer that is gone on with elsewhere is its seed's and position's, so that no noise is
used twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import numpy as np

from segue.core import frozen
from segue.core.errors import EngineFailed, EngineLost, TimedOut
from segue.core.generation import Alternative, Chunk, FinishReason, Joined, Prompt, TokenLogprob
from segue.engine.llama.guide import Guide, GuideError
from segue.engine.llama.sampling import Sampler
from segue.engine.remote.kind import Ask, Likely, Said
from segue.engine.remote.spelling import spelled
from segue.engine.remote.upstream import Upstream

_BANNED = -1000.0
_NAMED_MAX = 1000
"""More tokens than these are not named to an upstream (vLLM takes 1,024): where more may come, those that were drawn
and may not are."""
_OVER_S = 1.0
"""How long the end of an answer is waited for, its last token heard."""
_TRIES_MAX = 32
"""How often one place is drawn anew."""
_HEEDED_TRIES = 2
"""After so many the upstream, or what stands before it (sglang-router takes biases out), does not hear what may come:
it is asked how likely that is, and drawn from here."""


@frozen
class Turn:
    """How the next token is to be drawn, alone, after one that may not come."""

    banned: tuple[int, ...]
    allowed: tuple[int, ...] | None
    tries: int


@dataclass(slots=True)
class Strand:
    """`ids` grows with the answer, of which `left` tokens may still come; `joined` goes with the first of them.
    `cached` is how much of the prompt was remembered, None while it is not known."""

    upstream: Upstream
    prompt: Prompt
    choice: int
    ids: array[int]
    left: int
    space: str
    guide: Guide | None = None
    joined: Joined | None = None
    cached: int | None = None
    _turn: Turn | None = None
    _counted: int = 0
    """Tokens that the stream under way has told of."""
    _astray: bool = False
    """The stream under way no longer tells this answer."""
    _hinted: bool = True

    async def say(self) -> AsyncGenerator[Chunk, None]:
        """The rest of the choice.  Raises Faults."""
        while True:
            before = len(self.ids), self._turn, self._hinted
            if self._turn is not None and self._turn.tries > _HEEDED_TRIES and self._turn.allowed is not None:
                chunk = await self._drawn_here(self._turn.allowed)
                if chunk.ids or chunk.finish is not None:
                    yield chunk
                if chunk.finish is not None:
                    return
                continue
            try:
                async with aclosing(self._stretch()) as chunks:
                    async for chunk in chunks:
                        yield chunk
                        if chunk.finish is not None:
                            return
            except EngineFailed:
                # Perhaps it cannot read the constraint, which is only told to it to be corrected less often.
                if not self._hinting or self._counted:
                    raise
                self._hinted = False
            if before == (len(self.ids), self._turn, self._hinted):
                raise EngineLost  # it was asked and said nothing

    async def _stretch(self) -> AsyncGenerator[Chunk, None]:
        """What comes of one call of the upstream; the last chunk has `finish` set, where the choice is over."""
        single = self._turn is not None
        self._counted, self._astray = 0, False
        ended = False
        async with aclosing(self.upstream.said(self._ask())) as events:
            async for said in events:
                if (quick := self._quick(said)) is not None:
                    yield quick
                    continue
                late = self.cached is None
                ids, missing = self._told(said)
                if missing:
                    break
                chunk = await self._take(said, ids, single)
                ended = ended or said.finish is not None
                if chunk.finish is not None and said.finish is not None:
                    if not said.over:
                        await self._over(events)
                    yield replace(chunk, cached_tokens=self.cached) if late else chunk
                    return
                if chunk.ids or chunk.finish is not None:
                    yield chunk
                if self._astray:
                    return
            else:
                if not ended:
                    raise EngineLost  # it fell silent before its end
                return
        at_once = await self.upstream.rest(replace(self._ask(), tokens_max=min(missing, self.left)))
        if at_once is None:
            raise EngineFailed("the upstream told of fewer tokens than it counted")
        self._counted = 0
        yield await self._take(at_once, at_once.ids, True)

    async def _drawn_here(self, allowed: Sequence[int]) -> Chunk:
        """The next token, drawn from the upstream's own distribution over those that may come."""
        prompt, words = self.prompt, self.upstream.model.words
        row = np.full(words.size, -np.inf, np.float32)
        most = self.upstream.kind.scored_max or len(allowed)
        for begin in range(0, len(allowed), most):
            part = list(allowed[begin : begin + most])
            scores = await self.upstream.scores(self.ids, part, self.space)
            row[part] = [scores.known.get(token, scores.unknown) for token in part]
        sampler = Sampler(prompt.decoding, prompt.first_choice + self.choice, words.hidden)
        for token in self.ids[prompt.answer_at :]:
            sampler.see(token)
        token = sampler.draw(row)
        return await self._take(Said((token,)), (token,), True)

    async def _over(self, events: AsyncGenerator[Said, None]) -> None:
        """Hear what comes after an answer's last token: how much of the prompt was remembered, and the end, behind
        which the connection can be used again."""
        with suppress(TimeoutError, EngineLost, TimedOut):
            async with asyncio.timeout(_OVER_S):
                async for said in events:
                    if self.cached is None:
                        self.cached = said.cached

    @property
    def _hinting(self) -> bool:
        """Is the constraint told to the upstream?  It would begin at the first token that is to come."""
        begun = len(self.ids) > self.prompt.answer_at or self._turn is not None
        return self.prompt.constraint is not None and self._hinted and self.upstream.kind.hints and not begun

    def _ask(self) -> Ask:
        prompt, turn = self.prompt, self._turn
        bias = self._corrections()
        tries = 0
        if turn is not None:
            tries = turn.tries
            bias |= dict.fromkeys(turn.banned, _BANNED)
        return Ask(
            ids=list(self.ids),
            answer_at=prompt.answer_at,
            tokens_max=self.left if turn is None else 1,
            decoding=prompt.decoding,
            seed=_seed(prompt, self.choice, len(self.ids) - prompt.answer_at, tries),
            logprobs=prompt.logprobs,
            bias=bias,
            allowed=None if turn is None else turn.allowed,
            constraint=prompt.constraint if self._hinting else None,
            space=self.space,
            views=prompt.views,
            whole=prompt.whole,
        )

    def _corrections(self) -> dict[int, float]:
        """What makes up for penalties that count other tokens than those of the answer.  A token's frequency is made
        up for exactly; its presence as long as it does not come on both sides."""
        how, at = self.prompt.decoding, self.prompt.answer_at
        if how.presence_penalty == 0.0 and how.frequency_penalty == 0.0:
            return {}
        too_many = self.upstream.kind.counts_prompt
        counts = Counter(self.ids[:at] if too_many else self.ids[at:])
        sign = 1 if too_many else -1
        most = counts.most_common(_NAMED_MAX)
        return {i: sign * (how.presence_penalty + how.frequency_penalty * n) for i, n in most}

    def _told(self, said: Said) -> tuple[Sequence[int], int]:
        """The tokens of an event, those before it that it has no number for found by their bytes; or how many are
        missing."""
        if said.cached is not None and self.cached is None:
            self.cached = said.cached
        if said.count is None or said.count == self._counted + len(said.ids):
            return said.ids, 0
        if said.count == len(said.ids):  # all of them, from the first on
            return said.ids[self._counted :], 0
        missing = said.count - self._counted - len(said.ids)
        if missing == 1 and said.finish == "stop":
            return said.ids, 0  # the end was counted
        model = self.upstream.model
        text, known = said.text.encode(), b"".join(model.words.pieces(said.ids))
        if missing < 0 or not text.endswith(known):
            return (), max(missing, 1) + len(said.ids)
        found = spelled(model.lexicon, text[: len(text) - len(known)], missing)
        return ((*found, *said.ids), 0) if found is not None else ((), missing + len(said.ids))

    def _quick(self, said: Said) -> Chunk | None:
        """The chunk of an event as nearly all are: tokens of an answer that goes on, which only have to be text."""
        ids = said.ids
        if not ids or said.finish is not None or said.count is not None or self.left <= len(ids):
            return None
        if self.guide is not None or self._turn is not None or self.joined is not None:
            return None
        if self.prompt.logprobs is not None:
            return None
        words, special = self.upstream.model.words, self.upstream.model.special
        for token in ids:
            if not 0 <= token < words.size or token in special:
                return None
        if said.cached is not None and self.cached is None:
            self.cached = said.cached
        self._counted += len(ids)
        self.left -= len(ids)
        self.ids.extend(ids)
        return Chunk(self.choice, ids, words.piece(ids[0]) if len(ids) == 1 else b"".join(words.pieces(ids)))

    async def _take(self, said: Said, ids: Sequence[int], single: bool) -> Chunk:
        """The event's tokens, as far as they may come, and those that must come then."""
        words, hidden = self.upstream.model.words, self.upstream.model.hidden
        self._counted += len(ids)
        taken: list[int] = []
        logprobs: list[TokenLogprob] = []
        finish: FinishReason | None = None
        for place, token in enumerate(ids):
            if not 0 <= token < words.size:
                raise EngineFailed(f"the upstream said {token}, which is no token")
            if token in words.eog:
                finish = self._end(token, taken, logprobs)
                break
            if self.left <= 0:
                raise EngineFailed("the upstream said more than was asked")
            if token in hidden or (self.guide is not None and not self.guide.takes(token)):
                finish = self._rejected((token,), taken, logprobs)
                break
            if self.prompt.logprobs is not None:
                logprobs.append(await self._likely(said, token, place - len(ids)))
            finish = self._add(token, taken)
            if finish is not None:
                break
        else:
            if said.finish == "stop":
                finish = finish or self._end(-1, taken, logprobs)
            elif said.finish == "length" and not single:
                finish = finish or "length"
        joined, self.joined = self.joined, None
        return Chunk(self.choice, tuple(taken), b"".join(words.pieces(taken)), tuple(logprobs), finish, joined)

    def _add(self, token: int, taken: list[int]) -> FinishReason | None:
        taken.append(token)
        self.ids.append(token)
        self.left -= 1
        self._turn = None
        if self.guide is not None and self.guide.ended:
            return "stop"
        return "length" if self.left <= 0 else None

    def _end(self, token: int, taken: list[int], logprobs: list[TokenLogprob]) -> FinishReason | None:
        if self.guide is None or self.guide.may_end:
            return "stop"
        return self._rejected((token,) if token >= 0 else tuple(self.upstream.model.words.eog), taken, logprobs)

    def _rejected(self, tokens: tuple[int, ...], taken: list[int], logprobs: list[TokenLogprob]) -> FinishReason | None:
        """Tokens that may not come: what must come instead is taken, or the next is drawn among those that may."""
        self._astray = True
        guide, turn, forced = self.guide, self._turn, False
        try:
            for token in guide.forced() if guide is not None else ():
                if guide is not None and not guide.takes(token):
                    break
                if self.prompt.logprobs is not None:
                    data = self.upstream.model.words.piece(token)
                    logprobs.append(TokenLogprob(data, 0.0, (Alternative(data, 0.0),) * min(self.prompt.logprobs, 1)))
                forced = True
                if (finish := self._add(token, taken)) is not None:
                    return finish
            if forced:
                return None
            tries = turn.tries + 1 if turn is not None else 1
            if tries > _TRIES_MAX:
                raise EngineFailed("the upstream cannot be kept to the form of the answer")
            allowed = None
            if guide is not None:
                mask = guide.allowed()
                mask[self.upstream.model.words.hidden] = False
                if not mask.any():
                    raise EngineFailed("nothing may follow")
                if mask.sum() <= _NAMED_MAX:
                    allowed = tuple(mask.nonzero()[0].tolist())
            self._turn = Turn((turn.banned if turn is not None else ()) + tokens, allowed, tries)
        except GuideError as error:
            raise EngineFailed(str(error)) from error
        return None

    async def _likely(self, said: Said, token: int, behind: int) -> TokenLogprob:
        """The log probability of the token that stands `behind` (-1 for the last) from the event's end."""
        count = self.prompt.logprobs or 0
        if -behind <= len(said.logprobs):
            return self._shown(said.logprobs[behind], count)
        scores = await self.upstream.scores(self.ids, [token], self.space)
        best = sorted(scores.known.items(), key=lambda each: -each[1])[:count]
        return self._shown(Likely(token, scores.known.get(token, scores.unknown), tuple(best)), count)

    def _shown(self, likely: Likely, count: int) -> TokenLogprob:
        piece = self.upstream.model.words.pieces
        top = tuple(Alternative(piece([token])[0], value) for token, value in likely.top[:count])
        return TokenLogprob(piece([likely.token])[0], likely.logprob, top)


def _seed(prompt: Prompt, choice: int, position: int, tries: int) -> int:
    """The caller's own seed for the first choice's beginning, and for every other place one that follows from it."""
    number = prompt.first_choice + choice
    if not (number or position or tries):
        return prompt.decoding.seed
    told = f"{prompt.decoding.seed} {number} {position} {tries}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "little") >> 1
