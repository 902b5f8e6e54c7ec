"""Has pictures and videos decoded in a process that is killed for it: the server's side.

Laws: no byte of a picture is looked at in the server; a picture can end its own request's process and nothing else;
what the process says is checked against what it was asked, and bounded in time and in bytes; the process is gone before
`decode` returns, also when the caller leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import signal
import struct
from collections.abc import Sequence

from segue.caged.process import entry, killed, started
from segue.core import frozen
from segue.core.errors import MediumRefused
from segue.core.media import Picture
from segue.media import words
from segue.media.limits import DecodeLimits
from segue.media.turns import Turns, share

log = logging.getLogger("segue.media")

_START = entry("segue.media.child")
_NICE = 5
_DETAIL_CHARS_MAX = 200
_BYTES = 3


@frozen
class Decoded:
    """The pictures of one task, and for how many seconds each stands."""

    pictures: tuple[Picture, ...]
    seconds: float = 0.0


class Decoder:
    """It has no state but for what it has warned of, and who waits for one of `running_max` processes."""

    def __init__(self, limits: DecodeLimits, running_max: int) -> None:
        self._limits = limits
        self._turns = Turns(running_max, share(running_max))
        self._warned = False

    async def decode(self, workspace: str, file: int, tasks: Sequence[words.Task]) -> list[Decoded]:
        """What each task asks for, of the pieces in the open `file`, for a workspace.  Raises MediumRefused."""
        async with self._turns.turn(workspace):
            asked = words.asked_to(words.Asked(list(tasks), self._limits))
            if len(asked) > words.ASKED_CHARS_MAX:
                raise MediumRefused("large", len(asked), words.ASKED_CHARS_MAX)
            process = await started(_START, (asked,), file, _NICE)
            hearing = _Hearing(tasks, self._limits)
            assert process.stdout is not None
            try:
                async with asyncio.timeout(self._limits.wall_s):
                    await hearing.hear(process.stdout)
                    status = await process.wait()
            except TimeoutError:
                raise MediumRefused("broken") from None
            except (ValueError, asyncio.IncompleteReadError) as error:
                status = await killed(process)
                log.info("a process that decodes ended: %s", status)
                raise _died(status) from error
            finally:
                await killed(process)
        self._warn(hearing.open)
        if not hearing.done or status != 0:
            raise _died(status)
        return await asyncio.to_thread(hearing.decoded)

    def _warn(self, walls: list[str]) -> None:
        if walls and not self._warned:
            self._warned = True
            log.warning("pictures are decoded without %s, which this system does not allow", ", ".join(walls))


class _Hearing:
    """What the process has said so far."""

    def __init__(self, tasks: Sequence[words.Task], limits: DecodeLimits) -> None:
        self._tasks = tasks
        self._limits = limits
        self._shown: list[list[tuple[int, int, bytearray]]] = [[] for _ in tasks]
        self._seconds = [0.0 for _ in tasks]
        self._bytes = self._owed = self._at = 0
        self.open: list[str] = []
        self.done = False

    async def hear(self, pipe: asyncio.StreamReader) -> None:
        """Until the process has closed the pipe.  Raises MediumRefused; ValueError or IncompleteReadError when it says
        nonsense."""
        while True:
            try:
                head = await pipe.readexactly(words.HEAD_BYTES)
            except asyncio.IncompleteReadError as ended:
                if ended.partial:
                    raise
                return
            self._take(words.unpack(await pipe.readexactly(words.length(head))))

    def _take(self, word: words.Word) -> None:
        match word:
            case words.Pixels():
                self._pixels(word.data)
            case words.Picture():
                self._picture(word)
            case words.Caged():
                self.open = word.open
            case words.Done():
                self.done = not self._owed
            case words.Failed():
                log.debug("a picture or video cannot be shown: %s, %s", word.why, word.detail[:_DETAIL_CHARS_MAX])
                if not (math.isfinite(word.one) and math.isfinite(word.other)):
                    raise ValueError("no numbers")
                raise MediumRefused(word.why, word.one, word.other)

    def _picture(self, word: words.Picture) -> None:
        if self._owed or not self._at <= word.task < len(self._tasks):
            raise ValueError("a picture nobody asked for")
        self._at = word.task
        task, shown = self._tasks[word.task], self._shown[word.task]
        most = 1 if task.sort == "image" else task.frames_max
        fits = word.width % task.patch == 0 and word.height % task.patch == 0 and word.width > 0 and word.height > 0
        area = word.width * word.height
        if not fits or area > max(task.high, task.low, task.patch**2) or len(shown) >= most:
            raise ValueError("a picture of a size that nobody asked for")
        if not 0 <= word.seconds <= max(self._limits.video_seconds_max, 1 / task.fps):
            raise ValueError("a time that nobody asked for")
        if shown and shown[0][:2] != (word.width, word.height):
            raise ValueError("frames of several sizes")
        self._owed = area * _BYTES
        self._bytes += self._owed
        if self._bytes > self._limits.decoded_bytes_max:
            raise MediumRefused("large", self._bytes, self._limits.decoded_bytes_max)
        self._seconds[word.task] = word.seconds
        shown.append((word.width, word.height, bytearray()))

    def _pixels(self, data: bytes) -> None:
        if not 0 < len(data) <= self._owed:
            raise ValueError("pixels of no picture")
        self._shown[self._at][-1][2].extend(data)
        self._owed -= len(data)

    def decoded(self) -> list[Decoded]:
        """What it all came to.  Raises MediumRefused."""
        if not all(self._shown):
            raise MediumRefused("broken")
        return [
            Decoded(tuple(_whole(*each) for each in shown), seconds)
            for shown, seconds in zip(self._shown, self._seconds, strict=True)
        ]


def _whole(width: int, height: int, pixels: bytearray) -> Picture:
    digest = hashlib.sha256(struct.pack("<II", width, height))
    digest.update(pixels)
    return Picture(width, height, bytes(pixels), digest.digest())


def _died(status: int) -> MediumRefused:
    """How a process that said no last word ended: it took too much of something, mostly memory."""
    return MediumRefused("pixels" if status in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT) else "broken")
