"""What every request passes before it is answered, and what it leaves when it is over: a ticket, a record.

    begin -> prepare (quota, ticket, input tokens) -> answer (output tokens) -> end

Laws: a request has one ticket and leaves one record, however it ends, and both at its very end: when its answer has
been sent, refused, or left by its client; what was not begun by the door (a batch, say) is begun by `prepare` and ended
with its answer; events pass unchanged; whoever's key is revoked is answered no further, and pays for what was answered.
It knows no protocol, no store and no text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from segue.core.errors import Fault, KeyInvalid, Refused
from segue.core.events import CallArguments, Ended, Event, Failed, Finished, Started, Text, Thought
from segue.core.generation import Prompt
from segue.core.request import Caller, Request
from segue.core.usage import FREE, LEFT, Prices, Record
from segue.policy.limiter import Limiter, Ticket
from segue.policy.quota import Quotas


class Counted(Protocol):
    """What the stages make of a request: at least what is counted of it."""

    @property
    def prompt(self) -> Prompt:
        """What the engine is given."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """The length of its input."""
        ...

    @property
    def served(self) -> str:
        """The model's real name."""
        ...


J = TypeVar("J", bound=Counted)


class Stages(Protocol[J]):
    """The pipeline, as it is seen from here."""

    async def prepare(self, request: Request) -> J:
        """Raises Fault."""
        ...

    def answer(self, job: J) -> AsyncGenerator[Event, None]:
        """Never raises."""
        ...


class Tab:
    """What is known so far of a request that is under way.  `by_door`: the door ends it.  `task` works for it as long
    as it is `inside` the stages, and may be cancelled there."""

    __slots__ = (
        "at",
        "begun",
        "by_door",
        "cached",
        "caller",
        "endpoint",
        "first",
        "id",
        "input",
        "inside",
        "model",
        "outcome",
        "output",
        "reason",
        "reasoning",
        "revoked",
        "served",
        "task",
        "ticket",
        "unpaid",
    )

    def __init__(self, id: str, caller: Caller, endpoint: str, at: float, begun: float, by_door: bool) -> None:
        self.id, self.caller, self.endpoint = id, caller, endpoint
        self.at, self.begun, self.by_door = at, begun, by_door
        self.model = self.served = self.outcome = self.reason = ""
        self.unpaid = False  # what we broke costs nothing
        self.input = self.cached = self.output = self.reasoning = 0
        self.first = 0.0
        self.ticket: Ticket | None = None
        self.task: asyncio.Task[object] | None = None
        self.inside = self.revoked = False

    def begin(self) -> None:
        """The current task works for it now.  Raises KeyInvalid."""
        if self.revoked:
            raise KeyInvalid
        self.task, self.inside = asyncio.current_task(), True

    def revoke(self) -> None:
        """Work no further for it."""
        if not self.revoked:
            self.revoked = True
            if self.inside and self.task is not None:
                self.task.cancel()

    def ended_by_us(self) -> bool:
        """Whether a cancellation was only ours."""
        return self.revoked and self.inside and self.task is not None and self.task.uncancel() == 0


