"""Any OpenAI-compatible chat upstream, the service itself among them: messages in, text out.

It takes no token ids, so the conversation is read back out of the prompt: between marks that no caller's text can
spell (control tokens of our own, behind the vocabulary's) stand role and content, as `TEMPLATE` put them.  Its
text is told in the vocabulary's tokens, which are near its own.  Pictures go as `image_url` parts with data URIs, a
video as its frames, where a picture's places stand in the prompt.

What it lacks: scores, constraints and log probabilities, which its card does not offer; and the continuation of a
prefix, unless it is said by which field it takes one.  Then an answer cannot go on elsewhere either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from segue.core.errors import EngineFailed, EngineLost, Fault, NotSupported
from segue.core.generation import FinishReason
from segue.core.media import Sight, View
from segue.core.places import count
from segue.engine.remote.kind import Ask, Call, Facts, Said, Scores, Strange, call, decoded, unknown_refusal
from segue.engine.remote.picture import data_uri
from segue.engine.remote.spec import PrefixForm
from segue.engine.words import Table, Words

START, END = "<|im_start|>", "<|im_end|>"
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'text' %}{{- part.text }}{%- else %}{{- '<|' + part.type + '_pad|>' }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_OPTIONS: dict[PrefixForm, tuple[dict[str, Any], dict[str, Any]]] = {
    "partial": ({"partial": True}, {}),
    "prefix": ({"prefix": True}, {}),
    "continue": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}
"""How each form marks the last message, and what it adds to the request."""


class Marked(Words):
    """A vocabulary with our marks behind it, which are the only control tokens."""

    def __init__(self, inner: Words) -> None:
        self._inner = inner
        start = inner.size
        spelled = (START, END, IMAGE, VIDEO)
        pieces = [*inner.pieces(range(inner.size)), *(mark.encode() for mark in spelled)]
        marks = {start + at: mark for at, mark in enumerate(spelled)}
        hidden = [token for token in marks if token != start + 1]
        super().__init__(
            Table(pieces=pieces, steering=marks, markup=[], eog=frozenset({start + 1}), hidden=hidden, eos=start + 1)
        )

    def _tokens(self, text: str) -> list[int]:
        return self._inner.encode([(text, False)])


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _Details | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw | None = None


class Chat:
    """Keeps `segue.engine.remote.kind.Kind`.  `extras`: it takes `top_k` and `repetition_penalty` too."""

    abreast = 1
    scored_max = 1
    counts_prompt = False
    hints = False
    able = frozenset[Literal["score", "json"]]()

    def __init__(self, model: str, words: Marked, prefix: PrefixForm, extras: bool, sight: Sight | None = None) -> None:
        self._model, self._words, self._prefix, self._extras = model, words, prefix, extras
        self._sight = sight

    def look(self) -> str:
        return "/models"

    def facts(self, body: bytes) -> Facts:
        return Facts()

    def ask(self, ask: Ask) -> Call:
        if ask.logprobs is not None:
            raise NotSupported("logprobs", self._model)
        how = ask.decoding
        messages, options = self._messages(ask)
        fields: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "max_tokens": ask.tokens_max,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": how.temperature,
            "top_p": max(how.top_p, 1e-6),
            "presence_penalty": how.presence_penalty,
            "seed": ask.seed,
            **options,
        }
        if how.frequency_penalty:
            fields["frequency_penalty"] = how.frequency_penalty
        if self._extras:
            fields |= {"top_k": how.top_k, "repetition_penalty": how.repetition_penalty}
        return call("/chat/completions", fields)

    def read(self, event: bytes) -> Said | None:
        told = decoded(event, _Event)
        if told.error is not None:
            raise EngineLost
        details = None if told.usage is None else told.usage.prompt_tokens_details
        cached = None if details is None else details.cached_tokens
        if not told.choices:
            return None if cached is None else Said(cached=cached)
        choice = told.choices[0]
        ids = self._words.encode([(choice.delta.content or "", False)])
        return Said(ids=tuple(ids), finish=_finish(choice.finish_reason), cached=cached)

    def rest(self, ask: Ask) -> Call | None:
        return None

    def score(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Call:
        raise EngineFailed("a chat upstream cannot score")

    def scores(self, body: bytes) -> Scores:
        raise Strange("a chat upstream cannot score")

    def refused(self, status: int, body: bytes) -> Fault:
        if status in (401, 403):
            return EngineFailed("the upstream does not take our key")
        return unknown_refusal(status)

    def _messages(self, ask: Ask) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The conversation that the prompt was rendered from, and what the request needs for its open turn."""
        start, end = self._words.control[START], self._words.control[END]
        messages: list[dict[str, Any]] = []
        turn: list[int] = []
        views = deque(ask.views)
        for token in ask.ids[: ask.answer_at]:
            if token == start:
                turn = []
            elif token == end:
                messages.append(self._message(turn, views))
            else:
                turn.append(token)
        said = self._text(ask.ids[ask.answer_at :])
        if not said:
            return messages, {}
        if not self._prefix:
            raise EngineFailed("the upstream cannot go on with what was said")
        mark, options = _OPTIONS[self._prefix]
        return [*messages, {"role": "assistant", "content": said, **mark}], options

    def _message(self, turn: Sequence[int], views: deque[View]) -> dict[str, Any]:
        """A turn, its pictures taken from `views`."""
        first = next((at for at, token in enumerate(turn) if token < 0), len(turn))
        role, _, content = self._text(turn[:first]).partition("\n")
        if first == len(turn):
            return {"role": role, "content": content}
        if self._sight is None:
            raise EngineFailed("the upstream sees no pictures")
        parts, at = [_said(content)], first
        while at < len(turn):
            if turn[at] < 0:
                view = views.popleft()
                parts.append(_shown(view))
                at += count(view, self._sight.patch)
                continue
            end = next((other for other in range(at, len(turn)) if turn[other] < 0), len(turn))
            parts.append(_said(self._text(turn[at:end])))
            at = end
        return {"role": role, "content": [part for part in parts if part.get("text") != ""]}

    def _text(self, ids: Sequence[int]) -> str:
        return b"".join(self._words.pieces(ids)).decode("utf-8", "replace")


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _shown(view: View) -> dict[str, Any]:
    if view.sort == "image":
        return {"type": "image_url", "image_url": {"url": data_uri(view.pictures[0])}}
    made: dict[str, Any] = {"type": "video", "video": [data_uri(picture) for picture in view.pictures]}
    if view.seconds > 0:
        made["fps"] = round(1 / view.seconds, 3)
    return made


def _finish(reason: str | None) -> FinishReason | None:
    match reason:
        case None | "null":
            return None
        case "length":
            return "length"
        case _:
            return "stop"
