"""An engine that says what it is told: for demonstrations, load tests and the tests of everything above engines.

Its vocabulary is the 256 bytes and the card's control tokens; its model is a `Script`.  It keeps the
whole contract of `engine/base.py` (places, a queue, limits, closing, failing), so that what passes
over it passes over a real one.

Laws: honest figures (nothing is ever cached); no randomness; no waiting but the delay it was given.
It refuses to know weights, and its sampling is that there is none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from segue.core.errors import EngineLost, Fault, QueueFull
from segue.core.generation import Alternative, Chunk, FinishReason, ModelCard, Opened, Prompt, Segment, TokenLogprob
from segue.engine.base import Health

BYTES = 256  # ids below are bytes, ids from here on are control tokens
BREATH_CHUNKS = 64  # without a delay, other tasks get their turn this often
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def scripted_card(name: str = "scripted", context_tokens: int = 32_768, output_tokens: int = 8_192) -> ModelCard:
    """A card that fits this engine: ChatML over bytes."""
    return ModelCard(
        name=name,
        context_tokens=context_tokens,
        output_tokens_max=output_tokens,
        output_tokens_default=output_tokens,
        template=TEMPLATE,
        eos_token="<|im_end|>",
        vocabulary_size=BYTES + len(CONTROL_TOKENS),
        unambiguous=True,
        control_tokens=CONTROL_TOKENS,
    )


@dataclass(frozen=True, slots=True)
class Echo:
    """Repeat the last user turn, `size` bytes a chunk; a caller's prefix that begins the echo is gone on from."""

    size: int = 4


@dataclass(frozen=True, slots=True)
class Say:
    """Say this text, whatever the prompt, `size` bytes a chunk."""

    text: str
    size: int = 4


@dataclass(frozen=True, slots=True)
class Drone:
    """Say `chunks` chunks of `size` bytes each."""

    chunks: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Yield exactly these chunks, even unlawful ones; choices, limits and logprobs are the script's business."""

    chunks: tuple[Chunk, ...]


Script = Echo | Say | Drone | Verbatim


@dataclass(frozen=True, slots=True)
class Failure:
    """After `chunks` chunks, raise what `fault` makes."""

    chunks: int
    fault: Callable[[], Fault] = EngineLost