class Meter(Generic[J]):
    """A pipeline that keeps limits and leaves records.

    `resolve` gives the real name of the model that answers to a name, or raises ModelUnknown; `enter` takes the
    records; `prices` are a real name's; `code` is what an error is called.  The door must call `end` for what it began.
    """

    def __init__(
        self,
        stages: Stages[J],
        resolve: Callable[[str], str],
        limiter: Limiter,
        quotas: Quotas,
        enter: Callable[[Record], None] | None,
        prices: Callable[[str], Prices] = lambda name: FREE,
        code: Callable[[Fault], str] = lambda fault: type(fault).__name__,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stages = stages
        self._resolve = resolve
        self._limiter = limiter
        self._quotas = quotas
        self._enter = enter
        self._prices = prices
        self._code = code
        self._clock = clock
        self._timer = timer
        self._tabs: dict[str, Tab] = {}

    def begin(self, id: str, caller: Caller, endpoint: str) -> None:
        """See `usage.Book`."""
        self._tabs[id] = Tab(id, caller, endpoint, self._clock(), self._timer(), True)

    def end(self, id: str, fault: Fault | None) -> None:
        """See `usage.Book`."""
        if tab := self._tabs.pop(id, None):
            if fault is not None:
                tab.outcome = self._code(fault)
            self._close(tab)

    async def prepare(self, request: Request) -> J:
        """Raises as the stages do, and whatever a limit or a quota has against it."""
        tab = self._tabs.get(request.id)
        if tab is None:
            tab = self._tabs[request.id] = Tab(
                request.id, request.caller, "", self._clock(), self._timer(), by_door=False
            )
        caller, tab.model = request.caller, request.model
        try:
            tab.begin()
            try:
                model = self._resolve(request.model)
                await self._quotas.check(caller)
                tab.ticket = await self._limiter.enter(caller, model)
                job = await self._stages.prepare(request)
                await tab.ticket.spend(job.prompt_tokens)
            except asyncio.CancelledError:
                if tab.ended_by_us():
                    raise KeyInvalid from None
                raise
            finally:
                tab.inside = False
        except BaseException as error:
            if not tab.by_door:
                tab.outcome = self._code(error) if isinstance(error, Fault) else LEFT
                self._ended(tab)
            raise
        tab.served, tab.input = job.served, job.prompt_tokens
        return job

    async def answer(self, job: J) -> AsyncGenerator[Event, None]:
        """The stages' events, unchanged."""
        tab = self._tabs[job.prompt.request_id]
        try:
            tab.begin()
            async with aclosing(self._stages.answer(job)) as events:
                async for event in events:
                    kind = type(event)
                    if kind is Text or kind is CallArguments or kind is Thought:
                        assert isinstance(event, Text | CallArguments | Thought)
                        tab.output += event.tokens
                        if kind is Thought:
                            tab.reasoning += event.tokens
                        if not tab.first:
                            tab.first = self._timer()
                    elif kind is Started:
                        assert isinstance(event, Started)
                        tab.input, tab.cached = event.prompt_tokens, event.cached_tokens
                    elif kind is Finished:
                        assert isinstance(event, Finished)
                        tab.output, tab.cached = event.output_tokens, event.cached_tokens
                        tab.outcome = tab.reason
                    elif kind is Failed:
                        assert isinstance(event, Failed)
                        tab.outcome = self._code(event.fault)
                        tab.unpaid = not isinstance(event.fault, Refused)
                    elif kind is Ended:
                        assert isinstance(event, Ended)
                        tab.reason = event.reason
                    tab.inside = False
                    yield event
                    if kind is Finished or kind is Failed:
                        continue  # nothing may follow
                    if tab.revoked:
                        raise KeyInvalid
                    tab.inside = True
        except KeyInvalid as fault:
            tab.inside = False
            tab.outcome = self._code(fault)
            yield Failed(fault)
        except asyncio.CancelledError:
            if not tab.ended_by_us():
                raise
            tab.inside = False
            ended = KeyInvalid()
            tab.outcome = self._code(ended)
            yield Failed(ended)
        finally:
            tab.inside = False
            if not tab.by_door:
                self._ended(tab)

    def revoke(self, opens: Callable[[Caller], bool]) -> None:
        """End what is under way for whoever's key opens nothing any more."""
        for tab in self._tabs.values():
            if not opens(tab.caller):
                tab.revoke()

    def _ended(self, tab: Tab) -> None:
        self._tabs.pop(tab.id, None)
        self._close(tab)

    def _close(self, tab: Tab) -> None:
        """Give the ticket back, and leave the record."""
        if tab.ticket is not None:
            if tab.output:
                tab.ticket.add(tab.output)
            tab.ticket.give_back()
        if self._enter is None:
            return
        ended, cost = self._timer(), 0
        if tab.served and not tab.unpaid and (prices := self._prices(tab.served)) is not FREE:
            cost = prices.cost_micros(tab.input, tab.cached, tab.output)
        record = Record(
            tab.id,
            tab.at,
            tab.caller.workspace,
            tab.caller.key,
            tab.endpoint,
            tab.model,
            tab.served,
            tab.input,
            tab.cached,
            tab.output,
            tab.reasoning,
            round((tab.first - tab.begun) * 1000) if tab.first else None,
            round((ended - tab.begun) * 1000),
            tab.outcome or LEFT,
            cost,
        )
        self._quotas.note(record)
        self._enter(record)
