"""Does an answer begin with a call of a function?  A scored choice, over an engine that can score.

Small models begin a call whatever they are asked, once they are shown functions; but which function they
would call they know well only where one fits: elsewhere they make up names.  So the model is asked twice,
both times without chance: how likely its answer begins as calls begin, and, a call begun, how likely it has
the name of a function that there is.  A call it is when both are likely.

Laws: the choice depends on the prompt alone, not on seed and temperature; what was asked costs a few steps and
no output token; the first question tells how much of the prompt was remembered.  Knows no template.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import replace

from segue.core import frozen
from segue.core.callforms import BEGINNINGS, BLANKS
from segue.core.generation import Constraint, Decoding, Opened, Prompt
from segue.engine.base import Engine

BEGINS_MIN = 0.5
"""How likely a call must begin by itself."""
NAMED_MIN = 0.97
"""How likely a call must have one of the names."""
NAME_TOKENS_MAX = 48
_ALTERNATIVES = 5
_HEAD = b'"name": "'
_SURELY = Decoding(temperature=0.0, top_p=1.0, top_k=0)


@frozen
class Decision:
    """What is asked, and what the answer is kept to after it.  `probe` is a call up to its name, any name, and
    anything behind it."""

    names: Collection[str]
    probe: Constraint
    call: Constraint
    text: Constraint


@frozen
class Decided:
    """The prompt, its constraint chosen; `cached_tokens` of it were remembered before anything was asked."""

    prompt: Prompt
    cached_tokens: int


async def decided(engine: Engine, prompt: Prompt, decision: Decision) -> Decided:
    """Ask.  Raises what the engine raises."""
    asked = replace(prompt, decoding=_SURELY, choices=1, seam=None, constraint=None)
    cached, begins = await _begins(engine, replace(asked, output_tokens_max=1, logprobs=_ALTERNATIVES))
    calls = begins >= BEGINS_MIN and await _named(
        engine,
        replace(asked, output_tokens_max=NAME_TOKENS_MAX, logprobs=_ALTERNATIVES, constraint=decision.probe),
        [name.encode() + b'"' for name in decision.names],
    )
    return Decided(replace(prompt, constraint=decision.call if calls else decision.text), cached)


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


async def _named(engine: Engine, prompt: Prompt, names: Collection[bytes]) -> bool:
    """Whether the model surely gives one of the names: all that leads to one is counted together, token by token."""
    said, likely = b"", 1.0
    async with aclosing(engine.generate(prompt)) as items:
        async for item in items:
            if isinstance(item, Opened):
                continue
            for each in item.logprobs:
                led = [other.logprob for other in each.top if _leads(said + other.data, names)]
                likely *= sum(map(math.exp, led))
                said += each.data
                if likely < NAMED_MIN or not _leads(said, names):
                    return False
            if b'"' in said.partition(_HEAD)[2]:
                return True
    return False


def _leads(said: bytes, names: Collection[bytes]) -> bool:
    """Whether what was said so far can end in a name, or has."""
    _, opened, rest = said.partition(_HEAD)
    return not opened or any(name.startswith(rest) or rest.startswith(name) for name in names)


def _may_begin(data: bytes) -> bool:
    text = data.decode("utf-8", "replace").lstrip(BLANKS)
    return text[:1] in BEGINNINGS and bool(text)
