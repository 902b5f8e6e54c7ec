"""Chunks of tokens become pieces of text.

    Chunk -> bytes -> characters -> stops -> Text ..., Ended

Laws: the text, the token counts and the logprobs of a choice are the same however its tokens were cut
into chunks; text that may yet turn out to be (part of) a stop is held back, and so are the
bytes of an unfinished character; a choice has one `Ended`, and what comes for it afterwards is ignored.

Tokens: the sum of `Text.tokens` is the number of tokens generated, up to and including the one that
completed the stop.  A token's logprob comes no later than the first character the token has a part in;
when a stop is found, the tokens that begin at or behind the cut lose theirs, a token that begins
before it keeps its own.

A `Before` says what came before the answer: a stop may begin there, and a resumed answer may owe bytes
of a token that was cut.  Pure; knows no engine and no protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from segue.core import frozen
from segue.core.events import Ended, Event, Text
from segue.core.generation import Chunk, TokenLogprob
from segue.core.request import Stop
from segue.output.stops import Stops
from segue.output.utf8 import decoded


class _Choice:
    """What one choice has not said yet."""

    __slots__ = ("before", "begins", "bytes", "carried", "ended", "held", "logprobs", "run", "spent")

    def __init__(self) -> None:
        self.ended = False
        self.bytes = b""  # of an unfinished character
        self.held = ""  # text that may be (behind) the beginning of a stop
        self.before = 0  # so many of the first characters of `held` are the prefix's
        self.spent = 0  # tokens not yet in a Text
        self.logprobs: deque[TokenLogprob] = deque()  # not yet in a Text
        self.begins: deque[int] = deque()  # for each token not released: where in `held` its text begins
        self.run: list[int] = []  # ids that may be the beginning of a stop run
        # Anything above set, in the case without stops; with stops, pending bytes that were not looked at yet.
        self.carried = False


@frozen
class Before:
    """What stands before an answer: the caller's prefix, the ids that spell it, and bytes that its last
    token has beyond it, which the answer begins with."""

    text: str = ""
    ids: Sequence[int] = ()
    pending: bytes = b""


class Assembly:
    """One answer's assembly, for `choices` choices.  `done` when every choice has ended."""

    __slots__ = ("_before", "_choices", "_live", "_stops", "output_tokens")

    def __init__(self, choices: int, stop: Stop, before: Before | None = None) -> None:
        self._choices = [_Choice() for _ in range(choices)]
        self._live = choices
        self._stops = Stops(stop) if stop else None
        self._before = before
        self.output_tokens = 0
        if before is not None:
            for choice in self._choices:
                choice.bytes, choice.carried = before.pending, bool(before.pending)
                if self._stops is not None:
                    choice.held = self._stops.begun_text(before.text)
                    choice.before = len(choice.held)
                    choice.run = self._stops.begun_run(before.ids)

    @property
    def done(self) -> bool:
        return self._live == 0

    def needs_pieces(self, chunk: Chunk) -> bool:
        """Whether `feed` must be told the bytes of each token: a stop may lie between tokens of one chunk."""
        return self._stops is not None and len(chunk.ids) > 1 and len(chunk.logprobs) != len(chunk.ids)

    def feed(self, chunk: Chunk, pieces: Sequence[bytes] = ()) -> Iterable[Event]:
        """The events that a chunk brings about; often one `Text`, sometimes none."""
        choice = self._choices[chunk.choice]
        if choice.ended:
            return ()
        if self._stops is not None:
            if chunk.joined is not None and self._before is not None:
                ids = self._before.ids
                choice.run = self._stops.begun_run([*ids[: len(ids) - chunk.joined.back], *chunk.joined.path])
            return self._watched(choice, self._stops, chunk, pieces)
        tokens = len(chunk.ids)
        self.output_tokens += tokens
        if not choice.carried:
            text, rest = decoded(chunk.data)
            if not rest and text and chunk.finish is None:  # nearly always
                return (Text(chunk.choice, text, tokens, chunk.logprobs),)
        else:
            text, rest = decoded(choice.bytes + chunk.data)
        choice.bytes = rest
        choice.spent += tokens
        choice.logprobs.extend(chunk.logprobs)
        return self._said(choice, chunk, text, len(choice.logprobs))

    def _said(self, choice: _Choice, chunk: Chunk, text: str, logprobs: int) -> list[Event]:
        """In the case without stops: what is complete now, and the end if this is the end."""
        events: list[Event] = []
        if text or (chunk.finish is not None and choice.spent):
            events.append(self._text(choice, chunk.choice, text, choice.spent, logprobs))
        choice.carried = bool(choice.bytes or choice.spent)
        if chunk.finish is not None:
            events.append(self._end(choice, Ended(chunk.choice, chunk.finish)))
        return events

    def _text(self, choice: _Choice, index: int, text: str, tokens: int, logprobs: int) -> Text:
        choice.spent -= tokens
        kept = tuple(choice.logprobs.popleft() for _ in range(logprobs))
        return Text(index, text, tokens, kept)

    def _end(self, choice: _Choice, ended: Ended) -> Ended:
        choice.ended = True
        self._live -= 1
        return ended

    def _watched(self, choice: _Choice, stops: Stops, chunk: Chunk, pieces: Sequence[bytes]) -> list[Event]:
        """The case with stops: token by token, so that the outcome does not depend on the chunks."""
        index = chunk.choice
        quiet = not (choice.spent or choice.bytes or choice.held or choice.run)
        if len(chunk.ids) == 1 and chunk.finish is None and quiet:
            text, rest = decoded(chunk.data)
            if text and not rest and stops.clear(text, chunk.ids[0]):  # nearly always
                self.output_tokens += 1
                return [Text(index, text, 1, chunk.logprobs)]
        for token, data, logprob in self._begun(choice, chunk, pieces):
            cut = self._token(choice, stops, token, data, logprob)
            if cut is not None:
                events: list[Event] = []
                kept = sum(1 for begin in choice.begins if begin < cut)
                text = choice.held[choice.before : cut]
                if text or choice.spent:
                    events.append(self._text(choice, index, text, choice.spent, min(kept, len(choice.logprobs))))
                events.append(self._end(choice, Ended(index, "stop")))
                return events
        if chunk.finish is None:
            keep = len(choice.held) - stops.pending(choice.held)
            if choice.run:
                keep = min(keep, _begin(choice, len(choice.run)))
            return self._released(choice, index, keep)
        events = []
        text = choice.held[choice.before :]
        if text or choice.spent:
            events.append(self._text(choice, index, text, choice.spent, len(choice.logprobs)))
        events.append(self._end(choice, Ended(index, chunk.finish)))
        return events

    @staticmethod
    def _begun(
        choice: _Choice, chunk: Chunk, pieces: Sequence[bytes]
    ) -> Iterator[tuple[int | None, bytes, TokenLogprob | None]]:
        """The tokens of a chunk; before the first of all, what is pending, which belongs to none of them."""
        if choice.carried:
            choice.carried = False
            yield None, b"", None
        yield from _tokens(chunk, pieces)

    def _token(
        self, choice: _Choice, stops: Stops, token: int | None, data: bytes, logprob: TokenLogprob | None
    ) -> int | None:
        """Take in one token (or bytes that belong to none).  Where the answer ends in `held`, if it does."""
        if token is not None:
            self.output_tokens += 1
            choice.spent += 1
            choice.begins.append(len(choice.held))
            choice.run.append(token)
            if logprob is not None:
                choice.logprobs.append(logprob)
        text, choice.bytes = decoded(choice.bytes + data)
        cut = None
        if text:
            choice.held += text
            cut = stops.cut(choice.held, choice.before)
        if token is None:
            return cut
        matched = stops.complete(choice.run)
        if matched:
            begin = _begin(choice, matched)
            return begin if cut is None else min(cut, begin)
        begun = stops.begun(choice.run)
        del choice.run[: len(choice.run) - begun]
        return cut

    def _released(self, choice: _Choice, index: int, keep: int) -> list[Event]:
        """Let go of `held[:keep]` and of the tokens that begin before `keep`."""
        if keep == 0:
            return []
        tokens = 0
        while choice.begins and choice.begins[0] < keep:
            choice.begins.popleft()
            tokens += 1
        for place, begin in enumerate(choice.begins):
            choice.begins[place] = begin - keep
        text, choice.held = choice.held[choice.before : keep], choice.held[keep:]
        choice.before = max(0, choice.before - keep)
        if not text and not tokens:
            return []
        return [self._text(choice, index, text, tokens, min(tokens, len(choice.logprobs)))]


