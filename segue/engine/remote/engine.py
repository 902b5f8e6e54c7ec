"""One upstream as the rest of Segue sees it: an engine like any other.

Laws: those of `engine/base.py`.  Whether the upstream can answer is looked at while nobody asks, so `health` answers
at once.  Several choices are several calls: an upstream that remembers prompts reads theirs once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from array import array
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from segue.core.errors import EngineFailed, EngineLost, Fault, FormatInvalid, QueueFull, TimedOut
from segue.core.generation import Chunk, FinishReason, ModelCard, Opened, Prompt, SeamFound, Segment
from segue.engine.base import Health
from segue.engine.llama.guide import Guide, GuideError, Guides
from segue.engine.merging import merged
from segue.engine.remote.client import Client
from segue.engine.remote.join import Join
from segue.engine.remote.kind import Kind
from segue.engine.remote.spec import RemoteSpec, Site
from segue.engine.remote.strand import Strand
from segue.engine.remote.upstream import Model, Upstream
from segue.engine.remote.vocabulary import Known

log = logging.getLogger("segue.engine")

_AGAIN_S = 0.2
"""How long after a look that found nobody there is no other."""
_THREAD_CHARACTERS = 4096
"""Longer texts are encoded in a thread: others are answered meanwhile."""


@dataclass(slots=True)
class Shared:
    """What all replicas of a model have in common, read once."""

    known: Known
    model: Model
    guides: Guides | None = None


@dataclass(slots=True)
class _Begun:
    """A choice that has not been asked for yet: its strand, and what was said by joining it to its prefix."""

    strand: Strand
    chunk: Chunk | None = None


class RemoteEngine:
    """Keeps `segue.engine.base.Engine`.  `shared` gives what was read of the model's files."""

    def __init__(
        self,
        spec: RemoteSpec,
        site: Site,
        shared: Callable[[], asyncio.Future[Shared]],
        kind: Callable[[Shared, RemoteSpec], Kind],
    ) -> None:
        self._spec, self._site, self._share, self._kind = spec, site, shared, kind
        self._shared: Shared | None = None
        self._upstream: Upstream | None = None
        self._card: ModelCard | None = None
        self._looker: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()
        self._running = 0
        self._ready = self._closed = False
        self._detail = "not started"

    @property
    def card(self) -> ModelCard:
        """The served model.  Raises EngineFailed before `start`."""
        if self._card is None:
            raise EngineFailed(self._detail)
        return self._card

    async def start(self) -> None:
        """Return when the upstream answers; until then it is asked again and again.  Raises EngineFailed."""
        self._shared = await self._share()
        kind = self._kind(self._shared, self._spec)
        self._upstream = Upstream(kind, Client(self._site, self._spec.bounds), self._shared.model)
        while True:
            if await self._look():
                break
            await asyncio.sleep(self._spec.bounds.looks_every_s)
        self._looker = asyncio.create_task(self._keep_looking())

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of the segments."""
        words = self._read.model.words
        runs = [(segment.text, segment.control) for segment in segments]
        if sum(len(text) for text, _ in runs) > _THREAD_CHARACTERS:
            return await asyncio.to_thread(words.encode, runs)
        return words.encode(runs, [segment.text for segment in segments if segment.own])

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token."""
        return self._read.model.words.pieces(ids)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """Continue the prompt.  Closing the iterator closes the upstream's connections."""
        upstream = self._upstream
        if self._closed or upstream is None:
            raise EngineLost
        if self._running + prompt.choices > self._spec.bounds.running_max:
            raise QueueFull
        self._running += prompt.choices
        try:
            begun, found, cached = await self._begun(upstream, prompt)
            opened = False
            if cached is not None or any(each.chunk for each in begun):
                opened = True
                yield Opened(min(cached or 0, len(prompt.ids)), found)
            async with aclosing(
                merged([_said(each.strand, each.chunk) if each.chunk else each.strand.say() for each in begun])
            ) as chunks:
                async for chunk in chunks:
                    if not opened:
                        opened = True
                        cached = begun[chunk.choice].strand.cached or 0
                        yield Opened(min(cached, len(prompt.ids)), found)
                    yield chunk
        except (EngineLost, TimedOut):
            self._ready, self._detail = False, "an answer broke off"
            self._doubted.set()
            raise
        finally:
            self._running -= prompt.choices

    async def forget(self, documents: Collection[str]) -> None:
        """Nothing is remembered here; what an upstream does is between it and whoever runs it (docs/upstreams.md)."""

    async def health(self) -> Health:
        """What the last look found."""
        return Health(self._ready and not self._closed, self._running, detail=self._detail)

    async def close(self) -> None:
        """Answers under way fail with EngineLost."""
        self._closed = True
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.gather(self._looker, return_exceptions=True)
        if self._upstream is not None:
            await self._upstream.close()

    @property
    def _read(self) -> Shared:
        if self._shared is None:
            raise EngineLost
        return self._shared

    async def _begun(self, upstream: Upstream, prompt: Prompt) -> tuple[list[_Begun], SeamFound | None, int | None]:
        """Every choice at its first token; how the prefix was joined; how much was remembered, where that is known."""
        space = hashlib.blake2b(prompt.workspace.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        try:
            guide = (
                None if prompt.constraint is None else await self._guide(prompt.constraint.grammar, prompt.workspace)
            )
            join = None
            if prompt.seam is not None and "score" in self.card.abilities:
                join = await Join.of(upstream, prompt, prompt.seam, guide, space)
            begun = [self._choice(upstream, prompt, choice, space, guide, join) for choice in range(prompt.choices)]
        except GuideError as error:
            raise FormatInvalid(str(error)) from error
        if join is None:
            return begun, None, None
        return begun, SeamFound("exact", join.cover.bound, join.cover.nodes, len(join.cover.tail)), join.cached

    def _choice(
        self, upstream: Upstream, prompt: Prompt, choice: int, space: str, guide: Guide | None, join: Join | None
    ) -> _Begun:
        ids, joined, chunk = (list(prompt.ids), None, None) if join is None else join.draw(choice)
        guide = None if guide is None else guide.copy()
        if guide is not None:
            guide.consume(ids[prompt.answer_at :])
        left = prompt.output_tokens_max - (chunk is not None)
        strand = Strand(upstream, prompt, choice, array("i", ids), left, space, guide, None if chunk else joined)
        return _Begun(strand, chunk)

    async def _guide(self, grammar: str, workspace: str) -> Guide:
        shared = self._read
        if shared.guides is None:
            shared.guides = await asyncio.to_thread(Guides, shared.model.words)
        guides = shared.guides
        await asyncio.to_thread(guides.compile, grammar, workspace)
        return guides.guide(grammar, workspace)

    async def _keep_looking(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._spec.bounds.looks_every_s):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            else:
                self._doubted.clear()
            await self._look()
            if not self._ready:
                await asyncio.sleep(_AGAIN_S)

    async def _look(self) -> bool:
        """Can it answer?"""
        assert self._upstream is not None
        assert self._shared is not None
        before = self._ready
        try:
            facts = await self._upstream.facts()
        except Fault as fault:
            self._ready, self._detail = False, str(fault) or type(fault).__name__
        else:
            self._ready, self._detail = True, ""
            self._card = self._card or self._card_of(self._shared, facts.context_tokens)
        if before and not self._ready:
            log.error("an upstream does not answer", extra={"upstream": self._site.url})
        return self._ready

    def _card_of(self, shared: Shared, context_tokens: int) -> ModelCard:
        spec, words, known = self._spec, shared.model.words, shared.known
        upstream = self._upstream
        assert upstream is not None
        bounds = [spec.context_tokens, context_tokens, known.context_tokens]
        return ModelCard(
            name=spec.name,
            context_tokens=min(bound for bound in bounds if bound),
            output_tokens_max=spec.output_tokens_max,
            output_tokens_default=spec.output_tokens_default,
            template=spec.template or known.template,
            bos_token=known.bos_token,
            eos_token=known.eos_token,
            vocabulary_size=words.size,
            token_bytes_max=words.longest,
            control_tokens=tuple(words.control),
            abilities=spec.abilities | upstream.kind.able,
            decoding=spec.decoding,
            sight=spec.sight,
        )


async def _said(strand: Strand, chunk: Chunk) -> AsyncGenerator[Chunk, None]:
    """What one choice says, from the token on that joined it to its prefix."""
    ended = strand.guide is not None and strand.guide.ended
    finish: FinishReason | None = "stop" if ended else "length" if strand.left <= 0 else None
    yield Chunk(chunk.choice, chunk.ids, chunk.data, chunk.logprobs, finish, chunk.joined)
    if finish is not None:
        return
    async with aclosing(strand.say()) as chunks:
        async for chunk in chunks:
            yield chunk
