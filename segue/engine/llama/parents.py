"""Those whom an engine process works for: one server, or several that share it.

A server that starts an engine of its own has the other end of the first channel.  Where several share one, whoever
started the process keeps the first channel and hands it a door besides, a listening socket in a folder that is nobody
else's; each server comes in by that door.

Laws: only processes of the same user are let in; numbers of one parent mean nothing to another: here they get the
parent's own number before them, and lose it on their way back; a parent that does not read what it is told holds nobody
up, and is put out when too much waits for it; one that leaves is told of, so that its answers can be freed; when the
last one has left and nobody is at the door's other side any more, the process ends.
"""

from __future__ import annotations

import collections
import itertools
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from segue.engine.llama import frames

log = logging.getLogger("segue.engine")

UNREAD_BYTES_MAX = 64 * 1024 * 1024
"""How much may wait for a parent that does not read."""
QUIET_S = 1.0
"""How long a parent for whom nothing runs may hear nothing of an engine that works."""
_OWN_BITS = 40
_OWN = (1 << _OWN_BITS) - 1
_CREDENTIALS = struct.Struct("3i")


class Parent:
    """One of them: its channel, and what waits to be read there.  `number` is its own; `steps` is what it knows of."""

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self.channel = channel
        self.steps = 0
        self.told_at = 0.0
        self._unread: collections.deque[bytes] = collections.deque()
        self._unread_bytes = 0
        self._turn = threading.Condition()
        self._gone = False
        self._sender: threading.Thread | None = None

    def send(self, message: frames.FromEngine) -> None:
        """Tell it; returns at once."""
        data = frames.frame(message)
        with self._turn:
            if self._gone:
                return
            if not self._unread:
                try:
                    data = data[self.channel.send(data, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    pass
                except OSError:  # it has left; whoever reads from it says so
                    return
            if not data:
                return
            self._unread.append(data)
            self._unread_bytes += len(data)
            if self._unread_bytes > UNREAD_BYTES_MAX:
                self._put_out()
                return
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_rest, daemon=True)
                self._sender.start()
            self._turn.notify()

    def leave(self) -> None:
        """It is gone."""
        with self._turn:
            self._put_out()
        self.channel.close()

    def _put_out(self) -> None:
        self._gone = True
        self._unread.clear()
        self._turn.notify()
        try:
            self.channel.shutdown(socket.SHUT_RDWR)  # whoever reads from it wakes
        except OSError:
            return

    def _send_rest(self) -> None:
        while True:
            with self._turn:
                while not self._unread and not self._gone:
                    self._turn.wait()
                if self._gone:
                    return
                data = self._unread[0]
            try:
                self.channel.sendall(data)
            except OSError:
                return
            with self._turn:
                if self._unread:
                    self._unread.popleft()
                    self._unread_bytes -= len(data)


class Parents:
    """All of them.  `hear` takes their messages, and `left` the numbers of those who go, each on a thread of the
    parent's own; `ended` is called, once, when nobody is left."""

    def __init__(self, first: socket.socket, door: socket.socket | None, ended: Callable[[], None]) -> None:
        self._numbers = itertools.count()
        self._turn = threading.Lock()
        self._all: dict[int, Parent] = {}
        self._first = self._come(first)
        self._door = door
        self._ended = ended
        self._ready: frames.Ready | None = None
        self._hear: Callable[[frames.ToEngine], None] = lambda message: None
        self._left: Callable[[int], None] = lambda number: None

    @property
    def shared(self) -> bool:
        """May there be several?"""
        return self._door is not None

    def open(self, ready: frames.Ready, hear: Callable[[frames.ToEngine], None], left: Callable[[int], None]) -> None:
        """The engine is ready: tell everybody who is there or comes, and listen to them."""
        self._ready, self._hear, self._left = ready, hear, left
        self._begin(self._first)
        if self._door is not None:
            threading.Thread(target=self._let_in, args=(self._door,), daemon=True).start()

    def broken(self, detail: str) -> None:
        """The engine cannot start."""
        self._first.send(frames.Broken(detail))

    def there(self, number: int) -> bool:
        """Is whoever gave this number still there?"""
        return number >> _OWN_BITS in self._all

    def tell(self, message: frames.Encoded | frames.Pieced | frames.StrandFailed) -> None:
        """Tell whom it concerns."""
        number = message.strand if isinstance(message, frames.StrandFailed) else message.call
        parent = self._all.get(number >> _OWN_BITS)
        if parent is None:
            return
        if isinstance(message, frames.StrandFailed):
            message.strand = number & _OWN
        else:
            message.call = number & _OWN
        parent.send(message)

    def step(self, tokens: Sequence[frames.Token], running: int, waiting: int, steps: int, cells_used: int) -> None:
        """Tell each what a step said for it.  `steps` are all since the process began.

        Also nothing is told: a long prompt is read for minutes, and silence means stuck.
        """
        by_parent: dict[int, list[frames.Token]] = {}
        for token in tokens:
            by_parent.setdefault(token.strand >> _OWN_BITS, []).append(token)
            token.strand &= _OWN
        now = time.monotonic()
        idle = not running and not waiting
        for parent in self._everybody():
            said = by_parent.get(parent.number, [])
            if said or idle or not self.shared or now - parent.told_at >= QUIET_S:
                parent.send(frames.Step(said, running, waiting, steps - parent.steps, cells_used))
                parent.steps, parent.told_at = steps, now

    def _everybody(self) -> list[Parent]:
        with self._turn:
            return list(self._all.values())

    def _come(self, channel: socket.socket) -> Parent:
        parent = Parent(next(self._numbers), channel)
        with self._turn:
            self._all[parent.number] = parent
        return parent

    def _begin(self, parent: Parent) -> None:
        assert self._ready is not None
        parent.send(self._ready)
        threading.Thread(target=self._read, args=(parent,), daemon=True).start()

    def _let_in(self, door: socket.socket) -> None:
        while True:
            try:
                channel, _ = door.accept()
            except OSError:
                time.sleep(0.1)  # no descriptor is free, say
                continue
            if not ours(channel):
                log.error("somebody else's process was at the engine's door")
                channel.close()
                continue
            self._begin(self._come(channel))

    def _read(self, parent: Parent) -> None:
        """Hand on what one says, until it leaves."""
        before = parent.number << _OWN_BITS
        stream = parent.channel.makefile("rb")
        try:
            while len(head := stream.read(4)) == 4:
                message = frames.to_engine.decode(stream.read(frames.length(head)))
                self._hear(_named(message, before))
        except OSError:
            pass  # it has left
        except (ValueError, msgspec.MsgspecError) as error:
            log.error("an engine's parent is not understood: %s", error)
        except Exception:
            log.exception("what an engine's parent said could not be done")
        with self._turn:
            del self._all[parent.number]
            # Who keeps the door is the first: once that one is gone too, nobody can come any more.
            over = not self._all
        self._left(parent.number)
        parent.leave()
        if over:
            self._ended()


def of(number: int) -> int:
    """Whose a number is."""
    return number >> _OWN_BITS


def ours(channel: socket.socket) -> bool:
    """Is at the other end a process of the same user?  Where the system does not tell, the folder keeps others out."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    told = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(told)
    return bool(user == os.geteuid())


def _named(message: frames.ToEngine, before: int) -> frames.ToEngine:
    """The message, with its numbers made those of its parent."""
    match message:
        case frames.See():
            message.parent = of(before)
        case frames.Open():
            for choice in message.choices:
                choice.strand = choice.strand & _OWN | before
        case frames.Cancel():
            message.strand = message.strand & _OWN | before
        case frames.Encode() | frames.Pieces():
            message.call = message.call & _OWN | before
        case frames.Forget():
            pass
    return message
