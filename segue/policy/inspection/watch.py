"""The text of an answer, inspected while it comes.

Laws: a text leaves as it came, in the same events and order, or the answer ends with InspectionFailed; an event is let
go once nothing in it can belong to anything that is looked for, and no sooner; the caller's prefix counts as what stood
before; what a choice thinks, and says in calls of functions, is inspected as its text is.  Where a judge is
asked, nothing leaves that it has not passed, `SEGMENT_CHARS` at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from segue.core.errors import Ban, Fault, InspectionFailed
from segue.core.events import CallArguments, CallStarted, Ended, Event, Failed, Text, Thought
from segue.policy.inspection.callout import Judge, Piece
from segue.policy.inspection.words import Finder

CONTEXT_CHARS = 4096
"""How far back a pattern can have begun."""
SEGMENT_CHARS = 200
"""How much of a text a judge is asked about at a time; less when it ends, or when a single piece of it is longer."""
_BETWEEN = "\n"  # what stands between a text and a call, and between calls


class _Voice:
    """One choice: what has left, and what is held back."""

    __slots__ = ("before", "begun", "chars", "events", "judged", "text")

    def __init__(self, before: str) -> None:
        self.begun = len(before) <= CONTEXT_CHARS  # whether `before` is all there was
        self.before = before[-CONTEXT_CHARS:]
        self.events: deque[tuple[Event, int]] = deque()
        self.text = ""  # of the events
        self.judged = 0  # of its characters

    def hold(self, event: Event, text: str) -> None:
        self.events.append((event, len(text)))
        self.text += text

    def let_go(self, keep: int) -> list[Event]:
        """The events that are wholly before the last `keep` characters, in order."""
        free: list[Event] = []
        gone = 0
        while self.events and len(self.text) - gone - self.events[0][1] >= keep:
            event, length = self.events.popleft()
            gone += length
            free.append(event)
        if gone:
            before = self.before + self.text[:gone]
            self.begun = self.begun and len(before) <= CONTEXT_CHARS
            self.before, self.text = before[-CONTEXT_CHARS:], self.text[gone:]
            self.judged = max(0, self.judged - gone)
        return free


class Watch:
    """Inspects the answer to one request."""

    def __init__(
        self, request_id: str, workspace: str, model: str, prefix: str, finder: Finder, judge: Judge | None
    ) -> None:
        self._about = (request_id, workspace, model)
        self._prefix = prefix
        self._finder = finder
        self._judge = judge
        self._voices: dict[int, _Voice] = {}

    async def over(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events, while nothing is found in them.  Never raises."""
        async with aclosing(events):
            async for event in events:
                match event:
                    case Text() | Thought() | CallArguments():
                        text = event.text
                    case CallStarted():
                        text = _BETWEEN
                    case Ended():
                        text = ""
                    case _:
                        yield event
                        continue
                voice = self._voices.get(event.choice)
                if voice is None:
                    voice = self._voices[event.choice] = _Voice(self._prefix)
                voice.hold(event, text)
                ended = isinstance(event, Ended)
                if fault := await self._fault(voice, ended):
                    yield Failed(fault)
                    return
                for each in voice.let_go(0 if ended else self._keep(voice)):
                    yield each

    def _keep(self, voice: _Voice) -> int:
        keep = self._finder.hold(voice.before[-self._finder.longest :] + voice.text) if self._finder else 0
        return keep if self._judge is None else max(keep, len(voice.text) - voice.judged)

    async def _fault(self, voice: _Voice, ended: bool) -> Fault | None:
        """What is against letting this be heard."""
        if self._finder and self._finder.finds(voice.before + voice.text, voice.begun, ended):
            return InspectionFailed("output")
        unjudged = len(voice.text) - voice.judged
        if self._judge is None or not (unjudged >= SEGMENT_CHARS or (ended and unjudged)):
            return None
        at = voice.judged
        context = (voice.before + voice.text[:at])[-SEGMENT_CHARS:]
        try:
            ban: Ban | None = await self._judge.judge(Piece(*self._about, "output", voice.text[at:], context, ended))
        except Fault as fault:
            return fault
        voice.judged = len(voice.text)
        return InspectionFailed("output", ban) if ban is not None else None
