"""The embedded engine as the rest of Segue sees it: a parent of an engine process, of its own or shared with others.

Laws: a crash in C never takes the server down.  When the process dies, it is started again, and
every answer goes on from its ids: its noise is numbered from its beginning, so what comes is what
would have come.  An answer that has been under two dying processes fails with EngineLost, lest
one poisoned request keep killing.  Nothing waits longer than the spec's time limits.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import assert_never

from segue.core.errors import EngineFailed, EngineLost, Fault, FormatInvalid, QueueFull
from segue.core.generation import (
    Alternative,
    Chunk,
    FinishReason,
    Joined,
    ModelCard,
    Opened,
    Prompt,
    SeamFound,
    Segment,
    TokenLogprob,
)
from segue.engine.base import Health
from segue.engine.llama import frames
from segue.engine.llama.answer import Answer
from segue.engine.llama.card import card_of
from segue.engine.llama.line import Line, Link, Start
from segue.engine.llama.snapshots import purge
from segue.engine.llama.spec import LlamaSpec

log = logging.getLogger("segue.engine")

_RESUMES_MAX = 1
_RESTART_PAUSES_S = (0.05, 0.5, 1.0, 2.0, 5.0)


class LlamaEngine:
    """Keeps `segue.engine.base.Engine`.  `link` is the way to the process; without one it is started here."""

    def __init__(self, spec: LlamaSpec, link: Link | None = None) -> None:
        self._spec = spec
        self._link = link or Start(environment)
        self._card: ModelCard | None = None
        self._ready = asyncio.Event()
        self._line: Line | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._strands: dict[int, Answer] = {}
        self._calls: dict[int, asyncio.Future[frames.Encoded | frames.Pieced]] = {}
        self._running = self._waiting = self._restarts = self._failovers = self._steps = self._cells_used = 0
        self._pictures_bytes = 0
        self._failure = ""
        self._closing = False

    @property
    def card(self) -> ModelCard:
        """The served model.  Raises EngineFailed before `start`."""
        if self._card is None:
            raise EngineFailed(self._failure or "the engine was not started")
        return self._card

    async def start(self) -> None:
        """Start the process and wait for the model to be loaded.  Raises EngineFailed."""
        for path in (self._spec.path, self._spec.projector):
            if path is not None and not path.is_file():
                raise EngineFailed(f"{path} does not exist")
        self._keeper = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {self._keeper, ready}, timeout=self._spec.startup_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not self._ready.is_set():
            ended = self._keeper.done()
            await self.close()
            why = "its process ended while starting" if ended else f"not ready after {self._spec.startup_timeout_s} s"
            raise EngineFailed(self._failure or why)

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of the segments.  Raises EngineLost when the engine does not come back in time."""
        runs = [(segment.text, segment.control) for segment in segments]
        reply = await self._call(lambda call: frames.Encode(call, runs))
        assert isinstance(reply, frames.Encoded)
        return frames.unpack_ids(reply.ids)

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token."""
        packed = frames.pack_ids(list(ids))
        reply = await self._call(lambda call: frames.Pieces(call, packed))
        assert isinstance(reply, frames.Pieced)
        return reply.pieces

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """Continue the prompt.  Closing the iterator frees its slots within one step."""
        if len(self._strands) + prompt.choices > self._spec.slots + self._spec.queue:
            raise QueueFull
        if self._closing:
            raise EngineLost
        answer = Answer(prompt)
        pictures_bytes = self._pictures_bytes + answer.pictures_bytes
        if self._pictures_bytes and answer.pictures_bytes and pictures_bytes > self._spec.pictures_bytes_max:
            raise QueueFull
        for choice in range(prompt.choices):
            number = next(self._numbers)
            answer.generated[number], answer.choice[number] = [], choice
            self._strands[number] = answer
        self._pictures_bytes = pictures_bytes
        if self._ready.is_set():
            self._ask(answer)
        try:
            while answer.generated or not answer.items.empty():
                item = await answer.items.get()
                if isinstance(item, Fault):
                    raise item
                yield item
        finally:
            self._pictures_bytes -= answer.pictures_bytes
            for number in answer.generated:
                del self._strands[number]
                self._say(frames.Cancel(number))

    async def forget(self, documents: Collection[str]) -> None:
        """Tell the process, and see to the files by ourselves: it may be down, or die before it comes to it."""
        self._say(frames.Forget(list(documents)))
        if self._spec.snapshots is not None:
            await asyncio.to_thread(purge, self._spec.snapshots, documents)

    async def health(self) -> Health:
        """Answers from what the process last said."""
        return Health(
            ready=self._ready.is_set(),
            running=self._running,
            waiting=self._waiting,
            restarts=self._restarts,
            failovers=self._failovers,
            detail=self._failure,
            steps=self._steps,
            kv_tokens=self._spec.kv_tokens,
            kv_tokens_used=self._cells_used,
            shared=self._link.shared,
        )

    async def close(self) -> None:
        """End the process: its socket closes, and what has not gone after a while is killed."""
        self._closing = True
        self._fail_all()
        if self._line is not None:
            self._line.writer.close()
        if self._keeper is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._keeper), self._spec.close_timeout_s)
            except TimeoutError:
                if self._line is not None and self._link.own:
                    self._line.kill()
                await self._keeper

    # --- the process -----------------------------------------------------------------------

    async def _keep(self) -> None:
        """Run the process, again and again, until closed or until it cannot even load."""
        pauses = itertools.chain(_RESTART_PAUSES_S, itertools.repeat(_RESTART_PAUSES_S[-1]))
        for pause in pauses:
            was_ready = await self._run_once()
            if self._closing or (self._card is None and not was_ready and self._link.own):
                self._fail_all()
                return
            if was_ready or self._link.own:
                self._restarts += 1
                log.error("the engine process ended; it is started again", extra={"restarts": self._restarts})
            self._after_death()
            await asyncio.sleep(_RESTART_PAUSES_S[0] if was_ready else pause)
            if self._closing:
                return

    async def _run_once(self) -> bool:
        """One life of the process.  Returns whether it ever was ready."""
        try:
            line = self._line = await self._link.open(self._spec)
        except OSError as error:
            if self._link.own and self._card is None:
                raise
            what = "the engine process cannot be started" if self._link.own else "the shared engine cannot be reached"
            self._failure = f"{what}: {error}"
            return False
        if self._closing:  # it was closed while this line was being opened
            line.writer.close()
        was_ready = False
        try:
            while True:
                message = await self._next(line)
                if isinstance(message, frames.Ready):
                    was_ready = True
                    line.met(message.process)
                self._hear(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._ready.clear()
            await line.over()
        return was_ready

    async def _next(self, line: Line) -> frames.FromEngine:
        """The next message.  A process that owes one and is silent too long is killed."""
        while True:
            try:
                async with asyncio.timeout(self._spec.stall_timeout_s):
                    head = await line.reader.readexactly(4)
                break
            except TimeoutError:
                if self._strands or self._calls:
                    log.error("the engine process is stuck; killing it")
                    line.kill()
        message: frames.FromEngine = frames.from_engine.decode(await line.reader.readexactly(frames.length(head)))
        return message

    def _after_death(self) -> None:
        """Answers under way go on in the next process, once; calls are asked again by their callers."""
        for answer in set(self._strands.values()):
            answer.resumes += 1
            if answer.resumes > _RESUMES_MAX:
                self._end(answer, EngineLost())
            else:
                self._failovers += 1
        self._drop_calls()

    def _fail_all(self) -> None:
        for answer in set(self._strands.values()):
            self._end(answer, EngineLost())
        self._drop_calls()

    def _drop_calls(self) -> None:
        for future in self._calls.values():
            if not future.done():
                future.set_exception(EngineLost())
        self._calls.clear()

    def _end(self, answer: Answer, fault: Fault) -> None:
        for number in answer.generated:
            del self._strands[number]
        answer.generated.clear()
        answer.items.put_nowait(fault)

    # --- what is said ------------------------------------------------------------------------

    def _say(self, message: frames.ToEngine) -> None:
        """Send, if there is anyone to hear; the writer's own buffer bounds nothing we do not bound."""
        if self._line is not None and not self._line.writer.is_closing():
            self._line.writer.write(frames.frame(message))

    def _ask(self, answer: Answer) -> None:
        """Ask for the rest of an answer; its pictures go before."""
        for picture in answer.pictures():
            self._say(picture)
        self._say(answer.rest())

    async def _call(self, make: Callable[[int], frames.ToEngine]) -> frames.Encoded | frames.Pieced:
        """Ask and wait for the answer; asked again once when the process dies meanwhile."""
        for last in (False, True):
            await self._until_ready()
            call = next(self._numbers)
            future: asyncio.Future[frames.Encoded | frames.Pieced] = asyncio.get_running_loop().create_future()
            self._calls[call] = future
            self._say(make(call))
            try:
                return await future
            except EngineLost:
                if last:
                    raise
            finally:
                self._calls.pop(call, None)
        raise EngineLost

    async def _until_ready(self) -> None:
        if self._ready.is_set():
            return
        if self._closing or self._keeper is None or self._keeper.done():
            raise EngineLost
        try:
            async with asyncio.timeout(self._spec.restart_wait_s):
                await self._ready.wait()
        except TimeoutError:
            raise EngineLost from None

    # --- what is heard -----------------------------------------------------------------------

    def _hear(self, message: frames.FromEngine) -> None:
        match message:
            case frames.Step():
                self._running, self._waiting = message.running, message.waiting
                self._steps += message.batches
                self._cells_used = message.cells_used
                for token in message.tokens:
                    self._token(token)
            case frames.Encoded() | frames.Pieced():
                future = self._calls.get(message.call)
                if future is not None and not future.done():
                    future.set_result(message)
            case frames.StrandFailed():
                answer = self._strands.get(message.strand)
                if answer is not None:
                    self._end(answer, _fault(message))
            case frames.Ready():
                self._card = card_of(self._spec, message)
                self._ready.set()
                for answer in dict.fromkeys(self._strands.values()):
                    self._ask(answer)
            case frames.Broken():
                self._failure = message.detail
                log.error("the engine cannot start: %s", message.detail)
            case _:
                assert_never(message)

    def _token(self, token: frames.Token) -> None:
        answer = self._strands.get(token.strand)
        if answer is None:
            return  # cancelled while the step ran
        choice = answer.choice[token.strand]
        joined = None
        if token.joined is not None:
            joined = Joined(token.joined.back, tuple(frames.unpack_ids(token.joined.path)))
            answer.joined[token.strand] = joined
        if not answer.opened:
            answer.opened = True
            answer.items.put_nowait(Opened(max(token.cached, 0), _found(token)))
        ids = () if token.id < 0 else (token.id,)
        answer.generated[token.strand].extend(ids)
        finish: FinishReason | None = _FINISH[token.finish]
        if finish is not None:
            del self._strands[token.strand]
            del answer.generated[token.strand]
        answer.items.put_nowait(Chunk(choice, ids, token.data, _logprobs(token), finish, joined))


