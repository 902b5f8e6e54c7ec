"""Every bound the wire keeps, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.wire.parameters import StopLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request and of the silence around an answer.

    `header_bytes_max` bounds the sum of all header names and values; `body_wait_s` is how long a body may take to come;
    `first_event_wait_s` how long a stream's status line waits for the answer to begin;
    `heartbeat_s` the longest silence of a stream; `stalled_s` how long a client may leave
    unread what was sent to it.
    """

    body_bytes_max: int = 16 * 1024**2
    header_bytes_max: int = 64 * 1024
    messages_max: int = 10_000
    stops: StopLimits = field(default_factory=StopLimits)
    body_wait_s: float = 60.0
    first_event_wait_s: float = 20.0
    heartbeat_s: float = 15.0
    stalled_s: float = 120.0
