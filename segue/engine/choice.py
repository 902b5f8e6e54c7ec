"""Does an answer begin with a call of a function?  A scored choice, over an engine that can score.

Small models begin a call whatever they are asked, once they are shown functions; but which function they
would call they know well only where one fits: elsewhere they make up names.  So the model is asked twice,
both times without chance: how likely its answer begins as calls begin, and, a call begun, how likely it has
the name of a function that there is.  The log-odds of both are added up.  And where results of calls are the
last that was said, the call it would make is made for comparison: one that has its result is not made again.

A small model that would call and may not explains how to call.  So where it would have, but nothing fits, the
text is asked of a prompt without the functions; one that talks of its own accord talks with them before it.

Laws: the choice depends on the prompt alone, not on seed and temperature; what was asked costs a few steps and
no output token; the first question tells how much of the prompt was remembered.  Knows no template.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from segue.core import frozen
from segue.core.callforms import BEGINNINGS, BLANKS, CLOSE, OPEN, same
from segue.core.generation import Chunk, Constraint, Decoding, Opened, Prompt
from segue.engine.base import Engine

LOG_ODDS_MIN = 6.0
"""What both log-odds must add up to, in nats.  Measured on the even half of `bench/calls`; docs/decisions/0014."""
WOULD_MIN = 0.5
"""How likely a call must begin for a model to be held off it."""
NAME_TOKENS_MAX = 48
CALL_TOKENS_MAX = 256
_SURE = 0.9999
"""Nothing is held to be likelier: what the best few alternatives leave is not known better."""
_ALTERNATIVES = 5
_HEAD = b'"name": "'
_SURELY = Decoding(temperature=0.0, top_p=1.0, top_k=0)


@frozen
class Decision:
    """What is asked, and what the answer is kept to after it.  `probe` is a call up to its name, any name, and
    anything behind it; `answered` are the calls that have just had their results, as `callforms.same` writes them;
    `plain` is the prompt without functions."""

    names: Collection[str]
    probe: Constraint
    call: Constraint
    text: Constraint
    answered: Collection[str] = ()
    plain: Sequence[int] = ()


@frozen
class Decided:
    """The prompt, its constraint chosen; `cached_tokens` of it were remembered before anything was asked."""

    prompt: Prompt
    cached_tokens: int


async def decided(engine: Engine, prompt: Prompt, decision: Decision) -> Decided:
    """Ask.  Raises what the engine raises."""
    asked = replace(prompt, decoding=_SURELY, choices=1, seam=None, constraint=None, logprobs=_ALTERNATIVES)
    cached, begins = await _begins(engine, replace(asked, output_tokens_max=1))
    names = [name.encode() + b'"' for name in decision.names]
    named = replace(asked, output_tokens_max=NAME_TOKENS_MAX, constraint=decision.probe)
    calls = await _named(engine, named, names, LOG_ODDS_MIN - _log_odds(begins))
    if calls and decision.answered:
        made = replace(asked, output_tokens_max=CALL_TOKENS_MAX, logprobs=None, constraint=decision.call)
        calls = await _made(engine, made) not in decision.answered
    if calls:
        return Decided(replace(prompt, constraint=decision.call), cached)
    talking = replace(prompt, constraint=decision.text)
    if begins >= WOULD_MIN and decision.plain:
        talking = replace(talking, ids=decision.plain, answer_at=len(decision.plain))
    return Decided(talking, cached)


async def _begins(engine: Engine, prompt: Prompt) -> tuple[int, float]:
    """How much was remembered, and how likely the next token begins a call."""
    cached, likely = 0, 0.0
    async with aclosing(engine.generate(prompt)) as items:
        async for item in items:
            if isinstance(item, Opened):
                cached = item.cached_tokens
                continue
            for each in item.logprobs[:1]:
                begun = [other.logprob for other in each.top if _may_begin(other.data)]
                likely = sum(map(math.exp, begun))
    return cached, likely


async def _named(engine: Engine, prompt: Prompt, names: Collection[bytes], least: float) -> bool:
    """Whether the log-odds that the model gives one of the names are `least` or more: all that leads to one is
    counted together, token by token."""
    if _log_odds(_SURE) < least:
        return False
    said, likely = b"", 1.0
    async with aclosing(_chunks(engine, prompt)) as chunks:
        async for chunk in chunks:
            for each in chunk.logprobs:
                led = [other.logprob for other in each.top if _leads(said + other.data, names)]
                likely *= sum(map(math.exp, led))
                said += each.data
                if _log_odds(likely) < least or not _leads(said, names):
                    return False
            if b'"' in said.partition(_HEAD)[2]:
                return True
    return False


async def _made(engine: Engine, prompt: Prompt) -> str:
    """The first call that the model makes, as `callforms.same` writes it; "" where it comes to no end."""
    said = b""
    async with aclosing(_chunks(engine, prompt)) as chunks:
        async for chunk in chunks:
            said += chunk.data
            body, closed, _ = said.partition(CLOSE.encode())
            if closed:
                call = json.loads(body.partition(OPEN.encode())[2])
                return same(call["name"], json.dumps(call["arguments"]))
    return ""


async def _chunks(engine: Engine, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
    async with aclosing(engine.generate(prompt)) as items:
        async for item in items:
            if not isinstance(item, Opened):
                yield item


def _log_odds(likely: float) -> float:
    likely = min(max(likely, 1 - _SURE), _SURE)
    return math.log(likely / (1 - likely))


def _leads(said: bytes, names: Collection[bytes]) -> bool:
    """Whether what was said so far can end in a name, or has."""
    _, opened, rest = said.partition(_HEAD)
    return not opened or any(name.startswith(rest) or rest.startswith(name) for name in names)


def _may_begin(data: bytes) -> bool:
    text = data.decode("utf-8", "replace").lstrip(BLANKS)
    return text[:1] in BEGINNINGS and bool(text)
