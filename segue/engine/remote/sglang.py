"""SGLang's own server, by token ids (`/generate`).

What it lacks, and what becomes of it: its repetition penalty counts the prompt too; it keeps to a seed only where it
was started with `--enable-deterministic-inference`; tokens that alone may come are raised above all others.  Prompts
of one workspace are kept apart from those of others by `extra_key`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from segue.core.errors import EngineFailed, EngineLost, Fault
from segue.core.generation import FinishReason
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
from segue.engine.remote.vllm import structured

_RAISED = 100.0
"""What is added to the logits of tokens that alone may come: more than lies between any two, and little enough for
their differences to keep five digits."""
_Entry = tuple[float | None, int, str | None]


class _Finish(msgspec.Struct):
    type: str


class _Meta(msgspec.Struct):
    finish_reason: _Finish | None = None
    completion_tokens: int = 0
    cached_tokens: int | None = None
    output_token_logprobs: list[_Entry] | None = None
    output_top_logprobs: list[list[_Entry] | None] | None = None
    output_token_ids_logprobs: list[list[_Entry] | None] | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Event(msgspec.Struct):
    output_ids: list[int] = []
    meta_info: _Meta = msgspec.field(default_factory=_Meta)
    error: _Error | None = None


class Sglang:
    """Keeps `segue.engine.remote.kind.Kind`."""

    abreast = 4
    scored_max = 4096
    counts_prompt = False
    hints = True
    able = ABLE

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = list(ends)

    def look(self) -> str:
        return "/health"

    def facts(self, body: bytes) -> Facts:
        return Facts()

    def ask(self, ask: Ask) -> Call:
        how = ask.decoding
        sampling: dict[str, Any] = {
            "max_new_tokens": ask.tokens_max,
            "temperature": how.temperature,
            "top_p": max(how.top_p, 1e-6),
            "top_k": how.top_k or -1,
            "repetition_penalty": how.repetition_penalty,
            "presence_penalty": how.presence_penalty,
            "frequency_penalty": how.frequency_penalty,
            "sampling_seed": ask.seed,
            "stop_token_ids": self._ends,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "no_stop_trim": True,
        }
        bias = dict(ask.bias)
        if ask.allowed is not None:
            bias |= {token: bias.get(token, 0.0) + _RAISED for token in ask.allowed}
        elif ask.constraint is not None:
            hint = structured(ask.constraint)
            if "json" in hint:
                sampling["json_schema"] = msgspec.json.encode(hint["json"]).decode()
            elif "regex" in hint:
                sampling["regex"] = hint["regex"]
        if bias:
            sampling["logit_bias"] = {str(token): value for token, value in bias.items()}
        fields: dict[str, Any] = {
            "input_ids": list(ask.ids),
            "sampling_params": sampling,
            "stream": True,
            "extra_key": ask.space,
        }
        if ask.logprobs is not None:
            fields |= {"return_logprob": True, "top_logprobs_num": ask.logprobs, "logprob_start_len": -1}
        return call("/generate", fields)

    def read(self, event: bytes) -> Said | None:
        told = decoded(event, _Event)
        if told.error is not None:
            raise EngineLost
        meta = told.meta_info
        values, tops = meta.output_token_logprobs or [], meta.output_top_logprobs or []
        # Some versions tell all tokens so far, others only the new ones: `count` tells the caller which these are.
        logprobs = tuple(
            Likely(token, value or 0.0, _ranked(tops[place] if place < len(tops) else None))
            for place, (value, token, _) in enumerate(values)
        )
        return Said(
            ids=tuple(told.output_ids),
            count=meta.completion_tokens,
            logprobs=logprobs,
            finish=_finish(meta.finish_reason),
            cached=meta.cached_tokens,
        )

    def rest(self, ask: Ask) -> Call | None:
        return None

    def score(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Call:
        fields = {
            "input_ids": list(ids),
            "sampling_params": {"max_new_tokens": 1, "temperature": 0.0},
            "return_logprob": True,
            "token_ids_logprob": list(candidates),
            "logprob_start_len": -1,
            "extra_key": space,
        }
        return call("/generate", fields)

    def scores(self, body: bytes) -> Scores:
        meta = decoded(body, _Event).meta_info
        rows = meta.output_token_ids_logprobs
        if not rows or rows[0] is None:
            raise Strange("no log probabilities")
        return Scores({token: value for value, token, _ in rows[0] if value is not None}, cached=meta.cached_tokens)

    def refused(self, status: int, body: bytes) -> Fault:
        if status in (401, 403):
            return EngineFailed("the upstream does not take our key")
        return unknown_refusal(status)


def _ranked(top: list[_Entry] | None) -> tuple[tuple[int, float], ...]:
    found = [(token, value) for value, token, _ in top or [] if value is not None]
    return tuple(sorted(found, key=lambda each: -each[1]))


def _finish(reason: _Finish | None) -> FinishReason | None:
    match None if reason is None else reason.type:
        case None:
            return None
        case "length":
            return "length"
        case "stop":
            return "stop"
        case _:
            raise EngineLost  # it was aborted there
