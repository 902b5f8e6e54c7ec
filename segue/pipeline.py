"""The whole story of a request on one screen.

    Request -> rules -> inspection -> pictures -> documents -> template -> encode -> answers -> budget -> Prompt
            -> engine -> Chunk -> assembly -> Event -> inspection

`prepare` may raise a Fault, which becomes an HTTP status.  `answer` never raises: its last event
is `Finished` or `Failed`.  Closing the iterator it returns is the cancellation, all the way down
to the engine's slot.  A whole answer is `events.fold` of the same stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from segue.core.errors import EngineFailed, Fault, Internal, PromptTooLong
from segue.core.events import Event, Failed, Finished, Started
from segue.core.generation import (
    Chunk,
    Constraint,
    Decoding,
    ModelCard,
    Opened,
    Prompt,
    Reading,
    Seam,
    SeamFound,
    Segment,
)
from segue.core.media import View, Viewer
from segue.core.request import Request, Stop
from segue.engine.base import Engine
from segue.engine.choice import Decision, decided
from segue.engine.seam.healed import healed
from segue.engine.thought import Plan, thoughtful
from segue.output.assembly import Assembly, Before
from segue.output.calling import Calling
from segue.output.thinking import Thinking
from segue.policy import rules
from segue.policy.inspection.inspector import Inspector
from segue.policy.inspection.watch import Watch
from segue.prompt import budget, constraint, hole, pictures, template, thinking, tools
from segue.prompt.answers import Answers, Recorder, Resumed, place
from segue.prompt.partial import Turn, opened
from segue.prompt.pictures import Shown
from segue.prompt.reading import Model, Read, Reader

log = logging.getLogger("segue")
_NOTHING = Answers(0, 0)


@dataclass(frozen=True, slots=True)
class Job:
    """A request that may run: its engine, what the engine is given, how long that counts, where the answer stops,
    who takes it down, what stands before it, how the two are joined where the engine does not say, who reads it
    for calls of functions, what decides whether it begins with one, what was read of documents for it, what inspects
    the answer, how it thinks before, and what pictures and videos take of the prompt."""

    engine: Engine
    prompt: Prompt
    prompt_tokens: int
    stop: Stop
    served: str
    recorder: Recorder
    before: Before | None = None
    seam: SeamFound | None = None
    calling: Calling | None = None
    decision: Decision | None = None
    reading: Reading | None = None
    watch: Watch | None = None
    thought: Plan | None = None
    image_tokens: int = 0
    video_tokens: int = 0


class Pipeline:
    """Binds the stages.

    `find` gives the engine that answers to a model name, or raises ModelUnknown; `seam` is how the end of a
    prefix is searched, None for not at all; `answers` remembers what was said; `reader` reads the documents of
    those conversations that may have some, `limits` are what these may be; `now` is the clock that templates
    which print a date are shown; `inspector` reads what is asked and answered before anybody else does; `viewer`
    fetches pictures, and without one no model sees.
    """

    def __init__(
        self,
        find: Callable[[str], Engine],
        deterministic: bool = False,
        seam: Seam | None = None,
        answers: Answers | None = None,
        reader: Reader | None = None,
        limits: rules.DocumentLimits | None = None,
        now: Callable[[], datetime] = datetime.now,
        inspector: Inspector | None = None,
        viewer: Viewer | None = None,
    ) -> None:
        self._find = find
        self._deterministic = deterministic
        self._seam = seam
        self._answers = answers or Answers(0, 0)
        self._reader = reader
        self._limits = limits or rules.DocumentLimits()
        self._now = now
        self._inspector = inspector
        self._viewer = viewer
        self._cards: dict[str, tuple[ModelCard, ModelCard]] = {}

    async def prepare(self, request: Request) -> Job:
        """Everything that can refuse a request happens here.  Raises Fault."""
        engine = self._find(request.model)
        card = self._card(engine)
        if request.documents is not None and (default := self._limits.output_tokens_default):
            card = replace(card, output_tokens_default=min(default, card.output_tokens_max))
        rules.check(request, card, self._limits)
        watch = None if self._inspector is None else await self._inspector.inspect(request)
        shown = await self._shown(request, card)
        request = _settled(request, card)
        plain_text = request.plain is not None
        # A thought is open.
        inside = card.thinks(request.thinking) and request.prefix is None and not plain_text
        read = await self._read(request, engine, card, shown)
        header: Sequence[int] = read.ids
        decoding = budget.decoding(request.sampling, card)
        wanted = await _wanted(request, card)
        begun = (request.thought if inside else request.prefix) or ""
        if request.plain is not None and request.plain.suffix is None:
            begun = request.plain.text
        written, workspace = begun.encode(), request.caller.workspace
        prefix: Sequence[int] = ()
        resumed: Resumed | None = None
        deciding = (
            not inside
            and bool(request.offered)
            and request.tool_choice.mode == "auto"
            and {"score", "json"} <= card.abilities
        )
        plain = await self._plain(request, engine, card, shown) if deciding else ()
        if written and (inside or plain_text):
            prefix = await engine.encode(opened((), begun).prefix)
        elif written:
            asked = {place(workspace, card.name, ids, wanted): ids for ids in ((header, plain) if plain else (header,))}
            resumed, header = await self._resumed(workspace, asked, written, decoding, header)
            prefix = await engine.encode(opened((), request.prefix).prefix) if resumed is None else resumed.ids.tolist()
        prompt = Prompt(
            request_id=request.id,
            model=card.name,
            workspace=workspace,
            ids=[*header, *prefix],
            answer_at=len(header) if not plain_text else _near(header, prefix, self._seam),
            decoding=decoding,
            output_tokens_max=budget.output_tokens(request.output_tokens_max, len(header) + len(prefix), card),
            choices=request.choices,
            logprobs=request.top_logprobs if request.logprobs else None,
            deterministic=self._deterministic if request.deterministic is None else request.deterministic,
            drawn_at=None if resumed is None else len(header) + resumed.drawn_at,
            first_choice=0 if resumed is None else resumed.choice,
            seam=None if not written or resumed is not None or card.unambiguous else self._seam,
            constraint=None if inside else wanted,
            lasting=read.reading is not None and read.reading.tier == "whole",
            documents=read.documents,
            views=shown.views(request),
            whole=not request.delivery.stream,
        )
        recorder = Recorder(_NOTHING if plain_text else self._answers, prompt, written, resumed)
        calling = None
        if offered := request.offered:
            calling = Calling(request.id, offered, request.choices, request.prefix or "", kept=wanted is not None)
        before = found = decision = None
        if written:
            before = (
                None if inside or plain_text else Before(begun, prefix, b"" if resumed is None else resumed.pending)
            )
            found = SeamFound("resumed" if resumed is not None else "exact" if card.unambiguous else "plain")
        else:
            decision = await _decision(request, plain) if deciding else None
        counted, reading = read.tokens + len(prefix), read.reading
        plan = _plan(request, card, wanted) if inside else None
        image_tokens, video_tokens = shown.tokens(prompt.views)
        return Job(
            engine=engine,
            prompt=prompt,
            prompt_tokens=counted,
            stop=request.stop,
            served=card.name,
            recorder=recorder,
            before=before,
            seam=found,
            calling=calling,
            decision=decision,
            reading=reading,
            watch=watch,
            thought=plan,
            image_tokens=image_tokens,
            video_tokens=video_tokens,
        )

    async def _shown(self, request: Request, card: ModelCard) -> Shown:
        """What the caller named, as the model is shown it.  Raises Fault."""
        media = tuple(dict.fromkeys(pictures.media(request)))
        if not media:
            return Shown(card)
        assert self._viewer is not None, "without one no card has sight"
        assert card.sight is not None, "the rules refuse what nobody can see"
        views = await self._viewer.see(request.caller.workspace, media, card.sight)
        return Shown(card, dict(zip(media, views, strict=True)))

    async def _resumed(
        self,
        workspace: str,
        shown: Mapping[bytes, Sequence[int]],
        written: bytes,
        decoding: Decoding,
        header: Sequence[int],
    ) -> tuple[Resumed | None, Sequence[int]]:
        """The tokens of a prefix that was said in one of these conversations, here or at another server, and what they
        were said to; `header` where it was not."""
        for _ in range(2):
            for where, ids in shown.items():
                if resumed := self._answers.find(where, written, decoding):
                    return resumed, ids
            if not await self._answers.learn(workspace, [*shown]):
                break
        return None, header

    async def _read(self, request: Request, engine: Engine, card: ModelCard, seen: Shown) -> Read:
        """The conversation in tokens, with what it is given of its documents.  Raises Fault."""

        async def ids(shown: Request) -> list[int]:
            if self._inspector is not None and any(source.id is not None for source in request.documents or ()):
                await self._inspector.given(request, shown)
            turn = self._turn(shown, card)
            budget.size(turn.header + turn.prefix, card)
            return await seen.ids(engine.encode, turn.header, shown)

        if self._reader is None or request.documents is None:
            assert not request.documents, "whoever lets names read documents gives the pipeline a reader"
            header = await ids(request)
            return Read(header, len(header))

        async def count(text: str) -> int:
            return len(await engine.encode([Segment(text)]))

        async def say(shown: Request, tokens: int, documents: frozenset[str]) -> str:
            shown = replace(shown, thinking=None, thought=None)
            views = seen.views(shown)
            return await _said(engine, shown, await ids(shown), min(tokens, card.output_tokens_max), documents, views)

        budget.output_tokens(request.output_tokens_max, 0, card)  # told before anything is read
        return await self._reader.read(request, Model(card, ids, count, say, not template.prints_system(card)))

    def _turn(self, request: Request, card: ModelCard) -> Turn:
        """What the model is given, in segments.  Raises MessagesInvalid, NotSupported."""
        if request.plain is not None:
            return hole.opened(card, request.plain, template.begins(card))
        return opened(template.render(card, request, self._now()), request.prefix)

    async def _plain(self, request: Request, engine: Engine, card: ModelCard, seen: Shown) -> Sequence[int]:
        """The prompt without functions; () where there are documents, which are read with them."""
        if request.documents:
            return ()
        shown = template.render(card, tools.without(request, card.template), self._now())
        return await seen.ids(engine.encode, opened(shown, None).header, request)

    def _card(self, engine: Engine) -> ModelCard:
        """The engine's card, with what its template is able to."""
        card = engine.card
        known = self._cards.get(card.name)
        if known is None or known[0] is not card:
            able = template.able(card if self._viewer is not None else replace(card, sight=None))
            known = self._cards[card.name] = card, able
        return known[1]

    def answer(self, job: Job) -> AsyncGenerator[Event, None]:
        """The events of one answer, in `events.ORDER`.  Never raises."""
        return self._answer(job) if job.watch is None else job.watch.over(self._answer(job))

    async def _answer(self, job: Job) -> AsyncGenerator[Event, None]:
        prompt_tokens, cached = job.prompt_tokens, 0
        assembly = Assembly(job.prompt.choices, job.stop, job.before)
        calling = job.calling
        thought = None if job.thought is None else Thinking()
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
                        cached = min(cached, prompt_tokens)
                        yield _started(job, prompt_tokens, cached, chunk.seam)
                        continue
                    if chunk.cached_tokens is not None and asked is None:
                        cached = min(max(cached, chunk.cached_tokens), prompt_tokens)
                    if thought is not None:
                        if chunk.thought:
                            yield thought.feed(chunk)
                            continue
                    else:
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
            spent = 0 if thought is None else thought.tokens
            yield Finished(prompt_tokens, cached, assembly.output_tokens + spent, spent)
        except Fault as fault:
            yield Failed(fault)
        except Exception:
            log.exception("answer failed", extra={"request_id": job.prompt.request_id})
            yield Failed(Internal())
        finally:
            job.recorder.keep()


