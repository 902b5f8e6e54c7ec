"""The whole story of a request on one screen.

    Request -> rules -> template -> encode -> answers -> budget -> Prompt -> engine -> Chunk -> assembly -> Event

`prepare` may raise a Fault, which becomes an HTTP status.  `answer` never raises: its last event
is `Finished` or `Failed`.  Closing the iterator it returns is the cancellation, all the way down
to the engine's slot.  A whole answer is `events.fold` of the same stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from segue.core.errors import EngineFailed, Fault, Internal
from segue.core.events import Event, Failed, Finished, Started
from segue.core.generation import Chunk, Constraint, ModelCard, Opened, Prompt, Seam, SeamFound
from segue.core.request import Request, Stop
from segue.engine.base import Engine
from segue.engine.choice import Decision, decided
from segue.engine.seam.healed import healed
from segue.output.assembly import Assembly, Before
from segue.output.calling import Calling
from segue.policy import rules
from segue.prompt import budget, constraint, template, tools
from segue.prompt.answers import Answers, Recorder, place
from segue.prompt.partial import opened

log = logging.getLogger("segue")


@dataclass(frozen=True, slots=True)
class Job:
    """A request that may run: its engine, what the engine is given, where the answer stops, who takes it
    down, what stands before it, how the two are joined where the engine does not say, who reads it for
    calls of functions, and what decides whether it begins with one."""

    engine: Engine
    prompt: Prompt
    stop: Stop
    served: str
    recorder: Recorder
    before: Before | None = None
    seam: SeamFound | None = None
    calling: Calling | None = None
    decision: Decision | None = None


class Pipeline:
    """Binds the stages.

    `find` gives the engine that answers to a model name, or raises ModelUnknown; `seam` is how the end of a
    prefix is searched, None for not at all; `answers` remembers what was said; `now` is the clock that
    templates which print a date are shown.
    """

    def __init__(
        self,
        find: Callable[[str], Engine],
        deterministic: bool = False,
        seam: Seam | None = None,
        answers: Answers | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._find = find
        self._deterministic = deterministic
        self._seam = seam
        self._answers = answers or Answers(0, 0)
        self._now = now
        self._cards: dict[str, tuple[ModelCard, ModelCard]] = {}

    async def prepare(self, request: Request) -> Job:
        """Everything that can refuse a request happens here.  Raises Fault."""
        engine = self._find(request.model)
        card = self._card(engine)
        rules.check(request, card)
        turn = opened(template.render(card, request, self._now()), request.prefix)
        budget.size(turn.header + turn.prefix, card)
        header = await engine.encode(turn.header)
        decoding = budget.decoding(request.sampling, card)
        wanted = await _wanted(request, card)
        written = (request.prefix or "").encode()
        prefix: Sequence[int] = ()
        resumed = None
        plain = await self._plain(request, engine, card)
        if written:
            for shown in (header, plain) if plain else (header,):
                where = place(request.caller.workspace, card.name, shown, wanted)
                if resumed := self._answers.find(where, written, decoding):
                    header = list(shown)
                    break
            prefix = await engine.encode(turn.prefix) if resumed is None else resumed.ids.tolist()
        prompt = Prompt(
            request_id=request.id,
            model=card.name,
            workspace=request.caller.workspace,
            ids=[*header, *prefix],
            answer_at=len(header),
            decoding=decoding,
            output_tokens_max=budget.output_tokens(request.output_tokens_max, len(header) + len(prefix), card),
            choices=request.choices,
            logprobs=request.top_logprobs if request.logprobs else None,
            deterministic=self._deterministic if request.deterministic is None else request.deterministic,
            drawn_at=None if resumed is None else len(header) + resumed.drawn_at,
            first_choice=0 if resumed is None else resumed.choice,
            seam=None if not written or resumed is not None or card.unambiguous else self._seam,
            constraint=wanted,
        )
        recorder = Recorder(self._answers, prompt, written, resumed)
        calling = None
        if offered := request.offered:
            calling = Calling(request.id, offered, request.choices, request.prefix or "", kept=wanted is not None)
        if not written:
            decision = await _decision(request, plain) if plain else None
            return Job(engine, prompt, request.stop, card.name, recorder, calling=calling, decision=decision)
        before = Before(request.prefix or "", prefix, b"" if resumed is None else resumed.pending)
        found = SeamFound("resumed" if resumed is not None else "exact" if card.unambiguous else "plain")
        return Job(engine, prompt, request.stop, card.name, recorder, before, found, calling)

    async def _plain(self, request: Request, engine: Engine, card: ModelCard) -> Sequence[int]:
        """The prompt without functions, where it is the model's choice whether to call one; () elsewhere."""
        if not request.offered or request.tool_choice.mode != "auto" or not {"score", "json"} <= card.abilities:
            return ()
        return await engine.encode(opened(template.render(card, replace(request, tools=()), self._now()), None).header)

    def _card(self, engine: Engine) -> ModelCard:
        """The engine's card, with what its template is able to."""
        card = engine.card
        known = self._cards.get(card.name)
        if known is None or known[0] is not card:
            known = self._cards[card.name] = card, template.able(card)
        return known[1]

    async def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        """The events of one answer, in `events.ORDER`.  Never raises."""
        prompt_tokens, cached = len(job.prompt.ids), 0
        assembly = Assembly(job.prompt.choices, job.stop, job.before)
        calling = job.calling
        prompt, asked = job.prompt, None
        try:
            if job.decision is not None:
                asked = await decided(job.engine, prompt, job.decision)
                prompt = asked.prompt
                job.recorder.turned(prompt)
            async with aclosing(_generated(job, prompt)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Opened):
                        cached = chunk.cached_tokens if asked is None else asked.cached_tokens
                        yield Started(prompt_tokens, cached, chunk.seam or job.seam)
                        continue
                    job.recorder.saw(chunk)
                    pieces = await job.engine.pieces(chunk.ids) if assembly.needs_pieces(chunk) else ()
                    for event in assembly.feed(chunk, pieces):
                        if calling is None:
                            yield event
                            continue
                        for each in calling.read(event):
                            yield each
                    if assembly.done:
                        break
            if not assembly.done:
                raise EngineFailed("the engine fell silent before every choice had ended")
            yield Finished(prompt_tokens, cached, assembly.output_tokens)
        except Fault as fault:
            yield Failed(fault)
        except Exception:
            log.exception("answer failed", extra={"request_id": job.prompt.request_id})
            yield Failed(Internal())
        finally:
            job.recorder.keep()


async def _wanted(request: Request, card: ModelCard) -> Constraint | None:
    """What the answer must look like; the prefix can begin it.  Raises FormatInvalid, PrefixIllegal, TooLarge."""
    prefix = request.prefix or ""
    if request.offered:
        return await asyncio.to_thread(tools.constraint, request, prefix) if "json" in card.abilities else None
    wanted = constraint.constraint(request.format)
    if wanted is not None:
        await asyncio.to_thread(constraint.check, wanted, prefix.encode())
    return wanted


async def _decision(request: Request, plain: Sequence[int]) -> Decision:
    """What decides whether an answer begins with a call; `plain` is the prompt without functions."""
    names = frozenset(tool.name for tool in request.offered)
    call, text = await asyncio.to_thread(lambda: (tools.begun(request, True), tools.begun(request, False)))
    return Decision(names, tools.probe(), call, text, tools.answered(request), plain)


def _generated(job: Job, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
    """The engine's own search of the seam, or for one that cannot score the next best."""
    if prompt.seam is None or "score" in job.engine.card.abilities:
        return job.engine.generate(prompt)
    return healed(job.engine, prompt)
