"""llama.cpp's own server: `llama-server`, or the one that xllamacpp carries.

What it lacks, and what becomes of it: a stream tells of the last token of a character only, so `read` hands out the
text and the count, and the caller finds the others; it scores only the likeliest tokens, so `unknown` bounds the
rest; its penalties count the prompt.  Prompts of all callers share its cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from segue.core.errors import EngineFailed, EngineLost, Fault, PromptTooLong
from segue.core.generation import Constraint, FinishReason
from segue.engine.remote.kind import (
    ABLE,
    Ask,
    Call,
    Facts,
    Likely,
    Said,
    Scores,
    Strange,
    call,
    decoded,
    unknown_refusal,
    unread,
)

_SCORED = 2048
_SEEDS = 0xFFFFFFFF  # itself means that the server draws one
_SURELY = 10_000.0


class _Other(msgspec.Struct):
    id: int
    logprob: float


class _Probability(msgspec.Struct):
    id: int
    logprob: float
    top_logprobs: list[_Other] = []


class _Timings(msgspec.Struct):
    cache_n: int = 0


class _Error(msgspec.Struct):
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class _Event(msgspec.Struct):
    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    timings: _Timings | None = None
    completion_probabilities: list[_Probability] = []
    error: _Error | None = None


class _Settings(msgspec.Struct):
    n_ctx: int = 0


class _Props(msgspec.Struct):
    default_generation_settings: _Settings = msgspec.field(default_factory=_Settings)


class LlamaServer:
    """Keeps `segue.engine.remote.kind.Kind`.  `plain` is a token that is one whole character, for scores."""

    abreast = 1  # at once they would take as many places, each reading the prompt for itself
    scored_max = 0
    counts_prompt = True
    hints = True
    able = ABLE

    def __init__(self, size: int, plain: int) -> None:
        self._size, self._plain = size, plain

    def look(self) -> str:
        return "/props"

    def facts(self, body: bytes) -> Facts:
        return Facts(decoded(body, _Props).default_generation_settings.n_ctx)

    def ask(self, ask: Ask) -> Call:
        return call("/completion", {**self._fields(ask), "stream": True, "timings_per_token": True})

    def rest(self, ask: Ask) -> Call | None:
        return call("/completion", {**self._fields(ask), "stream": False})

    def read(self, event: bytes) -> Said | None:
        told = decoded(event, _Event)
        if told.error is not None:
            raise _fault(told.error)
        logprobs = tuple(
            Likely(each.id, each.logprob, tuple((other.id, other.logprob) for other in each.top_logprobs))
            for each in told.completion_probabilities
        )
        return Said(
            ids=tuple(told.tokens),
            count=told.tokens_predicted,
            text=told.content,
            logprobs=logprobs,
            finish=_finish(told),
            cached=None if told.timings is None else told.timings.cache_n,
        )

    def score(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Call:
        # The token it draws must be one that it tells of at once, not a part of a character.
        fields = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": min(_SCORED, self._size),
            "temperature": 0.0,
            "logit_bias": [[self._plain, _SURELY]],
            "cache_prompt": True,
        }
        return call("/completion", fields)

    def scores(self, body: bytes) -> Scores:
        told = decoded(body, _Event)
        if not told.completion_probabilities:
            raise Strange("no probabilities")
        known = {other.id: other.logprob for other in told.completion_probabilities[0].top_logprobs}
        if not known:
            raise Strange("no probabilities")
        cached = None if told.timings is None else told.timings.cache_n
        return Scores(known, unread(known, self._size), cached)

    def refused(self, status: int, body: bytes) -> Fault:
        try:
            error = decoded(body, _Event).error
        except Strange:
            error = None
        return unknown_refusal(status) if error is None else _fault(error)

    def _fields(self, ask: Ask) -> dict[str, Any]:
        how = ask.decoding
        fields: dict[str, Any] = {
            "prompt": list(ask.ids),
            "n_predict": ask.tokens_max,
            "cache_prompt": True,
            "return_tokens": True,
            "samplers": ["penalties", "top_k", "temperature", "top_p"],
            "temperature": how.temperature,
            "top_k": how.top_k,
            "top_p": how.top_p,
            "min_p": 0.0,
            "repeat_penalty": how.repetition_penalty,
            "presence_penalty": how.presence_penalty,
            "frequency_penalty": how.frequency_penalty,
            "repeat_last_n": len(ask.ids) + ask.tokens_max,
            "seed": ask.seed % _SEEDS,
        }
        if ask.logprobs is not None:
            fields["n_probs"] = max(ask.logprobs, 1)
        if ask.bias:
            fields["logit_bias"] = [[token, value] for token, value in ask.bias.items()]
        if ask.allowed is not None:
            fields["grammar"] = "root ::= " + " | ".join(f"<[{token}]>" for token in ask.allowed)
        elif ask.constraint is not None:
            fields["grammar"] = lark(ask.constraint)
        return fields


def lark(constraint: Constraint) -> str:
    """The constraint as a server that was built with llguidance reads one; any other refuses it."""
    source = constraint.grammar
    if source.lstrip().startswith("{"):
        (grammar,) = msgspec.json.decode(source)["grammars"]
        schema = grammar.get("json_schema")
        source = grammar["lark_grammar"] if schema is None else "start: %json " + msgspec.json.encode(schema).decode()
    return "%llguidance {}\n" + source


def _finish(told: _Event) -> FinishReason | None:
    if not told.stop:
        return None
    return "length" if told.stop_type == "limit" else "stop"


def _fault(error: _Error) -> Fault:
    if error.type == "exceed_context_size_error":
        return PromptTooLong(error.n_prompt_tokens, error.n_ctx)
    if error.type in ("unavailable_error", "server_error"):
        return EngineLost()
    return EngineFailed(f"the upstream says {error.type[:64]}")