def _started(job: Job, prompt_tokens: int, cached: int, seam: SeamFound | None) -> Started:
    return Started(
        prompt_tokens,
        cached,
        seam or job.seam,
        job.reading,
        thinks=job.thought is not None,
        image_tokens=job.image_tokens,
        video_tokens=job.video_tokens,
    )


def _near(header: Sequence[int], prefix: Sequence[int], seam: Seam | None) -> int:
    """Where the answer to a plain text begins: at its end, but for the tokens that its seam may give back."""
    return len(header) + max(0, len(prefix) - (0 if seam is None else seam.tokens))


async def _said(
    engine: Engine,
    request: Request,
    ids: list[int],
    tokens: int,
    documents: frozenset[str] = frozenset(),
    views: tuple[View, ...] = (),
) -> str:
    """What the model says to a conversation of ours, aside.  Raises PromptTooLong, and what the engine raises."""
    card = engine.card
    if len(ids) + tokens > card.context_tokens:
        raise PromptTooLong(len(ids), limit=card.context_tokens - tokens)
    how = budget.decoding(request.sampling, card)
    at = len(ids)
    where = request.caller.workspace
    prompt = Prompt(request.id, card.name, where, ids, at, how, tokens, documents=documents, views=views)
    said = b""
    async with aclosing(engine.generate(prompt)) as chunks:
        async for chunk in chunks:
            said += b"" if isinstance(chunk, Opened) else chunk.data
    return said.decode("utf-8", "ignore").strip()


