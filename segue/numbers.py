"""What processes that serve together have counted, as one.

    each process -> its file, again and again        whoever is asked -> the sum of all files

Laws: a counter never goes back: a process that takes another's place goes on from what that one has written; at most
`EVERY_S` of counts is lost with a process that is killed; a file is replaced whole, so nobody reads half of one; what
an engine says that all share counts once, by whoever keeps that engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from segue.core.usage import Entries
from segue.engine.base import Health
from segue.files.tally import Tally
from segue.observe import Counters, Times

log = logging.getLogger("segue")

EVERY_S = 0.25
KEEPER = "keeper"
"""The file of whoever keeps the shared engines."""
_COUNTED = ("restarts", "steps", "failovers")
"""Of an engine's health, what only grows."""


@dataclass(slots=True)
class Numbers:
    """What one process, or several together, have counted; `files` is None where none are kept."""

    counters: Counters = field(default_factory=Counters)
    times: Times = field(default_factory=Times)
    files: Tally | None = None
    engines: Mapping[str, Health] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)
    """How often each limit has refused somebody."""
    entries: Entries | None = None


class _Written(msgspec.Struct):
    """The same, as it lies in a file: each histogram is its counts, and its sum behind them."""

    counters: dict[str, float] = {}
    times: dict[str, list[float]] = {}
    files: dict[str, float] | None = None
    steps: dict[str, list[float]] = {}
    engines: dict[str, Health] = {}
    limited: dict[str, float] = {}
    entries: dict[str, float] = {}


class Board:
    """The files in `folder`; this process writes the one called `name`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._path = folder / f"{name}.numbers"
        self._before = _read(self._path) or _Written()  # of the process whose place this one takes
        self._last = b""

    def publish(self, now: Numbers) -> None:
        """Write down what this process has counted until now.  Raises OSError."""
        data = msgspec.msgpack.encode(self._own(now))
        if data == self._last:
            return
        fresh = self._path.with_suffix(".fresh")
        fresh.write_bytes(data)
        fresh.replace(self._path)
        self._last = data

    def all(self, now: Numbers) -> Numbers:
        """The sums over every process, with what this one has counted until now."""
        others = [_read(path) for path in sorted(self._folder.glob("*.numbers")) if path != self._path]
        return _numbers(_sum([self._own(now), *(each for each in others if each is not None)]))

    def _own(self, now: Numbers) -> _Written:
        written = _written(now)
        if self._name != KEEPER:
            written.engines = {name: each for name, each in written.engines.items() if not each.shared}
        before = msgspec.structs.replace(
            self._before, engines=_past(self._before.engines), entries=_without(self._before.entries, "waiting")
        )
        return _sum([written, before])


class Publishing:
    """Writes to the board again and again.  `now` gives what was counted."""

    def __init__(self, board: Board, now: Callable[[], Awaitable[Numbers]]) -> None:
        self._board, self._now = board, now
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin."""
        await self._publish()
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Write down the last, and end.  Safe to call twice."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        await self._publish()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._publish()

    async def _publish(self) -> None:
        try:
            self._board.publish(await self._now())
        except OSError as error:  # a full disk; the next time may be better
            log.error("the counters cannot be written down: %s", error)


def _read(path: Path) -> _Written | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=_Written)
    except (OSError, msgspec.MsgspecError):
        return None


def _written(now: Numbers) -> _Written:
    files = now.files
    return _Written(
        counters=asdict(now.counters),
        times={
            item.name: [*getattr(now.times, item.name).counts, getattr(now.times, item.name).sum_s]
            for item in dataclasses.fields(now.times)
        },
        files=None if files is None else {name: getattr(files, name) for name in _FILES},
        steps={} if files is None else {name: [*each.counts, each.sum_s] for name, each in files.steps.items()},
        engines=dict(now.engines),
        limited=dict(now.limited),
        entries={} if now.entries is None else asdict(now.entries),
    )


def _numbers(written: _Written) -> Numbers:
    made = Numbers(engines=written.engines, limited={name: int(count) for name, count in written.limited.items()})
    if written.entries:
        made.entries = Entries(**{name: int(count) for name, count in written.entries.items()})
    for item in dataclasses.fields(Counters):
        value = written.counters.get(item.name, 0)
        setattr(made.counters, item.name, value if isinstance(item.default, float) else int(value))
    for item in dataclasses.fields(Times):
        if found := written.times.get(item.name):
            histogram = getattr(made.times, item.name)
            histogram.counts[:], histogram.sum_s = [int(each) for each in found[:-1]], found[-1]
    if written.files is not None:
        made.files = Tally()
        for name in _FILES:
            setattr(made.files, name, int(written.files.get(name, 0)))
        for step, durations in made.files.steps.items():
            if found := written.steps.get(step):
                durations.counts[:], durations.sum_s = [int(each) for each in found[:-1]], found[-1]
    return made


_FILES = ("uploaded", "deleted", "read", "troubled")


def _sum(all: Iterable[_Written]) -> _Written:
    total = _Written()
    engines: dict[str, list[Health]] = {}
    for each in all:
        _add(total.counters, each.counters)
        _add(total.limited, each.limited)
        _add(total.entries, each.entries)
        if each.files is not None:
            total.files = total.files or {}
            _add(total.files, each.files)
        for lists, more in ((total.times, each.times), (total.steps, each.steps)):
            for name, values in more.items():
                known = lists.get(name)
                same = known is not None and len(known) == len(values)
                lists[name] = [a + b for a, b in zip(known or (), values, strict=True)] if same else list(values)
        for model, health in each.engines.items():
            engines.setdefault(model, []).append(health)
    total.engines = {model: _health(of) for model, of in engines.items()}
    return total


def _add(total: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _past(engines: Mapping[str, Health]) -> dict[str, Health]:
    """What a process that is no more has counted of its engines; nothing of it runs."""
    return {model: Health(True, **{name: getattr(each, name) for name in _COUNTED}) for model, each in engines.items()}


def _without(values: Mapping[str, float], name: str) -> dict[str, float]:
    return {each: value for each, value in values.items() if each != name}


def _health(of: list[Health]) -> Health:
    """One model's engines, as one: ready where all are."""
    names = [item.name for item in dataclasses.fields(Health) if item.name not in ("ready", "detail", "shared")]
    sums = {name: sum(getattr(each, name) for each in of) for name in names}
    return Health(all(each.ready for each in of), **sums)
