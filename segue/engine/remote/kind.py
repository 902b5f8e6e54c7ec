"""What differs between upstreams: how they are asked, and how they answer.

    Ask -> Call -> events -> Said       an answer, piece by piece
    ids -> Call -> body -> Scores       how likely tokens are

Laws: a kind is pure, bytes in and bytes out; it knows the JSON of its upstream and nobody else does.  What it reads
is checked: an answer that is not what its upstream documents is Strange, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from segue.core import frozen
from segue.core.errors import EngineFailed, Fault
from segue.core.generation import Constraint, Decoding, FinishReason
from segue.core.media import View

T = TypeVar("T")
_SHOWN_CHARACTERS_MAX = 200


class Strange(Exception):
    """An upstream answered what it should not."""


@frozen
class Ask:
    """One answer, or the rest of one.

    The first `answer_at` of `ids` are no part of it.  `seed` is for these tokens alone.  `bias` is added to logits;
    `allowed`, where it is given, are the only tokens that may come.  `constraint` holds from the first token on.
    `space` names who may share what the upstream remembers of prompts.  `views` are what stands at negative ids.
    `whole`: nobody reads it before its end.
    """

    ids: Sequence[int]
    answer_at: int
    tokens_max: int
    decoding: Decoding
    seed: int
    logprobs: int | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    allowed: Sequence[int] | None = None
    constraint: Constraint | None = None
    space: str = ""
    views: tuple[View, ...] = ()
    whole: bool = False


@frozen
class Call:
    """A request to an upstream."""

    path: str
    body: bytes


@frozen
class Likely:
    """A token's natural-log probability, and the likeliest at its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@frozen
class Said:
    """What an event tells.

    `ids` are the tokens it tells of, the last `len(ids)` of the `count` there are so far; where some came between
    that it does not tell of, `text` holds theirs too.  `logprobs` are those of `ids`.  `cached` is how much of the
    prompt was remembered, None where it does not say.  `over`: it was the last, and all has come.
    """

    ids: tuple[int, ...] = ()
    count: int | None = None
    text: str = ""
    logprobs: tuple[Likely, ...] = ()
    finish: FinishReason | None = None
    cached: int | None = None
    over: bool = False


@frozen
class Scores:
    """Natural-log probabilities by token; `unknown`, of all tokens that are not there, together at most.  `cached` is
    how much of the prompt was remembered, None where it does not say."""

    known: Mapping[int, float]
    unknown: float = -math.inf
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an upstream says of itself; 0 where it does not."""

    context_tokens: int = 0


class Kind(Protocol):
    """One kind of upstream."""

    abreast: int
    """How many scores are asked for at a time."""
    scored_max: int
    """How many candidates can be scored in one call; 0: the likeliest are told, whatever is asked."""
    counts_prompt: bool
    """Whether its presence and frequency penalties count the prompt's tokens, which they should not."""
    hints: bool
    """Whether it can be given a constraint, so that it need not be corrected often."""
    able: frozenset[Literal["score", "json"]]
    """What its card offers beside what the catalogue says."""

    def look(self) -> str:
        """The path that tells whether it can answer, and facts."""
        ...

    def facts(self, body: bytes) -> Facts:
        """Raises Strange."""
        ...

    def ask(self, ask: Ask) -> Call:
        """A streamed answer."""
        ...

    def read(self, event: bytes) -> Said | None:
        """One event; None for one that tells nothing.  Raises Strange, and the Fault it tells of."""
        ...

    def rest(self, ask: Ask) -> Call | None:
        """Tokens that a stream had no event for, asked for at once; None where a stream tells of all."""
        ...

    def score(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Call:
        """How likely the candidates are as the next token."""
        ...

    def scores(self, body: bytes) -> Scores:
        """Raises Strange."""
        ...

    def refused(self, status: int, body: bytes) -> Fault:
        """Why it refused a call of ours."""
        ...


def decoded(body: bytes, kind: type[T]) -> T:
    """JSON as it is documented.  Raises Strange."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Strange(str(error)[:_SHOWN_CHARACTERS_MAX]) from error


def call(path: str, fields: Mapping[str, Any]) -> Call:
    """A call with a JSON body."""
    return Call(path, msgspec.json.encode(fields))


ABLE: frozenset[Literal["score", "json"]] = frozenset({"score", "json"})
"""What an upstream can do that takes token ids and tells how likely they are."""


def unknown_refusal(status: int) -> Fault:
    """A refusal that says nothing the caller could mend.  What it says may quote the prompt: it is not kept."""
    return EngineFailed(f"the upstream answered {status}")


def unread(known: Mapping[int, float], size: int) -> float:
    """The natural-log probability that all tokens but the known, the likeliest, can have together; `size` is how
    many there are."""
    left = 1.0 - math.fsum(math.exp(value) for value in known.values())
    least = (size - len(known)) * math.exp(min(known.values())) if known else 1.0
    most = min(left, least) if left > 1e-6 else min(1e-6, least)
    return math.log(most) if most > 0 else -math.inf
