"""The events of an answer whose text may be calls.

    Text ..., Ended -> Text ..., CallStarted, CallArguments ..., Ended

Laws: no token is lost or counted twice: what the marks of a call cost is told with the next piece that
has a count, or with an empty one at the end; an answer that called and was not cut off ended for its
calls.  Log probabilities are those of text: the tokens of a call have none.  Ids are made from the
request's, so that the same request makes the same ones.  `toolcalls` says what is a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from segue.core.events import CallArguments, CallStarted, Ended, Event, Text
from segue.core.generation import TokenLogprob
from segue.core.request import Tool
from segue.output.toolcalls import Piece, ToolCalls

_ID_BYTES = 11


class _Choice:
    __slots__ = ("calls", "logprobs", "reader", "spent")

    def __init__(self, reader: ToolCalls) -> None:
        self.reader = reader
        self.calls = 0
        self.spent = 0  # tokens not yet told
        self.logprobs: list[TokenLogprob] = []  # of text that is held back


class Calling:
    """One answer's, for `choices` choices; the rest as in `ToolCalls`."""

    def __init__(self, request_id: str, tools: Sequence[Tool], choices: int, prefix: str, kept: bool) -> None:
        self._request_id = request_id
        self._choices = [_Choice(ToolCalls(tools, prefix, kept)) for _ in range(choices)]

    def read(self, event: Event) -> Iterable[Event]:
        """The events that one of the assembly's becomes."""
        match event:
            case Text():
                choice = self._choices[event.choice]
                if choice.reader.plain and "<" not in event.text and not choice.spent:  # nearly always
                    return (event,)
                choice.spent += event.tokens
                choice.logprobs.extend(event.logprobs)
                return self._events(event.choice, choice.reader.feed(event.text))
            case Ended():
                choice = self._choices[event.choice]
                events = self._events(event.choice, choice.reader.end())
                if choice.spent:
                    events.append(Text(event.choice, "", choice.spent))
                called = choice.calls and event.reason == "stop"
                return [*events, Ended(event.choice, "tool_calls") if called else event]
            case _:
                return (event,)

    def _events(self, index: int, pieces: Sequence[Piece]) -> list[Event]:
        choice = self._choices[index]
        events: list[Event] = []
        for kind, text in pieces:
            match kind:
                case "text":
                    events.append(Text(index, text, choice.spent, tuple(choice.logprobs)))
                    choice.spent = 0
                    choice.logprobs.clear()
                case "call":
                    events.append(CallStarted(index, choice.calls, self._id(index, choice.calls), text))
                    choice.calls += 1
                    choice.logprobs.clear()
                case "arguments":
                    events.append(CallArguments(index, choice.calls - 1, text, choice.spent))
                    choice.spent = 0
                    choice.logprobs.clear()
                case "end":
                    choice.logprobs.clear()
        return events

    def _id(self, choice: int, call: int) -> str:
        named = f"{self._request_id}/{choice}/{call}".encode()
        return f"call_{blake2b(named, digest_size=_ID_BYTES).hexdigest()}"