def _begin(choice: _Choice, tokens: int) -> int:
    """Where in `held` the last `tokens` tokens begin; at its beginning where the first lie in the prefix."""
    return choice.begins[-tokens] if tokens <= len(choice.begins) else 0


def _tokens(chunk: Chunk, pieces: Sequence[bytes]) -> Iterator[tuple[int | None, bytes, TokenLogprob | None]]:
    """The tokens of a chunk one by one.

    Lengths are taken from the logprobs or from `pieces`; the first token has what the others leave,
    since a token that began inside the caller's prefix has fewer bytes here than in the vocabulary.
    """
    ids, data = chunk.ids, chunk.data
    logged = chunk.logprobs if len(chunk.logprobs) == len(ids) else ()
    if len(ids) <= 1:
        yield (ids[0] if ids else None), data, (logged[0] if logged else None)
        return
    sizes = [len(logprob.data) for logprob in logged] or [len(piece) for piece in pieces]
    end = len(data)
    ends = [end]
    for size in reversed(sizes[1:] if len(sizes) == len(ids) else [0] * (len(ids) - 1)):
        end = max(0, end - size)
        ends.append(end)
    ends.reverse()
    begin = 0
    for place, token in enumerate(ids):
        yield token, data[begin : ends[place]], (logged[place] if logged else None)
        begin = ends[place]