async def _wanted(request: Request, card: ModelCard) -> Constraint | None:
    """What the answer must look like; the prefix can begin it.  Raises FormatInvalid, PrefixIllegal, TooLarge."""
    prefix = request.prefix or ""
    if request.offered:
        return await asyncio.to_thread(tools.constraint, request, prefix) if "json" in card.abilities else None
    wanted = constraint.constraint(request.format)
    if wanted is not None:
        await asyncio.to_thread(constraint.check, wanted, prefix.encode(), request.caller.workspace)
    return wanted


async def _decision(request: Request, plain: Sequence[int]) -> Decision:
    """What decides whether an answer begins with a call; `plain` is the prompt without functions."""
    names = frozenset(tool.name for tool in request.offered)
    call, text = await asyncio.to_thread(lambda: (tools.begun(request, True), tools.begun(request, False)))
    return Decision(names, tools.probe(), call, text, tools.answered(request), plain)


def _settled(request: Request, card: ModelCard) -> Request:
    """The request, with a thought only where the model thinks: a beginning of one is a wish for the rest."""
    request = hole.filled(request)
    if request.thought is None:
        return request
    if request.prefix is None:
        return replace(request, thinking=True)
    return request if card.thinks(request.thinking) else replace(request, thought=None)


def _plan(request: Request, card: ModelCard, wanted: Constraint | None) -> Plan:
    """How the answer thinks."""
    return Plan(
        mark=thinking.CLOSE.encode(),
        closing=lambda ended: thinking.closing(card, ended),
        budget=request.thinking_budget,
        ended=(request.thought or "\n").endswith("\n"),
        then=wanted,
    )


def _generated(job: Job, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
    """What the engine says to the prompt; where the model thinks, first a thought and then the answer."""

    def run(prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """The engine's own search of the seam, or for one that cannot score the next best."""
        if prompt.seam is None or "score" in job.engine.card.abilities:
            return job.engine.generate(prompt)
        return healed(job.engine, prompt)

    return run(prompt) if job.thought is None else thoughtful(job.engine, run, prompt, job.thought)
