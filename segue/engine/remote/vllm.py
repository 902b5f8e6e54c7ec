"""vLLM's OpenAI-compatible server, by token ids (`/v1/completions`).

What it lacks, and what becomes of it: it tells how much of a prompt was remembered only at an answer's end, and only
when it was started with `--enable-prompt-tokens-details`; its repetition penalty counts the prompt too.  Prompts of
one workspace are kept apart from those of others by `cache_salt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from segue.core.errors import EngineFailed, EngineLost, Fault
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
)

SCORED_MAX = 128
"""Candidates in one call: no more have room in a row of its sampler."""
_TOKEN = "token_id:"
_SEEDS = 1 << 63


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    text: str = ""
    token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _Details | None = None


class _Error(msgspec.Struct):
    code: int | str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


class _Served(msgspec.Struct):
    id: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Served] = []


class Vllm:
    """Keeps `segue.engine.remote.kind.Kind`.  `model` is the name it serves, or "" for its only one."""

    abreast = 4
    scored_max = SCORED_MAX
    counts_prompt = False
    hints = True
    able = ABLE

    def __init__(self, model: str, ends: Sequence[int]) -> None:
        self._model, self._ends = model, list(ends)

    def look(self) -> str:
        return "/v1/models"

    def facts(self, body: bytes) -> Facts:
        served = decoded(body, _Models).data
        for each in served:
            if each.id == self._model or not self._model:
                self._model = self._model or each.id
                return Facts(each.max_model_len or 0)
        raise Strange("it does not serve the model")

    def ask(self, ask: Ask) -> Call:
        how = ask.decoding
        fields: dict[str, Any] = {
            **self._fields(ask.ids, ask.space),
            "max_tokens": ask.tokens_max,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": how.temperature,
            "top_p": max(how.top_p, 1e-6),
            "top_k": how.top_k,
            "repetition_penalty": how.repetition_penalty,
            "presence_penalty": how.presence_penalty,
            "frequency_penalty": how.frequency_penalty,
            "seed": ask.seed % _SEEDS,
            "stop_token_ids": self._ends,
            "return_token_ids": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        if ask.logprobs is not None:
            fields |= {"logprobs": ask.logprobs, "return_tokens_as_token_ids": True}
        if ask.bias:
            fields["logit_bias"] = {str(token): max(-100.0, min(100.0, value)) for token, value in ask.bias.items()}
        if ask.allowed is not None:
            fields["allowed_token_ids"] = list(ask.allowed)
        elif ask.constraint is not None and (hint := structured(ask.constraint)):
            fields["structured_outputs"] = hint
        return call("/v1/completions", fields)

    def read(self, event: bytes) -> Said | None:
        told = decoded(event, _Event)
        if told.error is not None:
            raise EngineLost
        cached = None
        if told.usage is not None and told.usage.prompt_tokens_details is not None:
            cached = told.usage.prompt_tokens_details.cached_tokens
        if not told.choices:
            return None if cached is None else Said(cached=cached)
        choice = told.choices[0]
        if choice.token_ids is None:
            raise Strange("no token ids; it is older than what is supported")
        return Said(
            ids=tuple(choice.token_ids),
            logprobs=_likely(choice.logprobs),
            finish=_finish(choice.finish_reason),
            cached=cached,
        )

    def rest(self, ask: Ask) -> Call | None:
        return None

    def score(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Call:
        fields = {
            **self._fields(ids, space),
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": len(candidates),  # it draws no likeliest ones then, but tells of so many
            "logprob_token_ids": list(candidates),
            "return_tokens_as_token_ids": True,
        }
        return call("/v1/completions", fields)

    def scores(self, body: bytes) -> Scores:
        told = decoded(body, _Event)
        if not told.choices or told.choices[0].logprobs is None:
            raise Strange("no log probabilities")
        known: dict[int, float] = {}
        for likely in _likely(told.choices[0].logprobs)[:1]:
            known = {likely.token: likely.logprob, **dict(likely.top)}
        cached = told.usage.prompt_tokens_details if told.usage is not None else None
        return Scores(known, cached=None if cached is None else cached.cached_tokens)

    def refused(self, status: int, body: bytes) -> Fault:
        if status in (401, 403):
            return EngineFailed("the upstream does not take our key")
        return unknown_refusal(status)

    def _fields(self, ids: Sequence[int], space: str) -> dict[str, Any]:
        return {"model": self._model, "prompt": list(ids), "cache_salt": space, "add_special_tokens": False}


def structured(constraint: Constraint) -> Mapping[str, Any]:
    """What of a constraint it can be told; nothing for a grammar, whose form differs."""
    source = constraint.grammar
    if not source.lstrip().startswith("{"):
        return {}
    (grammar,) = msgspec.json.decode(source)["grammars"]
    if (schema := grammar.get("json_schema")) is not None:
        return {"json": {key: value for key, value in schema.items() if key != "x-guidance"}}
    lark: str = grammar["lark_grammar"]
    regex = lark.removeprefix("start: /")
    return {"regex": regex[:-1].replace("\\/", "/")} if regex != lark and regex.endswith("/") else {}


def _likely(logprobs: _Logprobs | None) -> tuple[Likely, ...]:
    if logprobs is None:
        return ()
    tops = logprobs.top_logprobs or [None] * len(logprobs.tokens)
    if not len(logprobs.tokens) == len(logprobs.token_logprobs) == len(tops):
        raise Strange("log probabilities of other tokens")
    return tuple(
        Likely(_id(token), value if value is not None else 0.0, _ranked(top or {}))
        for token, value, top in zip(logprobs.tokens, logprobs.token_logprobs, tops, strict=True)
    )


def _ranked(top: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    return tuple(sorted(((_id(token), value) for token, value in top.items()), key=lambda each: -each[1]))


def _id(token: str) -> int:
    number = token.removeprefix(_TOKEN)
    if number == token or not number.isdecimal():
        raise Strange("a token without its number")
    return int(number)


def _finish(reason: str | None) -> FinishReason | None:
    match reason:
        case None:
            return None
        case "length":
            return "length"
        case "stop":
            return "stop"
        case _:
            raise EngineLost  # it was aborted there
