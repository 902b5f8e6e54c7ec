"""Every bound the wire keeps, in one frozen value; and what it takes to end a wait that is past its bound.

Law: a wait that is over at once costs no timer and no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from segue.wire.parameters import StopLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request and of the silence around an answer.

    `header_bytes_max` bounds the sum of all header names and values; `body_wait_s` is how long a body may take to come;
    `prepare_wait_s` how long a stream's status line waits for documents to be read,
    `first_event_wait_s` and from then on for the answer to begin;
    `heartbeat_s` the longest silence of a stream; `stalled_s` how long a client may leave
    unread what was sent to it.
    """

    body_bytes_max: int = 16 * 1024**2
    header_bytes_max: int = 64 * 1024
    messages_max: int = 10_000
    stops: StopLimits = field(default_factory=StopLimits)
    body_wait_s: float = 60.0
    prepare_wait_s: float = 40.0
    first_event_wait_s: float = 20.0
    heartbeat_s: float = 15.0
    stalled_s: float = 120.0


PATIENCE_S = 0.01

Watching = asyncio.TimerHandle | asyncio.Task[None]


class Patience:
    """Watches over all waits of one event loop with a single timer, and begins each one's own watch when the
    wait lasts longer than `PATIENCE_S`.

    Most waits are over before: a body is there with its headers, a short answer is written at once.  A timer
    or a task made and cancelled for each of them would be dearer than what it watches.
    """

    def __init__(self) -> None:
        # All are equally patient, so the first to wait is the first to run out of it.
        self._waits: dict[Interruption, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, wait: Interruption) -> asyncio.Task[object]:
        """From now on `wait` waits, in the task that is returned: the current one."""
        loop = self._loop = self._loop or asyncio.get_running_loop()  # asked once: it costs a system call
        task = asyncio.current_task(loop)
        assert task is not None, "a request is served by a task"
        self._waits[wait] = due = loop.time() + PATIENCE_S
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)
        return task

    def end(self, wait: Interruption) -> None:
        """It is over."""
        self._waits.pop(wait, None)

    def _look(self) -> None:
        assert self._loop is not None
        loop, self._timer = self._loop, None
        now = loop.time()
        while self._waits:
            wait, due = next(iter(self._waits.items()))
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self._waits[wait]
            wait.begin()


class Interruption:
    """Ends what the current task waits for.

    A context manager: inside it, `interrupt` cancels the task, and the cancellation ends at its border.  The
    task must suspend only in awaits it may be cancelled in.  Once `patience` has run out, `watch` is given
    `interrupt` and begins whatever will call it; leaving the context cancels that.
    """

    __slots__ = ("_patience", "_task", "_watch", "_watching", "interrupted")

    def __init__(self, patience: Patience, watch: Callable[[Callable[[], None]], Watching]) -> None:
        self._patience = patience
        self._watch = watch
        self._watching: Watching | None = None
        self.interrupted = False

    def __enter__(self) -> Self:
        self._task = self._patience.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._patience.end(self)
        if self._watching is not None:
            self._watching.cancel()
        # Only our own cancellation is swallowed; one from the server's side goes on.
        return self.interrupted and self._task.uncancel() == 0 and kind is asyncio.CancelledError

    def begin(self) -> None:
        """Patience has run out."""
        self._watching = self._watch(self.interrupt)

    def interrupt(self) -> None:
        """Cancel the task.  Safe to call again."""
        if not self.interrupted:
            self.interrupted = True
            self._task.cancel()