def _fault(failed: frames.StrandFailed) -> Fault:
    if failed.full:
        return QueueFull()
    return FormatInvalid(failed.detail) if failed.form else EngineFailed(failed.detail)


_FINISH: dict[str, FinishReason | None] = {"": None, "stop": "stop", "length": "length"}


def _found(token: frames.Token) -> SeamFound | None:
    joined = token.joined
    return None if joined is None else SeamFound("exact", joined.bound, joined.nodes, joined.back_bytes)


def _logprobs(token: frames.Token) -> tuple[TokenLogprob, ...]:
    if token.logprob is None:
        return ()
    top = tuple(Alternative(data, value) for data, value in token.logprob.top)
    return (TokenLogprob(token.logprob.data, token.logprob.logprob, top),)


def environment() -> dict[str, str]:
    """The child's environment; what the user has set stays.

    How OpenMP's threads wait for each other decides much.  Spinning for long, their default, is
    ruinous where another program wants a core too: a step of 40 ms became one of 3.4 s.  Never
    spinning pays a switch of context at each of some hundred barriers a step.  A spin of about ten
    microseconds has both: measured on two cores, 51 ms a step without it and 38 with it for the
    default model, 22 and 8 for a model of 135 million parameters.
    """
    return {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "GGML_NO_BACKTRACE": "1", **os.environ}