class Scripted:
    """See the module.  `running_max` and `waiting_max` count choices; `delay_s` is waited before each chunk."""

    def __init__(
        self,
        script: Script,
        card: ModelCard | None = None,
        *,
        delay_s: float = 0.0,
        failure: Failure | None = None,
        running_max: int = 1024,
        waiting_max: int = 0,
    ) -> None:
        self.script = script
        self._card = card or scripted_card()
        self._delay_s = delay_s
        self._failure = failure
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._control = {token: BYTES + place for place, token in enumerate(self._card.control_tokens)}
        self._pieces = [bytes([b]) for b in range(BYTES)] + [token.encode() for token in self._card.control_tokens]
        self._running = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._open = False

    @property
    def card(self) -> ModelCard:
        return self._card

    async def start(self) -> None:
        """At once."""
        self._open = True

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        """Bytes, and one id for a control segment; KeyError for a control token that the card does not have."""
        ids: list[int] = []
        for segment in segments:
            if segment.control:
                ids.append(self._control[segment.text])
            else:
                ids.extend(segment.text.encode())
        return ids

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """Control tokens give their spelling."""
        return [self._pieces[token] for token in ids]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        """Play the script.  Raises QueueFull before the first item, EngineLost when closed."""
        await self._enter(prompt.choices)
        try:
            yield Opened(cached_tokens=0)
            delay_s, failure = self._delay_s, self._failure
            for place, chunk in enumerate(self._chunks(prompt), 1):
                if failure is not None and place > failure.chunks:
                    raise failure.fault()
                if delay_s or not place % BREATH_CHUNKS:
                    await asyncio.sleep(delay_s)
                if not self._open:
                    raise EngineLost
                yield chunk
        finally:
            self._leave(prompt.choices)

    async def forget(self, documents: Collection[str]) -> None:
        """It remembers nothing."""

    async def health(self) -> Health:
        """Ready between `start` and `close`."""
        waiting = sum(choices for choices, _ in self._line)
        return Health(ready=self._open, running=self._running, waiting=waiting)

    async def close(self) -> None:
        """Running answers fail with EngineLost at their next chunk, waiting ones at once."""
        self._open = False
        while self._line:
            _, turn = self._line.popleft()
            if not turn.done():
                turn.set_exception(EngineLost())

    async def _enter(self, choices: int) -> None:
        """Take places, or wait in line for them."""
        if not self._open:
            raise EngineLost
        if not self._line and self._fits(choices):
            self._running += choices
            return
        if sum(waiting for waiting, _ in self._line) + choices > self._waiting_max:
            raise QueueFull
        entry = (choices, asyncio.get_running_loop().create_future())
        self._line.append(entry)
        try:
            await entry[1]
        except asyncio.CancelledError:
            if entry in self._line:
                self._line.remove(entry)
            elif not entry[1].cancelled() and entry[1].exception() is None:
                self._leave(choices)  # the places were given, but nobody is there to use them
            raise

    def _fits(self, choices: int) -> bool:
        return self._running == 0 or self._running + choices <= self._running_max

    def _leave(self, choices: int) -> None:
        self._running -= choices
        while self._line and self._fits(self._line[0][0]):
            waiting, turn = self._line.popleft()
            if not turn.done():
                self._running += waiting
                turn.set_result(None)

    def _chunks(self, prompt: Prompt) -> Iterator[Chunk]:
        match self.script:
            case Echo(size):
                return self._cut(self._echo(prompt), size, prompt)
            case Say(text, size):
                return self._cut(text.encode(), size, prompt)
            case Drone(chunks, size):
                return self._cut(b"a" * (chunks * size), size, prompt)
            case Verbatim(chunks):
                return iter(chunks)
            case _ as unknown:
                assert_never(unknown)

    def _echo(self, prompt: Prompt) -> bytes:
        """What stands between the last `<|im_start|>user\\n` and its `<|im_end|>`, less a prefix already said."""
        said = self._spelled(prompt.ids[: prompt.answer_at])
        last = said.rpartition(b"<|im_start|>user\n")[2].partition(b"<|im_end|>\n<|im_start|>")[0]
        return last.removeprefix(self._spelled(prompt.ids[prompt.answer_at :]))

    def _spelled(self, ids: Sequence[int]) -> bytes:
        return b"".join([self._pieces[token] for token in ids])

    def _cut(self, text: bytes, size: int, prompt: Prompt) -> Iterator[Chunk]:
        """The text for every choice in turn, `size` tokens a chunk, within the limit."""
        reason: FinishReason = "length" if len(text) > prompt.output_tokens_max else "stop"
        text = text[: prompt.output_tokens_max]
        last = max(0, (len(text) - 1) // size * size)
        choices, alternatives = range(prompt.choices), prompt.logprobs
        logprobs: tuple[TokenLogprob, ...] = ()
        for at in range(0, last + 1, size):
            data = text[at : at + size]
            ids = tuple(data)
            if alternatives is not None:
                logprobs = tuple(_certain(token, alternatives) for token in ids)
            for choice in choices:
                yield Chunk(choice, ids, data, logprobs, reason if at == last else None)


def _certain(token: int, alternatives: int) -> TokenLogprob:
    """A token that had to come; the alternatives are itself and its neighbours."""
    near = ((token + step) % BYTES for step in range(alternatives))
    top = tuple(Alternative(bytes([other]), 0.0 if other == token else -100.0) for other in near)
    return TokenLogprob(bytes([token]), 0.0, top)
