"""Encodes pictures beside the steps, and remembers what has been encoded.

Encoding takes long, seconds for a large picture on a few cores, so it has a thread of its own: answers under way go on
meanwhile, only slower, and strands wait for their pictures outside of the lane.  Laws: one picture at a time, in the
order of asking; what nobody waits for any more is not begun; what is remembered is found again only from its own
workspace, and the least recently used goes first when `bytes_max` is full.  Knows no cache of cells.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from segue.engine.llama.context import FloatRow
from segue.engine.llama.eyes import Eyes, EyesError
from segue.engine.llama.places import Shot


class Gallery:
    """`encoded` counts the pictures that were."""

    def __init__(self, eyes: Eyes, bytes_max: int) -> None:
        self._eyes, self._bytes_max = eyes, bytes_max
        self._kept: OrderedDict[bytes, FloatRow] = OrderedDict()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "pictures")
        self._asked = self._bytes = 0
        self._began: float | None = None
        self.encoded = 0

    @property
    def busy(self) -> bool:
        """Is anything being encoded, or going to be?"""
        return self._asked > 0

    @property
    def seconds(self) -> float:
        """How long the picture that is being encoded has taken."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def recall(self, shots: Sequence[Shot]) -> None:
        """Give them the rows that are remembered."""
        for shot in shots:
            if shot.rows is None:
                self._remembered(shot)

    def see(self, shots: Sequence[Shot], wanted: Callable[[], bool], done: Callable[[str], None]) -> None:
        """Encode; `done` is called on the gallery's thread, with what is wrong or "".  While `wanted` says no, no
        other is begun."""
        with self._lock:
            self._asked += 1
        self._thread.submit(self._encode, list(shots), wanted, done)

    def _encode(self, shots: list[Shot], wanted: Callable[[], bool], done: Callable[[str], None]) -> None:
        wrong = ""
        try:
            for shot in shots:
                if not wanted():
                    break
                if shot.rows is None and not self._remembered(shot):
                    self._began = time.monotonic()
                    shot.rows = self._eyes.encode(shot.width, shot.height, shot.frames)
                    self.encoded += 1
                    self._keep(shot.key, shot.rows)
                    shot.frames = ()
        except Exception as error:  # noqa: BLE001 - a strand whose picture never comes would wait for ever
            wrong = str(error) if isinstance(error, EyesError) else type(error).__name__
        finally:
            self._began = None
            with self._lock:
                self._asked -= 1
            done(wrong)

    def _remembered(self, shot: Shot) -> bool:
        with self._lock:
            rows = self._kept.get(shot.key)
            if rows is None:
                return False
            self._kept.move_to_end(shot.key)
        shot.rows, shot.frames = rows, ()
        return True

    def _keep(self, key: bytes, rows: FloatRow) -> None:
        with self._lock:
            self._kept[key] = rows
            self._bytes += rows.nbytes
            while self._bytes > self._bytes_max:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes
