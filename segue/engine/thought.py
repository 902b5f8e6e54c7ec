"""First a thought, then the answer: an engine driven through both.

    Prompt, open inside a thought -> Opened, Chunk(thought) ..., Chunk ...

Most of the time it is one run, cut where the thought is closed.  A second run begins where the first is not to go
on: the thought has all the tokens of its budget, or the model fell silent inside it, and is closed for it; or the
answer has a form, which a thought has not.

Laws: a thought has no token more than its budget; its last mark, blank lines around it and log probabilities are
nobody's text; tokens are counted where they were drawn, up to and including the mark; what closes a thought for
the model is not counted.  Closing the iterator closes the run.  It knows no template: how a thought is
closed, it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from segue.core import frozen
from segue.core.errors import QueueFull
from segue.core.generation import Chunk, Constraint, Opened, Prompt, Segment
from segue.engine.base import Engine

RETURN_WAIT_S = 60.0
"""How long an answer tries to get its place back for the second run."""
RETURN_LOOK_S = 0.05

Run = Callable[[Prompt], AsyncGenerator[Opened | Chunk, None]]


@frozen
class Plan:
    """`budget`: the most tokens of the thought; `mark` closes it; `closing` is what to say where it is closed for
    the model, behind a line that has ended (True) or not; `ended`: so does what stands before the thought, or the
    caller's beginning of it; `then`: the form of the answer."""

    mark: bytes
    closing: Callable[[bool], Sequence[Segment]]
    budget: int | None = None
    ended: bool = True
    then: Constraint | None = None


@dataclass(slots=True)
class _Thought:
    """What the model has thought so far.  `held` may turn out to be the end; `drawn` are its tokens."""

    mark: bytes
    budget: int | None
    ended: bool
    drawn: list[int] = field(default_factory=list)
    held: bytes = b""
    closed: bool = False

    @property
    def spent(self) -> bool:
        return self.budget is not None and len(self.drawn) >= self.budget

    def take(self, tokens: Iterator[tuple[int, bytes]]) -> tuple[int, bytes, bytes]:
        """Take tokens until the thought is over: how many, what is thought, and what comes behind the mark."""
        said, taken = b"", 0
        for token, data in tokens:
            taken += 1
            self.drawn.append(token)
            self.ended = data.endswith(b"\n") if data else self.ended
            self.held += data
            thought, found, rest = self.held.partition(self.mark)
            if found:
                self.held, self.closed = b"", True
                return taken, said + thought.rstrip(b"\n"), rest
            keep = self._keep()
            said, self.held = said + self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
            if self.spent:
                break
        return taken, said, b""

    def _keep(self) -> int:
        """How many of the last bytes may belong to the end: line ends, and a beginning of the mark."""
        begun = next((n for n in range(len(self.mark) - 1, 0, -1) if self.held.endswith(self.mark[:n])), 0)
        before = self.held[: len(self.held) - begun]
        return begun + len(before) - len(before.rstrip(b"\n"))

    def rest(self) -> bytes:
        """What was held, where no mark comes any more."""
        held, self.held = self.held, b""
        return held.rstrip(b"\n")


@dataclass(slots=True)
class _Answer:
    """Takes the blank lines from between the mark and the answer."""

    begun: bool = False

    def cut(self, chunk: Chunk) -> Chunk:
        if self.begun:
            return chunk
        data = chunk.data.lstrip(b"\n")
        self.begun = bool(data)
        return chunk if len(data) == len(chunk.data) else replace(chunk, data=data)


async def thoughtful(engine: Engine, run: Run, prompt: Prompt, plan: Plan) -> AsyncGenerator[Opened | Chunk, None]:
    """Chunks of the thought, then of the answer, of the one choice there is.  `run` is how the engine generates."""
    thought, answer = _Thought(plan.mark, plan.budget, plan.ended), _Answer()
    ids, behind = list(prompt.ids), b""
    async with aclosing(run(prompt)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Opened):
                yield chunk
                continue
            if thought.closed:
                yield answer.cut(chunk)
                continue
            if chunk.joined is not None:
                ids[len(ids) - chunk.joined.back :] = chunk.joined.path
            pieces = await engine.pieces(chunk.ids) if len(chunk.ids) > 1 else ()
            taken, said, behind = thought.take(_tokens(chunk, pieces))
            over = thought.closed or thought.spent or chunk.finish is not None
            if over and not thought.closed:
                said += thought.rest()
            yield Chunk(0, chunk.ids[:taken], said, joined=chunk.joined, thought=True)
            if thought.closed and plan.then is None:
                rest = _behind(chunk, taken, behind, pieces)
                if rest.ids or rest.data or rest.finish is not None:
                    yield answer.cut(rest)
            elif chunk.finish == "length" and not thought.spent:
                yield Chunk(0, (), b"", finish="length")
                return
            elif over:
                break
    if thought.closed and plan.then is None:
        return
    closing: Sequence[Segment] = plan.closing(thought.ended)
    if thought.closed:  # a form is kept to from the first byte, so the blank line is said for the model
        closing = () if behind else (Segment("\n\n"),)
    ids += [*thought.drawn, *await engine.encode(closing)]
    left = min(prompt.output_tokens_max - len(thought.drawn), engine.card.context_tokens - len(ids))
    if left < 1:
        yield Chunk(0, (), b"", finish="length")
        return
    async with aclosing(_returned(run, _second(prompt, ids, left, plan))) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, Chunk):
                yield answer.cut(chunk)


def _second(prompt: Prompt, ids: list[int], left: int, plan: Plan) -> Prompt:
    """The prompt of the second run.  The thought's tokens were drawn one by one and are read as such; an answer with a
    form is counted from its own beginning, in the noise of another choice."""
    drawn_at = prompt.answer_at if prompt.drawn_at is None else prompt.drawn_at
    made = replace(prompt, ids=ids, drawn_at=drawn_at, seam=None, output_tokens_max=left)
    if plan.then is None:
        return made
    return replace(made, answer_at=len(ids), first_choice=prompt.first_choice + 1, constraint=plan.then)


async def _returned(run: Run, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
    """The second run; while all places are taken, it is tried again."""
    loop = asyncio.get_running_loop()
    until = loop.time() + RETURN_WAIT_S
    while True:
        async with aclosing(run(prompt)) as chunks:
            try:
                async for chunk in chunks:
                    yield chunk
                return
            except QueueFull:
                if loop.time() > until:
                    raise
        await asyncio.sleep(RETURN_LOOK_S)


def _tokens(chunk: Chunk, pieces: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The tokens of a chunk; the first has what the others leave, for it may have begun inside the prefix."""
    first = len(chunk.data) - sum(map(len, pieces[1:]))
    if chunk.ids:
        yield chunk.ids[0], chunk.data[:first]
    yield from zip(chunk.ids[1:], pieces[1:], strict=True)


def _behind(chunk: Chunk, taken: int, behind: bytes, pieces: Sequence[bytes]) -> Chunk:
    """What of a chunk lies behind the mark, the last bytes of the mark's own token first."""
    logprobs = chunk.logprobs[taken:] if len(chunk.logprobs) == len(chunk.ids) else ()
    data = behind + b"".join(pieces[taken:])
    return Chunk(0, chunk.ids[taken:], data, logprobs, chunk.finish)
