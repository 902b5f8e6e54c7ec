"""What happens while an answer comes, in the only order it can happen.

Laws: `answer()` yields exactly one `Started`, then pieces of a thought, of text and of calls, then one `Ended` a
choice, then `Finished`; or, anywhere, one `Failed` and nothing after it.  `ORDER` is that grammar; `checked`
holds a stream to it; `fold` is the only way to a whole answer, so that streamed and whole
answers cannot drift apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Literal

from segue.core import frozen
from segue.core.errors import Fault
from segue.core.generation import Citation, Reading, SeamFound, TokenLogprob
from segue.core.request import ToolCall

EndReason = Literal["stop", "length", "tool_calls"]


@frozen
class Started:
    """The model has read the prompt.  Token counts include the caller's prefix; `seam` says how that was
    joined to the answer, where there is one; `reading` what it was given of the documents, where there are any.
    Their whole length is in `prompt_tokens`, as are `image_tokens` and `video_tokens`, the places that pictures and
    videos take.  `thinks`: the answer has a thought before it, be it empty."""

    prompt_tokens: int
    cached_tokens: int
    seam: SeamFound | None = None
    reading: Reading | None = None
    thinks: bool = False
    image_tokens: int = 0
    video_tokens: int = 0


@frozen
class Thought:
    """A piece of the thought before a choice's text; `tokens` as in `Text`."""

    choice: int
    text: str
    tokens: int


@frozen
class Text:
    """A piece of a choice's text.  `tokens` is how many output tokens it cost; a piece may be
    empty when its tokens end inside a character or may yet belong to a stop string."""

    choice: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()


@frozen
class CallStarted:
    """A choice begins to call a function: its `index`-th call, counted from 0."""

    choice: int
    index: int
    id: str
    name: str


@frozen
class CallArguments:
    """A piece of a call's arguments, as the model wrote them; `tokens` as in `Text`.  A piece may be empty."""

    choice: int
    index: int
    text: str
    tokens: int


@frozen
class Ended:
    """A choice is complete."""

    choice: int
    reason: EndReason


@frozen
class Finished:
    """Every choice is complete.  `output_tokens` is the sum over all choices, `thought_tokens` of them are the
    thoughts'."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    thought_tokens: int = 0


@frozen
class Failed:
    """The answer broke off.  Nothing follows."""

    fault: Fault


Event = Started | Thought | Text | CallStarted | CallArguments | Ended | Finished | Failed

ORDER: dict[type[Event] | None, tuple[type[Event], ...]] = {
    None: (Started, Failed),
    Started: (Thought, Text, CallStarted, Ended, Failed),
    Thought: (Thought, Text, CallStarted, Ended, Failed),
    Text: (Text, CallStarted, CallArguments, Ended, Failed),
    CallStarted: (Text, CallStarted, CallArguments, Ended, Failed),
    CallArguments: (Text, CallStarted, CallArguments, Ended, Failed),
    Ended: (Text, CallStarted, CallArguments, Ended, Finished, Failed),
    Finished: (),
    Failed: (),
}


async def checked(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """Pass events on; a breach of `ORDER` is our mistake and raises AssertionError."""
    last: type[Event] | None = None
    async for event in events:
        assert type(event) in ORDER[last], f"{type(event).__name__} after {last}"
        last = type(event)
        yield event
    assert last in (Finished, Failed), f"stream ended after {last}"


@dataclass(slots=True)
class Choice:
    """One whole choice: the concatenation of its pieces."""

    text: str = ""
    thought: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    reason: EndReason | None = None
    tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """A whole answer: the fold of its events."""

    choices: list[Choice]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0
    thinks: bool = False
    image_tokens: int = 0
    video_tokens: int = 0
    citations: tuple[Citation, ...] = ()


def fold(events: Iterable[Event], choices: int) -> Answer:
    """Fold a complete stream.  Raises the Fault of a `Failed`."""
    answer = Answer([Choice() for _ in range(choices)])
    parts: list[list[str]] = [[] for _ in range(choices)]
    thoughts: list[list[str]] = [[] for _ in range(choices)]
    calls: list[list[tuple[CallStarted, list[str]]]] = [[] for _ in range(choices)]
    for event in events:
        match event:
            case Text():
                parts[event.choice].append(event.text)
                choice = answer.choices[event.choice]
                choice.tokens += event.tokens
                if event.logprobs:
                    choice.logprobs.extend(event.logprobs)
            case Thought():
                thoughts[event.choice].append(event.text)
                answer.choices[event.choice].tokens += event.tokens
            case CallStarted():
                calls[event.choice].append((event, []))
            case CallArguments():
                calls[event.choice][event.index][1].append(event.text)
                answer.choices[event.choice].tokens += event.tokens
            case Ended():
                answer.choices[event.choice].reason = event.reason
            case Started():
                answer.prompt_tokens, answer.cached_tokens = event.prompt_tokens, event.cached_tokens
                answer.thinks = event.thinks
                answer.image_tokens, answer.video_tokens = event.image_tokens, event.video_tokens
                answer.citations = event.reading.citations if event.reading is not None else ()
            case Finished():
                answer.output_tokens, answer.thought_tokens = event.output_tokens, event.thought_tokens
            case Failed():
                raise event.fault
    for choice, texts, thought, begun in zip(answer.choices, parts, thoughts, calls, strict=True):
        choice.text, choice.thought = "".join(texts), "".join(thought)
        choice.tool_calls = [ToolCall(call.id, call.name, "".join(pieces)) for call, pieces in begun]
    return answer
