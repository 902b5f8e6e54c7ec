"""What a request has used, and what that costs.

Laws: a record says who, what, how many, how long and how it ended, and never a word of what was said; input tokens
include the cached ones, output tokens the reasoning; a price of one currency unit a million tokens is one millionth a
token, so that costs are whole millionths (`micros`), settled when the request ends and never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from segue.core import frozen
from segue.core.errors import Fault
from segue.core.request import Caller

MICROS = 1_000_000
LEFT = "left"
"""The outcome where the client left before the answer had ended."""
ANSWERED = frozenset({"stop", "length", "tool_calls"})
"""The outcomes of answers that came to their own end."""
ENDS = ANSWERED | {LEFT}
"""The outcomes that are no error."""


@frozen
class Prices:
    """Of one model: what a million tokens cost.  Cached input has its own price, instead of that of input."""

    input: float = 0.0
    cached: float = 0.0
    output: float = 0.0

    def cost_micros(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """What so many tokens cost."""
        fresh = input_tokens - cached_tokens
        return round(fresh * self.input + cached_tokens * self.cached + output_tokens * self.output)


FREE = Prices()


@frozen
class Record:
    """One request, when it has ended.

    `at` is when it came, in unix seconds; `endpoint` is the protocol and what was asked of it (`native/generation`);
    `model` as asked, `served` who answered, "" where nobody did; `first_ms` is until the first text, None where there
    was none; `outcome` is why the answer ended (stop, length, tool_calls), `LEFT`, or the code of an error.
    """

    id: str
    at: float
    workspace: str
    key: str
    endpoint: str
    model: str
    served: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    first_ms: int | None
    total_ms: int
    outcome: str
    cost_micros: int


@frozen
class Scope:
    """Whose use it is: a key's, or a whole workspace's."""

    kind: Literal["key", "workspace"]
    id: str


@frozen
class Spent:
    """What was used so far, of tokens and of money."""

    tokens: int = 0
    cost_micros: int = 0


def money(micros: int) -> str:
    """A cost in whole units of the currency, with all of its six digits."""
    return f"{micros // MICROS}.{micros % MICROS:06}"


By = Literal["day", "hour", "key", "workspace", "model"]


@frozen
class Range:
    """What a summary is about: days from `since` to `until`, both included (`2026-11-20`), of everybody or of one."""

    since: str = ""
    until: str = ""
    workspace: str = ""
    key: str = ""


EVERYTHING = Range()


@frozen
class Line:
    """One line of a summary.  `of` is what it is about: a day, a key, a workspace, a model."""

    of: str
    requests: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_micros: int


Side = Literal["day", "key", "workspace", "model"]
"""What use can be told apart by, also by several at once."""
TIMED_MAX = 50_000
"""Times are told of so many answers, the latest of those that were asked about."""


@frozen
class Spread:
    """What half of the answers stayed within, and what all but one in twenty; None where there is none."""

    p50: float | None = None
    p95: float | None = None


@frozen
class Use:
    """What was used by one of what was asked about: `of` has its name on each of the sides that were asked for.
    Times are of answers that came to their own end: `total_ms` is what a client has waited in all."""

    of: tuple[str, ...]
    requests: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_micros: int
    first_ms: Spread = Spread()
    total_ms: Spread = Spread()
    tokens_per_s: Spread = Spread()


class Sums(Protocol):
    """Whoever can be asked what was used."""

    async def uses(self, by: Sequence[Side], range: Range, after: Sequence[str], limit: int) -> Sequence[Use]:
        """At most `limit` of them, in the order of `of`, behind `after` (empty: from the first)."""
        ...


@frozen
class Entries:
    """How many records were written to the ledger since the start, wait to be, and are lost for good."""

    written: int = 0
    waiting: int = 0
    lost: int = 0


class Book(Protocol):
    """Where requests are entered, as the door sees it: whoever is known from the first, whatever becomes of it."""

    def begin(self, id: str, caller: Caller, endpoint: str) -> None:
        """A request has come."""
        ...

    def end(self, id: str, fault: Fault | None) -> None:
        """It has ended, with this Fault if it was refused or left its client without an answer."""
        ...
